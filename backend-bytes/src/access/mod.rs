//! One access: a state at a key and namespace, in bytes. "Here" means this key and namespace.
//!
//! [`KeyBuffers`] build keys, the [`Reader`] reads from the store, the [`Writer`] fills a batch.
//! [`EntrySizes`] and [`Charging`] enforce the limits.

mod charging;
mod elements;
mod fetched;
mod key;
mod reader;
mod sizes;
mod writer;

use super::limits::{EntryLimit, Totals};
use super::{ByteStore, WriteBatch};
use backend_api::format::StateMeta;
use backend_api::{BorrowedKey, Error, Result, StateKey};

pub(crate) use charging::Charging;
pub(crate) use elements::ElementCursor;
pub(crate) use fetched::Fetched;
pub(crate) use key::KeyBuffers;
pub(crate) use reader::{Reader, decoded};
pub(crate) use sizes::EntrySizes;
pub(crate) use writer::Writer;

/// Buffers shared by all accesses of a backend, so that an access allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub keys: KeyBuffers,
    /// The writes of one call.
    pub batch: WriteBatch,
    /// Values read in one call, for the accesses of a batch.
    pub fetched: Fetched,
    /// The sequence number of the next list element.
    pub sequence: u64,
    /// The key of a timer.
    pub timer: Vec<u8>,
}

impl Buffers {
    /// `sequence` is the number of the next list element.
    pub fn starting_at(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }
}

/// One state at one key and namespace.
pub(crate) struct Access<'a> {
    pub store: &'a mut dyn ByteStore,
    pub buffers: &'a mut Buffers,
    pub totals: &'a mut Totals,
    pub origin: Origin<'a>,
    pub limit: EntryLimit,
}

/// The source of an error.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub meta: &'a StateMeta,
    pub group: Option<u16>,
}

impl Origin<'_> {
    /// Adds state and key group to an error.
    #[cold]
    pub fn name(self, error: Error) -> Error {
        let error = error.in_state(&self.meta.name);
        match self.group {
            Some(group) => error.in_group(group),
            None => error,
        }
    }
}

impl<'a> Access<'a> {
    #[inline(always)]
    pub fn new<K: BorrowedKey + ?Sized, N: StateKey>(
        store: &'a mut dyn ByteStore,
        buffers: &'a mut Buffers,
        totals: &'a mut Totals,
        meta: &'a StateMeta,
        (state, group): (u16, u16),
        (key, namespace): (&K, &N),
        limit: EntryLimit,
    ) -> Self {
        let origin = Origin { meta, group: Some(group) };
        buffers.keys.set(state, group, key, namespace);
        Self { store, buffers, totals, origin, limit }
    }

    /// The key of the value here, and the prefix of all entries of the list or map here.
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.buffers.keys.here()
    }

    /// The same key in another namespace.
    ///
    /// # Errors
    /// If the namespace cannot be encoded.
    pub fn key_in<N: StateKey>(&mut self, namespace: &N) -> Result<&[u8]> {
        let origin = self.origin;
        self.buffers.keys.in_namespace(namespace).map_err(|error| origin.name(error))
    }

    /// Reads from the store here.
    #[inline]
    pub fn reader(&mut self) -> Reader<'_> {
        let Buffers { keys, fetched, .. } = &mut *self.buffers;
        Reader { store: &*self.store, keys, fetched, origin: self.origin }
    }

    /// Sizes of entries here.
    #[inline]
    pub fn sizes(&mut self) -> EntrySizes<'_> {
        EntrySizes::new(&mut self.buffers.keys, self.origin, self.limit)
    }

    /// The limit of the list or map here.
    #[inline]
    pub fn charging(&mut self) -> Charging<'_, 'a> {
        Charging(self)
    }

    /// Fills the batch for [`commit`](Self::commit). If `add` fails or panics, the next fill drops what it
    /// added.
    pub fn fill<R>(&mut self, add: impl FnOnce(&mut Writer<'_>) -> Result<R>) -> Result<R> {
        let Self { store, origin, limit, .. } = self;
        let Buffers { keys, batch, sequence, .. } = &mut *self.buffers;
        batch.clear();
        let mut writer = Writer { store: &**store, keys, batch, sequence, limit: *limit };
        add(&mut writer).map_err(|error| origin.name(error))
    }

    /// Writes the batch.
    pub fn commit(&mut self) -> Result<()> {
        let batch = &mut self.buffers.batch;
        let written = if batch.is_empty() { Ok(()) } else { self.store.write(batch) };
        batch.clear();
        written.map_err(|error| self.origin.name(error))
    }

    /// Fills the batch and writes it. If `add` fails or panics, nothing is written.
    pub fn write(&mut self, add: impl FnOnce(&mut Writer<'_>) -> Result<()>) -> Result<()> {
        self.fill(add)?;
        self.commit()
    }

    /// Reserves consecutive sequence numbers for list elements, and returns the first.
    #[inline]
    pub fn take_numbers(&mut self, elements: usize) -> u64 {
        let number = self.buffers.sequence;
        self.buffers.sequence += elements as u64;
        number
    }
}
