//! Runs of list elements. Elements that are added together are stored as one entry.

use super::ByteCursor;
use backend_api::row::{decode_sized, encode_sized, encode_value};
use backend_api::{Codec, Error, ErrorKind, Result, StateValue};

/// A shorter run takes another element.
pub(crate) const RUN_BYTES: usize = 4 << 10;

/// Appends an element with its length before it.
#[inline]
pub(crate) fn encode_element<T: StateValue>(
    element: &T,
    codec: &dyn Codec<T>,
    out: &mut Vec<u8>,
) -> Result<()> {
    encode_sized(out, |out| {
        let before = out.len();
        let encoded = encode_value(element, codec, out);
        if out.len() < before {
            out.resize(before, 0);
            return encoded.and(Err(taken()));
        }
        encoded
    })
}

#[cold]
pub(crate) fn taken() -> Error {
    Error::new(ErrorKind::Codec, "the codec removed bytes that it had not appended")
}

/// The elements of a run, in order. Ends after an error.
pub(crate) fn elements(mut run: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    std::iter::from_fn(move || {
        if run.is_empty() {
            return None;
        }
        let element = decode_sized(&mut run);
        if element.is_err() {
            run = &[];
        }
        Some(element)
    })
}

/// Steps through the elements of the runs of a cursor.
pub(crate) struct ElementCursor<'c> {
    runs: Box<dyn ByteCursor + 'c>,
    /// A copy of the run that is being read, from `at` on. The cursor lends a run only until it moves.
    run: Vec<u8>,
    at: usize,
}

impl<'c> ElementCursor<'c> {
    pub fn new(runs: Box<dyn ByteCursor + 'c>) -> Self {
        Self { runs, run: Vec::new(), at: 0 }
    }

    /// The next element. There is no further call after an error.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        while self.at == self.run.len() {
            let Some((_, run)) = self.runs.next()? else { return Ok(None) };
            self.run.clear();
            self.run.extend_from_slice(run);
            self.at = 0;
        }
        let mut rest = &self.run[self.at..];
        let element = decode_sized(&mut rest)?;
        self.at = self.run.len() - rest.len();
        Ok(Some(element))
    }
}
