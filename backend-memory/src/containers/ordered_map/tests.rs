use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use backend_api::{EncodedKey, KeyBuffer};
use proptest::prelude::*;

use super::node::WIDTH_MIN;
use super::*;

/// Defines a key type around a number. It encodes as that number, and calls `before` on each encoding.
macro_rules! numbered_key {
    ($key:ident, $before:path) => {
        impl PartialEq for $key {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $key {}

        impl PartialOrd for $key {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl StateKey for $key {
            type Stored = EncodedKey;

            fn schema() -> String {
                stringify!($key).to_owned()
            }

            fn encode<B: KeyBuffer>(&self, out: &mut B) {
                $before();
                self.0.encode(out);
            }

            fn decode(input: &mut &[u8]) -> backend_api::Result<Self> {
                u64::decode(input).map(Self)
            }
        }
    };
}

fn nothing() {}

/// Checks the invariants of a subtree, and returns its depth, entries, bytes and latest epoch.
fn check<K: Ord, V>(node: &Node<K, V>, root: bool, last: bool) -> (usize, usize, usize, u32) {
    match node {
        Node::Leaf(leaf) => {
            assert!(leaf.len() >= if root || last { 1 } else { WIDTH_MIN });
            assert!(leaf.entries().is_sorted_by(|a, b| a.0 < b.0));
            (0, leaf.len(), leaf.bytes(), leaf.epoch())
        }
        Node::Branch(None) => {
            assert!(root);
            (0, 0, 0, 0)
        }
        Node::Branch(Some(branch)) => {
            assert!(branch.links.len() >= if root { 2 } else { 1 });
            assert!(last || branch.links.len() >= WIDTH_MIN);
            assert_eq!(branch.keys.len() + 1, branch.links.len());
            for (bound, link) in branch.keys.iter().zip(branch.links.iter().skip(1)) {
                assert!(first_key(&link.node) >= bound);
            }
            for (bound, link) in branch.keys.iter().zip(&branch.links) {
                assert!(last_key(&link.node) < bound);
            }
            let count = branch.links.len();
            let mut depths = Vec::new();
            let (mut len, mut bytes, mut epoch) = (0, size_of_val(&**branch) + size_of::<usize>(), 0);
            for (i, link) in branch.links.iter().enumerate() {
                let below = check(&link.node, false, last && i + 1 == count);
                depths.push(below.0);
                len += below.1;
                bytes += below.2;
                assert!(link.epoch >= below.3);
                epoch = epoch.max(below.3);
            }
            assert!(depths.iter().all(|&depth| depth == depths[0]), "leaves are equally deep");
            assert_eq!((len, bytes), (branch.len, branch.bytes));
            (depths[0] + 1, len, bytes, epoch)
        }
    }
}

/// Checks the invariants of a map.
fn check_map<K: StateKey, V>(map: &OrderedMap<K, V>) {
    check(&map.root, true, true);
    match &map.root {
        Node::Leaf(_) => assert_eq!(map.marks, Marks::of(map.keys())),
        Node::Branch(Some(_)) => {}
        Node::Branch(None) => assert_eq!(map.marks, Marks::NONE),
    }
}

fn first_key<K, V>(node: &Node<K, V>) -> &K {
    Range::all(node).next().unwrap().0
}

fn last_key<K, V>(node: &Node<K, V>) -> &K {
    Range::all(node).next_back().unwrap().0
}

fn assert_is<K: StateKey + Debug, V: Clone + Debug + PartialEq>(
    map: &OrderedMap<K, V>,
    model: &BTreeMap<K, V>,
) {
    check_map(map);
    assert_eq!(map.len(), model.len());
    assert_eq!(map.is_empty(), model.is_empty());
    assert!(map.iter().eq(model.iter()), "{map:?} is not {model:?}");
    assert!(map.iter().rev().eq(model.iter().rev()));
    assert!(map.keys().eq(model.keys()));
    assert_eq!(
        (map.iter().next(), map.iter().next_back()),
        (model.first_key_value(), model.last_key_value())
    );
    for (key, value) in model {
        assert_eq!(map.get(key), Some(value));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16),
    InsertRun(u16, u16),
    Remove(u16),
    RemoveRun(u16, u16),
    PopFirst(u16),
    Update(u16, u16),
    Thin(u16),
    Clear,
    Checkpoint,
    Confirm,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..4000_u16;
    prop_oneof![
        8 => key.clone().prop_map(Op::Insert),
        4 => (key.clone(), 1..800_u16).prop_map(|(key, count)| Op::InsertRun(key, count)),
        8 => key.clone().prop_map(Op::Remove),
        4 => (key.clone(), 1..800_u16).prop_map(|(key, count)| Op::RemoveRun(key, count)),
        4 => (1..800_u16).prop_map(Op::PopFirst),
        6 => (key, 0..3_u16).prop_map(|(key, kind)| Op::Update(key, kind)),
        1 => (2..9_u16).prop_map(Op::Thin),
        1 => Just(Op::Clear),
        5 => Just(Op::Checkpoint),
        2 => Just(Op::Confirm),
    ]
}

/// Keys on the heap, so that lost and duplicated ones are detected.
fn key(number: u16) -> String {
    format!("{number:05}")
}

/// Sorted keys with equal marks.
fn alike() -> Vec<String> {
    let first = mark(&key(0));
    Vec::from_iter((0..).map(key).filter(|key| mark(key) == first).take(44))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn matches_a_btree_map_with_snapshots_and_deltas(ops in prop::collection::vec(op(), 1..60)) {
        let mut map = OrderedMap::new();
        let mut model = BTreeMap::new();
        let mut snapshots = vec![(0, OrderedMap::new(), BTreeMap::new())];
        let mut epoch = 1;
        let mut value = 0_u64;
        for op in ops {
            value += 1;
            let mut remove = |map: &mut OrderedMap<_, _>, number| {
                prop_assert_eq!(map.remove(&key(number), epoch, true), model.remove(&key(number)));
                Ok(())
            };
            match op {
                Op::Insert(number) => {
                    prop_assert_eq!(map.insert(key(number), value, epoch), model.insert(key(number), value));
                }
                Op::InsertRun(number, count) => for number in number..number + count {
                    prop_assert_eq!(map.insert(key(number), value, epoch), model.insert(key(number), value));
                },
                Op::Remove(number) => remove(&mut map, number)?,
                Op::RemoveRun(number, count) => for number in number..number + count {
                    remove(&mut map, number)?;
                },
                Op::PopFirst(count) => for _ in 0..count {
                    let first = map.first().map(|(key, value)| (key.clone(), *value));
                    prop_assert_eq!(&first, &model.pop_first());
                    prop_assert_eq!(map.pop_first(epoch, true), first);
                },
                Op::Thin(step) => for number in (0..5000).filter(|number| number % step != 0) {
                    remove(&mut map, number)?;
                },
                Op::Clear => for number in (0..5000).rev() {
                    remove(&mut map, number)?;
                },
                Op::Update(number, kind) => {
                    let before = model.get(&key(number)).copied();
                    let result = map.update(key(number), epoch, true, |slot| {
                        assert_eq!(*slot, before);
                        *slot = (kind != 1).then_some(value);
                        if kind == 2 { Err(value) } else { Ok(value) }
                    });
                    prop_assert_eq!(result, if kind == 2 { Err(value) } else { Ok(value) });
                    match kind {
                        0 => drop(model.insert(key(number), value)),
                        1 => drop(model.remove(&key(number))),
                        _ => {}
                    }
                }
                Op::Checkpoint => {
                    snapshots.push((epoch, map.clone(), model.clone()));
                    epoch += 1;
                }
                Op::Confirm => {
                    let confirmed = snapshots[snapshots.len() / 2].0;
                    snapshots.retain(|(base, _, _)| *base >= confirmed);
                    map.forget_removals(confirmed);
                }
            }
        }
        assert_is(&map, &model);
        for (base, snapshot, expected) in snapshots {
            assert_is(&snapshot, &expected);
            if let Delta::Changes { removed, changed } = map.delta_since(base) {
                prop_assert!(removed.is_sorted_by(|a, b| a < b));
                prop_assert!(removed.iter().all(|key| !map.contains(key)));
                let mut restored = expected;
                restored.retain(|key, _| !removed.contains(&key));
                restored.extend(changed.map(|(key, value)| (key.clone(), *value)));
                prop_assert_eq!(&restored, &model);
            }
        }
    }

    /// Sizes around the number of marks, and around the sizes at which leaves split and merge.
    #[test]
    fn small_maps_match_a_btree_map_around_the_number_of_marks(
        ops in prop::collection::vec((0..44_usize, 0..7_u8), 1..200),
        grow in 0..44_usize,
        are_alike: bool,
    ) {
        let keys = if are_alike { alike() } else { Vec::from_iter((0..44).map(key)) };
        let (mut map, mut model) = (OrderedMap::new(), BTreeMap::new());
        for (at, key) in keys.iter().enumerate().take(grow) {
            map.insert(key.clone(), at, 1);
            model.insert(key.clone(), at);
        }
        let mut snapshot = (map.clone(), model.clone());
        for (turn, (at, op)) in ops.into_iter().enumerate() {
            let key = &keys[at];
            match op {
                0 | 1 => prop_assert_eq!(map.insert(key.clone(), turn, 2), model.insert(key.clone(), turn)),
                2 | 3 => prop_assert_eq!(map.remove(key, 2, true), model.remove(key)),
                4 => {
                    let present = model.contains_key(key);
                    // Its nodes are shared only if the snapshot was taken in this round.
                    if let (Ok(()), Some(value)) = (map.replace(key, turn, 2), model.get_mut(key)) {
                        *value = turn;
                    }
                    prop_assert_eq!(map.contains(key), present);
                }
                5 => {
                    map.update(key.clone(), 2, true, |slot| {
                        *slot = slot.is_none().then_some(turn);
                        Ok::<_, Infallible>(())
                    })
                    .unwrap();
                    if model.remove(key).is_none() {
                        model.insert(key.clone(), turn);
                    }
                }
                _ => {
                    assert_is(&snapshot.0, &snapshot.1);
                    snapshot = (map.clone(), model.clone());
                }
            }
            assert_is(&map, &model);
            for key in &keys {
                prop_assert_eq!(map.get(key), model.get(key));
            }
        }
        assert_is(&snapshot.0, &snapshot.1);
    }

    #[test]
    fn ranges_match_a_btree_map(
        keys in prop::collection::btree_set(0..3000_u16, 0..1500),
        bounds in prop::collection::vec((0..3000_u16, 0..3000_u16, 0..3_u8, 0..3_u8, any::<u64>()), 20),
    ) {
        let mut map = OrderedMap::new();
        let model: BTreeMap<u16, u16> = keys.iter().map(|&key| (key, key)).collect();
        for &key in &keys {
            map.insert(key, key, 0);
        }
        let bound = |key, kind| [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded][usize::from(kind)];
        for (low, high, low_kind, high_kind, turns) in bounds {
            let range = (bound(low, low_kind), bound(high, high_kind));
            let expected: Vec<_> = model.iter().filter(|(key, _)| range.contains(*key)).collect();
            prop_assert!(map.range(range).eq(expected.iter().copied()));
            prop_assert!(map.range(range).rev().eq(expected.iter().rev().copied()));
            // Alternates between both ends.
            let (mut ours, mut theirs) = (map.range(range), expected.into_iter());
            for turn in 0.. {
                let forward = turns >> (turn % 64) & 1 == 0;
                let pair = if forward {
                    (ours.next(), theirs.next())
                } else {
                    (ours.next_back(), theirs.next_back())
                };
                prop_assert_eq!(pair.0, pair.1);
                if pair.0.is_none() {
                    break;
                }
            }
            prop_assert!(ours.next().is_none() && ours.next_back().is_none());
        }
    }
}

/// A fuse: when it has burnt down, the next `cmp`, `clone` or `encode` panics.
mod fused {
    use super::*;

    thread_local!(pub static FUSE: Cell<u64> = const { Cell::new(u64::MAX) });

    #[derive(Debug)]
    pub struct Fused(pub u64);

    fn burn() {
        match FUSE.get() {
            // A panic without a message.
            0 => resume_unwind(Box::new("the fuse blew")),
            left => FUSE.set(left - 1),
        }
    }

    impl Clone for Fused {
        fn clone(&self) -> Self {
            burn();
            Self(self.0)
        }
    }

    numbered_key!(Fused, burn);

    impl Ord for Fused {
        fn cmp(&self, other: &Self) -> Ordering {
            burn();
            self.0.cmp(&other.0)
        }
    }
}

type Attempt<'a, T> = &'a dyn Fn(&mut T);

#[test]
fn a_panic_in_ord_clone_or_encode_changes_nothing() {
    use fused::{FUSE, Fused};
    let contents = |map: &OrderedMap<Fused, Fused>| {
        let fuse = FUSE.replace(u64::MAX);
        check_map(map);
        let delta = match map.delta_since(1) {
            Delta::Full => None,
            Delta::Changes { removed, changed } => Some((
                Vec::from_iter(removed.iter().map(|key| key.0)),
                Vec::from_iter(changed.map(|(key, _)| key.0)),
            )),
        };
        FUSE.set(fuse);
        (Vec::from_iter(map.iter().map(|(key, value)| (key.0, value.0))), delta)
    };
    for len in [1, 4, 17, 18, 22, 32, 33, 40, 1100] {
        let mut map = OrderedMap::new();
        for number in 0..len {
            // In an order that leaves nodes of all widths.
            map.insert(Fused(number * 7919 % len * 2), Fused(number), 1);
        }
        for number in (0..len).filter(|number| number % 5 == 3) {
            map.remove(&Fused(number * 2), 2, true);
        }
        for target in (0..len * 2).step_by(1 + len as usize / 12) {
            let ops: [Attempt<OrderedMap<Fused, Fused>>; 4] = [
                &|map| assert!(map.insert(Fused(target), Fused(1), 2).is_none_or(|old| old.0 < len)),
                &|map| assert!(map.remove(&Fused(target), 2, true).is_none_or(|old| old.0 < len)),
                &|map| {
                    map.update(Fused(target), 2, true, |slot| {
                        *slot = Some(Fused(2));
                        Ok::<_, Infallible>(())
                    })
                    .unwrap()
                },
                &|map| {
                    map.update(Fused(target), 2, true, |slot| {
                        *slot = None;
                        Ok::<_, Infallible>(())
                    })
                    .unwrap()
                },
            ];
            for op in ops {
                let before = contents(&map);
                let mut done = map.clone();
                op(&mut done);
                let after = contents(&done);
                let mut fuse = 0;
                loop {
                    // Shared, so that everything on the path is cloned.
                    let mut copy = map.clone();
                    FUSE.set(fuse);
                    let outcome = catch_unwind(AssertUnwindSafe(|| op(&mut copy)));
                    FUSE.set(u64::MAX);
                    if outcome.is_ok() {
                        assert_eq!(contents(&copy), after);
                        break;
                    }
                    assert_eq!(contents(&copy), before, "{len} {target} {fuse}");
                    fuse += 1 + fuse / 3;
                }
                assert_eq!(contents(&map), before);
            }
        }
    }
}

/// Each of these removals is tried with a fuse, so that nodes merge and level with shared neighbours.
#[test]
fn a_panic_in_a_removal_that_merges_nodes_changes_nothing() {
    use fused::{FUSE, Fused};
    for (len, fuses) in [(160, 60), (2000, 1)] {
        let mut map = OrderedMap::new();
        for number in 0..len {
            map.insert(Fused(number * 7919 % len), Fused(number), 1);
        }
        for number in 0..len {
            for fuse in 0..fuses {
                let mut copy = map.clone();
                FUSE.set(if fuses == 1 { number * 37 % 200 } else { fuse * 3 });
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    assert!(copy.remove(&Fused(number), 2, true).is_some())
                }));
                FUSE.set(u64::MAX);
                let gone = u64::from(outcome.is_ok());
                assert_eq!(copy.len() as u64, len - number - gone);
                check_map(&copy);
                assert!(copy.keys().map(|key| key.0).eq(number + gone..len), "{number} {fuse}");
            }
            map.remove(&Fused(number), 2, true);
        }
    }
}

