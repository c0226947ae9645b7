use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proptest::prelude::*;

use super::*;

/// Checks the invariants of a list, and returns its elements.
fn contents<T: Clone>(list: &ChunkedList<T>) -> Vec<T> {
    let mut items = Vec::new();
    let mut last_epoch = 0;
    let count = list.chunks().count();
    for (number, (start, epoch, chunk)) in list.chunks().enumerate() {
        assert_eq!(start, items.len());
        assert!(epoch >= last_epoch);
        last_epoch = epoch;
        assert!(!chunk.is_empty());
        assert!(number + 1 == count || chunk.len() == ChunkedList::<T>::CHUNK_ITEMS);
        items.extend_from_slice(chunk);
    }
    assert_eq!(list.len(), items.len());
    assert_eq!(list.iter().len(), items.len());
    items
}

#[derive(Clone, Debug)]
enum Op {
    Push,
    Extend(usize),
    ExtendByItself,
    Truncate(usize),
    Anew,
    Checkpoint,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Push),
        4 => (0..40_usize).prop_map(Op::Extend),
        1 => (100..1200_usize).prop_map(Op::Extend),
        1 => Just(Op::ExtendByItself),
        2 => (0..=100_usize).prop_map(Op::Truncate),
        1 => Just(Op::Anew),
        4 => Just(Op::Checkpoint),
    ]
}

/// 512 bytes, so a chunk has 8 elements and the tree becomes deep.
type Wide = [u64; 64];

proptest! {
    #[test]
    fn matches_a_vec_with_snapshots_and_deltas(ops in prop::collection::vec(op(), 1..80)) {
        let mut next = 0;
        let mut items = |count: usize| -> Vec<Wide> {
            (0..count).map(|_| { next += 1; [next; 64] }).collect()
        };
        let mut model = items(1);
        let mut list = ChunkedList::new(model[0], 1);
        let mut snapshots = Vec::new();
        let mut epoch = 1;
        for op in ops {
            match op {
                Op::Push => {
                    let item = items(1)[0];
                    list.push(item, epoch);
                    model.push(item);
                }
                Op::Extend(count) => {
                    let new = items(count);
                    list.extend(new.iter().copied(), epoch);
                    model.extend(new);
                }
                Op::ExtendByItself if model.len() < 3000 => {
                    list.extend(list.clone().iter().copied(), epoch);
                    model.extend_from_within(..);
                }
                Op::ExtendByItself => {}
                Op::Truncate(percent) => {
                    let len = model.len() * percent / 100;
                    list.truncate(len);
                    model.truncate(len.max(1));
                }
                Op::Anew => {
                    model = items(1);
                    list = ChunkedList::new(model[0], epoch);
                }
                Op::Checkpoint => {
                    snapshots.push((epoch, list.clone(), model.clone()));
                    epoch += 1;
                }
            }
        }
        prop_assert_eq!(contents(&list), model.clone());
        for (base, snapshot, expected) in snapshots {
            prop_assert_eq!(contents(&snapshot), expected.clone());
            let (start, appended) = list.changed_since(base);
            prop_assert_eq!(appended.len(), model.len() - start);
            let mut restored = expected;
            // Chunks that end before the cut are never in the delta.
            prop_assert!(start <= restored.len());
            restored.truncate(start);
            restored.extend(appended);
            prop_assert_eq!(&restored, &model);
        }
    }
}

#[test]
fn an_append_after_a_clone_copies_one_chunk() {
    thread_local!(static CLONES: Cell<usize> = const { Cell::new(0) });
    struct Counted;
    impl Clone for Counted {
        fn clone(&self) -> Self {
            CLONES.set(CLONES.get() + 1);
            Self
        }
    }
    let mut list = ChunkedList::new(Counted, 1);
    list.extend((1..100_000).map(|_| Counted), 1);
    for _ in 0..1000 {
        list.push(Counted, 1);
    }
    assert_eq!(CLONES.get(), 0);
    let snapshot = list.clone();
    for _ in 0..1000 {
        list.push(Counted, 2);
    }
    let last = snapshot.len() % CHUNK_ITEMS_MAX;
    assert_eq!(CLONES.get(), last);
    assert_eq!(list.changed_since(1).0, snapshot.len() - last);
    assert_eq!(list.changed_since(2).0, list.len());
    // A full chunk is not copied.
    CLONES.set(0);
    list.extend((list.len() % CHUNK_ITEMS_MAX..CHUNK_ITEMS_MAX).map(|_| Counted), 2);
    let snapshot = list.clone();
    list.push(Counted, 3);
    assert_eq!((CLONES.get(), list.len()), (0, snapshot.len() + 1));
}

