//! Removed keys, for the delta of an incremental checkpoint.

use super::{TableKey, sync::Arc};

/// Most bytes of a group's log, unless it has fewer than two keys per entry. A longer log costs more to write
/// than the group in full.
const LOG_BYTES: usize = 16 << 10;

pub(super) struct Removal<S> {
    key: S,
    /// The epoch in which the entry was added, or 0 if it was changed later. Earlier checkpoints do not have
    /// the key.
    born: u32,
}

/// The keys removed during one epoch.
pub(super) struct Part<S> {
    epoch: u32,
    removals: Vec<Removal<S>>,
    bytes: usize,
}

/// The removals from one group since the last confirmed snapshot.
pub(super) struct RemovalLog<S> {
    current: Vec<Removal<S>>,
    current_bytes: usize,
    parts: Vec<Arc<Part<S>>>,
    parts_bytes: usize,
    /// The log is incomplete up to and including this epoch.
    spilled: u32,
}

impl<S: TableKey> RemovalLog<S> {
    pub(super) const fn new() -> Self {
        Self { current: Vec::new(), current_bytes: 0, parts: Vec::new(), parts_bytes: 0, spilled: 0 }
    }

    /// Bytes of the logged keys.
    pub(super) fn bytes(&self) -> usize {
        self.current_bytes + self.parts_bytes
    }

    /// Logs the removal of a key in `epoch`. The group has `len` entries afterwards.
    pub(super) fn push(&mut self, key: S, born: u32, epoch: u32, len: usize) {
        if self.spilled >= epoch {
            return;
        }
        self.current_bytes += size_of::<Removal<S>>() + key.heap_size();
        self.current.push(Removal { key, born });
        if self.bytes() > LOG_BYTES.max(2 * len * size_of::<Removal<S>>()) {
            self.spill(epoch);
        }
    }

    /// Discards all removals up to the end of `epoch`, so that no delta on an earlier base is possible. The
    /// next [`freeze`](Self::freeze) frees those of earlier epochs.
    pub(super) fn spill(&mut self, epoch: u32) {
        self.current = Vec::new();
        (self.current_bytes, self.parts_bytes) = (0, 0);
        self.spilled = epoch;
    }

    /// Closes the log of `epoch`, and passes parts that are not needed any more to `discard`.
    pub(super) fn freeze(&mut self, epoch: u32, confirmed: u32, discard: impl FnMut(Arc<Part<S>>)) {
        if !self.current.is_empty() {
            let (removals, bytes) =
                (std::mem::take(&mut self.current), std::mem::take(&mut self.current_bytes));
            self.parts.push(Arc::new(Part { epoch, removals, bytes }));
        }
        let unneeded = self.spilled.max(confirmed);
        self.parts.extract_if(.., |part| part.epoch <= unneeded).for_each(discard);
        self.parts_bytes = self.parts.iter().map(|part| part.bytes).sum();
    }

    /// True if no delta on `confirmed` or a later base depends on it.
    pub(super) fn is_void(&self, confirmed: u32) -> bool {
        self.current.is_empty() && self.parts.is_empty() && self.spilled <= confirmed
    }

    /// The view for a snapshot, after [`freeze`](Self::freeze).
    pub(super) fn view(&self) -> LogView<S> {
        LogView { parts: self.parts.clone(), spilled: self.spilled }
    }
}

/// The removals from one group, as a snapshot sees them.
pub(super) struct LogView<S> {
    parts: Vec<Arc<Part<S>>>,
    spilled: u32,
}

impl<S> LogView<S> {
    /// The keys removed after the epoch `base` that `base` may have. `None` if the log is incomplete.
    pub(super) fn since(&self, base: u32) -> Option<impl Iterator<Item = &S>> {
        (base >= self.spilled).then(|| {
            let parts = self.parts.iter().filter(move |part| part.epoch > base);
            let removals = parts.flat_map(|part| &part.removals);
            removals.filter(move |removal| removal.born <= base).map(|removal| &removal.key)
        })
    }
}
