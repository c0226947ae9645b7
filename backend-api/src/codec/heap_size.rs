//! Estimates the heap memory of a value from its serialization.

use serde::ser::{self, Serialize};

use crate::Error;

/// Bytes of strings, byte strings, and elements of sequences and maps. 0 for types without drop glue.
#[inline]
pub(super) fn heap_size<T: Serialize>(value: &T) -> usize {
    if !std::mem::needs_drop::<T>() {
        return 0;
    }
    let mut counter = Counter { size: 0, depth: 0 };
    // A value that fails to serialize is counted up to the failure.
    let _ = value.serialize(&mut counter);
    counter.size
}

/// Inline size of a string or vector.
const HANDLE: usize = size_of::<Vec<u8>>();

struct Counter {
    size: usize,
    /// Number of enclosing sequences and maps. Inside of one, inline parts are on the heap too.
    depth: usize,
}

impl Counter {
    #[inline]
    fn here(&mut self, size: usize) -> Result<(), Error> {
        if self.depth > 0 {
            self.size += size;
        }
        Ok(())
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<(), Error> {
        self.size += len;
        self.here(HANDLE)
    }

    #[inline]
    fn enter(&mut self) -> Result<&mut Self, Error> {
        self.here(HANDLE)?;
        self.depth += 1;
        Ok(self)
    }

    #[inline]
    fn leave(&mut self) -> Result<(), Error> {
        self.depth -= 1;
        Ok(())
    }
}

macro_rules! fixed_width {
    ($($method:ident: $type:ty),*) => {$(
        #[inline]
        fn $method(self, _value: $type) -> Result<(), Error> {
            self.here(size_of::<$type>())
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

    fixed_width!(
        serialize_bool: bool, serialize_char: char, serialize_f32: f32, serialize_f64: f64,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    );

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.bytes(value.len())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.bytes(value.len())
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Error> {
        self.here(size_of_val(&index))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.here(size_of_val(&index))?;
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, Error> {
        self.enter()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _len: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _len: usize,
    ) -> Result<Self, Error> {
        self.here(size_of_val(&index))?;
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, Error> {
        self.enter()
    }

    fn serialize_struct(self, _: &'static str, _len: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _len: usize,
    ) -> Result<Self, Error> {
        self.here(size_of_val(&index))?;
        Ok(self)
    }
}

macro_rules! compound {
    ($($trait:ident: $($method:ident $(($name:ty))?),+ => $end:expr);* $(;)?) => {$(
        impl ser::$trait for &mut Counter {
            type Ok = ();
            type Error = Error;

            $(
                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), Error> {
                    value.serialize(&mut **self)
                }
            )+

            #[inline]
            fn end(self) -> Result<(), Error> {
                $end(self)
            }
        }
    )*};
}

compound! {
    SerializeSeq: serialize_element => Counter::leave;
    SerializeMap: serialize_key, serialize_value => Counter::leave;
    SerializeTuple: serialize_element => |_| Ok(());
    SerializeTupleStruct: serialize_field => |_| Ok(());
    SerializeTupleVariant: serialize_field => |_| Ok(());
    SerializeStruct: serialize_field(&'static str) => |_| Ok(());
    SerializeStructVariant: serialize_field(&'static str) => |_| Ok(());
}
