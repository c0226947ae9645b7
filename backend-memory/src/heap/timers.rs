//! The timers of one state: a sorted set per key group, whose clones share nodes.

use std::collections::BTreeSet;
use std::mem::needs_drop;

use backend_api::format::{CheckpointWriter, StateMeta};
use backend_api::restore::RestoredState;
use backend_api::row::{ReadBack, RowChange, RowOp, SortedRows};
use backend_api::{
    Error, ErrorKind, KeySpace, Keys, Place, Result, StateInfo, StateKey, StoredKey, Timer, TimerHeads,
    TimerToken, check_found,
};

use super::budget::{Budget, Charge, check};
use super::content::unfit;
use super::restore::astray;
use super::rows::{CanonicalSnapshot, Extent, StateSnapshot, start_rows};
use super::state::{AnyState, StateSetup};
use crate::containers::{Delta, OrderedMap};

/// Time, key and namespace, in the order of timers.
type Entry<K, N> = (i64, K, N);

/// The key and namespace of a timer, checked.
type At<'a, K, N> = Place<'a, K, TimerToken<N>>;

/// The timers of one state.
pub(super) struct TimerQueue<K: StateKey, N: StateKey> {
    meta: StateMeta,
    read_back: ReadBack,
    /// The first of the backend's key groups.
    first: u16,
    groups: Vec<Group<K, N>>,
    heads: TimerHeads,
    len: u64,
    /// Bytes of the nodes.
    node_bytes: u64,
    /// Bytes that keys and namespaces own, estimated by their encodings.
    owned: u64,
    budget: Budget,
    /// The size last reported to the budget.
    charged: Charge,
    /// Of present writes.
    epoch: u32,
    /// Epoch of the last confirmed checkpoint.
    confirmed: Option<u32>,
    tracks_removals: bool,
}

/// The timers of a key group.
struct Group<K, N> {
    timers: OrderedMap<Entry<K, N>, ()>,
    /// Epoch of the last change.
    changed: u32,
}

impl<K: Clone, N: Clone> Clone for Group<K, N> {
    fn clone(&self) -> Self {
        Self { timers: self.timers.clone(), ..*self }
    }
}

impl<K: StateKey, N: StateKey> TimerQueue<K, N> {
    pub(super) fn new(meta: StateMeta, read_back: ReadBack, setup: StateSetup) -> Self {
        let groups = setup.range.len();
        Self {
            meta,
            read_back,
            first: setup.range.start(),
            groups: (0..groups).map(|_| Group { timers: OrderedMap::new(), changed: 0 }).collect(),
            heads: TimerHeads::new(groups),
            len: 0,
            node_bytes: 0,
            owned: 0,
            budget: setup.budget,
            charged: Charge::default(),
            epoch: 1,
            confirmed: None,
            tracks_removals: setup.tracks_removals,
        }
    }

    /// The timer of a place.
    fn entry(&self, place: At<'_, K, N>, at: i64) -> Result<Entry<K, N>> {
        let key = place.key();
        let owned = K::Stored::store_borrowed(key.key()).load();
        let owned = owned.map_err(|error| error.in_state(&self.meta.name).in_group(key.group()))?;
        Ok((at, owned, place.namespace().clone()))
    }

    /// Adds a timer. Returns true if the head of all groups may have changed.
    pub(super) fn add(&mut self, place: At<'_, K, N>, at: i64) -> Result<bool> {
        let (group, entry) = (place.group(), self.entry(place, at)?);
        let owned = owned_bytes(&entry);
        if self.budget.is_limited() && !self.has(group, &entry) {
            check(&self.budget, &self.meta.name, size_of::<Entry<K, N>>() + size_of::<u32>(), owned)?;
        }
        let is_head = self.heads.first().is_none_or(|(head, first)| {
            let before = || self.groups.get(group).and_then(|known| known.timers.first());
            (at, group) < (first, head) || head == group && before().is_some_and(|(first, ())| entry < *first)
        });
        match self.insert(group, entry) {
            Ok(()) => {
                self.owned += owned;
                self.charge_budget(group);
                Ok(is_head)
            }
            Err(entry) => self.check_same(group, &entry).map(|()| false),
        }
    }

