//! Keys of fixed width: integers, `bool`, `char`, `()`, byte arrays.

use super::stored::stored_as_itself;
use super::{KeyBuffer, StateKey, StoredKey, corrupt, take};
use crate::Result;

/// Big endian, with the sign bit flipped (xor with `$flip`), so that bytes sort as the numbers do.
macro_rules! integer {
    ($($type:ident / $flip:expr),*) => {$(
        stored_as_itself!($type);

        impl StateKey for $type {
            type Stored = Self;

            fn schema() -> String {
                stringify!($type).to_owned()
            }

            #[inline]
            fn encode<B: KeyBuffer>(&self, out: &mut B) {
                out.extend_from_slice(&(self ^ $flip).to_be_bytes());
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self> {
                Ok($type::from_be_bytes(take(input)?) ^ $flip)
            }

            #[inline]
            fn with_encoded<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                read(&(self ^ $flip).to_be_bytes())
            }
        }
    )*};
}

integer!(u8 / 0, u16 / 0, u32 / 0, u64 / 0, u128 / 0);
integer!(i8 / i8::MIN, i16 / i16::MIN, i32 / i32::MIN, i64 / i64::MIN, i128 / i128::MIN);

stored_as_itself!(bool);

impl StateKey for bool {
    type Stored = Self;

    fn schema() -> String {
        "bool".to_owned()
    }

    #[inline]
    fn encode<B: KeyBuffer>(&self, out: &mut B) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self> {
        match take(input)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(corrupt("a bool is neither 0 nor 1")),
        }
    }
}

stored_as_itself!(char);

impl StateKey for char {
    type Stored = Self;

    fn schema() -> String {
        "char".to_owned()
    }

    #[inline]
    fn encode<B: KeyBuffer>(&self, out: &mut B) {
        u32::from(*self).encode(out);
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self> {
        char::from_u32(u32::decode(input)?).ok_or_else(|| corrupt("not a Unicode scalar value"))
    }
}

stored_as_itself!(());

impl StateKey for () {
    type Stored = Self;

    fn schema() -> String {
        "()".to_owned()
    }

    #[inline]
    fn encode<B: KeyBuffer>(&self, _out: &mut B) {}

    #[inline]
    fn decode(_input: &mut &[u8]) -> Result<Self> {
        Ok(())
    }

    #[inline]
    fn stable_hash(&self) -> u64 {
        0
    }
}

stored_as_itself!({const N: usize} [u8; N]);

impl<const N: usize> StateKey for [u8; N] {
    type Stored = Self;

    fn schema() -> String {
        format!("[u8;{N}]")
    }

    #[inline]
    fn encode<B: KeyBuffer>(&self, out: &mut B) {
        out.extend_from_slice(self);
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self> {
        take(input)
    }

    #[inline]
    fn with_encoded<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(self)
    }
}
