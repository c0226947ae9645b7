//! A subtask: one thread that owns a backend.

use state_backends::prelude::*;
use state_backends::task::TaskSnapshot;

use crate::batch::{Batch, Event};
use crate::page_stats::{Page, PageStats, Path};
use crate::window::Minute;

/// Opens the backend from `restore`, and works until the input ends. Returns the content of the state, or
/// `None` if the job is stopped before.
pub fn run<B: StateBackend<Key = Path>>(
    options: &B::Options,
    subtask: Subtask<Path>,
    restore: &TaskRestore,
    mut inputs: Inputs<Batch>,
    mut context: TaskContext,
) -> Result<Vec<Page>> {
    let target = B::checkpoint_target(options)?;
    let mut backend = B::open(options, subtask.clone(), restore.keyed())?;
    let mut stats = PageStats::register(&mut backend)?;
    // The log has reached a minute when all sources have.
    let mut minutes = vec![0; inputs.len()];
    loop {
        match inputs.next(&mut context)? {
            Input::Record { input, record } => {
                for event in record.events() {
                    match event {
                        Event::Visit(visit) => stats.visit(&mut backend, &visit)?,
                        Event::Minute(newest) => {
                            minutes[input] = newest;
                            let reached = minutes.iter().copied().min().unwrap_or(Minute::MAX);
                            stats.advance(&mut backend, reached)?;
                        }
                    }
                }
            }
            Input::Barrier(barrier, alignment) => context.snapshot(&barrier, alignment, |request| {
                let snapshot = TaskSnapshot::new(&target, &subtask, request);
                Ok(snapshot.keyed(&mut backend)?.into_task())
            }),
            Input::Control(Control::Complete(id)) => backend.notify_complete(id)?,
            Input::Control(Control::Aborted(id)) => backend.notify_aborted(id)?,
            Input::Control(Control::Barrier(_)) => {}
            Input::Control(Control::Stop) => return Ok(Vec::new()),
            Input::End => break,
        }
    }
    let pages = stats.pages(&mut backend)?;
    backend.close()?;
    Ok(pages)
}
