//! The limit for all that one list or map has: what is within it is taken, and what is not is refused.

use std::collections::BTreeMap;

use backend_api::{
    Codec, ErrorKind, ListDescriptor, ListState, ListToken, MapDescriptor, MapState, MapToken, PlainCodec,
    StateBackend,
};
use backend_bytes::ByteOptions;
use proptest::prelude::*;

use crate::support::{Backend, context, in_memory, key, open, snapshot};

const LIMIT: u64 = 600;

/// Namespaces of one key.
const NAMESPACES: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Add(u8, Vec<u8>),
    Set(u8, Vec<u8>),
    ClearList(u8),
    Merge(u8, u8),
    Put(u8, Vec<(u8, u8)>),
    Remove(u8, u8),
    ClearMap(u8),
    /// Reads all, so that the cache knows it.
    Read(u8),
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (space, lengths) = (0..NAMESPACES, prop::collection::vec(0..120_u8, 1..4));
    let entries = prop::collection::vec((0..8_u8, 0..120_u8), 1..4);
    let step = prop_oneof![
        6 => (space.clone(), lengths.clone()).prop_map(|(space, lengths)| Step::Add(space, lengths)),
        2 => (space.clone(), lengths).prop_map(|(space, lengths)| Step::Set(space, lengths)),
        1 => space.clone().prop_map(Step::ClearList),
        1 => (space.clone(), space.clone()).prop_map(|(into, from)| Step::Merge(into, from)),
        6 => (space.clone(), entries).prop_map(|(space, entries)| Step::Put(space, entries)),
        2 => (space.clone(), 0..8_u8).prop_map(|(space, entry)| Step::Remove(space, entry)),
        1 => space.clone().prop_map(Step::ClearMap),
        2 => space.prop_map(Step::Read),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..120)
}

fn text(length: u8) -> String {
    "x".repeat(length.into())
}

fn size(length: u8) -> u64 {
    let mut bytes = Vec::new();
    PlainCodec.encode(&text(length), &mut bytes).unwrap();
    bytes.len() as u64
}

fn list_size(list: &[u8]) -> u64 {
    // Each with its length, which is one byte.
    list.iter().map(|length| 1 + size(*length)).sum()
}

fn map_size(map: &BTreeMap<u8, u8>) -> u64 {
    // Each with its map key.
    map.values().map(|length| 1 + size(*length)).sum()
}

/// Lists and maps of one key by their namespaces, as lengths of texts.
#[derive(Default)]
struct Model {
    lists: BTreeMap<u8, Vec<u8>>,
    maps: BTreeMap<u8, BTreeMap<u8, u8>>,
}

struct World {
    backend: Backend,
    list: ListToken<String, u8>,
    map: MapToken<u8, String, u8>,
    model: Model,
}

impl World {
    fn new(mut backend: Backend, model: Model) -> Self {
        let list = backend.register(ListDescriptor::<String>::new("list").namespaced()).unwrap();
        let map = backend.register(MapDescriptor::<u8, String>::new("map").namespaced()).unwrap();
        Self { backend, list, map, model }
    }

    /// What `new` is refused for, if it is not within the limit and more than `old` was.
    fn expect(result: backend_api::Result<()>, old: u64, new: u64) -> bool {
        let allowed = new <= LIMIT || new <= old;
        match result {
            Ok(()) => assert!(allowed, "{new} bytes after {old}"),
            Err(error) => {
                assert!(!allowed, "{new} bytes after {old}: {error}");
                assert_eq!(error.kind(), ErrorKind::Size);
                let text = error.to_string();
                assert!(text.contains(&format!("{new} bytes")) && text.contains("600 bytes"), "{text}");
                assert!(error.key_group().is_some() && error.state().is_some());
            }
        }
        allowed
    }

