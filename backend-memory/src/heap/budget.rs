//! How much memory the states of a backend may hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{Error, ErrorKind, Result};

/// A limit on the bytes held by all states of one backend. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    limit: Option<u64>,
    /// Written by the backend's owner alone.
    held: Arc<AtomicU64>,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit, held: Arc::default() }
    }

    /// Whether there is anything to check.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether a state may grow by `more` bytes.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size), naming both sizes.
    pub(super) fn check(&self, more: u64) -> Result<()> {
        let held = self.held.load(Ordering::Relaxed);
        match self.limit {
            Some(limit) if more > 0 && held.saturating_add(more) > limit => Err(Error::new(
                ErrorKind::Size,
                format!("the states hold {held} bytes, {more} more would exceed the budget of {limit} bytes"),
            )),
            _ => Ok(()),
        }
    }

    /// Notes that a state that held `before` bytes holds `now`.
    pub(super) fn charge(&self, before: u64, now: u64) {
        let held = self.held.load(Ordering::Relaxed);
        self.held.store(held.wrapping_add(now).wrapping_sub(before), Ordering::Relaxed);
    }
}
