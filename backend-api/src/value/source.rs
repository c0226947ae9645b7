//! The sources of the parts of a value.

use super::error::ReadError;
use crate::shape::{Leaf, Shape};

pub(super) type Result<T> = std::result::Result<T, ReadError>;

/// A whole number of any width.
#[derive(Clone, Copy, Debug)]
pub(super) enum Integer {
    Signed(i128),
    Unsigned(u128),
}

/// Returns the parts of a value in the order of its shape.
pub(super) trait Source {
    fn integer(&mut self, leaf: Leaf) -> Result<Integer>;
    fn float(&mut self, leaf: Leaf) -> Result<f64>;
    fn bool(&mut self) -> Result<bool>;
    fn char(&mut self) -> Result<char>;
    fn text(&mut self) -> Result<&str>;
    fn bytes(&mut self) -> Result<&[u8]>;
    /// True if the option of this shape has a value.
    fn is_some(&mut self, option: &Shape) -> Result<bool>;
    /// Number of elements or entries of a list or map of this shape.
    fn len(&mut self, list: &Shape) -> Result<usize>;
    /// Index of the variant of an enum of this shape.
    fn variant(&mut self, variants: &Shape) -> Result<usize>;
    /// Number of remaining bytes. An element without bytes needs [`free`](Self::free).
    fn left(&self) -> usize;
    /// Allows an element without bytes, up to a limit.
    fn free(&mut self) -> Result<()>;
}

/// The encodings of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// That of [`PlainCodec`](crate::PlainCodec).
    Plain,
    /// That of [`SerdeCodec`](crate::SerdeCodec).
    Postcard,
}

/// Maximum number of elements without bytes in all lists of one value.
const FREE: usize = 1 << 16;

/// Encoded bytes.
pub(super) struct Input<'i> {
    encoding: Encoding,
    bytes: &'i [u8],
    free: usize,
}

impl<'i> Input<'i> {
    pub fn new(encoding: Encoding, bytes: &'i [u8]) -> Self {
        Self { encoding, bytes, free: FREE }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.bytes.split_first_chunk().ok_or_else(short)?;
        self.bytes = rest;
        Ok(*bytes)
    }

    fn varint(&mut self, bits: u32) -> Result<u128> {
        let mut number = 0_u128;
        for shift in (0..bits).step_by(7) {
            let [byte] = self.take()?;
            let part = u128::from(byte & 0x7F);
            if shift + 7 > bits && part >> (bits - shift) != 0 {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(ReadError::corrupt("a number has too many bits"))
    }

    /// The next `len` bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'i [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(short)?;
        self.bytes = rest;
        Ok(bytes)
    }

    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.varint(64)?).map_err(|_| short())
    }

    fn sized(&mut self) -> Result<&'i [u8]> {
        let len = self.size()?;
        self.raw(len)
    }
}

#[cold]
fn short() -> ReadError {
    ReadError::corrupt("a value ends too early")
}

impl Source for Input<'_> {
    #[inline]
    fn integer(&mut self, leaf: Leaf) -> Result<Integer> {
        use Integer::{Signed, Unsigned};
        let plain = self.encoding == Encoding::Plain;
        macro_rules! unsigned {
            ($type:ty) => {
                Unsigned(if plain {
                    <$type>::from_le_bytes(self.take()?).into()
                } else {
                    self.varint(<$type>::BITS)?
                })
            };
        }
        macro_rules! signed {
            ($type:ty) => {
                Signed(if plain {
                    <$type>::from_le_bytes(self.take()?).into()
                } else {
                    let zigzag = self.varint(<$type>::BITS)?;
                    (zigzag >> 1) as i128 ^ -((zigzag & 1) as i128)
                })
            };
        }
        Ok(match leaf {
            Leaf::U8 => Unsigned(u8::from_le_bytes(self.take()?).into()),
            Leaf::U16 => unsigned!(u16),
            Leaf::U32 => unsigned!(u32),
            Leaf::U64 => unsigned!(u64),
            Leaf::U128 => unsigned!(u128),
            Leaf::I8 => Signed(i8::from_le_bytes(self.take()?).into()),
            Leaf::I16 => signed!(i16),
            Leaf::I32 => signed!(i32),
            Leaf::I64 => signed!(i64),
            Leaf::I128 => signed!(i128),
            _ => return Err(ReadError::corrupt("no integer")),
        })
    }

    fn float(&mut self, leaf: Leaf) -> Result<f64> {
        match leaf {
            Leaf::F32 => Ok(f32::from_le_bytes(self.take()?).into()),
            _ => Ok(f64::from_le_bytes(self.take()?)),
        }
    }

    fn bool(&mut self) -> Result<bool> {
        match self.take()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(ReadError::corrupt("a bool or an option is neither 0 nor 1")),
        }
    }

    fn char(&mut self) -> Result<char> {
        let fault = || ReadError::corrupt("no character");
        if self.encoding == Encoding::Plain {
            return char::from_u32(u32::from_le_bytes(self.take()?)).ok_or_else(fault);
        }
        let mut chars = str::from_utf8(self.sized()?).map_err(|_| fault())?.chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => Ok(char),
            _ => Err(fault()),
        }
    }

    fn text(&mut self) -> Result<&str> {
        str::from_utf8(self.sized()?).map_err(|_| ReadError::corrupt("a string is not UTF-8"))
    }

    fn bytes(&mut self) -> Result<&[u8]> {
        self.sized()
    }

    fn is_some(&mut self, _option: &Shape) -> Result<bool> {
        self.bool()
    }

    fn len(&mut self, _list: &Shape) -> Result<usize> {
        let len = self.size()?;
        if len > self.bytes.len() + self.free {
            return Err(ReadError::corrupt("a length is beyond the data"));
        }
        Ok(len)
    }

    fn variant(&mut self, _variants: &Shape) -> Result<usize> {
        usize::try_from(self.varint(32)?).map_err(|_| short())
    }

    fn left(&self) -> usize {
        self.bytes.len()
    }

    fn free(&mut self) -> Result<()> {
        let left = self.free.checked_sub(1);
        self.free = left.ok_or_else(|| ReadError::corrupt("too many elements without bytes"))?;
        Ok(())
    }
}
