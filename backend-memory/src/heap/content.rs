//! What a state of each kind keeps under a key and namespace, and how it becomes rows and comes back.

use std::marker::PhantomData;
use std::sync::Arc;

use backend_api::row::{RowOp, decode_sized, decode_varint, encode_sized, encode_varint};
use backend_api::{Codec, Error, ErrorKind, Result, StateKey, StateKind, StateValue};

use super::rows::Rows;
use crate::chunked_list::ChunkedList;
use crate::ordered_map::{Delta, OrderedMap};
use crate::table::{Container, Handle, Placement, TableValue, UserValue};

/// Most entries of a map in one row.
const ENTRIES_PER_ROW: usize = 128;

/// The values of a table, for what the table does not know of them.
pub(super) trait Content: Send + Sync + 'static {
    /// What stands in the table under a key and namespace.
    type Cell: TableValue;
    /// How the table holds it.
    type Placement: Placement<Self::Cell>;

    /// The kind of state.
    fn kind(&self) -> StateKind;

    /// Identities of the codecs, as the checkpoint's metadata has them.
    fn codecs(&self) -> Vec<String>;

    /// Bytes that a cell owns on the heap. What each element or entry owns is counted as it comes and goes.
    fn heap_size(&self, cell: &Self::Cell) -> usize;

    /// How many entries a cell counts for.
    fn entries(cell: &Self::Cell) -> usize;

    /// Writes the rows of a cell: all, or what changed after epoch `base`.
    fn write(&self, cell: &Self::Cell, base: Option<u32>, rows: &mut Rows<'_, '_>) -> Result<()>;

    /// Does to the cell what a row says; `rest` is the row behind key and namespace.
    fn apply(&self, cell: &mut Option<Self::Cell>, op: RowOp, rest: &[u8], epoch: u32) -> Result<()>;
}

/// One value: value, reducing and aggregating state.
pub(super) struct Single<V> {
    pub(super) kind: StateKind,
    pub(super) codec: Arc<dyn Codec<V>>,
}

impl<V: StateValue> Content for Single<V> {
    type Cell = V;
    type Placement = UserValue;

    fn kind(&self) -> StateKind {
        self.kind
    }

    fn codecs(&self) -> Vec<String> {
        vec![self.codec.id()]
    }

    #[inline]
    fn heap_size(&self, cell: &V) -> usize {
        if std::mem::needs_drop::<V>() { self.codec.heap_size(cell) } else { 0 }
    }

    fn entries(_: &V) -> usize {
        1
    }

    fn write(&self, cell: &V, _: Option<u32>, rows: &mut Rows<'_, '_>) -> Result<()> {
        rows.row(RowOp::Put, |out| self.codec.encode(cell, out))
    }

    fn apply(&self, cell: &mut Option<V>, op: RowOp, rest: &[u8], _: u32) -> Result<()> {
        *cell = match op {
            RowOp::Put => Some(self.codec.decode(rest)?),
            RowOp::Remove => None,
            RowOp::RemoveEntries => return Err(unfit(op, self.kind)),
        };
        Ok(())
    }
}

/// A list of elements.
pub(super) struct Elements<T> {
    pub(super) codec: Arc<dyn Codec<T>>,
}

// SAFETY: a list is a pair of counted pointers to chunks, whose bits may be copied; it has no interior mutability of
// its own.
#[expect(unsafe_code, reason = "the table shares the bits of this crate's own containers")]
unsafe impl<T: StateValue> Handle for ChunkedList<T> {}

impl<T: StateValue> Content for Elements<T> {
    type Cell = ChunkedList<T>;
    type Placement = Container;

    fn kind(&self) -> StateKind {
        StateKind::List
    }

    fn codecs(&self) -> Vec<String> {
        vec![self.codec.id()]
    }

    fn heap_size(&self, cell: &ChunkedList<T>) -> usize {
        cell.heap_size()
    }

    fn entries(_: &ChunkedList<T>) -> usize {
        1
    }

    fn write(&self, cell: &ChunkedList<T>, base: Option<u32>, rows: &mut Rows<'_, '_>) -> Result<()> {
        let first = base.map_or(0, |base| cell.changed_since(base).0);
        for (start, _, elements) in cell.chunks().skip_while(|(start, ..)| *start < first) {
            rows.row(RowOp::Put, |out| {
                encode_varint(start as u64, out);
                elements.iter().try_for_each(|element| {
                    encode_sized(out, |out| self.codec.encode(element, out))
                })
            })?;
        }
        Ok(())
    }

