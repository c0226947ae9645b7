//! How values become bytes.

use crate::Result;

/// How values of one state become bytes, and come back.
pub trait Codec<T>: Send + Sync + 'static {
    /// Identity and version of the format, written into every snapshot.
    fn id(&self) -> String;

    /// Appends the bytes of `value`; they need not tell where they end.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()>;

    /// Makes a value of exactly these bytes.
    fn decode(&self, input: &[u8]) -> Result<T>;

    /// Bytes that `value` owns on the heap, for accounting; an estimate will do.
    fn heap_size(&self, value: &T) -> usize;
}
