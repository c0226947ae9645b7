//! The next timers of a state, in front of the store.
//!
//! A timer is an entry of the store without a value. Its key is state, key group, time, key and namespace, so entries
//! sort in the order of firing. The cache has the next timers of each key group. All others are in the store only, from
//! a lower bound on. A scan starts at that bound, so it never visits the tombstones of what has fired.
//!
//! Writes are collected, and reach the store in sorted batches: when there are many, before a scan, and for a snapshot.
//! A timer that fires before that is never written.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{ByteStore, EntryKey, WriteBatch};
use backend_api::{KeyGroupRange, Result, StateKey, TimerHeads};

/// Timers of a group that one scan reads.
const READ: usize = 128;

/// Timers of a group that are kept at most. Above it, those after the first [`READ`] are left to the store.
const KEPT: usize = 2 * READ;

/// Operations that are written in one batch. A snapshot writes what is left in its synchronous part.
const BATCH: usize = 2048;

/// The next timers of one state.
#[derive(Debug)]
pub(crate) struct TimerCache {
    /// Number of the state.
    state: u16,
    /// The first key group of the backend.
    first: u16,
    groups: Vec<Group>,
    heads: TimerHeads,
    /// False until the groups with timers are known.
    is_open: bool,
    /// Indexes of the groups whose next timers have to be read.
    unread: Vec<usize>,
    /// Operations that the store lacks.
    pending: WriteBatch,
    /// Sum of [`Group::new`].
    new: usize,
    /// Bytes of the keys of cached timers.
    bytes: usize,
}

/// The next timers of a key group.
#[derive(Debug, Default)]
struct Group {
    /// By time, key and namespace.
    cached: BTreeMap<Box<[u8]>, Origin>,
    /// Number of cached timers that neither the store nor the pending operations have.
    new: usize,
    /// All timers of the group before this are cached, and none from here on. `None` if all are.
    rest: Option<Box<[u8]>>,
}

/// Where a cached timer is besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// In the store, or on the way to it.
    Stored,
    /// Nowhere.
    New,
}

impl TimerCache {
    /// Bytes of the time at the start of a timer.
    pub const TIME_BYTES: usize = size_of::<i64>();

