//! What each kind of state keeps under a key and namespace, and its conversion to and from rows.

use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use backend_api::row::{RowChange, RowOp, encode_elements, encode_items, encode_sized};
use backend_api::{
    Codec, Error, ErrorKind, Expiry, Result, StateKey, StateValue, canonical_codec, check_ascending,
};

use super::entry_rows::{EntryRows, ROW_OVERHEAD};
use crate::containers::{Delta, ListCell, OrderedMap};
use crate::table::{Container, DROPPED_IN_PLACE, Handle, Placement, TableValue, UserValue};

/// Elements of a list, or entries of a map, in which expired ones are searched at once.
const CHECKED_AT_ONCE: usize = 16;

/// Writes `items` as one or more rows, split by size.
fn write_in_rows<I, K: StateKey, N: StateKey>(
    items: impl Iterator<Item = I>,
    op: RowOp,
    rows: &mut EntryRows<'_, '_, '_, K, N>,
    encode: impl Fn(I, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut items = items.peekable();
    while items.peek().is_some() {
        rows.row(op, |out| encode_items(&mut items, out, &encode).map(drop))?;
    }
    Ok(())
}

/// Size of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes that it owns on the heap.
    pub(super) bytes: u64,
    /// Entries of a map, or 0 for other kinds.
    pub(super) entries: u64,
}

/// How the remaining contents of a cell are written.
#[derive(Clone, Copy)]
pub(super) struct Write {
    pub(super) epoch: u32,
    /// Logs removed entries of maps, for increments.
    pub(super) logs_removals: bool,
}

/// What remains of a cell without its expired contents.
pub(super) enum Expired<C> {
    /// Nothing has expired.
    Nothing,
    /// All of it has expired.
    All,
    /// The rest lives.
    Part(C),
}

/// A kind of state: the cells of its table, and how they become rows.
pub(super) trait Content: Send + Sync + 'static {
    /// The value in the table under a key and namespace.
    type Cell: TableValue;
    /// How the table holds cells.
    type Placement: Placement<Self::Cell>;
    /// Where the search for expired contents goes on in a cell.
    type Mark: Send + 'static;
    /// True if a cell of this kind may own memory.
    const MEASURED: bool;
    /// True if a cell is always exactly one row of a checkpoint.
    const ROW_PER_CELL: bool;

    /// The same kind with canonical values in its rows.
    fn canonical(&self) -> Self;

    /// Size of a cell. Called only if [`MEASURED`](Self::MEASURED).
    fn measure(&self, cell: &Self::Cell) -> Measure;

    /// Writes the rows of a cell: all, or the changes after epoch `base`.
    fn write<K: StateKey, N: StateKey>(
        &self,
        cell: &Self::Cell,
        base: Option<u32>,
        rows: &mut EntryRows<'_, '_, '_, K, N>,
    ) -> Result<()>;

    /// Bytes that rows of changes after epoch `base` have in addition to the same rows in full.
    fn extra_bytes(&self, cell: &Self::Cell, base: u32) -> u64;

    /// Approximate bytes in the full rows of a cell that are absent from its changes after epoch `base`.
    /// Without a base, all bytes. Excludes key and namespace. May stop counting at `enough`, and may
    /// overwrite `row`.
    fn unchanged_bytes(
        &self,
        cell: &Self::Cell,
        base: Option<u32>,
        enough: u64,
        row: &mut Vec<u8>,
    ) -> Result<u64>;

    /// Looks for expired contents of a cell.
    fn expire(&self, cell: &Self::Cell, expiry: &Expiry, write: Write) -> Expired<Self::Cell>;

    /// [`expire`](Self::expire) for a part of a cell, from the mark on. Leaves a mark if the cell has more.
    fn expire_part(
        &self,
        cell: &Self::Cell,
        expiry: &Expiry,
        mark: &mut Option<Self::Mark>,
        write: Write,
    ) -> Expired<Self::Cell> {
        *mark = None;
        self.expire(cell, expiry, write)
    }

    /// Applies a row of a checkpoint to the cell, as a write in `epoch`.
    fn change(&self, cell: &mut Option<Self::Cell>, change: RowChange<'_>, epoch: u32) -> Result<()>;
}

