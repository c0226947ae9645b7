//! The default codec of a type.

use std::any::{Any, TypeId};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, Plain, PlainCodec, SerdeCodec};

/// The codec of a state that names none: [`PlainCodec`] for numbers, `bool`, `char`, `()`, strings, and
/// vectors, options, pairs and triples of common ones, and [`SerdeCodec`] for the rest. The choice for a type
/// never changes, because it decides the meaning of bytes in files.
///
/// ```
/// use backend_api::default_codec;
///
/// assert_eq!(default_codec::<(u64, u64)>().id(), "plain:(u64,u64)");
/// assert_eq!(default_codec::<Vec<Vec<bool>>>().id(), "postcard/1:list<list<bool>>");
/// ```
pub fn default_codec<T: Serialize + DeserializeOwned + Send + Sync + 'static>() -> Arc<dyn Codec<T>> {
    macro_rules! first_of {
        ($($type:ty),*) => {$(
            if let Some(codec) = plain::<$type, T>() {
                return codec;
            }
        )*};
    }
    macro_rules! with_vec_and_option {
        ($($type:ty),*) => { first_of!($($type, Vec<$type>, Option<$type>),*) };
    }
    with_vec_and_option!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, bool, char, String);
    first_of!(usize, isize, (), Vec<Vec<u8>>, Option<Vec<u8>>);
    first_of!((u32, u32), (i32, i32), (u64, u64), (i64, i64), (f64, f64));
    first_of!((u64, i64), (i64, u64), (u64, f64), (f64, u64), (i64, f64), (f64, i64));
    first_of!((String, u64), (String, i64), (String, f64), (String, String));
    first_of!((u64, String), (i64, String), (u64, Vec<u8>), (i64, Vec<u8>));
    first_of!((u64, u64, u64), (i64, i64, i64), (f64, f64, f64), (i64, i64, u64), (u64, f64, f64));
    Arc::new(SerdeCodec::new())
}

/// The plain codec, if `P` is `T`.
fn plain<P: Plain, T: 'static>() -> Option<Arc<dyn Codec<T>>> {
    if TypeId::of::<P>() != TypeId::of::<T>() {
        return None;
    }
    let codec: Arc<dyn Codec<P>> = Arc::new(PlainCodec);
    (&codec as &dyn Any).downcast_ref::<Arc<dyn Codec<T>>>().cloned()
}
