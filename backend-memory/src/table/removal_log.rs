//! Which keys were removed, for the delta of an incremental checkpoint.

use super::sync::Arc;

/// Fewest logged removals that may be more trouble than a full rewrite of the group.
const LOGGED_MIN: usize = 1024;

/// The keys removed during one epoch.
pub(super) struct Part<S> {
    epoch: u32,
    keys: Vec<S>,
}

/// The removals of one group since the last confirmed snapshot.
pub(super) struct RemovalLog<S> {
    current: Vec<S>,
    parts: Vec<Arc<Part<S>>>,
    logged: usize,
    /// RemovalLog of this epoch and of earlier ones are not all known; at first none are logged.
    lost: u32,
}

impl<S> RemovalLog<S> {
    pub(super) fn new() -> Self {
        Self { current: Vec::new(), parts: Vec::new(), logged: 0, lost: u32::MAX }
    }

    /// Logs the removal of a key in `epoch`, after which the group has `len` entries.
    pub(super) fn log(&mut self, key: S, epoch: u32, len: usize) {
        if self.lost == epoch {
            return;
        }
        self.current.push(key);
        self.logged += 1;
        if self.logged > LOGGED_MIN.max(2 * len) {
            self.give_up(epoch);
        }
    }

    /// Tells that removals until the end of `epoch` are not all known: no delta on an earlier base is possible.
    ///
    /// The keys stay until the next [`freeze`](Self::freeze), which takes them off the writer's hands.
    pub(super) fn give_up(&mut self, epoch: u32) {
        self.lost = epoch;
    }

    /// Closes the log of `epoch`, and hands all that is not needed any more to `discard`.
    pub(super) fn freeze(
        &mut self,
        epoch: u32,
        confirmed: u32,
        mut discard: impl FnMut(Arc<Part<S>>),
    ) -> LogSnapshot<S> {
        if !self.current.is_empty() {
            let keys = std::mem::take(&mut self.current);
            self.parts.push(Arc::new(Part { epoch, keys }));
        }
        if !self.parts.is_empty() {
            // Before the base of the next delta nothing needs to be known.
            self.lost = self.lost.max(confirmed);
            let lost = self.lost;
            self.parts.extract_if(.., |part| part.epoch <= lost).for_each(&mut discard);
            self.logged = self.parts.iter().map(|part| part.keys.len()).sum();
        }
        LogSnapshot { parts: self.parts.clone(), lost: self.lost }
    }
}

/// The removals of one group that a snapshot knows of.
pub(super) struct LogSnapshot<S> {
    parts: Vec<Arc<Part<S>>>,
    lost: u32,
}

impl<S> LogSnapshot<S> {
    /// The keys removed after the epoch `base`, unless some of them are not known.
    pub(super) fn since(&self, base: u32) -> Option<impl Iterator<Item = &S>> {
        (base >= self.lost)
            .then(|| self.parts.iter().filter(move |part| part.epoch > base).flat_map(|part| &part.keys))
    }
}
