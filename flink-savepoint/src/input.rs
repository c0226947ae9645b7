//! Big-endian fields, as Java's `DataOutputStream` writes them.

use backend_api::{Error, ErrorKind, Result};

use crate::text::from_modified_utf8;

/// Takes fields off the front of bytes. No length is believed that the bytes do not have.
#[derive(Clone, Debug)]
pub(crate) struct Input<'b> {
    bytes: &'b [u8],
    at: usize,
}

macro_rules! number {
    ($($name:ident: $type:ty),+) => {
        $(#[inline]
        pub(crate) fn $name(&mut self) -> Result<$type> {
            self.array().map(<$type>::from_be_bytes)
        })+
    };
}

impl<'b> Input<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Number of bytes taken so far.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    number!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, u64: u64, i64: i64);

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest().first_chunk() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.short(N)),
        }
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'b [u8]> {
        let taken = self.rest().get(..len).ok_or_else(|| self.short(len))?;
        self.at += len;
        Ok(taken)
    }

    #[cold]
    fn short(&self, len: usize) -> Error {
        corrupt(format!("{len} bytes are expected, {} are left", self.left()))
    }

    /// A byte that is 0 or 1.
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(corrupt(format!("a boolean is {other}"))),
        }
    }

    /// A length or number of elements, each of at least `unit` bytes.
    pub(crate) fn len(&mut self, unit: usize) -> Result<usize> {
        let len = self.i32()?;
        match usize::try_from(len) {
            Ok(number) if number.checked_mul(unit).is_some_and(|bytes| bytes <= self.left()) => Ok(number),
            _ => Err(corrupt(format!("a length is {len}, and {} bytes are left", self.left()))),
        }
    }

    /// Bytes after their length.
    pub(crate) fn framed(&mut self) -> Result<&'b [u8]> {
        let len = self.len(1)?;
        self.take(len)
    }

    /// `writeUTF`: a length of 16 bits and modified UTF-8.
    pub(crate) fn utf(&mut self) -> Result<String> {
        let len = self.u16()?;
        from_modified_utf8(self.take(len.into())?).ok_or_else(|| corrupt("a name is not modified UTF-8"))
    }

    /// The `writeUTF` of an optional text: an empty one is none.
    pub(crate) fn optional_utf(&mut self) -> Result<Option<String>> {
        Ok(Some(self.utf()?).filter(|text| !text.is_empty()))
    }

    /// Seven bits per byte, the lowest first.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            let bits = u32::from(byte & 0x7F);
            if shift == 28 && bits > 0x0F {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(corrupt("a number of variable length is too long"))
    }
}

#[cold]
pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cold]
pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}
