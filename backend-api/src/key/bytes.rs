//! Keys of varying length: strings and byte strings.
//!
//! A byte 00 is written as 00 FF. The end is 00 01, which is less than anything that continues a longer
//! string. In the last position the bytes are written unchanged.

use std::sync::Arc;

use super::{Borrowed, BorrowedKey, KeyBuffer, LookupKey, StateKey, StoredBytes, StoredText, corrupt};
use crate::Result;

const ESCAPED_ZERO: u8 = 0xFF;
const END: [u8; 2] = [0x00, 0x01];

/// Appends `bytes`, escaped and terminated.
#[inline]
pub(super) fn escape<B: KeyBuffer>(bytes: &[u8], out: &mut B) {
    if bytes.contains(&0) {
        for piece in bytes.split_inclusive(|byte| *byte == 0) {
            out.extend_from_slice(piece);
            if piece.ends_with(&[0]) {
                out.push(ESCAPED_ZERO);
            }
        }
    } else {
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&END);
}

/// Takes an escaped byte string off the front of `input`.
#[inline]
pub(super) fn unescape(input: &mut &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let zero = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
        match input.split_at(zero) {
            (piece, [0x00, 0x01, rest @ ..]) => {
                bytes.extend_from_slice(piece);
                *input = rest;
                return Ok(bytes);
            }
            (piece, [0x00, ESCAPED_ZERO, rest @ ..]) => {
                bytes.extend_from_slice(piece);
                bytes.push(0);
                *input = rest;
            }
            (_, []) => return Err(corrupt("a string key has no end")),
            _ => return Err(corrupt("a string key has a byte 00 that is not escaped")),
        }
    }
}

pub(super) fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| corrupt("a string key is not UTF-8").with_source(error))
}

macro_rules! byte_string {
    ($schema:literal, $stored:ty, $from:path: $($type:ty),*) => {$(
        impl StateKey for $type {
            type Stored = $stored;

            fn schema() -> String {
                $schema.to_owned()
            }

            #[inline]
            fn encode<B: KeyBuffer>(&self, out: &mut B) {
                escape(self[..].as_ref(), out);
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self> {
                $from(unescape(input)?).map(Self::from)
            }

            #[inline]
            fn encode_last<B: KeyBuffer>(&self, out: &mut B) {
                out.extend_from_slice(self[..].as_ref());
            }

            #[inline]
            fn decode_last(input: &[u8]) -> Result<Self> {
                $from(input.to_vec()).map(Self::from)
            }

            #[inline]
            fn complete(last: &[u8], out: &mut Vec<u8>) -> Result<()> {
                escape(last, out);
                Ok(())
            }

            #[inline]
            fn with_encoded<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                read(self[..].as_ref())
            }
        }
    )*};
}

byte_string!("string", StoredText, text: String, Box<str>, Arc<str>);
byte_string!("bytes", StoredBytes, Ok: Vec<u8>, Box<[u8]>, Arc<[u8]>);

macro_rules! borrowed {
    ($($type:ty),*) => {$(
        impl BorrowedKey for $type {
            #[inline]
            fn encode_key<B: KeyBuffer>(&self, out: &mut B) {
                escape(self.as_ref(), out);
            }

            #[inline]
            fn check_key(&self) -> Result<()> {
                Ok(())
            }

            #[inline]
            fn with_encoded_key<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                read(self.as_ref())
            }

            #[inline]
            fn key_hash(&self) -> u64 {
                super::hash(self.as_ref())
            }
        }
    )*};
}

borrowed!(str, [u8]);

macro_rules! found_by {
    (@one $key:ty => $({const $n:ident: usize})? $form:ty) => {
        impl $(<const $n: usize>)? LookupKey<$key> for $form {
            #[inline(always)]
            fn lookup(&self) -> &Borrowed<$key> {
                self
            }
        }
    };
    ($($key:ty),* => $form:ty) => {$(
        found_by!(@one $key => $form);
    )*};
}

found_by!(String, Box<str>, Arc<str> => str);
found_by!(Vec<u8>, Box<[u8]>, Arc<[u8]> => [u8]);
found_by!(@one Vec<u8> => {const N: usize} [u8; N]);
found_by!(@one Box<[u8]> => {const N: usize} [u8; N]);
found_by!(@one Arc<[u8]> => {const N: usize} [u8; N]);
