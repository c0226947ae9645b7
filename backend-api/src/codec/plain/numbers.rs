//! Numbers, `bool`, `char`, `()`.

use super::{Plain, check_count, corrupt, take_array, take_slice};
use crate::Result;

macro_rules! number {
    ($($type:ident),*) => {$(
        impl Plain for $type {
            const LEN_MIN: usize = size_of::<Self>();
            const IS_FIXED: bool = true;

            fn schema() -> String {
                stringify!($type).to_owned()
            }

            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn take(input: &mut &[u8]) -> Result<Self> {
                take_array(input).map(Self::from_le_bytes)
            }

            #[inline]
            fn put_all(values: &[Self], out: &mut Vec<u8>) {
                out.reserve(size_of_val(values));
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }

            #[inline]
            fn take_all(count: usize, input: &mut &[u8]) -> Result<Vec<Self>> {
                check_count::<Self>(count, input)?;
                let bytes = take_slice(count * Self::LEN_MIN, input)?;
                Ok(bytes.as_chunks().0.iter().copied().map(Self::from_le_bytes).collect())
            }
        }
    )*};
}

number!(i8, u16, i16, u32, i32, u64, i64, u128, i128, f32, f64);

/// Like the other numbers, but vectors are copied at once.
impl Plain for u8 {
    const LEN_MIN: usize = 1;
    const IS_FIXED: bool = true;

    fn schema() -> String {
        "u8".to_owned()
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<Self> {
        take_array(input).map(|[byte]| byte)
    }

    #[inline]
    fn put_all(values: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(values);
    }

    #[inline]
    fn take_all(count: usize, input: &mut &[u8]) -> Result<Vec<Self>> {
        take_slice(count, input).map(<[u8]>::to_vec)
    }
}

/// Types that are written as another type with more values.
macro_rules! written_as {
    ($($type:ident as $wide:ident: $to:expr, $from:expr);* $(;)?) => {$(
        impl Plain for $type {
            const LEN_MIN: usize = $wide::LEN_MIN;
            const IS_FIXED: bool = $wide::IS_FIXED;

            fn schema() -> String {
                stringify!($type).to_owned()
            }

            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                let wide: $wide = $to(*self);
                wide.put(out);
            }

            #[inline]
            fn take(input: &mut &[u8]) -> Result<Self> {
                let value: Option<Self> = $from($wide::take(input)?);
                value.ok_or_else(|| corrupt(concat!("not a ", stringify!($type))))
            }
        }
    )*};
}

written_as! {
    bool as u8: u8::from, |byte| match byte { 0 => Some(false), 1 => Some(true), _ => None };
    char as u32: u32::from, char::from_u32;
    usize as u64: |value| value as u64, |wide: u64| wide.try_into().ok();
    isize as i64: |value| value as i64, |wide: i64| wide.try_into().ok();
}

impl Plain for () {
    const LEN_MIN: usize = 0;
    const IS_FIXED: bool = true;

    fn schema() -> String {
        "()".to_owned()
    }

    #[inline]
    fn put(&self, _out: &mut Vec<u8>) {}

    #[inline]
    fn take(_input: &mut &[u8]) -> Result<Self> {
        Ok(())
    }
}