    fn has(&self, group: usize, entry: &Entry<K, N>) -> bool {
        self.groups.get(group).is_some_and(|known| known.timers.contains(entry))
    }

    /// Checks that the timer that is equal to this one has the same encoding.
    #[cold]
    fn check_same(&self, group: usize, entry: &Entry<K, N>) -> Result<()> {
        let known = self.groups.get(group).and_then(|known| known.timers.range(entry..=entry).next());
        let checked = known.map_or(Ok(()), |(known, ())| check_found(known, entry));
        checked.map_err(|error| error.in_state(&self.meta.name).in_group(self.first + group as u16))
    }

    /// Inserts a timer, or returns it if there is an equal one.
    fn insert(&mut self, group: usize, entry: Entry<K, N>) -> Result<(), Entry<K, N>> {
        let epoch = self.epoch;
        let inserted = self.change(group, |timers| Some(timers.insert_new(entry, (), epoch)));
        let Some(inserted) = inserted else { return Ok(()) };
        inserted.inspect(|()| self.len += 1)
    }

    /// Removes a timer. Returns true if the head of all groups may have changed.
    pub(super) fn remove(&mut self, place: At<'_, K, N>, at: i64) -> Result<bool> {
        let (group, entry) = (place.group(), self.entry(place, at)?);
        let (epoch, log) = (self.epoch, self.tracks_removals);
        if cfg!(debug_assertions) {
            self.check_same(group, &entry)?;
        }
        let is_head = self.heads.first().is_some_and(|(head, _)| head == group)
            && self
                .groups
                .get(group)
                .is_some_and(|own| own.timers.first().is_some_and(|(first, ())| *first == entry));
        if self.change(group, |timers| timers.remove(&entry, epoch, log)).is_none() {
            return Ok(false);
        }
        self.forget(&entry);
        self.charge_budget(group);
        Ok(is_head)
    }

    /// Removes the head and returns it, if its time is at most `to`.
    pub(super) fn next_due(&mut self, to: i64) -> Option<Timer<K, N>> {
        let (group, _) = self.heads.first().filter(|(_, at)| *at <= to)?;
        let (epoch, log) = (self.epoch, self.tracks_removals);
        let (entry, ()) = self.change(group, |timers| timers.pop_first(epoch, log))?;
        self.forget(&entry);
        self.charge_budget(group);
        let (at, key, namespace) = entry;
        Some(Timer { at, key, namespace })
    }