#[test]
fn a_panic_in_the_function_of_an_update_changes_nothing() {
    let mut map = OrderedMap::new();
    map.insert(1, "one".to_owned(), 1);
    catch_unwind(AssertUnwindSafe(|| {
        map.update(1, 2, true, |slot| -> Result<(), Infallible> {
            slot.as_mut().unwrap().push('!');
            panic!("not today")
        })
    }))
    .expect_err("it panics");
    assert!(map.iter().eq([(&1, &"one".to_owned())]));
    assert_eq!(map.changed_since(1).count(), 0);
}

#[test]
fn an_inconsistent_order_is_harmless() {
    thread_local!(static STATE: Cell<u64> = const { Cell::new(1) });
    #[derive(Clone, Debug)]
    struct Fickle(u64);
    numbered_key!(Fickle, nothing);
    impl Ord for Fickle {
        fn cmp(&self, other: &Self) -> Ordering {
            let state = STATE.get().wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            STATE.set(state);
            match state >> 60 {
                0 => Ordering::Equal,
                1..=4 => other.0.cmp(&self.0),
                _ => self.0.cmp(&other.0),
            }
        }
    }
    let mut map = OrderedMap::new();
    for number in 0..20_000_u64 {
        let key = Fickle(number * 7919 % 5000);
        match number % 3 {
            0 | 1 => drop(map.insert(key, number, 1)),
            _ => drop(map.remove(&key, 1, true)),
        }
        if number % 1000 == 0 {
            let end = Fickle(number % 4000);
            let count = map.range(Fickle(17)..end.clone()).count() + map.range(end..).rev().count();
            assert!(count <= 2 * map.len());
            if let Delta::Changes { changed, .. } = map.delta_since(0) {
                assert_eq!(changed.count(), map.len());
            }
        }
    }
    assert_eq!(map.iter().count(), map.len());
    assert_eq!(map.iter().rev().count(), map.len());
}

