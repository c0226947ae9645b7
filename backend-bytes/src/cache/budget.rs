use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fraction of the budget for encoded frozen entries that wait to be written, and again for encoded entries
/// that changed since. Larger batches sort better.
const ENCODED_SHARE: usize = 4;

/// Least bytes for each of the two, with any budget.
const ENCODED_MIN: usize = 256 << 10;

/// Bytes that all caches of a backend hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    /// True if there are caches at all.
    pub fn is_some(&self) -> bool {
        self.max > 0
    }

    pub fn max(&self) -> usize {
        self.max
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes above the budget.
    #[inline]
    pub fn excess(&self) -> usize {
        self.used().saturating_sub(self.max)
    }

    /// Bytes of encodings that may wait to be written.
    pub fn encoded_max(&self) -> usize {
        (self.max / ENCODED_SHARE).max(ENCODED_MIN)
    }

    pub fn change(&self, before: usize, after: usize) {
        if before < after {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}