#[test]
fn chunks_are_small_and_small_lists_smaller() {
    assert_eq!(ChunkedList::<()>::CHUNK_ITEMS, 128);
    assert_eq!(ChunkedList::<u64>::CHUNK_ITEMS, 128);
    assert_eq!(ChunkedList::<[u64; 6]>::CHUNK_ITEMS, 85);
    assert_eq!(ChunkedList::<[u64; 1000]>::CHUNK_ITEMS, 8);
    let mut list = ChunkedList::new(1_u64, 0);
    let few = list.heap_size();
    list.push(2, 0);
    assert_eq!(list.heap_size(), few, "two words fit into the smallest allocation");
    list.extend(3..=5, 0);
    assert_eq!(list.heap_size(), few + (8 - 2) * 8);
}

#[test]
fn a_panic_in_an_iterator_or_a_clone_changes_nothing() {
    thread_local!(static FUSE: Cell<usize> = const { Cell::new(usize::MAX) });
    #[derive(Debug, PartialEq)]
    struct Fused(u64);
    impl Clone for Fused {
        fn clone(&self) -> Self {
            match FUSE.get() {
                // A panic without a message.
                0 => resume_unwind(Box::new("the fuse blew")),
                left => FUSE.set(left - 1),
            }
            Self(self.0)
        }
    }
    let mut list = ChunkedList::new(Fused(0), 1);
    list.extend((1..300).map(Fused), 1);
    let mut other = list.clone();
    other.push(Fused(300), 1);
    let unchanged = |list: &ChunkedList<Fused>| {
        FUSE.set(usize::MAX);
        assert!(list.iter().map(|item| item.0).eq(0..300));
    };
    type Attempt<'a> = &'a dyn Fn(&mut ChunkedList<Fused>);
    let attempts: [Attempt; 6] = [
        &|list| list.push(Fused(300), 2),
        &|list| {
            list.extend(
                (300..).map(|i| {
                    if i < 999 { Fused(i) } else { resume_unwind(Box::new("the iterator ended badly")) }
                }),
                2,
            )
        },
        &|list| list.extend(std::iter::repeat_n(Fused(300), 3), 2),
        &|list| list.extend(other.iter().cloned(), 2),
        &|list| list.truncate(200),
        &|list| list.truncate(270),
    ];
    for attempt in attempts {
        let mut copy = list.clone();
        FUSE.set(1);
        catch_unwind(AssertUnwindSafe(|| attempt(&mut copy))).expect_err("it panics");
        unchanged(&copy);
        assert_eq!(copy.changed_since(1).0, 300);
    }
    unchanged(&list);
}

#[test]
fn ten_million_elements_are_dropped_without_recursion() {
    let mut list = ChunkedList::new(0, 1);
    list.extend(1..10_000_000_u32, 1);
    let snapshot = list.clone();
    list.push(10_000_000, 2);
    drop(snapshot);
    assert_eq!(list.iter().len(), 10_000_001);
    assert!(list.iter().copied().eq(0..=10_000_000));
    assert!(list.heap_size() < 10_000_001 * 4 * 12 / 10);
    list.truncate(129);
    assert_eq!(contents(&list), Vec::from_iter(0..129));
    assert!(list.heap_size() < 2000);
}

#[test]
fn another_thread_reads_a_clone_while_the_list_changes() {
    let mut list = ChunkedList::new(0.to_string(), 1);
    list.extend((1..10_000).map(|i| i.to_string()), 1);
    std::thread::scope(|scope| {
        for round in 0..20_usize {
            let (snapshot, len) = (list.clone(), list.len());
            scope.spawn(move || {
                assert_eq!(snapshot.len(), len);
                assert!(snapshot.iter().enumerate().all(|(i, item)| *item == i.to_string()));
            });
            if round % 5 == 4 {
                list.truncate(9_000);
            }
            let start = list.len();
            list.extend((start..start + 300).map(|i| i.to_string()), 2);
        }
    });
}

#[test]
fn a_decreasing_epoch_counts_as_the_last_one() {
    let mut list = ChunkedList::new(0, 7);
    list.extend(1..200_u64, 7);
    list.extend(200..400, 3);
    assert_eq!(list.changed_since(6).0, 0);
    assert_eq!(list.changed_since(7).0, 400);
}

#[test]
fn a_list_continues_elements_moved_from_elsewhere() {
    let mut list = ChunkedList::moved(&[1, 2_u64], 3, 4, 5);
    assert_eq!(list.heap_size(), Chunk::<u64>::bytes_for(8), "there is room for the four that come");
    list.extend(4..=7, 6);
    assert_eq!(contents(&list), Vec::from_iter(1..=7));
    assert_eq!((list.changed_since(4).0, list.changed_since(6).0), (0, 7));
    list.truncate(0);
    assert_eq!(contents(&list), [1], "a list is never empty");
}