#[test]
fn a_write_after_a_clone_copies_the_nodes_on_its_path() {
    thread_local!(static CLONES: Cell<usize> = const { Cell::new(0) });
    struct Counted;
    impl Clone for Counted {
        fn clone(&self) -> Self {
            CLONES.set(CLONES.get() + 1);
            Self
        }
    }
    let mut map = OrderedMap::new();
    for number in 0..100_000_u64 {
        map.insert(number * 7919 % 100_000, Counted, 1);
    }
    assert_eq!(CLONES.get(), 0);
    let snapshot = map.clone();
    map.insert(50_000, Counted, 2);
    assert!((1..=32).contains(&CLONES.take()));
    map.insert(50_000, Counted, 2);
    assert_eq!(CLONES.get(), 0);
    assert_eq!(map.changed_since(1).count(), 1);
    assert_eq!(snapshot.changed_since(1).count(), 0);
}

/// A key is compared only with entries of the same mark.
#[test]
fn a_lookup_in_a_small_map_compares_one_key() {
    thread_local!(static COMPARED: Cell<usize> = const { Cell::new(0) });
    #[derive(Clone)]
    struct Compared(u64);
    numbered_key!(Compared, nothing);
    impl Ord for Compared {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }
    let mut map = OrderedMap::new();
    for number in 0..16 {
        map.insert(Compared(number), number, 1);
    }
    let marks = Vec::from_iter((0..16).map(|number| mark(&Compared(number))));
    COMPARED.set(0);
    for number in 0..1000 {
        let expected = if number < 16 { 1 } else { 0 };
        let others = marks.iter().filter(|other| **other == mark(&Compared(number))).count() - expected;
        assert_eq!(map.get(&Compared(number)).is_some(), number < 16);
        assert!((expected..=expected + others).contains(&COMPARED.take()), "{number}");
        assert_eq!(map.replace(&Compared(number), 7, 1).is_ok(), number < 16);
        assert!((expected..=expected + others).contains(&COMPARED.take()), "{number}");
    }
}