/// Size of a cell, or 0 for kinds that are not measured.
#[inline]
pub(super) fn measure<C: Content>(content: &C, cell: Option<&C::Cell>) -> Measure {
    match cell {
        Some(cell) if C::MEASURED => content.measure(cell),
        _ => Measure::default(),
    }
}

/// One value: value, reducing and aggregating state.
pub(super) struct Single<V> {
    pub(super) codec: Arc<dyn Codec<V>>,
}

impl<V: StateValue> Content for Single<V> {
    type Cell = V;
    type Placement = UserValue;
    type Mark = ();
    const MEASURED: bool = std::mem::needs_drop::<V>();
    const ROW_PER_CELL: bool = true;

    fn canonical(&self) -> Self {
        Self { codec: canonical_codec(&self.codec) }
    }

    fn measure(&self, cell: &V) -> Measure {
        Measure { bytes: self.codec.heap_size(cell) as u64, entries: 0 }
    }

    #[inline]
    fn write<K: StateKey, N: StateKey>(
        &self,
        cell: &V,
        _: Option<u32>,
        rows: &mut EntryRows<'_, '_, '_, K, N>,
    ) -> Result<()> {
        rows.row(RowOp::Put, |out| self.codec.encode(cell, out))
    }

    fn extra_bytes(&self, _: &V, _: u32) -> u64 {
        ROW_OVERHEAD
    }

    fn unchanged_bytes(&self, cell: &V, base: Option<u32>, _: u64, row: &mut Vec<u8>) -> Result<u64> {
        if base.is_some() { Ok(0) } else { encoded_bytes(&*self.codec, [cell], 1, row) }
    }

    #[inline]
    fn expire(&self, cell: &V, expiry: &Expiry, _: Write) -> Expired<V> {
        if expiry.has_expired(cell, &*self.codec) { Expired::All } else { Expired::Nothing }
    }

    fn change(&self, cell: &mut Option<V>, change: RowChange<'_>, _: u32) -> Result<()> {
        *cell = match change {
            RowChange::Value(bytes) => Some(self.codec.decode(bytes)?),
            RowChange::Remove => None,
            _ => return Err(unfit()),
        };
        Ok(())
    }
}

/// The elements of a list.
pub(super) struct Elements<T> {
    pub(super) codec: Arc<dyn Codec<T>>,
}

impl<T: StateValue> Elements<T> {
    /// Bytes that an element owns.
    #[inline]
    pub(super) fn owned(&self, element: &T) -> u64 {
        if std::mem::needs_drop::<T>() { self.codec.heap_size(element) as u64 } else { 0 }
    }
}

impl<T: StateValue> Content for Elements<T> {
    type Cell = ListCell<T>;
    type Placement = Container;
    type Mark = ();
    const MEASURED: bool = true;
    const ROW_PER_CELL: bool = false;

    fn canonical(&self) -> Self {
        Self { codec: canonical_codec(&self.codec) }
    }

    fn measure(&self, cell: &ListCell<T>) -> Measure {
        Measure { bytes: cell.bytes(), entries: 0 }
    }

    fn write<K: StateKey, N: StateKey>(
        &self,
        cell: &ListCell<T>,
        base: Option<u32>,
        rows: &mut EntryRows<'_, '_, '_, K, N>,
    ) -> Result<()> {
        let mut put = |mut first: usize, end: usize, elements: &mut dyn Iterator<Item = &T>| {
            let mut elements = elements;
            while first < end {
                rows.row(RowOp::Put, |out| {
                    let encode = |element: &T, out: &mut Vec<u8>| self.codec.encode(element, out);
                    first += encode_elements(first as u64, &mut elements, out, encode)?;
                    Ok(())
                })?;
            }
            Ok(())
        };
        match base {
            // The cuts between rows depend on the elements alone, and not on how the list holds them.
            None => put(0, cell.len(), &mut cell.iter()),
            Some(_) => cell
                .parts(base)
                .try_for_each(|(first, elements)| put(first, first + elements.len(), &mut elements.iter())),
        }
    }

