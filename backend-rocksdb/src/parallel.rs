//! Work on several files at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use backend_api::Result;

/// Bytes that are read or written in one call.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Calls `work` for each of the files, on up to `threads` threads. After an error no further file is begun.
///
/// # Errors
/// One of those of `work`.
pub(crate) fn for_each_file<T: Sync>(
    files: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(file).inspect_err(|_| next.store(files.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    let threads = threads.min(files.len());
    if threads < 2 {
        return work();
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // A panic continues in the caller once all workers have ended.
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        results
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
