//! Restores whose key groups are shared out among threads.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backend_api::{
    Codec, Error, ErrorKind, JobFolder, KeySpace, KeyedStateHandle, ListDescriptor, ListState, MemoryStorage,
    Result, SnapshotRequest, StateBackend, StateInfo, Subtask, ValueDescriptor, ValueState,
};
use backend_fs::{FsBackend, FsOptions};

const KEYS: u32 = 5_000;
/// A value in every checkpoint of these tests.
const REFUSED: u32 = 2_501;

fn options(storage: Arc<MemoryStorage>) -> FsOptions {
    FsOptions::new(storage, JobFolder::new("job").unwrap()).with_incremental(true)
}

fn open(options: &FsOptions, handle: &[KeyedStateHandle]) -> FsBackend<u32> {
    let subtask = Subtask::single("op", KeySpace::new(16).unwrap()).unwrap();
    FsBackend::open(options, subtask, handle).unwrap()
}

/// A codec that fails to decode one value.
struct Picky(Arc<dyn Codec<u32>>);

impl Codec<u32> for Picky {
    fn id(&self) -> String {
        self.0.id()
    }

    fn encode(&self, value: &u32, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32> {
        match self.0.decode(bytes)? {
            REFUSED => Err(Error::new(ErrorKind::Codec, "not this one")),
            value => Ok(value),
        }
    }

    fn heap_size(&self, value: &u32) -> usize {
        self.0.heap_size(value)
    }
}

/// Values and lists of several checkpoints: a full one, and increments with changes and removals.
fn checkpoint(options: &FsOptions) -> KeyedStateHandle {
    let mut backend = open(options, &[]);
    let values = backend.register(ValueDescriptor::<u32>::new("values")).unwrap();
    let lists = backend.register(ListDescriptor::<String>::new("lists")).unwrap();
    let mut last = None;
    for id in 1..=3_u32 {
        for key in (0..KEYS).step_by(id as usize) {
            let context = backend.key(&key).unwrap();
            if id == 3 && key % 2 == 0 {
                backend.value(values, context, &()).unwrap().clear().unwrap();
            } else {
                backend.value(values, context, &()).unwrap().set(key).unwrap();
            }
            backend.list(lists, context, &()).unwrap().add(format!("{key} in {id}")).unwrap();
        }
        last = backend.snapshot(SnapshotRequest::new(id.into())).unwrap().run().unwrap();
        backend.notify_complete(id.into()).unwrap();
    }
    last.unwrap()
}

/// The state of a key.
type Entry = (Option<u32>, Vec<String>);

/// The content of a backend restored from the checkpoint, and the information about its states.
fn contents(options: &FsOptions, handle: &KeyedStateHandle) -> (Vec<Entry>, Vec<StateInfo>) {
    let mut backend = open(options, std::slice::from_ref(handle));
    let values = backend.register(ValueDescriptor::<u32>::new("values")).unwrap();
    let lists = backend.register(ListDescriptor::<String>::new("lists")).unwrap();
    let of = |key| {
        let context = backend.key(&key).unwrap();
        let value = backend.value(values, context, &()).unwrap().get().unwrap();
        (value, backend.list(lists, context, &()).unwrap().get().unwrap())
    };
    let entries = (0..KEYS).map(of).collect();
    (entries, backend.states())
}

#[test]
fn restores_with_any_number_of_threads_agree() {
    let options = options(Arc::default());
    let handle = checkpoint(&options);
    let alone = contents(&options, &handle);
    let removed = alone.0.iter().filter(|(value, _)| value.is_none()).count();
    assert_eq!(removed, KEYS.div_ceil(6) as usize);
    for threads in [2, 3, 100] {
        let shared = options.clone().with_restore_threads(threads).unwrap();
        assert_eq!(contents(&shared, &handle), alone, "{threads} threads");
    }
    assert_eq!(options.with_restore_threads(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_budget_includes_state_restored_by_threads() {
    let options = options(Arc::default());
    let handle = checkpoint(&options);
    let held: u64 = contents(&options, &handle).1.iter().map(|state| state.bytes).sum();
    let shared = options.with_restore_threads(3).unwrap().with_memory_budget(held).unwrap();
    let mut backend = open(&shared, &[handle]);
    let values = backend.register(ValueDescriptor::<u32>::new("values")).unwrap();
    backend.register(ListDescriptor::<String>::new("lists")).unwrap();
    let refused = (KEYS..).find_map(|key| {
        let context = backend.key(&key).unwrap();
        backend.value(values, context, &()).unwrap().set(0).err()
    });
    assert_eq!(refused.unwrap().kind(), ErrorKind::Size);
}

#[test]
fn an_error_of_a_restore_thread_fails_the_registration() {
    let options = options(Arc::default());
    let handle = checkpoint(&options);
    let mut backend = open(&options.with_restore_threads(4).unwrap(), &[handle]);
    let codec = Arc::clone(ValueDescriptor::<u32>::new("values").codec());
    let picky = ValueDescriptor::<u32>::with_codec("values", Arc::new(Picky(codec)));
    let error = backend.register(picky).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains("values"), "{error}");
    // Nothing is lost: the state can be registered with a codec that decodes the value.
    let values = backend.register(ValueDescriptor::<u32>::new("values")).unwrap();
    let key = backend.key(&REFUSED).unwrap();
    assert_eq!(backend.value(values, key, &()).unwrap().get().unwrap(), Some(REFUSED));
}
