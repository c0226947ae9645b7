//! Runs of list elements. Elements added together are stored as one entry.

use backend_api::row::{decode_sized, encode_sized, encode_value};
use backend_api::{Codec, Error, ErrorKind, Result, StateValue};

/// A run shorter than this takes another element.
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