/// One changed entry of many is found along its own path. Other nodes are not visited.
#[test]
fn changes_are_found_without_visiting_other_nodes() {
    let mut map = OrderedMap::new();
    for number in 0..100_000_u64 {
        map.insert(number, (), 1);
    }
    for number in [0, 77_777, 99_999] {
        map.insert(number, (), 2);
    }
    fn entered<V>(node: &Node<u64, V>) -> usize {
        let Node::Branch(Some(branch)) = node else { return 1 };
        branch.links.iter().filter(|link| link.epoch > 1).map(|link| entered(&link.node)).sum::<usize>() + 1
    }
    assert_eq!(entered(&map.root), 1 + 3 * 3);
    assert!(map.changed_since(1).map(|(key, _)| *key).eq([0, 77_777, 99_999]));
}

#[test]
fn large_maps_have_full_nodes_after_ordered_inserts_and_wide_ones_otherwise() {
    let (mut ascending, mut mixed) = (OrderedMap::new(), OrderedMap::new());
    for number in 0..100_000_u64 {
        ascending.insert(number, number, 1);
        mixed.insert(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number, 1);
    }
    check_map(&ascending);
    check_map(&mixed);
    assert!(ascending.heap_size() < 100_000 * 23);
    assert!(mixed.heap_size() < 100_000 * 34);
    let snapshot = mixed.clone();
    for number in (0..100_000_u64).filter(|number| number % 100 != 0) {
        assert_eq!(mixed.remove(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15), 2, false), Some(number));
    }
    check_map(&mixed);
    assert_eq!((mixed.len(), snapshot.len()), (1000, 100_000));
    assert!(mixed.heap_size() < 1000 * 80);
    check_map(&snapshot);
}

