//! Limits of the memory backend: bytes of a checkpoint, and bytes in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backend_api::{
    Codec, ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, Result, SnapshotRequest,
    StateBackend, Subtask, ValueDescriptor, ValueState,
};
use backend_memory::{MemoryBackend, MemoryOptions};

fn open(options: &MemoryOptions) -> MemoryBackend<u32> {
    let subtask = Subtask::single("op", KeySpace::new(4).unwrap()).unwrap();
    MemoryBackend::open(options, subtask, &[]).unwrap()
}

/// Writes `bytes` bytes under a key.
fn put(backend: &mut MemoryBackend<u32>, key: u32, bytes: usize) -> Result<()> {
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("value"))?;
    let key = backend.key(&key)?;
    backend.value(token, key, &())?.set(vec![7; bytes])
}

fn get(backend: &mut MemoryBackend<u32>, key: u32) -> Option<usize> {
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("value")).unwrap();
    let key = backend.key(&key).unwrap();
    backend.value(token, key, &()).unwrap().get().unwrap().map(|value| value.len())
}

fn held(backend: &MemoryBackend<u32>) -> u64 {
    backend.states().iter().map(|state| state.bytes).sum()
}

#[test]
fn a_checkpoint_of_more_than_five_mebibytes_is_refused() {
    let mut backend = open(&MemoryOptions::default());
    // Measures the file's overhead with a value of nearly that size.
    put(&mut backend, 1, 5_000_000).unwrap();
    let handle = backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap().unwrap();
    let beside = handle.full_size() - 5_000_000;

    put(&mut backend, 1, (5_242_880 - beside) as usize).unwrap();
    let handle = backend.snapshot(SnapshotRequest::new(2)).unwrap().run().unwrap().unwrap();
    assert_eq!(handle.full_size(), 5_242_880);

    put(&mut backend, 1, (5_242_881 - beside) as usize).unwrap();
    let error = backend.snapshot(SnapshotRequest::new(3)).unwrap().run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    assert!(
        error.message().contains("5242881 bytes") && error.message().contains("5242880 bytes"),
        "{error}"
    );

    // The backend continues, and a smaller state is written in full.
    put(&mut backend, 1, 10).unwrap();
    let handle = backend.snapshot(SnapshotRequest::new(4)).unwrap().run().unwrap().unwrap();
    let subtask = Subtask::single("op", KeySpace::new(4).unwrap()).unwrap();
    let mut restored = MemoryBackend::open(&MemoryOptions::default(), subtask, &[handle]).unwrap();
    assert_eq!(get(&mut restored, 1), Some(10));
}

/// A codec that reports the largest possible size for every value.
struct Boundless(Arc<dyn Codec<String>>);

impl Codec<String> for Boundless {
    fn id(&self) -> String {
        self.0.id()
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<String> {
        self.0.decode(bytes)
    }

    fn heap_size(&self, _: &String) -> usize {
        usize::MAX
    }
}

#[test]
fn sizes_saturate() {
    let descriptor = || {
        let plain = ValueDescriptor::<String>::new("value");
        ValueDescriptor::with_codec("value", Arc::new(Boundless(Arc::clone(plain.codec()))))
    };
    let mut backend = open(&MemoryOptions::default());
    let token = backend.register(descriptor()).unwrap();
    for key in 0..20 {
        let key = backend.key(&key).unwrap();
        backend.value(token, key, &()).unwrap().set("x".to_owned()).unwrap();
    }
    assert_eq!(held(&backend), u64::MAX);
    let handle = backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap().unwrap();
    let subtask = Subtask::single("op", KeySpace::new(4).unwrap()).unwrap();
    let mut restored = MemoryBackend::<u32>::open(&MemoryOptions::default(), subtask, &[handle]).unwrap();
    restored.register(descriptor()).unwrap();
    assert_eq!(held(&restored), u64::MAX);
}

#[test]
fn limits_of_zero_are_refused() {
    let options = MemoryOptions::default;
    assert_eq!(options().with_max_state_bytes(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(options().with_memory_budget(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_write_beyond_the_budget_is_refused_and_changes_nothing() {
    let mut backend = open(&MemoryOptions::default().with_memory_budget(1 << 20).unwrap());
    put(&mut backend, 1, 500_000).unwrap();
    let before = held(&backend);
    let error = put(&mut backend, 2, 700_000).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Size, Some("value")));
    assert!(error.message().contains(&before.to_string()) && error.message().contains("1048576"), "{error}");
    assert_eq!(put(&mut backend, 1, 1_200_000).unwrap_err().kind(), ErrorKind::Size);
    assert_eq!((get(&mut backend, 1), get(&mut backend, 2)), (Some(500_000), None));
    assert_eq!(held(&backend), before);
    // Freed bytes can be used again.
    put(&mut backend, 1, 10).unwrap();
    put(&mut backend, 2, 700_000).unwrap();
}

#[test]
fn all_kinds_of_state_share_the_budget() {
    let mut backend = open(&MemoryOptions::default().with_memory_budget(200_000).unwrap());
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<u32, String>::new("map")).unwrap();
    put(&mut backend, 1, 100_000).unwrap();
    let key = backend.key(&1).unwrap();
    let text = "x".repeat(1000);
    let added =
        (0..1000).take_while(|_| backend.list(list, key, &()).unwrap().add(text.clone()).is_ok()).count();
    assert!((50..100).contains(&added), "{added}");
    assert_eq!(backend.list(list, key, &()).unwrap().get().unwrap().len(), added);
    let refused = backend.map(map, key, &()).unwrap().put(1, text.repeat(5)).unwrap_err();
    assert_eq!((refused.kind(), refused.state()), (ErrorKind::Size, Some("map")));
    let refused = backend.map(map, key, &()).unwrap().update(1, |value| *value = Some(text.repeat(5)));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Size);
    assert!(backend.map(map, key, &()).unwrap().is_empty().unwrap());
    assert!(held(&backend) <= 200_000);
}

#[test]
fn clearing_all_state_leaves_only_empty_tables() {
    let mut backend = open(&MemoryOptions::default());
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<String, String>::new("map")).unwrap();
    let text = "x".repeat(100);
    for key in 0..10 {
        put(&mut backend, key, 1000).unwrap();
        let key = backend.key(&key).unwrap();
        for i in 0..50 {
            backend.list(list, key, &()).unwrap().add(text.clone()).unwrap();
            backend.map(map, key, &()).unwrap().put(format!("entry {i}"), text.clone()).unwrap();
            backend
                .map(map, key, &())
                .unwrap()
                .update(format!("entry {i}"), |v| *v = Some("y".into()))
                .unwrap();
        }
    }
    let full = held(&backend);
    assert!(full > 10 * (1000 + 50 * 100), "{full}");
    for key in 0..10 {
        let token = backend.register(ValueDescriptor::<Vec<u8>>::new("value")).unwrap();
        let key = backend.key(&key).unwrap();
        backend.value(token, key, &()).unwrap().clear().unwrap();
        backend.list(list, key, &()).unwrap().clear().unwrap();
        for i in 0..50 {
            backend.map(map, key, &()).unwrap().remove(&format!("entry {i}")).unwrap();
        }
    }
    // The same tables after one entry was added and removed in each group.
    assert!(backend.states().iter().all(|state| state.entries == Some(0)));
    assert!(held(&backend) < 20_000, "{}", held(&backend));
}
