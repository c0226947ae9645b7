//! Reading back rows that were just written.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use super::{Row, RowChange};
use crate::format::SectionKind;
use crate::{Codec, Error, ErrorKind, Result, StateKey, StateKind, canonical_codec};

/// Reads back a state's rows with the types and codec of its descriptor. A checkpoint whose rows cannot be
/// read must fail while an older one exists. See
/// [`CheckpointWriter::read_back`](crate::format::CheckpointWriter::read_back).
#[derive(Clone)]
pub struct ReadBack {
    /// Rows with values of the codec.
    plain: Arc<ReadRow>,
    /// Rows with canonical values.
    canonical: Arc<ReadRow>,
}

type ReadRow = dyn Fn(SectionKind, &[u8]) -> Result<()> + Send + Sync;

impl ReadBack {
    /// For a state of `kind` with keys `K`, namespaces `N`, map keys `MK` and values of `codec`.
    pub(crate) fn new<K: StateKey, N: StateKey, MK: StateKey, V: 'static>(
        kind: StateKind,
        codec: Arc<dyn Codec<V>>,
    ) -> Self {
        let canonical = read_row::<K, N, MK, V>(kind, canonical_codec(&codec));
        Self { plain: read_row::<K, N, MK, V>(kind, codec), canonical }
    }

    /// The same for the rows of a canonical savepoint.
    pub fn canonical(&self) -> Self {
        Self { plain: Arc::clone(&self.canonical), canonical: Arc::clone(&self.canonical) }
    }

    /// For timers with keys `K` and namespaces `N`.
    pub(crate) fn timers<K: StateKey, N: StateKey>() -> Self {
        let plain: Arc<ReadRow> =
            Arc::new(|section, row| Row::<K, N>::decode(StateKind::Timer, section, row).map(drop));
        Self { canonical: Arc::clone(&plain), plain }
    }

    /// Reads a row of a section of that kind.
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec) if it cannot be read.
    #[cold]
    pub fn check(&self, section: SectionKind, row: &[u8]) -> Result<()> {
        (self.plain)(section, row).map_err(unreadable)
    }
}

fn read_row<K: StateKey, N: StateKey, MK: StateKey, V: 'static>(
    kind: StateKind,
    codec: Arc<dyn Codec<V>>,
) -> Arc<ReadRow> {
    Arc::new(move |section, row| {
        match Row::<K, N>::decode(kind, section, row)?.change {
            RowChange::Value(value) => drop(codec.decode(value)?),
            RowChange::Elements(mut elements) => {
                while let Some(element) = elements.next_element()? {
                    codec.decode(element)?;
                }
            }
            RowChange::Entries(mut entries) => {
                while let Some((_, value)) = entries.next_entry::<MK>()? {
                    codec.decode(value)?;
                }
            }
            RowChange::RemoveEntries(mut keys) => while keys.next_key::<MK>()?.is_some() {},
            RowChange::Remove | RowChange::AddTimer(_) | RowChange::RemoveTimer(_) => {}
        }
        Ok(())
    })
}

impl fmt::Debug for ReadBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadBack")
    }
}

#[cold]
fn unreadable(error: Error) -> Error {
    let message = format!("what was written cannot be read back: {}", error.message());
    Error::new(ErrorKind::Codec, message).with_source(error)
}

/// One of this many values is read back, if values are encoded one by one.
const SAMPLE: u32 = 1024;

/// Appends the encoding of a value, for a backend that keeps bytes. Reads back a sample, or every value in
/// debug builds, so that an unreadable value is refused when it is written.
///
/// # Errors
/// The error of [`Codec::encode`]. [`Codec`](ErrorKind::Codec) if the value cannot be read back. `out` is
/// unchanged then.
#[inline]
pub fn encode_value<V: 'static>(value: &V, codec: &dyn Codec<V>, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    codec.encode(value, out)?;
    if !is_sample() {
        return Ok(());
    }
    // A codec that removed bytes is detected elsewhere.
    match out.get(start..).map(|bytes| codec.decode(bytes)) {
        Some(Err(error)) => {
            out.truncate(start);
            Err(unreadable(error))
        }
        _ => Ok(()),
    }
}

#[inline]
fn is_sample() -> bool {
    thread_local! {
        static ENCODED: Cell<u32> = const { Cell::new(0) };
    }
    let encoded = ENCODED.get();
    ENCODED.set(encoded.wrapping_add(1));
    cfg!(debug_assertions) || encoded.is_multiple_of(SAMPLE)
}
