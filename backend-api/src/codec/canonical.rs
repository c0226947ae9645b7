//! A codec of canonical values.

use std::cell::Cell;
use std::sync::Arc;

use super::Codec;
use crate::{Result, ValueSchema};

/// Writes the values of a codec in their canonical form.
struct CanonicalCodec<T> {
    codec: Arc<dyn Codec<T>>,
    schema: ValueSchema,
}

/// The codec that writes the values of `codec` in their [canonical form](ValueSchema::encode_canonical), for canonical
/// savepoints. A user's codec whose id does not tell what its values consist of is returned unchanged.
pub fn canonical_codec<T: 'static>(codec: &Arc<dyn Codec<T>>) -> Arc<dyn Codec<T>> {
    match ValueSchema::parse(&codec.id()) {
        Ok(schema) => Arc::new(CanonicalCodec { codec: Arc::clone(codec), schema }),
        Err(_) => Arc::clone(codec),
    }
}

impl<T: 'static> Codec<T> for CanonicalCodec<T> {
    fn id(&self) -> String {
        self.codec.id()
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        with_scratch(|bytes| {
            self.codec.encode(value, bytes)?;
            let start = out.len();
            self.schema.encode_canonical(bytes, out).inspect_err(|_| out.truncate(start))
        })
    }

    fn decode(&self, input: &[u8]) -> Result<T> {
        with_scratch(|bytes| {
            self.schema.decode_canonical(input, bytes)?;
            self.codec.decode(bytes)
        })
    }

    fn heap_size(&self, value: &T) -> usize {
        self.codec.heap_size(value)
    }
}

/// Calls `f` with an empty buffer, whose memory is kept for the next call.
pub fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    /// Larger buffers are freed.
    const KEPT_BYTES: usize = 1 << 20;
    thread_local! {
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = SCRATCH.take();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES {
        SCRATCH.set(buffer);
    }
    result
}
