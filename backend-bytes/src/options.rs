use std::fmt;
use std::sync::Arc;

use super::ByteStore;
use backend_api::{CheckpointTarget, Error, ErrorKind, Result};

type OpenStore = dyn Fn(&str, u16) -> Result<Box<dyn ByteStore>> + Send + Sync;

/// Options of a [`ByteBackend`](super::ByteBackend).
#[derive(Clone)]
pub struct ByteOptions {
    open_store: Arc<OpenStore>,
    target: CheckpointTarget,
    entry_bytes_max: u64,
    cache_bytes: usize,
}

impl ByteOptions {
    /// The default limit of an entry's bytes, which is RocksDB's limit under Flink.
    pub const ENTRY_BYTES_MAX: u64 = 2_147_483_647;

    /// Checkpoints go to `target`. `open_store(operator, subtask)` opens an empty store that no other backend
    /// uses, not even one of the same name in this process.
    pub fn new(
        target: CheckpointTarget,
        open_store: impl Fn(&str, u16) -> Result<Box<dyn ByteStore>> + Send + Sync + 'static,
    ) -> Self {
        let entry_bytes_max = Self::ENTRY_BYTES_MAX;
        Self { open_store: Arc::new(open_store), target, entry_bytes_max, cache_bytes: 0 }
    }

    /// Sets the limit, in bytes, of key ([layout](super#layout)) and value of one entry together: 1 to
    /// 2,147,483,647, which is the default. An entry is a value, an accumulator, one element of a list, or
    /// one entry of a map.
    ///
    /// The same limit applies to all elements of one list with their lengths, and to all keys and values of
    /// one map. An addition beyond it is refused.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn with_entry_bytes_max(mut self, bytes: u64) -> Result<Self> {
        Self::check_entry_bytes_max(bytes)?;
        self.entry_bytes_max = bytes;
        Ok(self)
    }

    /// Sets the memory, in bytes, for decoded values. 0, the default, disables the cache. Accesses to cached
    /// values neither read the store nor write to it. Values, accumulators, elements and entries of up to
    /// 4,096 bytes are cached, and up to 16,384 bytes of each list or map.
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Checks a limit of an entry's bytes: 1 to 2,147,483,647.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn check_entry_bytes_max(bytes: u64) -> Result<()> {
        let max = Self::ENTRY_BYTES_MAX;
        if (1..=max).contains(&bytes) {
            return Ok(());
        }
        let message = format!("a limit of {bytes} bytes for an entry is not within 1 to {max} bytes");
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    pub(super) fn open_store(&self, operator: &str, subtask: u16) -> Result<Box<dyn ByteStore>> {
        (self.open_store)(operator, subtask)
    }

    /// The target of checkpoints.
    pub fn target(&self) -> &CheckpointTarget {
        &self.target
    }

    /// The memory for decoded values, in bytes.
    pub fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// The limit of key and value of one entry together, in bytes.
    pub fn entry_bytes_max(&self) -> u64 {
        self.entry_bytes_max
    }
}

impl fmt::Debug for ByteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ByteOptions");
        debug.field("target", &self.target).field("entry_bytes_max", &self.entry_bytes_max);
        debug.finish_non_exhaustive()
    }
}
