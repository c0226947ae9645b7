//! Values with the time of their last write. They read as a struct of `at` and `value`, and so does their canonical form.

use serde::de::DeserializeOwned;

use super::ValueSchema;
use crate::codec::read_cbor;
use crate::ttl::stamp_of;
use crate::{Error, ErrorKind, Result};

/// CBOR of the head of a map with two entries, and of the first key.
const START: &[u8] = b"\xa2\x62at";

/// CBOR of the second key.
const VALUE: &[u8] = b"\x65value";

/// See [`ValueSchema::read`].
pub(super) fn read<T: DeserializeOwned>(values: &ValueSchema, bytes: &[u8]) -> Result<T> {
    let mut cbor = Vec::new();
    encode_canonical(values, bytes, &mut cbor)?;
    read_cbor(&cbor)
}

/// See [`ValueSchema::encode_canonical`].
pub(super) fn encode_canonical(values: &ValueSchema, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (at, value) = stamp_of(bytes)?;
    out.extend_from_slice(START);
    ciborium::into_writer(&at, &mut *out).map_err(|_| corrupt())?;
    out.extend_from_slice(VALUE);
    values.encode_canonical(value, out)
}

/// See [`ValueSchema::decode_canonical`].
pub(super) fn decode_canonical(values: &ValueSchema, cbor: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = cbor.strip_prefix(START).ok_or_else(corrupt)?;
    let at: i64 = ciborium::from_reader(&mut rest).map_err(|_| corrupt())?;
    let value = rest.strip_prefix(VALUE).ok_or_else(corrupt)?;
    out.extend_from_slice(&at.to_le_bytes());
    values.decode_canonical(value, out)
}

#[cold]
fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "not a value with the time of its last write")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ttl::{Stamped, StampedCodec};
    use crate::{Codec, Datum, default_codec};

    #[test]
    fn a_stamped_value_reads_as_a_struct_and_has_a_canonical_form() {
        let codec = StampedCodec::<(u8, String)>::new(default_codec());
        let schema = ValueSchema::parse(&codec.id()).unwrap();
        for at in [-1, 0, 1_700_000_000_000, i64::MIN] {
            let (mut bytes, mut cbor, mut back) = (Vec::new(), Vec::new(), Vec::new());
            codec.encode(&Stamped { at, value: (7, "x".to_owned()) }, &mut bytes).unwrap();
            let read = schema.read::<Datum>(&bytes).unwrap();
            assert_eq!(read.to_string(), format!(r#"{{"at": {at}, "value": [7, "x"]}}"#));
            schema.encode_canonical(&bytes, &mut cbor).unwrap();
            assert_eq!(Datum::from_cbor(&cbor).unwrap(), read);
            schema.decode_canonical(&cbor, &mut back).unwrap();
            assert_eq!(back, bytes);
            for end in 0..cbor.len() {
                let refused = schema.decode_canonical(&cbor[..end], &mut Vec::new()).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::Corrupt);
            }
        }
    }
}
