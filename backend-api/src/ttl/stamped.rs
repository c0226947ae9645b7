use std::sync::Arc;

use crate::{Codec, Error, ErrorKind, Result};

/// Contents with the time of their last write, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped<V> {
    /// When it was written.
    pub at: i64,
    /// What was written.
    pub value: V,
}

/// Starts the id of a [`StampedCodec`]. The id of the codec of the values follows.
const PREFIX: &str = "stamped:";

/// Bytes of a stamp: a number in little endian, before the bytes of the value.
const STAMP_BYTES: usize = 8;

/// The id of the codec of the values, if `id` is that of a [`StampedCodec`].
pub(crate) fn unstamped(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX)
}

/// Splits an encoded [`Stamped`] into its stamp and the bytes of its value.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if it is too short.
#[inline]
pub fn stamp_of(encoded: &[u8]) -> Result<(i64, &[u8])> {
    match encoded.split_first_chunk::<STAMP_BYTES>() {
        Some((stamp, value)) => Ok((i64::from_le_bytes(*stamp), value)),
        None => Err(too_short()),
    }
}

#[cold]
fn too_short() -> Error {
    Error::new(ErrorKind::Corrupt, "a value with a time to live is shorter than its stamp")
}

/// Puts a stamp before the bytes of another codec. The stamp has a fixed place, so that a store can find expired
/// values without decoding them.
pub struct StampedCodec<V>(Arc<dyn Codec<V>>);

impl<V> StampedCodec<V> {
    /// Stamps before the values of `codec`.
    pub fn new(codec: Arc<dyn Codec<V>>) -> Self {
        Self(codec)
    }
}

impl<V: 'static> Codec<Stamped<V>> for StampedCodec<V> {
    fn id(&self) -> String {
        format!("{PREFIX}{}", self.0.id())
    }

    fn check_type(&self) -> Result<()> {
        self.0.check_type()
    }

    #[inline]
    fn encode(&self, stamped: &Stamped<V>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.extend_from_slice(&stamped.at.to_le_bytes());
        self.0.encode(&stamped.value, out).inspect_err(|_| out.truncate(start))
    }

    #[inline]
    fn decode(&self, input: &[u8]) -> Result<Stamped<V>> {
        let (at, value) = stamp_of(input)?;
        Ok(Stamped { at, value: self.0.decode(value)? })
    }

    fn heap_size(&self, stamped: &Stamped<V>) -> usize {
        self.0.heap_size(&stamped.value)
    }

    fn fixed_len(&self) -> Option<usize> {
        self.0.fixed_len().map(|len| STAMP_BYTES + len)
    }

    #[inline]
    fn stamp(&self, stamped: &Stamped<V>) -> Option<i64> {
        Some(stamped.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_codec;

    #[test]
    fn a_stamp_is_the_first_eight_bytes() {
        let codec = StampedCodec::<u16>::new(default_codec());
        let (value, mut bytes) = (Stamped { at: -2, value: 7_u16 }, vec![9]);
        codec.encode(&value, &mut bytes).unwrap();
        assert_eq!(bytes[..9], [9, 254, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(codec.decode(&bytes[1..]).unwrap(), value);
        assert_eq!(codec.fixed_len(), Some(bytes.len() - 1));
        assert_eq!((codec.id().as_str(), codec.stamp(&value)), ("stamped:plain:u16", Some(-2)));
        assert_eq!(codec.decode(&bytes[1..8]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