    fn apply(&self, cell: &mut Option<ChunkedList<T>>, op: RowOp, mut rest: &[u8], epoch: u32) -> Result<()> {
        match op {
            RowOp::Put => {
                let start = decode_varint(&mut rest)?;
                let list = cell.get_or_insert_with(ChunkedList::new);
                let start = usize::try_from(start).ok().filter(|start| *start <= list.len());
                let start = start.ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, "a row of a list begins behind the list's end")
                })?;
                let mut elements = Vec::new();
                while !rest.is_empty() {
                    elements.push(self.codec.decode(decode_sized(&mut rest)?)?);
                }
                list.truncate(start);
                list.extend(elements, epoch);
            }
            RowOp::Remove => *cell = None,
            RowOp::RemoveEntries => return Err(unfit(op, StateKind::List)),
        }
        Ok(())
    }
}

/// The entries of a map.
pub(super) struct Entries<MK, MV> {
    pub(super) codec: Arc<dyn Codec<MV>>,
    pub(super) keys: PhantomData<fn() -> MK>,
}

// SAFETY: a map is counted pointers to nodes and a length, whose bits may be copied; it has no interior mutability of
// its own.
#[expect(unsafe_code, reason = "the table shares the bits of this crate's own containers")]
unsafe impl<MK: StateKey, MV: StateValue> Handle for OrderedMap<MK, MV> {}

impl<MK: StateKey, MV: StateValue> Entries<MK, MV> {
    fn puts<'m>(
        &self,
        entries: impl Iterator<Item = (&'m MK, &'m MV)>,
        rows: &mut Rows<'_, '_>,
    ) -> Result<()> {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            rows.row(RowOp::Put, |out| {
                entries.by_ref().take(ENTRIES_PER_ROW).try_for_each(|(key, value)| {
                    key.encode(out);
                    encode_sized(out, |out| self.codec.encode(value, out))
                })
            })?;
        }
        Ok(())
    }
}

impl<MK: StateKey, MV: StateValue> Content for Entries<MK, MV> {
    type Cell = OrderedMap<MK, MV>;
    type Placement = Container;

    fn kind(&self) -> StateKind {
        StateKind::Map
    }

    fn codecs(&self) -> Vec<String> {
        vec![MK::schema(), self.codec.id()]
    }

    fn heap_size(&self, cell: &OrderedMap<MK, MV>) -> usize {
        cell.heap_size()
    }

    fn entries(cell: &OrderedMap<MK, MV>) -> usize {
        cell.len()
    }

    fn write(&self, cell: &OrderedMap<MK, MV>, base: Option<u32>, rows: &mut Rows<'_, '_>) -> Result<()> {
        let Some(base) = base else { return self.puts(cell.iter(), rows) };
        match cell.delta_since(base) {
            Delta::Full => {
                rows.row(RowOp::Remove, |_| Ok(()))?;
                self.puts(cell.iter(), rows)
            }
            Delta::Changes { removed, changed } => {
                for keys in removed.chunks(ENTRIES_PER_ROW) {
                    rows.row(RowOp::RemoveEntries, |out| {
                        keys.iter().for_each(|key| key.encode(out));
                        Ok(())
                    })?;
                }
                self.puts(changed, rows)
            }
        }
    }

    fn apply(
        &self,
        cell: &mut Option<OrderedMap<MK, MV>>,
        op: RowOp,
        mut rest: &[u8],
        epoch: u32,
    ) -> Result<()> {
        match op {
            RowOp::Put => {
                let map = cell.get_or_insert_with(OrderedMap::new);
                while !rest.is_empty() {
                    let key = MK::decode(&mut rest)?;
                    map.insert(key, self.codec.decode(decode_sized(&mut rest)?)?, epoch);
                }
            }
            RowOp::Remove => *cell = None,
            RowOp::RemoveEntries => {
                if let Some(map) = cell {
                    while !rest.is_empty() {
                        map.remove(&MK::decode(&mut rest)?, epoch, false);
                    }
                    if map.is_empty() {
                        *cell = None;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cold]
fn unfit(op: RowOp, kind: StateKind) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a row of {kind} state with the operation {op:?}"))
}
