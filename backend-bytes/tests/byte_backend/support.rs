//! Backends, keys and codecs for the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{
    CheckpointTarget, Codec, Error, ErrorKind, JobFolder, KeyContext, KeySpace, KeyedStateHandle,
    MemoryStorage, Plain, PlainCodec, Result, SnapshotRequest, StateBackend, Subtask,
};
use backend_bytes::{BTreeStore, ByteBackend, ByteCursor, ByteOptions, ByteSnapshot, ByteStore, WriteBatch};

pub type Backend = ByteBackend<String>;

pub const GROUPS: u16 = 10;

pub fn subtask(parallelism: u16, index: u16) -> Subtask<String> {
    Subtask::new("op", KeySpace::new(GROUPS).unwrap(), parallelism, index).unwrap()
}

pub fn in_memory() -> ByteOptions {
    let target = CheckpointTarget::memory(1 << 30).unwrap();
    ByteOptions::new(target, |_, _| Ok(Box::new(BTreeStore::default())))
}

/// Checkpoints in files of the storage, of any size.
pub fn in_files(storage: &Arc<MemoryStorage>) -> ByteOptions {
    let target = CheckpointTarget::files(Arc::clone(storage) as _, JobFolder::new("job").unwrap());
    ByteOptions::new(target.with_inline_max(0).unwrap(), |_, _| Ok(Box::new(BTreeStore::default())))
}

pub fn open(options: &ByteOptions, restore: &[KeyedStateHandle]) -> Backend {
    ByteBackend::open(options, subtask(1, 0), restore).unwrap()
}

pub fn key(text: &str) -> String {
    text.to_owned()
}

pub fn context(key: &String) -> KeyContext<'_, String> {
    // Contexts do not borrow the subtask, so a static one serves all backends of the same max parallelism.
    static SPACE: std::sync::LazyLock<KeySpace<String>> =
        std::sync::LazyLock::new(|| KeySpace::new(GROUPS).unwrap());
    SPACE.key(key).unwrap()
}

pub fn snapshot<B: StateBackend>(backend: &mut B, id: u64) -> KeyedStateHandle {
    backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap()
}

/// Refuses the number 13.
pub struct NoThirteen;

impl Codec<u64> for NoThirteen {
    fn id(&self) -> String {
        "no thirteen".to_owned()
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<()> {
        if *value == 13 {
            return Err(Error::new(ErrorKind::Codec, "thirteen"));
        }
        value.put(out);
        Ok(())
    }

    fn decode(&self, input: &[u8]) -> Result<u64> {
        PlainCodec.decode(input)
    }

    fn heap_size(&self, _value: &u64) -> usize {
        0
    }
}

/// A store that fails at its n-th call (0: the next one), at all later ones, and before anything is changed.
#[derive(Clone)]
pub struct Failing {
    pub inner: BTreeStore,
    pub calls_left: Arc<AtomicU64>,
}

impl Failing {
    fn call(&self) -> Result<()> {
        let left = |left: u64| left.checked_sub(1);
        match self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(ErrorKind::Io, "the disk is gone")),
        }
    }
}

impl ByteStore for Failing {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.call()?;
        self.inner.get(key, read)
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        self.call()?;
        Ok(Box::new(FailingCursor { store: self, inner: ByteStore::scan(&self.inner, from, to)? }))
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        self.call()?;
        self.inner.write(batch)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.call()?;
        Ok(Box::new(self.clone()))
    }
}

impl ByteSnapshot for Failing {
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        ByteStore::scan(self, from, to)
    }
}

struct FailingCursor<'s> {
    store: &'s Failing,
    inner: Box<dyn ByteCursor + 's>,
}

impl ByteCursor for FailingCursor<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.store.call()?;
        self.inner.next()
    }
}