    fn extra_bytes(&self, cell: &ListCell<T>, base: u32) -> u64 {
        ROW_OVERHEAD * cell.parts(Some(base)).count() as u64
    }

    fn unchanged_bytes(
        &self,
        cell: &ListCell<T>,
        base: Option<u32>,
        enough: u64,
        row: &mut Vec<u8>,
    ) -> Result<u64> {
        let first_changed = base.map_or(cell.len(), |base| match cell.parts(Some(base)).next() {
            Some((first, _)) => first,
            None => cell.len(),
        });
        encoded_bytes(&*self.codec, cell.iter().take(first_changed), enough, row)
    }

    fn expire(&self, cell: &ListCell<T>, expiry: &Expiry, write: Write) -> Expired<ListCell<T>> {
        let is_live = |element: &&T| !expiry.has_expired(*element, &*self.codec);
        let live = cell.iter().filter(is_live).count();
        match live {
            0 => Expired::All,
            live if live == cell.len() => Expired::Nothing,
            _ => {
                let elements: Vec<T> = cell.iter().filter(is_live).cloned().collect();
                let owned = elements.iter().map(|element| self.owned(element)).sum();
                let mut rest = ListCell::new();
                rest.extend(elements, owned, write.epoch);
                Expired::Part(rest)
            }
        }
    }

    /// Writes a long list again only once its older half has expired, so that an element is copied once on average.
    fn expire_part(
        &self,
        cell: &ListCell<T>,
        expiry: &Expiry,
        _: &mut Option<()>,
        write: Write,
    ) -> Expired<ListCell<T>> {
        let is_due = |middle: &T| expiry.has_expired(middle, &*self.codec);
        if cell.len() > CHECKED_AT_ONCE && !cell.get(cell.len() / 2).is_some_and(is_due) {
            return Expired::Nothing;
        }
        self.expire(cell, expiry, write)
    }

    fn change(&self, cell: &mut Option<ListCell<T>>, change: RowChange<'_>, epoch: u32) -> Result<()> {
        match change {
            RowChange::Elements(mut row) => {
                let cell = cell.get_or_insert_with(ListCell::new);
                let first = usize::try_from(row.first()).ok().filter(|first| *first <= cell.len());
                let first = first.ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, "a row of a list begins beyond the list's end")
                })?;
                let mut elements = Vec::new();
                while let Some(bytes) = row.next_element()? {
                    elements.push(self.codec.decode(bytes)?);
                }
                let added: u64 = elements.iter().map(|element| self.owned(element)).sum();
                if first + elements.len() == 0 {
                    return Err(unfit());
                }
                cell.truncate(first, |element| self.owned(element));
                cell.extend(elements, added, epoch);
            }
            RowChange::Remove => *cell = None,
            _ => return Err(unfit()),
        }
        Ok(())
    }
}

/// The entries of a map.
pub(super) struct Entries<MK, MV> {
    pub(super) codec: Arc<dyn Codec<MV>>,
    pub(super) keys: PhantomData<fn() -> MK>,
}

/// A map, and the bytes that its keys and values own.
#[derive(Clone)]
pub(super) struct MapCell<MK, MV> {
    pub(super) map: OrderedMap<MK, MV>,
    pub(super) owned: u64,
}

impl<MK, MV> MapCell<MK, MV> {
    pub(super) fn new() -> Self {
        Self { map: OrderedMap::new(), owned: 0 }
    }
}

// SAFETY: counted pointers to nodes, and numbers. Their bits may be copied, and they have no interior
// mutability of their own.
#[expect(unsafe_code, reason = "the table shares the bits of this crate's own containers")]
unsafe impl<MK: StateKey, MV: StateValue> Handle for MapCell<MK, MV> {
    fn is_large(&self) -> bool {
        self.map.heap_size() as u64 + self.owned > DROPPED_IN_PLACE && self.map.is_unshared()
    }