    /// The head.
    pub(super) fn peek(&self) -> Option<Timer<K, N>> {
        let (group, _) = self.heads.first()?;
        self.groups.get(group)?.timers.first().map(|(entry, ())| timer(entry))
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Timer<K, N>> {
        self.groups.iter().flat_map(|group| group.timers.keys()).map(timer)
    }

    /// The timers of the group with this index, in their order.
    pub(super) fn in_group(&self, group: usize) -> impl Iterator<Item = Timer<K, N>> {
        self.groups.get(group).into_iter().flat_map(|group| group.timers.keys()).map(timer)
    }

    /// Changes the timers of a group, and updates its head and the sizes.
    fn change<R>(
        &mut self,
        group: usize,
        f: impl FnOnce(&mut OrderedMap<Entry<K, N>, ()>) -> Option<R>,
    ) -> Option<R> {
        let Group { timers, changed } = self.groups.get_mut(group)?;
        let (before, len) = (timers.heap_size() as u64, timers.len());
        let result = f(timers);
        timers.forget_removals(self.confirmed.unwrap_or(0));
        if timers.len() != len {
            *changed = self.epoch;
        }
        self.node_bytes = (self.node_bytes + timers.heap_size() as u64).saturating_sub(before);
        self.heads.set(group, timers.first().map(|((at, ..), ())| *at));
        result
    }

    /// Counts a removed timer.
    fn forget(&mut self, entry: &Entry<K, N>) {
        self.len = self.len.saturating_sub(1);
        self.owned = self.owned.saturating_sub(owned_bytes(entry));
    }

    /// Reports the size to the budget. Forgets the removals of a group if the budget is exceeded.
    fn charge_budget(&mut self, group: usize) {
        if !self.budget.is_limited() {
            return;
        }
        self.charge();
        if self.budget.is_exceeded() && self.tracks_removals {
            let epoch = self.epoch;
            self.change(group, |timers| {
                timers.spill_removals(epoch);
                None::<()>
            });
            self.charge();
        }
    }

    fn charge(&mut self) {
        let now = Charge { bytes: self.bytes(), log_bytes: 0 };
        self.budget.charge(self.charged, now);
        self.charged = now;
    }

    fn bytes(&self) -> u64 {
        (self.groups.len() * size_of::<Group<K, N>>()) as u64 + self.node_bytes + self.owned
    }

    /// Keys and namespaces with timers, each once.
    fn pairs(&self) -> impl Iterator<Item = (&K, &N)> {
        // A key is in one group.
        self.groups.iter().flat_map(|group| {
            let pairs = group.timers.keys().map(|(_, key, namespace)| (key, namespace));
            pairs.collect::<BTreeSet<_>>()
        })
    }

    /// Applies the rows of a key group.
    fn load(&mut self, restored: &RestoredState, keys: &KeySpace<K>, group: u16) -> Result<()> {
        let index = usize::from(group - self.first);
        for section in restored.chain(group) {
            section.for_each_row::<K, N>(|row| {
                let hashed = keys.key(&row.key)?.group();
                if hashed != group {
                    return Err(astray(hashed));
                }
                match row.change {
                    RowChange::AddTimer(at) => {
                        let entry = (at, row.key, row.namespace);
                        let owned = owned_bytes(&entry);
                        match self.insert(index, entry) {
                            Ok(()) => self.owned += owned,
                            Err(entry) => self.check_same(index, &entry)?,
                        }
                    }
                    RowChange::RemoveTimer(at) => {
                        let entry = (at, row.key, row.namespace);
                        let epoch = self.epoch;
                        if self.change(index, |timers| timers.remove(&entry, epoch, false)).is_some() {
                            self.forget(&entry);
                        }
                    }
                    _ => return Err(unfit()),
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn timer<K: Clone, N: Clone>((at, key, namespace): &Entry<K, N>) -> Timer<K, N> {
    Timer { at: *at, key: key.clone(), namespace: namespace.clone() }
}

/// Bytes that key and namespace own.
#[inline]
fn owned_bytes<K: StateKey, N: StateKey>((_, key, namespace): &Entry<K, N>) -> u64 {
    let key = if needs_drop::<K>() { key.with_encoded(<[u8]>::len) } else { 0 };
    let namespace = if needs_drop::<N>() { namespace.with_encoded(<[u8]>::len) } else { 0 };
    (key + namespace) as u64
}

impl<K: StateKey, N: StateKey> AnyState<K> for TimerQueue<K, N> {
    fn meta(&self) -> &StateMeta {
        &self.meta
    }

    fn info(&self) -> StateInfo {
        StateInfo {
            name: self.meta.name.clone(),
            kind: self.meta.kind,
            entries: Some(self.len),
            bytes: self.bytes(),
            registered: true,
        }
    }

    fn keys(&self, mut namespace: &[u8]) -> Result<Keys<'_, K>> {
        let namespace = N::decode(&mut namespace)?;
        let pairs = self.pairs().filter(move |(_, of)| **of == namespace);
        Ok(Box::new(pairs.map(|(key, _)| Ok(key.clone()))))
    }

    fn keys_and_namespaces(&self) -> Keys<'_, (K, Vec<u8>)> {
        Box::new(self.pairs().map(|(key, of)| {
            let mut namespace = Vec::new();
            of.encode(&mut namespace);
            Ok((key.clone(), namespace))
        }))
    }

    fn restore(&mut self, restored: &RestoredState, keys: &KeySpace<K>, _: usize) -> Result<()> {
        for group in restored.groups() {
            self.load(restored, keys, group)?;
        }
        if self.budget.is_limited() {
            self.charge();
        }
        let (epoch, _) = self.freeze()?;
        self.confirm(epoch);
        Ok(())
    }

    fn freeze(&mut self) -> Result<(u32, Box<dyn CanonicalSnapshot>)> {
        let epoch = self.epoch;
        self.epoch = epoch.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::Size, "too many snapshots of one state").in_state(&self.meta.name)
        })?;
        let base = self.confirmed;
        let is_news =
            |group: &Group<K, N>| !group.timers.is_empty() || base.is_some_and(|base| group.changed > base);
        let groups = (self.first..).zip(&self.groups).filter(|(_, group)| is_news(group));
        let frozen = TimersSnapshot {
            groups: groups.map(|(number, group)| (number, group.clone())).collect(),
            read_back: self.read_back.clone(),
            name: self.meta.name.clone(),
            base,
        };
        Ok((epoch, Box::new(frozen)))
    }

    fn confirm(&mut self, epoch: u32) {
        self.confirmed = self.confirmed.max(Some(epoch));
    }

    fn prefetch(&self, _: usize, _: u64) {}

    fn prefetch_all(&self, _: &[(usize, u64)]) {}
}

impl<K: StateKey, N: StateKey> Drop for TimerQueue<K, N> {
    fn drop(&mut self) {
        // A failed registration returns what it had charged.
        self.budget.charge(self.charged, Charge::default());
    }
}

/// Timers at the time of a snapshot.
struct TimersSnapshot<K, N> {
    /// The key groups with timers, and those that changed since the base, ascending.
    groups: Vec<(u16, Group<K, N>)>,
    read_back: ReadBack,
    name: String,
    /// Epoch of the last confirmed checkpoint, if any.
    base: Option<u32>,
}

impl<K: StateKey, N: StateKey> TimersSnapshot<K, N> {
    fn group(&self, key_group: u16) -> Option<&OrderedMap<Entry<K, N>, ()>> {
        let at = self.groups.binary_search_by_key(&key_group, |(group, _)| *group).ok()?;
        self.groups.get(at).map(|(_, group)| &group.timers)
    }
}

impl<K: StateKey, N: StateKey> StateSnapshot for TimersSnapshot<K, N> {
    fn groups(&self) -> Vec<u16> {
        let filled = self.groups.iter().filter(|(_, group)| !group.timers.is_empty());
        filled.map(|(number, _)| *number).collect()
    }

    fn changed_groups(&self) -> Result<Option<Vec<u16>>> {
        let changed = |base| self.groups.iter().filter(move |(_, group)| group.changed > base);
        Ok(self.base.map(|base| changed(base).map(|(number, _)| *number).collect()))
    }

    fn entries(&self, key_group: u16) -> u64 {
        self.group(key_group).map_or(0, |timers| timers.len() as u64)
    }

    fn prefers_full(&self, key_group: u16) -> Result<bool> {
        let (Some(base), Some(timers)) = (self.base, self.group(key_group)) else { return Ok(true) };
        Ok(match timers.delta_since(base) {
            Delta::Full => true,
            Delta::Changes { removed, changed } => removed.len() + changed.count() >= timers.len(),
        })
    }

    fn prepare(&self) {}

    fn write(
        &mut self,
        key_group: u16,
        extent: Extent,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        let mut rows = start_rows(writer, (&self.name, &self.read_back), (state, key_group), extent)?;
        let Some(timers) = self.group(key_group) else { return Ok(rows.written) };
        let mut write = |op, timer: &Entry<K, N>| {
            rows.row(op, |out| {
                timer.encode(out);
                Ok(())
            })
        };
        match extent {
            Extent::Full { .. } | Extent::Live => {
                timers.keys().try_for_each(|timer| write(RowOp::Put, timer))?
            }
            Extent::Changes => match timers.delta_since(self.base.unwrap_or(0)) {
                Delta::Full => {
                    let message = "the removed timers are not known";
                    return Err(Error::new(ErrorKind::IllegalState, message).in_state(&self.name));
                }
                Delta::Changes { removed, mut changed } => {
                    removed.into_iter().try_for_each(|timer| write(RowOp::Remove, timer))?;
                    changed.try_for_each(|(timer, ())| write(RowOp::Put, timer))?;
                }
            },
        }
        Ok(rows.written)
    }
}

impl<K: StateKey, N: StateKey> CanonicalSnapshot for TimersSnapshot<K, N> {
    /// Timers are sorted, and have no values.
    fn write_canonical(
        &mut self,
        key_group: u16,
        _: &mut SortedRows,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        self.write(key_group, Extent::Live, writer, state)
    }
}