    /// For a state with this number, which may have timers in the store.
    pub fn new(state: u16, range: KeyGroupRange) -> Self {
        let mut groups = Vec::new();
        groups.resize_with(range.len(), Group::default);
        Self {
            state,
            first: range.start(),
            heads: TimerHeads::new(groups.len()),
            groups,
            is_open: false,
            unread: Vec::new(),
            pending: WriteBatch::default(),
            new: 0,
            bytes: 0,
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.groups.len() * size_of::<Group>() + self.bytes + self.pending.size()
    }

    /// Adds a timer to the group with this index. Returns true if it is the head of all groups now.
    pub fn add(&mut self, store: &mut dyn ByteStore, group: usize, timer: &[u8]) -> Result<bool> {
        self.prepare(store)?;
        let head = self.head(group);
        let before = self.heads.first();
        let Some(own) = self.groups.get_mut(group) else { return Ok(false) };
        if own.rest.as_deref().is_some_and(|rest| timer >= rest) {
            self.pending.put_parts(&head, timer);
            return Ok(false);
        }
        if own.cached.contains_key(timer) {
            return Ok(false);
        }
        let is_first = own.cached.first_key_value().is_none_or(|(first, _)| timer < &**first);
        own.cached.insert(timer.into(), Origin::New);
        own.new += 1;
        self.new += 1;
        self.bytes += cost(timer);
        if own.cached.len() > KEPT {
            self.cut(group);
        }
        if !is_first {
            return Ok(false);
        }
        let at = time(timer);
        self.heads.set(group, Some(at));
        Ok(before.is_none_or(|(first, earliest)| (at, group) <= (earliest, first)))
    }

    /// Removes a timer. Returns true if it was the head of all groups.
    pub fn remove(&mut self, store: &mut dyn ByteStore, group: usize, timer: &[u8]) -> Result<bool> {
        self.prepare(store)?;
        let head = self.head(group);
        let Some(own) = self.groups.get_mut(group) else { return Ok(false) };
        if own.rest.as_deref().is_some_and(|rest| timer >= rest) {
            self.pending.delete_parts(&head, timer);
            return Ok(false);
        }
        let is_first = own.cached.first_key_value().is_some_and(|(first, _)| **first == *timer);
        let Some(origin) = own.cached.remove(timer) else { return Ok(false) };
        let is_head = is_first && self.heads.first().is_some_and(|(first, _)| first == group);
        self.forget(group, timer, origin);
        Ok(is_head)
    }

    /// The head: the index of its group, and its bytes.
    pub fn peek(&mut self, store: &mut dyn ByteStore) -> Result<Option<(usize, &[u8])>> {
        self.prepare(store)?;
        let Some((group, _)) = self.heads.first() else { return Ok(None) };
        let first = self.groups.get(group).and_then(|own| own.cached.first_key_value());
        Ok(first.map(|(timer, _)| (group, &**timer)))
    }

    /// Removes the head if its time is at most `to`. Returns what `decode` makes of its group and bytes. If that fails, the
    /// timer stays.
    pub fn next_due<T>(
        &mut self,
        store: &mut dyn ByteStore,
        to: i64,
        decode: impl FnOnce(usize, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        self.prepare(store)?;
        let Some((group, _)) = self.heads.first().filter(|(_, at)| *at <= to) else { return Ok(None) };
        let Some(first) = self.groups.get_mut(group).and_then(|own| own.cached.first_entry()) else {
            return Ok(None);
        };
        let decoded = decode(group, first.key())?;
        let (timer, origin) = first.remove_entry();
        self.forget(group, &timer, origin);
        Ok(Some(decoded))
    }

    /// The range of the store that has the timers of the group with this index, after a [`flush`](Self::flush). `None` if
    /// there are none.
    pub fn range(&self, group: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let own = self.groups.get(group)?;
        let first = own.cached.first_key_value().map(|(first, _)| first).or(own.rest.as_ref())?;
        let (head, end) = self.bounds(group);
        Some(([&head, &**first].concat(), end))
    }

    /// Writes everything that the store lacks. After an error it is written again by the next call.
    pub fn flush(&mut self, store: &mut dyn ByteStore) -> Result<()> {
        if self.new > 0 {
            for (group, own) in (self.first..).zip(&mut self.groups).filter(|(_, own)| own.new > 0) {
                let head = EntryKey::head_of(self.state, group);
                for (timer, origin) in own.cached.iter_mut().filter(|(_, origin)| **origin == Origin::New) {
                    self.pending.put_parts(&head, timer);
                    *origin = Origin::Stored;
                }
                own.new = 0;
            }
            self.new = 0;
        }
        if !self.pending.is_empty() {
            // Operations on one timer keep their order.
            self.pending.sort();
            store.write(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// The number of the group with this index.
    pub fn number(&self, group: usize) -> u16 {
        self.first + group as u16
    }

    /// Finds the heads of all groups that are not known, and makes room for an operation.
    #[inline]
    pub fn prepare(&mut self, store: &mut dyn ByteStore) -> Result<()> {
        if !self.is_open {
            self.open(store)?;
        }
        if self.pending.len() + self.new >= BATCH {
            self.flush(store)?;
        }
        while let Some(group) = self.unread.last() {
            self.read(store, *group)?;
            self.unread.pop();
        }
        Ok(())
    }

    /// Reads the next timers of all groups. Groups without any cost nothing.
    #[cold]
    fn open(&mut self, store: &mut dyn ByteStore) -> Result<()> {
        let (_, end) = EntryKey::state_range(self.state);
        let mut group = 0;
        while group < self.groups.len() {
            let mut cursor = store.scan(&self.head(group), &end)?;
            group = self.groups.len();
            while let Some((key, _)) = cursor.next()? {
                let Some(EntryKey { group: of, own, .. }) = EntryKey::split(key) else { continue };
                let index = usize::from(of.wrapping_sub(self.first));
                let Some(into) = self.groups.get_mut(index) else { continue };
                if into.cached.len() == READ {
                    into.rest = Some(own.into());
                    group = index + 1;
                    break;
                }
                // A call after a failed one finds these again.
                if into.cached.insert(own.into(), Origin::Stored).is_none() {
                    self.bytes += cost(own);
                }
            }
        }
        for (group, own) in self.groups.iter().enumerate() {
            self.heads.set(group, own.cached.first_key_value().map(|(first, _)| time(first)));
        }
        self.is_open = true;
        Ok(())
    }

    /// Reads the next timers of a group that has none in the cache.
    #[cold]
    fn read(&mut self, store: &mut dyn ByteStore, group: usize) -> Result<()> {
        self.flush(store)?;
        let Some((from, to)) = self.range(group) else { return Ok(()) };
        let Some(own) = self.groups.get_mut(group) else { return Ok(()) };
        let mut cursor = store.scan(&from, &to)?;
        let mut read = BTreeMap::new();
        let rest = loop {
            match cursor.next()? {
                None => break None,
                Some((key, _)) if read.len() == READ => break Some(EntryKey::without_head(key).into()),
                Some((key, _)) => _ = read.insert(Box::from(EntryKey::without_head(key)), Origin::Stored),
            }
        };
        self.bytes += read.keys().map(|timer| cost(timer)).sum::<usize>();
        (own.cached, own.rest) = (read, rest);
        self.heads.set(group, own.cached.first_key_value().map(|(first, _)| time(first)));
        Ok(())
    }

    /// Leaves the timers after the first [`READ`] to the store.
    fn cut(&mut self, group: usize) {
        let head = self.head(group);
        let Some(own) = self.groups.get_mut(group) else { return };
        let Some(bound) = own.cached.keys().nth(READ).cloned() else { return };
        for (timer, origin) in own.cached.split_off(&bound) {
            self.bytes = self.bytes.saturating_sub(cost(&timer));
            if origin == Origin::New {
                self.pending.put_parts(&head, &timer);
                own.new -= 1;
                self.new -= 1;
            }
        }
        own.rest = Some(bound);
    }

    /// Counts a timer that was taken out of the cache, and removes it from the store.
    fn forget(&mut self, group: usize, timer: &[u8], origin: Origin) {
        self.bytes = self.bytes.saturating_sub(cost(timer));
        let head = self.head(group);
        let Some(own) = self.groups.get_mut(group) else { return };
        match origin {
            Origin::Stored => self.pending.delete_parts(&head, timer),
            Origin::New => {
                own.new -= 1;
                self.new -= 1;
            }
        }
        let first = own.cached.first_key_value().map(|(first, _)| time(first));
        if first.is_none() && own.rest.is_some() {
            self.unread.push(group);
        }
        self.heads.set(group, first);
    }

    /// The first bytes of the keys of a group.
    fn head(&self, group: usize) -> [u8; EntryKey::HEAD_BYTES] {
        EntryKey::head_of(self.state, self.number(group))
    }

    /// The first bytes of the keys of a group, and the end of its range.
    fn bounds(&self, group: usize) -> ([u8; EntryKey::HEAD_BYTES], Vec<u8>) {
        let number = self.number(group);
        let (head, end) = EntryKey::group_range(self.state, number..number + 1);
        (head, end.to_vec())
    }
}

/// The time at the start of a timer.
fn time(mut timer: &[u8]) -> i64 {
    i64::decode(&mut timer).unwrap_or_default()
}

/// Bytes of memory of a cached timer.
fn cost(timer: &[u8]) -> usize {
    // A node of the map is two thirds full on average.
    timer.len() + 2 * size_of::<(Box<[u8]>, Origin)>()
}
