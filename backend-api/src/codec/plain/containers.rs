//! Types composed of other plain types.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use super::{Plain, check_count, corrupt, put_len, take_array, take_len};
use crate::Result;

impl<T: Plain> Plain for Vec<T> {
    const LEN_MIN: usize = 1;

    fn schema() -> String {
        format!("[{}]", T::schema())
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        T::put_all(self, out);
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<Self> {
        let count = take_len(input)?;
        T::take_all(count, input)
    }

    #[inline]
    fn heap_size(&self) -> usize {
        let elements: usize =
            if std::mem::needs_drop::<T>() { self.iter().map(T::heap_size).sum() } else { 0 };
        self.len() * size_of::<T>() + elements
    }
}

impl<T: Plain, const N: usize> Plain for [T; N] {
    const LEN_MIN: usize = N * T::LEN_MIN;
    const IS_FIXED: bool = T::IS_FIXED;

    fn schema() -> String {
        format!("[{};{N}]", T::schema())
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        T::put_all(self, out);
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<Self> {
        T::take_all(N, input)?.try_into().map_err(|_| corrupt("an array has another length"))
    }

    #[inline]
    fn heap_size(&self) -> usize {
        self.iter().map(T::heap_size).sum()
    }
}

impl<T: Plain> Plain for Option<T> {
    const LEN_MIN: usize = 1;

    fn schema() -> String {
        format!("option<{}>", T::schema())
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(out);
        }
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<Self> {
        match take_array(input)? {
            [0] => Ok(None),
            [1] => T::take(input).map(Some),
            _ => Err(corrupt("an option is neither 0 nor 1")),
        }
    }

    #[inline]
    fn heap_size(&self) -> usize {
        self.as_ref().map_or(0, T::heap_size)
    }
}

impl<T: Plain> Plain for Box<T> {
    const LEN_MIN: usize = T::LEN_MIN;
    const IS_FIXED: bool = T::IS_FIXED;

    fn schema() -> String {
        T::schema()
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<Self> {
        T::take(input).map(Self::new)
    }

    #[inline]
    fn heap_size(&self) -> usize {
        size_of::<T>() + (**self).heap_size()
    }
}

/// The entries in the map's order.
macro_rules! map {
    ($type:ty, [$($key:tt)+] $(, $hasher:ident: $($bound:tt)+)?) => {
        impl<K: Plain + $($key)+, V: Plain $(, $hasher: $($bound)+)?> Plain for $type {
            const LEN_MIN: usize = 1;

            fn schema() -> String {
                format!("map<{},{}>", K::schema(), V::schema())
            }

            fn put(&self, out: &mut Vec<u8>) {
                put_len(self.len(), out);
                for (key, value) in self {
                    key.put(out);
                    value.put(out);
                }
            }

            fn take(input: &mut &[u8]) -> Result<Self> {
                let count = take_len(input)?;
                check_count::<(K, V)>(count, input)?;
                let entries: Self = (0..count).map(|_| <(K, V)>::take(input)).collect::<Result<_>>()?;
                if entries.len() == count { Ok(entries) } else { Err(corrupt("a map has a key twice")) }
            }

            fn heap_size(&self) -> usize {
                let inside: usize = self.iter().map(|(key, value)| key.heap_size() + value.heap_size()).sum();
                self.len() * size_of::<(K, V)>() + inside
            }
        }
    };
}

map!(BTreeMap<K, V>, [Ord]);
map!(HashMap<K, V, S>, [Eq + Hash], S: BuildHasher + Default + Send + Sync + 'static);

macro_rules! tuple {
    ($($part:ident.$index:tt),+) => {
        impl<$($part: Plain),+> Plain for ($($part,)+) {
            const LEN_MIN: usize = 0 $(+ $part::LEN_MIN)+;
            const IS_FIXED: bool = true $(&& $part::IS_FIXED)+;

            fn schema() -> String {
                format!("({})", [$($part::schema()),+].join(","))
            }

            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$index.put(out);)+
            }

            #[inline]
            fn take(input: &mut &[u8]) -> Result<Self> {
                Ok(($($part::take(input)?,)+))
            }

            #[inline]
            fn heap_size(&self) -> usize {
                0 $(+ self.$index.heap_size())+
            }
        }
    };
}

tuple!(A.0, B.1);
tuple!(A.0, B.1, C.2);
tuple!(A.0, B.1, C.2, D.3);
tuple!(A.0, B.1, C.2, D.3, E.4);
tuple!(A.0, B.1, C.2, D.3, E.4, F.5);
