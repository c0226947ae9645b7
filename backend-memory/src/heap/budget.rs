//! The limit on the memory of all states of a backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{Error, ErrorKind, Result};

/// A limit on the bytes held by all states of one backend. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    limit: Option<u64>,
    /// Written only by the backend's owner.
    held: Arc<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: AtomicU64,
    log_bytes: AtomicU64,
}

/// Bytes held by a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    /// All bytes.
    pub(super) bytes: u64,
    /// The part of `bytes` that is removal logs, which can be spilled.
    pub(super) log_bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit, held: Arc::default() }
    }

    /// True if there is a limit.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// True if the states hold more than the limit. Removal logs must be spilled then.
    pub(super) fn is_exceeded(&self) -> bool {
        self.limit.is_some_and(|limit| self.held.bytes.load(Ordering::Relaxed) > limit)
    }

    /// Checks that a state may grow by `more` bytes. Removal logs do not count.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size), naming both sizes.
    pub(super) fn check(&self, more: u64) -> Result<()> {
        let log_bytes = self.held.log_bytes.load(Ordering::Relaxed);
        let held = self.held.bytes.load(Ordering::Relaxed).saturating_sub(log_bytes);
        match self.limit {
            Some(limit) if more > 0 && held.saturating_add(more) > limit => Err(Error::new(
                ErrorKind::Size,
                format!("the states hold {held} bytes, {more} more would exceed the budget of {limit} bytes"),
            )),
            _ => Ok(()),
        }
    }

    /// Records that a state that held `before` now holds `now`.
    pub(super) fn charge(&self, before: Charge, now: Charge) {
        let change = |held: &AtomicU64, before: u64, now: u64| {
            let sum = held.load(Ordering::Relaxed).wrapping_add(now).wrapping_sub(before);
            held.store(sum, Ordering::Relaxed);
        };
        change(&self.held.bytes, before.bytes, now.bytes);
        change(&self.held.log_bytes, before.log_bytes, now.log_bytes);
    }
}

/// Checks that the state `name` may grow by `growth` and `more` bytes.
#[inline(never)]
pub(super) fn check(budget: &Budget, name: &str, growth: usize, more: u64) -> Result<()> {
    budget.check((growth as u64).saturating_add(more)).map_err(|error| error.in_state(name))
}
