//! Cancellation of work that runs elsewhere.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Error, ErrorKind, Result};

/// A cancellation token, shared by its clones. One side cancels, the other polls or is woken.
///
/// Cancelling is final. Work that computes calls [`check`](Self::check) from time to time. Work that blocks
/// registers a callback with [`on_cancel`](Self::on_cancel) that ends the blocking.
///
/// ```
/// use backend_api::{Cancel, ErrorKind};
///
/// let cancel = Cancel::new();
/// let seen_by_the_task = cancel.clone();
/// assert!(seen_by_the_task.check().is_ok());
/// cancel.cancel();
/// assert_eq!(seen_by_the_task.check().unwrap_err().kind(), ErrorKind::Cancelled);
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    callbacks: Mutex<Callbacks>,
}

#[derive(Default)]
struct Callbacks {
    next_id: u64,
    waiting: Vec<(u64, Box<dyn FnOnce() + Send>)>,
}

impl Shared {
    fn callbacks(&self) -> MutexGuard<'_, Callbacks> {
        // No foreign code runs under the lock, so a poisoned lock still guards a consistent list.
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels, and runs the registered callbacks on this thread. Further calls do nothing.
    pub fn cancel(&self) {
        {
            // Set under the lock, so a concurrently registered callback either is seen here or sees the flag.
            let _callbacks = self.0.callbacks();
            self.0.cancelled.store(true, Ordering::Release);
        }
        loop {
            // Taken one by one outside of the lock: a callback may use the token, and if one panics, the next
            // call runs the others.
            let Some((_, callback)) = self.0.callbacks().waiting.pop() else { return };
            callback();
        }
    }

    /// True once the token is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Returns an error if cancelled.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] once the token is cancelled.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::new(ErrorKind::Cancelled, "the work was cancelled"))
        } else {
            Ok(())
        }
    }

    /// Runs `callback` once at the cancellation, or now if the token is cancelled already.
    ///
    /// Dropping the guard unregisters the callback, unless it is running. The callback must be short and must
    /// not block, because it runs on the thread that cancels.
    #[must_use = "the callback is taken back when the guard is dropped"]
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> CancelGuard {
        let mut callbacks = self.0.callbacks();
        let id = callbacks.next_id;
        if self.is_cancelled() {
            drop(callbacks);
            callback();
        } else {
            callbacks.next_id += 1;
            callbacks.waiting.push((id, Box::new(callback)));
        }
        CancelGuard { shared: Arc::downgrade(&self.0), id }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Keeps a callback of [`Cancel::on_cancel`] registered until it is dropped.
#[derive(Debug)]
pub struct CancelGuard {
    shared: Weak<Shared>,
    id: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let taken_back = {
                let mut callbacks = shared.callbacks();
                let at = callbacks.waiting.iter().position(|(id, _)| *id == self.id);
                at.map(|at| callbacks.waiting.swap_remove(at))
            };
            // Dropped outside of the lock, since what the callback owns may use the token.
            drop(taken_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counter() -> (Arc<AtomicUsize>, impl FnOnce() + Send + 'static) {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        (count, move || _ = seen.fetch_add(1, Ordering::SeqCst))
    }

    #[test]
    fn a_callback_runs_once() {
        let cancel = Cancel::new();
        let (count, callback) = counter();
        let _guard = cancel.on_cancel(callback);
        assert_eq!(count.load(Ordering::SeqCst), 0);
        cancel.cancel();
        cancel.clone().cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_late_callback_runs_at_once() {
        let cancel = Cancel::new();
        cancel.cancel();
        let (count, callback) = counter();
        drop(cancel.on_cancel(callback));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_dropped_guard_unregisters_its_callback() {
        let cancel = Cancel::new();
        let (first, callback) = counter();
        let first_guard = cancel.on_cancel(callback);
        let (second, callback) = counter();
        let _second_guard = cancel.on_cancel(callback);
        drop(first_guard);
        cancel.cancel();
        assert_eq!(first.load(Ordering::SeqCst), 0);
        assert_eq!(second.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_callback_may_use_the_token() {
        let cancel = Cancel::new();
        let inner = cancel.clone();
        let (count, callback) = counter();
        let _guard = cancel.on_cancel(move || {
            assert!(inner.is_cancelled());
            drop(inner.on_cancel(callback));
        });
        cancel.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_blocked_thread_is_woken() {
        let cancel = Cancel::new();
        let (wake, woken) = std::sync::mpsc::channel();
        let waiter = cancel.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _guard = waiter.on_cancel(move || _ = wake.send(()));
            ready.send(()).unwrap();
            woken.recv().unwrap();
            waiter.check().unwrap_err().kind()
        });
        is_ready.recv().unwrap();
        cancel.cancel();
        assert_eq!(thread.join().unwrap(), ErrorKind::Cancelled);
    }
}