    fn prefetch(&self) {
        self.map.prefetch();
    }
}

impl<MK: StateKey, MV: StateValue> Entries<MK, MV> {
    /// Bytes that a key owns, estimated by the length of its encoding.
    #[inline]
    pub(super) fn key_bytes(key: &MK) -> u64 {
        if std::mem::needs_drop::<MK>() { key.with_encoded(<[u8]>::len) as u64 } else { 0 }
    }

    /// Bytes that an entry owns, given those of its key. Without a value there is no entry, and the result is
    /// 0.
    #[inline]
    pub(super) fn owned(&self, key_bytes: u64, value: Option<&MV>) -> u64 {
        match value {
            Some(value) if std::mem::needs_drop::<MV>() => key_bytes + self.codec.heap_size(value) as u64,
            Some(_) => key_bytes,
            None => 0,
        }
    }

    /// Adds or replaces an entry.
    #[inline]
    pub(super) fn put(&self, cell: &mut MapCell<MK, MV>, key: MK, value: MV, epoch: u32) {
        let key_bytes = Self::key_bytes(&key);
        let added = self.owned(key_bytes, Some(&value));
        let old = cell.map.insert(key, value, epoch);
        cell.owned = (cell.owned + added).saturating_sub(self.owned(key_bytes, old.as_ref()));
    }

    /// What remains of a cell without the expired ones of some entries.
    fn without_expired<'m>(
        &self,
        cell: &MapCell<MK, MV>,
        entries: impl Iterator<Item = (&'m MK, &'m MV)>,
        expiry: &Expiry,
        write: Write,
    ) -> Expired<MapCell<MK, MV>> {
        let entries = entries.filter(|&(_, value)| expiry.has_expired(value, &*self.codec));
        let expired: Vec<&MK> = entries.map(|(key, _)| key).collect();
        if expired.is_empty() {
            return Expired::Nothing;
        }
        if expired.len() == cell.map.len() {
            return Expired::All;
        }
        let mut rest = cell.clone();
        for key in expired {
            let old = rest.map.remove(key, write.epoch, write.logs_removals);
            let removed = self.owned(Self::key_bytes(key), old.as_ref());
            rest.owned = rest.owned.saturating_sub(removed);
        }
        Expired::Part(rest)
    }

    fn write_puts<'m, K: StateKey, N: StateKey>(
        &self,
        entries: impl Iterator<Item = (&'m MK, &'m MV)>,
        rows: &mut EntryRows<'_, '_, '_, K, N>,
    ) -> Result<()> {
        write_in_rows(entries, RowOp::Put, rows, |(key, value), out| {
            key.encode(out);
            encode_sized(out, |out| self.codec.encode(value, out))
        })
    }
}

impl<MK: StateKey, MV: StateValue> Content for Entries<MK, MV> {
    type Cell = MapCell<MK, MV>;
    type Placement = Container;
    type Mark = MK;
    const MEASURED: bool = true;
    const ROW_PER_CELL: bool = false;

    fn canonical(&self) -> Self {
        Self { codec: canonical_codec(&self.codec), keys: PhantomData }
    }

    fn measure(&self, cell: &MapCell<MK, MV>) -> Measure {
        Measure { bytes: cell.map.heap_size() as u64 + cell.owned, entries: cell.map.len() as u64 }
    }

    fn write<K: StateKey, N: StateKey>(
        &self,
        cell: &MapCell<MK, MV>,
        base: Option<u32>,
        rows: &mut EntryRows<'_, '_, '_, K, N>,
    ) -> Result<()> {
        let Some(base) = base else { return self.write_puts(cell.map.iter(), rows) };
        match cell.map.delta_since(base) {
            Delta::Full => {
                rows.row(RowOp::Remove, |_| Ok(()))?;
                self.write_puts(cell.map.iter(), rows)
            }
            Delta::Changes { removed, changed } => {
                write_in_rows(removed.into_iter(), RowOp::RemoveEntries, rows, |key, out| {
                    key.encode(out);
                    Ok(())
                })?;
                self.write_puts(changed, rows)
            }
        }
    }