#[test]
fn small_maps_are_one_small_allocation() {
    let mut map = OrderedMap::<u64, u64>::new();
    assert_eq!(map.heap_size(), 0);
    // A counter, and a key, a value and an epoch per entry.
    let bytes = |capacity: usize| 8 + 16 * capacity + (4 * capacity).next_multiple_of(8);
    for (len, capacity) in [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (6, 8), (7, 8), (8, 8), (9, 12)] {
        map.insert(len, 0, 0);
        assert_eq!(map.heap_size(), bytes(capacity));
    }
    for number in 2..=9 {
        map.remove(&number, 0, false);
    }
    assert_eq!(map.heap_size(), bytes(2));
    map.remove(&1, 0, false);
    assert_eq!(map.heap_size(), 0);
}

fn removed_since(map: &OrderedMap<u64, u64>, base: u32) -> Option<Vec<u64>> {
    match map.delta_since(base) {
        Delta::Full => None,
        Delta::Changes { removed, .. } => Some(removed.into_iter().copied().collect()),
    }
}

#[test]
fn removals_are_logged_until_confirmed() {
    let mut map = OrderedMap::new();
    for number in 0..10 {
        map.insert(number, number, 1);
    }
    map.remove(&3, 2, true);
    map.remove(&4, 2, false);
    map.remove(&5, 3, true);
    map.remove(&6, 3, true);
    map.insert(6, 6, 3);
    map.remove(&3, 4, true);
    assert_eq!(removed_since(&map, 1), Some(vec![3, 5]));
    assert_eq!(removed_since(&map, 2), Some(vec![5]));
    assert_eq!(removed_since(&map, 3), Some(vec![]));
    let snapshot = map.clone();
    map.forget_removals(2);
    assert_eq!(removed_since(&map, 2), Some(vec![5]));
    map.forget_removals(3);
    assert_eq!(map.heap_size(), map.root.bytes());
    assert_eq!(removed_since(&snapshot, 1), Some(vec![3, 5]));
}

