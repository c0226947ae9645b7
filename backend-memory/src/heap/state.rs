//! One registered state of a heap backend: a table and what is known of its content.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;

use backend_api::format::{SectionKind, StateMeta};
use backend_api::row::{RowOp, decode_key};
use backend_api::{Error, Keys, Result, StateInfo, StateKey};

use super::budget::Budget;
use super::content::Content;
use super::restored::Chain;
use super::row_key::{Place, RowKey, place_hash};
use super::rows::{Frozen, FrozenState};
use crate::table::Table;

/// A state whose types are known only to the views.
pub(super) trait AnyState<K>: Any + Send {
    /// What a checkpoint says of it.
    fn meta(&self) -> StateMeta;

    /// What it holds.
    fn info(&self) -> StateInfo;

    /// See [`StateBackend::keys`](backend_api::StateBackend::keys); `None` if `namespace` is of another type.
    fn keys<'a>(&'a self, namespace: &'a dyn Any) -> Option<Keys<'a, K>>;

    /// All keys with their namespaces, boxed as an iterator of the type that `wanted` is a `PhantomData` of.
    fn pairs(&self) -> Box<dyn Any + '_>
    where
        K: 'static;

    /// Freezes it, and answers the epoch.
    fn freeze(&mut self) -> Result<(u32, Box<dyn FrozenState>)>;

    /// The checkpoint taken at `epoch` is complete.
    fn confirm(&mut self, epoch: u32);

    /// Loads the memory that an access will need.
    fn prefetch(&self, group: usize, hash: u64);
}

/// A state with a table of [`Content`], and what else its kind needs to know: a default, a function.
pub(super) struct HeapState<K: StateKey, N: StateKey, C: Content, X> {
    pub(super) name: Arc<str>,
    pub(super) content: Arc<C>,
    pub(super) extra: X,
    pub(super) table: Table<RowKey<K, N>, C::Cell, C::Placement>,
    pub(super) budget: Budget,
    /// Whether removals are remembered for incremental checkpoints.
    pub(super) tracks_removals: bool,
    /// Epoch of the last confirmed checkpoint.
    confirmed: Option<u32>,
    /// Entries, as the kind counts them.
    entries: u64,
    /// Bytes that keys and values own outside of the table.
    owned: u64,
    /// Bytes that the budget knows of.
    settled: u64,
}

/// What a write did to the size of a state, found out while the table is borrowed.
#[derive(Default)]
pub(super) struct Change {
    grown: Cell<u64>,
    shrunk: Cell<u64>,
    entries: Cell<i64>,
}

