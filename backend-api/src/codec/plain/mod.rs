//! Hand-written encodings of plain types, several times faster than through serde.

mod containers;
mod numbers;
mod text;

use super::{Codec, ReadOld, corrupt};
use crate::shape::migration;
use crate::{Error, ErrorKind, Result, ValueSchema};

/// A type that [`PlainCodec`] can write and read.
///
/// Numbers are little endian with their full width (64 bits for `usize` and `isize`). `bool` is one byte,
/// `char` its scalar value in 4 bytes. Strings, vectors and maps start with their length as a varint (LEB128:
/// seven bits per byte, lowest first, the high bit set if more follow). `Option` is one byte, 0 or 1, before
/// the value. Tuples and arrays are their elements in order. `Box` is its content.
///
/// # Contract
///
/// `take` inverts `put` and takes at least [`LEN_MIN`](Self::LEN_MIN) bytes. Its allocations are proportional
/// to the bytes of its input, for any lengths written in them.
pub trait Plain: Sized + Send + Sync + 'static {
    /// Least number of bytes of a value.
    const LEN_MIN: usize;

    /// True if every value has exactly [`LEN_MIN`](Self::LEN_MIN) bytes.
    const IS_FIXED: bool = false;

    /// The name of the type in [`Codec::id`], such as `(u64,string)`.
    fn schema() -> String;

    /// Appends the bytes of the value.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes one value off the front of `input`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if there is none.
    fn take(input: &mut &[u8]) -> Result<Self>;

    /// Bytes that the value owns on the heap.
    #[inline]
    fn heap_size(&self) -> usize {
        0
    }

    /// Appends the bytes of consecutive values.
    #[inline]
    fn put_all(values: &[Self], out: &mut Vec<u8>) {
        for value in values {
            value.put(out);
        }
    }

    /// Takes `count` values off the front of `input`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if there are fewer.
    #[inline]
    fn take_all(count: usize, input: &mut &[u8]) -> Result<Vec<Self>> {
        check_count::<Self>(count, input)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(Self::take(input)?);
        }
        Ok(values)
    }
}

/// The codec of the [`Plain`] types.
///
/// ```
/// use backend_api::{Codec, PlainCodec};
///
/// let codec: &dyn Codec<(u16, String)> = &PlainCodec;
/// let mut bytes = Vec::new();
/// codec.encode(&(258, "abc".to_owned()), &mut bytes)?;
/// assert_eq!(bytes, *b"\x02\x01\x03abc");
/// assert_eq!(codec.decode(&bytes)?, (258, "abc".to_owned()));
/// assert_eq!(codec.id(), "plain:(u16,string)");
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainCodec;

impl<T: Plain> Codec<T> for PlainCodec {
    fn id(&self) -> String {
        format!("plain:{}", T::schema())
    }

    #[inline]
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        value.put(out);
        Ok(())
    }

    #[inline]
    fn decode(&self, mut input: &[u8]) -> Result<T> {
        let value = T::take(&mut input)?;
        if input.is_empty() { Ok(value) } else { Err(corrupt("bytes left over after a value")) }
    }

    fn evolve(&self, old: &str) -> Result<ReadOld<T>> {
        let new = Codec::<T>::id(self);
        let parse = |id: &str| {
            ValueSchema::parse(id)
                .map_err(|_| Error::new(ErrorKind::Migration, migration("codec", old, &new)))
        };
        let (old, new) = (parse(old)?, parse(&new)?);
        old.check_becomes(&new)?;
        Ok(Box::new(move |bytes| {
            let (mut canonical, mut present) = (Vec::new(), Vec::new());
            old.encode_canonical(bytes, &mut canonical)?;
            new.decode_canonical(&canonical, &mut present)?;
            PlainCodec.decode(&present)
        }))
    }

    #[inline]
    fn heap_size(&self, value: &T) -> usize {
        value.heap_size()
    }

    #[inline]
    fn fixed_len(&self) -> Option<usize> {
        T::IS_FIXED.then_some(T::LEN_MIN)
    }
}

/// Refuses a count of values for which `input` is too short, before anything is allocated.
#[inline]
fn check_count<T: Plain>(count: usize, input: &[u8]) -> Result<()> {
    const { assert!(T::LEN_MIN > 0, "a length of elements without bytes could not be checked") };
    if count > input.len() / T::LEN_MIN { Err(corrupt("a length is beyond the data")) } else { Ok(()) }
}

/// Appends a length.
#[inline]
fn put_len(len: usize, out: &mut Vec<u8>) {
    let mut rest = len;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes a length off the front of `input`.
#[inline]
fn take_len(input: &mut &[u8]) -> Result<usize> {
    let mut len = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let [byte] = take_array(input)?;
        let bits = usize::from(byte & 0x7F);
        if (bits << shift) >> shift != bits {
            break;
        }
        len |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(len);
        }
    }
    Err(corrupt("a length is too large"))
}

#[inline]
fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk().ok_or_else(|| corrupt("a value ends too early"))?;
    *input = rest;
    Ok(*bytes)
}

#[inline]
fn take_slice<'i>(len: usize, input: &mut &'i [u8]) -> Result<&'i [u8]> {
    let (bytes, rest) = input.split_at_checked(len).ok_or_else(|| corrupt("a length is beyond the data"))?;
    *input = rest;
    Ok(bytes)
}
