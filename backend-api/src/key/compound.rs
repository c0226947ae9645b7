//! Keys made of keys: `Option` and tuples.

use super::forms::sealed::Sealed;
use super::{EncodedKey, KeyBuffer, StateKey, StoredKey, corrupt, take};
use crate::Result;

/// 00 for `None`; 01 and the value for `Some`.
impl<K: StateKey> StateKey for Option<K> {
    type Stored = EncodedKey;

    fn schema() -> String {
        format!("option<{}>", K::schema())
    }

    fn check_type() -> Result<()> {
        K::check_type()
    }

    #[inline]
    fn encode<B: KeyBuffer>(&self, out: &mut B) {
        out.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.encode(out);
        }
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self> {
        match take(input)? {
            [0] => Ok(None),
            [1] => K::decode(input).map(Some),
            _ => Err(corrupt("an option is neither 0 nor 1")),
        }
    }

    #[inline]
    fn check(&self) -> Result<()> {
        self.as_ref().map_or(Ok(()), K::check)
    }

    #[inline]
    fn encode_last<B: KeyBuffer>(&self, out: &mut B) {
        out.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.encode_last(out);
        }
    }

    #[inline]
    fn decode_last(input: &[u8]) -> Result<Self> {
        match input {
            [0] => Ok(None),
            [1, rest @ ..] => K::decode_last(rest).map(Some),
            _ => Err(corrupt("an option is neither 0 nor 1")),
        }
    }
}

/// The parts in order.
macro_rules! tuple {
    ($format:literal, $($part:ident.$index:tt),+; $last:ident.$last_index:tt) => {
        impl<$($part: Sealed,)+ $last: Sealed> Sealed for ($($part,)+ $last) {}

        impl<$($part: StateKey,)+ $last: StateKey> StoredKey<($($part,)+ $last)>
            for ($($part::Stored,)+ $last::Stored)
        {
            type Borrowed = ($($part,)+ $last);

            #[inline(always)]
            fn borrow(key: &($($part,)+ $last)) -> &Self::Borrowed {
                key
            }

            #[inline]
            fn store_borrowed(key: &($($part,)+ $last)) -> Self {
                ($($part::Stored::store(&key.$index),)+ $last::Stored::store(&key.$last_index))
            }

            #[inline]
            fn matches_borrowed(&self, key: &($($part,)+ $last)) -> bool {
                $(self.$index.matches(&key.$index) &&)+ self.$last_index.matches(&key.$last_index)
            }

            #[inline]
            fn load(&self) -> Result<($($part,)+ $last)> {
                Ok(($(self.$index.load()?,)+ self.$last_index.load()?))
            }

            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) -> Result<()> {
                $(StoredKey::<$part>::encode_key(&self.$index, out)?;)+
                StoredKey::<$last>::encode_key(&self.$last_index, out)
            }

            #[inline]
            fn heap_size(&self) -> usize {
                $(StoredKey::<$part>::heap_size(&self.$index) +)+
                    StoredKey::<$last>::heap_size(&self.$last_index)
            }
        }

        impl<$($part: StateKey,)+ $last: StateKey> StateKey for ($($part,)+ $last) {
            type Stored = ($($part::Stored,)+ $last::Stored);

            fn schema() -> String {
                format!($format, $($part::schema(),)+ $last::schema())
            }

            fn check_type() -> Result<()> {
                $($part::check_type()?;)+
                $last::check_type()
            }

            #[inline]
            fn encode<BUFFER: KeyBuffer>(&self, out: &mut BUFFER) {
                $(self.$index.encode(out);)+
                self.$last_index.encode(out);
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self> {
                Ok(($($part::decode(input)?,)+ $last::decode(input)?))
            }

            #[inline]
            fn check(&self) -> Result<()> {
                $(self.$index.check()?;)+
                self.$last_index.check()
            }

            #[inline]
            fn encode_last<BUFFER: KeyBuffer>(&self, out: &mut BUFFER) {
                $(self.$index.encode(out);)+
                self.$last_index.encode_last(out);
            }

            #[inline]
            fn decode_last(mut input: &[u8]) -> Result<Self> {
                Ok(($($part::decode(&mut input)?,)+ $last::decode_last(input)?))
            }
        }
    };
}

tuple!("({},{})", A.0; B.1);
tuple!("({},{},{})", A.0, B.1; C.2);
tuple!("({},{},{},{})", A.0, B.1, C.2; D.3);
