//! An estimate of the heap memory of a value, by what it shows to serde.

use serde::ser::{self, Serialize};

use crate::Error;

/// Bytes of strings, byte strings, and elements of sequences and maps; 0 at once for what needs no drop.
#[inline]
pub(super) fn heap_size<T: Serialize>(value: &T) -> usize {
    if !std::mem::needs_drop::<T>() {
        return 0;
    }
    let mut counter = Counter(0);
    // A value that does not serialize is counted as far as it does.
    let _ = value.serialize(&mut counter);
    counter.0
}

struct Counter(usize);

impl Counter {
    fn inside<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.0 += size_of_val(value);
        value.serialize(self)
    }
}

macro_rules! nothing {
    ($($method:ident($($argument:ty),*)),*) => {$(
        #[inline]
        fn $method(self, $(_: $argument),*) -> Result<(), Error> {
            Ok(())
        }
    )*};
}

macro_rules! parts {
    ($($method:ident($($argument:ty),*)),*) => {$(
        #[inline]
        fn $method(self, $(_: $argument),*) -> Result<Self, Error> {
            Ok(self)
        }
    )*};
}

impl ser::Serializer for &mut Counter {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    nothing!(
        serialize_bool(bool),
        serialize_char(char),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_none(),
        serialize_unit(),
        serialize_unit_struct(&'static str),
        serialize_unit_variant(&'static str, u32, &'static str)
    );

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.0 += value.len();
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.0 += value.len();
        Ok(())
    }

    /// `Display` is written into a string that is only for serde: nothing that the value owns.
    fn collect_str<T: std::fmt::Display + ?Sized>(self, _value: &T) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.inside(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.inside(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.inside(value)
    }

    parts!(
        serialize_seq(Option<usize>),
        serialize_tuple(usize),
        serialize_tuple_struct(&'static str, usize),
        serialize_tuple_variant(&'static str, u32, &'static str, usize),
        serialize_map(Option<usize>),
        serialize_struct(&'static str, usize),
        serialize_struct_variant(&'static str, u32, &'static str, usize)
    );
}

/// Of sequences and maps, each part is on the heap; of the others, it is in the value itself.
macro_rules! compound {
    ($($trait:ident: $($method:ident $(($name:ty))? by $count:ident),+);* $(;)?) => {$(
        impl ser::$trait for &mut Counter {
            type Ok = ();
            type Error = Error;

            $(
                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), Error> {
                    self.$count(value)
                }
            )+

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

compound! {
    SerializeSeq: serialize_element by element;
    SerializeMap: serialize_key by element, serialize_value by element;
    SerializeTuple: serialize_element by inside;
    SerializeTupleStruct: serialize_field by inside;
    SerializeTupleVariant: serialize_field by inside;
    SerializeStruct: serialize_field(&'static str) by inside;
    SerializeStructVariant: serialize_field(&'static str) by inside;
}