    fn apply(&mut self, step: Step) {
        let name = key("k");
        let k = context(&name);
        let Self { backend, list, map, model } = self;
        match step {
            Step::Add(space, lengths) => {
                let known = model.lists.entry(space).or_default();
                let next = [known.as_slice(), &lengths].concat();
                let mut view = backend.list(*list, k, &space).unwrap();
                let result = match &lengths[..] {
                    [one] => view.add(text(*one)),
                    many => view.add_all(many.iter().copied().map(text)),
                };
                if Self::expect(result, list_size(known), list_size(&next)) {
                    *known = next;
                }
            }
            Step::Set(space, lengths) => {
                let result = backend.list(*list, k, &space).unwrap().set(lengths.iter().copied().map(text));
                if Self::expect(result, 0, list_size(&lengths)) {
                    model.lists.insert(space, lengths);
                }
            }
            Step::ClearList(space) => {
                backend.list(*list, k, &space).unwrap().clear().unwrap();
                model.lists.remove(&space);
            }
            Step::Merge(into, from) if into != from => {
                let moved = model.lists.get(&from).cloned().unwrap_or_default();
                let known = model.lists.entry(into).or_default();
                let next = [known.as_slice(), &moved].concat();
                let result = backend.list(*list, k, &into).unwrap().merge_from(&[from]);
                if Self::expect(result, list_size(known), list_size(&next)) {
                    *known = next;
                    model.lists.remove(&from);
                }
            }
            Step::Merge(..) => {}
            Step::Put(space, entries) => {
                let known = model.maps.entry(space).or_default();
                let mut next = known.clone();
                next.extend(entries.iter().copied());
                let mut view = backend.map(*map, k, &space).unwrap();
                let result = match &entries[..] {
                    [(key, value)] => view.put(*key, text(*value)),
                    many => view.put_all(many.iter().map(|(key, value)| (*key, text(*value)))),
                };
                if Self::expect(result, map_size(known), map_size(&next)) {
                    *known = next;
                }
            }
            Step::Remove(space, entry) => {
                backend.map(*map, k, &space).unwrap().remove(&entry).unwrap();
                model.maps.entry(space).or_default().remove(&entry);
            }
            Step::ClearMap(space) => {
                backend.map(*map, k, &space).unwrap().clear().unwrap();
                model.maps.remove(&space);
            }
            Step::Read(space) => self.check(space),
            Step::Restore => {}
        }
    }

    fn check(&mut self, space: u8) {
        let name = key("k");
        let k = context(&name);
        let found = self.backend.list(self.list, k, &space).unwrap().get().unwrap();
        let lengths = found.iter().map(|text| text.len() as u8).collect::<Vec<_>>();
        assert_eq!(lengths, self.model.lists.get(&space).cloned().unwrap_or_default());
        let mut view = self.backend.map(self.map, k, &space).unwrap();
        let entries = view.iter().unwrap().map(|entry| entry.map(|(key, text)| (*key, text.len() as u8)));
        let entries: BTreeMap<u8, u8> = entries.collect::<Result<_, _>>().unwrap();
        assert_eq!(entries, self.model.maps.get(&space).cloned().unwrap_or_default());
    }
}

fn run(options: &ByteOptions, steps: Vec<Step>) {
    let mut world = World::new(open(options, &[]), Model::default());
    for (id, step) in (1..).zip(steps) {
        if let Step::Restore = step {
            let handle = snapshot(&mut world.backend, id);
            world = World::new(open(options, &[handle]), world.model);
        }
        world.apply(step);
    }
    (0..NAMESPACES).for_each(|space| world.check(space));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changes_above_the_limit_are_refused(
        steps in steps(),
        cache in prop::sample::select(vec![0, 1000, 1 << 20]),
    ) {
        run(&in_memory().with_entry_bytes_max(LIMIT).unwrap().with_cache_bytes(cache), steps);
    }
}

#[test]
fn entries_can_be_replaced_again_and_again() {
    for cache in [0, 1000, 1 << 20] {
        let options = in_memory().with_entry_bytes_max(LIMIT).unwrap().with_cache_bytes(cache);
        let mut world = World::new(open(&options, &[]), Model::default());
        for round in 0..2000_u32 {
            let space = (round % 2) as u8;
            world.apply(Step::Put(space, vec![((round % 4) as u8, 100)]));
            world.apply(Step::Add(space, vec![100]));
            world.apply(if round % 3 == 0 { Step::Set(space, vec![1]) } else { Step::ClearList(space) });
        }
        world.check(0);
    }
}