impl Change {
    /// Something of `before` bytes and entries became one of `after`.
    #[inline]
    pub(super) fn note(&self, before: (usize, usize), after: (usize, usize)) {
        self.grown.set(self.grown.get() + after.0 as u64);
        self.shrunk.set(self.shrunk.get() + before.0 as u64);
        self.entries.set(self.entries.get() + after.1 as i64 - before.1 as i64);
    }
}

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> HeapState<K, N, C, X> {
    pub(super) fn new(
        name: &str,
        content: C,
        extra: X,
        groups: usize,
        seed: u64,
        budget: Budget,
        tracks_removals: bool,
    ) -> Self {
        let mut table = Table::new(groups, seed);
        table.track_removals(tracks_removals);
        Self {
            name: name.into(),
            content: Arc::new(content),
            extra,
            table,
            budget,
            tracks_removals,
            confirmed: None,
            entries: 0,
            owned: 0,
            settled: 0,
        }
    }

    /// Size of a cell in bytes on the heap and in entries.
    #[inline]
    pub(super) fn size(content: &C, cell: Option<&C::Cell>) -> (usize, usize) {
        cell.map_or((0, 0), |cell| (content.heap_size(cell), C::entries(cell)))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.table.bytes() as u64 + self.owned
    }

    /// Puts the name of the state and the group into an error.
    #[cold]
    #[inline(never)]
    pub(super) fn placed(&self, group: u16, error: Error) -> Error {
        error.in_state(&self.name).in_group(group)
    }

    /// Takes over what a write did.
    #[inline]
    pub(super) fn apply(&mut self, change: &Change) {
        self.owned = self.owned + change.grown.get() - change.shrunk.get();
        self.entries = self.entries.wrapping_add_signed(change.entries.get());
        if self.budget.is_limited() {
            let now = self.bytes();
            self.budget.settle(self.settled, now);
            self.settled = now;
        }
    }

    /// Whether the state may take a value of `more` bytes at a place.
    #[inline]
    pub(super) fn afford(&self, place: Place<'_, K, N>, more: usize) -> Result<()> {
        if self.budget.is_limited() { self.afford_limited(place, more) } else { Ok(()) }
    }

    #[inline(never)]
    fn afford_limited(&self, place: Place<'_, K, N>, more: usize) -> Result<()> {
        let present = self.table.get(place.group, place.hash, |row| place.matches(row)).is_some();
        let new = if present { 0 } else { self.table.growth(place.group) + place.store().heap_size() };
        self.budget.check(new + more).map_err(|error| error.in_state(&self.name))
    }

    /// The cell at a place.
    #[inline]
    pub(super) fn get(&self, place: Place<'_, K, N>) -> Option<&C::Cell> {
        self.table.get(place.group, place.hash, |row| place.matches(row))
    }

    /// Puts a cell.
    #[inline]
    pub(super) fn set(&mut self, place: Place<'_, K, N>, cell: C::Cell) -> Result<()> {
        let change = Change::default();
        let after = Self::size(&self.content, Some(&cell));
        // Only what owns memory has an old size worth a look.
        let before = if std::mem::needs_drop::<C::Cell>() {
            Self::size(&self.content, self.get(place))
        } else {
            (0, usize::from(self.table.len() > usize::MAX - 1))
        };
        self.afford(place, after.0.saturating_sub(before.0))?;
        let length = self.table.len();
        self.table.set(
            place.group,
            place.hash,
            |row| place.matches(row),
            || {
                let key = place.store();
                change.note((0, 0), (key.heap_size(), 0));
                key
            },
            cell,
        )?;
        let added = self.table.len() - length;
        change.note((before.0, 1), (after.0, 1 + added));
        self.apply(&change);
        Ok(())
    }

    /// Removes what is at a place.
    pub(super) fn remove(&mut self, place: Place<'_, K, N>) {
        let before = Self::size(&self.content, self.get(place));
        if self.table.remove(place.group, place.hash, |row| place.matches(row)) {
            let change = Change::default();
            let key = if std::mem::needs_drop::<RowKey<K, N>>() { place.store().heap_size() } else { 0 };
            change.note((before.0 + key, before.1), (0, 0));
            self.apply(&change);
        }
    }

    /// Epoch of the last confirmed checkpoint, from which the next increment counts.
    pub(super) fn confirmed(&self) -> u32 {
        self.confirmed.unwrap_or(0)
    }

    /// Fills the empty state with what a snapshot holds of key group `group`.
    pub(super) fn restore(&mut self, index: usize, chain: &Chain<'_>) -> Result<()> {
        if let [(_, section)] = chain.sections() {
            self.table.reserve(index, section.rows as usize);
        }
        for (reader, section) in chain.sections() {
            let mut rows = reader.rows(section);
            while let Some(mut row) = rows.next()? {
                self.restore_row(index, section.kind, &mut row).map_err(|error| {
                    error.in_state(&self.name).in_group(section.group).in_file(reader.path(), None)
                })?;
            }
        }
        Ok(())
    }

    #[inline]
    fn restore_row(&mut self, index: usize, kind: SectionKind, row: &mut &[u8]) -> Result<()> {
        let op = if kind == SectionKind::Full { RowOp::Put } else { RowOp::decode(row)? };
        let (key, namespace) = decode_key::<K, N>(row)?;
        let hash = place_hash(key.stable_hash(), &namespace);
        let place = Place { key: &key, namespace: &namespace, group: index, hash };
        self.restore_cell(place, op, row)
    }
}