#[test]
fn a_log_that_outgrows_the_map_is_spilled() {
    let mut map = OrderedMap::new();
    let churn = |map: &mut OrderedMap<u64, u64>, count: u64, epoch| {
        for number in 0..count {
            map.insert(1000 + number, 0, epoch);
            map.remove(&(1000 + number), epoch, true);
        }
    };
    churn(&mut map, 64, 2);
    assert_eq!(removed_since(&map, 1).map(|keys| keys.len()), Some(64));
    churn(&mut map, 1, 3);
    assert_eq!((removed_since(&map, 1), removed_since(&map, 2)), (None, None));
    assert_eq!(removed_since(&map, 3), Some(vec![]));
    churn(&mut map, 20, 3);
    churn(&mut map, 2, 4);
    assert_eq!(removed_since(&map, 2), None);
    assert_eq!(removed_since(&map, 3), Some(vec![1000, 1001]));
    map.forget_removals(2);
    assert_eq!(removed_since(&map, 2), None);
    map.forget_removals(3);
    assert_eq!(removed_since(&map, 3), Some(vec![1000, 1001]));
    // A large map has a longer log.
    for number in 0..500 {
        map.insert(number, 0, 4);
    }
    churn(&mut map, 998, 5);
    assert!(removed_since(&map, 3).is_some());
    churn(&mut map, 1, 5);
    assert!(removed_since(&map, 3).is_none());
}

#[test]
fn another_thread_reads_a_clone_while_the_map_changes() {
    let mut map = OrderedMap::new();
    for number in 0..5000_u64 {
        map.insert(number, number.to_string(), 1);
    }
    std::thread::scope(|scope| {
        for round in 0..20_u64 {
            let (snapshot, model) =
                (map.clone(), BTreeMap::from_iter(map.iter().map(|(k, v)| (*k, v.clone()))));
            scope.spawn(move || assert_is(&snapshot, &model));
            for number in 0..500 {
                let key = (number * 7919 + round * 31) % 6000;
                if number % 3 == 0 {
                    map.remove(&key, 2, true);
                } else {
                    map.insert(key, round.to_string(), 2);
                }
            }
        }
    });
    check_map(&map);
}
