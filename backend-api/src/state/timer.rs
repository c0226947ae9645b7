use std::iter::from_fn;

use crate::{KeyContext, Result, StateKey};

/// A timer: the time at which something is due for a key and namespace.
///
/// Timers sort by time, then by key and namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer<K, N = ()> {
    /// When it is due. Usually in milliseconds since 1970.
    pub at: i64,
    /// The key.
    pub key: K,
    /// The namespace.
    pub namespace: N,
}

impl<K: StateKey, N: StateKey> Timer<K, N> {
    /// Appends time, key and namespace. The bytes sort as the timers do.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.at.encode(out);
        self.key.encode(out);
        self.namespace.encode(out);
    }

    /// Takes a timer off the front of `input`.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if there is none.
    pub fn decode(input: &mut &[u8]) -> Result<Self> {
        Ok(Self { at: i64::decode(input)?, key: K::decode(input)?, namespace: N::decode(input)? })
    }
}

/// All timers of one state, as Flink's `KeyGroupedInternalPriorityQueue`: a set, in which a timer is equal to one with
/// the same time, key and namespace.
///
/// The *head* is the earliest timer over all key groups of the backend. Timers of one key group fire in the order of
/// time, key and namespace. Timers of different groups fire in the order of time.
///
/// ```
/// # use backend_api::{Result, StateBackend, TimerDescriptor, TimerState};
/// fn close_windows<B: StateBackend<Key = String>>(backend: &mut B, watermark: i64) -> Result<Vec<String>> {
///     let ends = backend.register(TimerDescriptor::event_time("window ends"))?;
///     let key = backend.key("/index.html")?;
///     backend.timers(ends)?.add(key, &(), 60_000)?;
///
///     backend.timers(ends)?.advance(watermark).map(|timer| Ok(timer?.key)).collect()
/// }
/// # use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
/// # use backend_api::{CheckpointTarget, KeySpace, Subtask};
/// # let options = ByteOptions::new(CheckpointTarget::memory(1 << 20)?, |_, _| Ok(Box::<BTreeStore>::default()));
/// # let mut backend = ByteBackend::open(&options, Subtask::single("pages", KeySpace::new(128)?)?, &[])?;
/// # assert!(close_windows(&mut backend, 59_999)?.is_empty());
/// # assert_eq!(close_windows(&mut backend, 60_000)?, ["/index.html"]);
/// # Ok::<(), backend_api::Error>(())
/// ```
///
/// # Errors
/// A backend that keeps bytes may return [`Io`](crate::ErrorKind::Io) or [`Corrupt`](crate::ErrorKind::Corrupt) from
/// every method. It writes timers in batches, so that an error can concern timers of earlier calls. They are written
/// again with the next batch. Methods that take a key return the errors of
/// [`StateBackend::value`](crate::StateBackend::value) for it, and [`add`](Self::add) may return
/// [`Size`](crate::ErrorKind::Size) with a budget or limit.
pub trait TimerState<K: StateKey, N: StateKey> {
    /// Adds a timer. Returns true if the head may have changed, and false if it has not: a later timer is added, or the
    /// timer is there already.
    fn add(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<bool>;

    /// Removes a timer. Returns true if the head may have changed, and false if it has not: a later timer is removed, or
    /// there is no such timer.
    fn remove(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<bool>;

    /// The head. `None` if there are no timers.
    fn peek(&mut self) -> Result<Option<Timer<K, N>>>;

    /// Removes the head and returns it, if its time is at most `to`.
    ///
    /// The cost does not depend on the number of timers that are not due.
    /// [`StateBackend::next_due`](crate::StateBackend::next_due) is for loops that use other state in between.
    fn next_due(&mut self, to: i64) -> Result<Option<Timer<K, N>>>;

    /// All timers, in no order.
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Timer<K, N>>>>;

    /// The timers of a key group, in their order.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](crate::ErrorKind::KeyOutOfRange) for a group of another subtask.
    fn in_key_group(&mut self, group: u16) -> Result<impl Iterator<Item = Result<Timer<K, N>>>>;

    /// The timers of a key, in their order. Visits all timers of the key's group.
    fn of_key(&mut self, key: KeyContext<'_, K>) -> Result<impl Iterator<Item = Result<Timer<K, N>>>>;

    /// Number of timers. On the heap it is known. A byte store counts them one by one.
    fn len(&mut self) -> Result<u64>;

    /// True if there are no timers.
    fn is_empty(&mut self) -> Result<bool> {
        Ok(self.peek()?.is_none())
    }

    /// Removes the head and returns it.
    fn poll(&mut self) -> Result<Option<Timer<K, N>>> {
        self.next_due(i64::MAX)
    }

    /// Fires the timers with times up to and including `to`, in the order of time. Each is removed as it is returned, so
    /// that `advance(to).take(n)` leaves the rest. Ends after an error.
    fn advance(&mut self, to: i64) -> impl Iterator<Item = Result<Timer<K, N>>> {
        let mut failed = false;
        from_fn(move || {
            if failed {
                return None;
            }
            let timer = self.next_due(to);
            failed = timer.is_err();
            timer.transpose()
        })
    }
}