    fn extra_bytes(&self, cell: &MapCell<MK, MV>, base: u32) -> u64 {
        match cell.map.delta_since(base) {
            Delta::Full => 2 * ROW_OVERHEAD,
            Delta::Changes { removed, .. } => {
                let keys = removed.into_iter().map(|key| key.with_encoded(<[u8]>::len) as u64 + 1);
                2 * ROW_OVERHEAD + keys.sum::<u64>()
            }
        }
    }

    fn unchanged_bytes(
        &self,
        cell: &MapCell<MK, MV>,
        base: Option<u32>,
        _: u64,
        row: &mut Vec<u8>,
    ) -> Result<u64> {
        // Estimates that all entries are as long as the first.
        let Some((key, value)) = cell.map.iter().next() else { return Ok(0) };
        let entry = key.with_encoded(<[u8]>::len) as u64 + encoded_bytes(&*self.codec, [value], 1, row)?;
        let changed = base.map_or(0, |base| match cell.map.delta_since(base) {
            Delta::Full => cell.map.len(),
            Delta::Changes { changed, .. } => changed.count(),
        });
        Ok(entry * (cell.map.len() - changed) as u64)
    }

    fn expire(&self, cell: &MapCell<MK, MV>, expiry: &Expiry, write: Write) -> Expired<MapCell<MK, MV>> {
        self.without_expired(cell, cell.map.iter(), expiry, write)
    }

    fn expire_part(
        &self,
        cell: &MapCell<MK, MV>,
        expiry: &Expiry,
        mark: &mut Option<MK>,
        write: Write,
    ) -> Expired<MapCell<MK, MV>> {
        let from = mark.take().map_or(Bound::Unbounded, Bound::Included);
        let mut entries = cell.map.range((from, Bound::Unbounded));
        let rest = self.without_expired(cell, entries.by_ref().take(CHECKED_AT_ONCE), expiry, write);
        *mark = entries.next().map(|(key, _)| key.clone());
        rest
    }

    fn change(&self, cell: &mut Option<MapCell<MK, MV>>, change: RowChange<'_>, epoch: u32) -> Result<()> {
        match change {
            RowChange::Entries(mut row) => {
                let cell = cell.get_or_insert_with(MapCell::new);
                let mut entries = Vec::<(MK, MV)>::new();
                while let Some((key, bytes)) = row.next_entry()? {
                    if let Some((before, _)) = entries.last() {
                        check_ascending(before, &key)?;
                    }
                    entries.push((key, self.codec.decode(bytes)?));
                }
                entries.into_iter().for_each(|(key, value)| self.put(cell, key, value, epoch));
                if cell.map.is_empty() {
                    return Err(unfit());
                }
            }
            RowChange::RemoveEntries(mut row) => {
                // Decodes all keys even if there is no map, so that damage is always found.
                while let Some(key) = row.next_key()? {
                    let Some(present) = cell else { continue };
                    let old = present.map.remove(&key, epoch, false);
                    let removed = self.owned(Self::key_bytes(&key), old.as_ref());
                    present.owned = present.owned.saturating_sub(removed);
                }
                if cell.as_ref().is_some_and(|cell| cell.map.is_empty()) {
                    *cell = None;
                }
            }
            RowChange::Remove => *cell = None,
            _ => return Err(unfit()),
        }
        Ok(())
    }
}

/// Bytes of the encoded values, each with a length. May stop counting at `enough`. Overwrites `row`.
fn encoded_bytes<'v, V: StateValue>(
    codec: &dyn Codec<V>,
    values: impl IntoIterator<Item = &'v V>,
    enough: u64,
    row: &mut Vec<u8>,
) -> Result<u64> {
    let mut bytes = 0;
    for value in values {
        row.clear();
        codec.encode(value, row)?;
        bytes += 1 + row.len() as u64;
        if bytes >= enough {
            break;
        }
    }
    Ok(bytes)
}

#[cold]
pub(super) fn unfit() -> Error {
    Error::new(ErrorKind::Corrupt, "a row belongs to another kind of state")
}
