//! The example `dedup` lets exactly the right events pass on every backend, whatever crashes and rescales there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "support/backends.rs"]
mod backends;
#[path = "../examples/dedup.rs"]
#[allow(dead_code, reason = "the main of the example is not run")]
mod dedup;

use std::collections::{BTreeMap, BTreeSet};

use dedup::{Event, REMEMBERED, events, run};
use state_backends::prelude::*;

/// The events that pass, computed with a map of all ids.
fn expected(events: &[Event]) -> Vec<Event> {
    let mut passed = BTreeMap::new();
    let is_new = |event: &&Event| {
        let is_new = passed.get(&event.id).is_none_or(|at| event.at - at >= REMEMBERED);
        if is_new {
            passed.insert(event.id, event.at);
        }
        is_new
    };
    events.iter().filter(is_new).cloned().collect()
}

/// Crashes that are followed by more, by fewer and by as many subtasks, before and after the first checkpoint.
const CRASHES: &[&[(usize, u16)]] = &[&[], &[(6_321, 4)], &[(500, 3), (1_000, 1), (3_999, 1), (7_900, 5)]];

fn check<B: StateBackend<Key = u64>>(mut options: impl FnMut() -> (B::Options, CheckpointStoreOptions)) {
    for (seed, crashes) in (7..).zip(CRASHES) {
        let events = events(seed, 10_000);
        let expected = expected(&events);
        let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
        assert!(events.len() > expected.len() + 1_000 && expected.len() > ids.len() + 10);
        let (options, store) = options();
        let mut store = CheckpointStore::open(store).unwrap();
        let (passed, _) = run::<B>(&options, &mut store, &events, 2, crashes).unwrap();
        assert!(passed == expected, "{crashes:?}");
    }
}

on_each_backend!(check, "dedup");

#[test]
fn the_state_holds_little_more_than_what_is_remembered() {
    let mut held = Vec::new();
    for number in [10_000, 40_000] {
        let events = events(1, number);
        let store = CheckpointStoreOptions::in_memory(JobFolder::new("dedup").unwrap());
        let mut store = CheckpointStore::open(store).unwrap();
        let options = MemoryOptions::default();
        held.push(run::<MemoryBackend<_>>(&options, &mut store, &events, 2, &[(7_001, 1)]).unwrap().1);
    }
    // 1,500 events arrive in that time.
    assert!(held.iter().all(|held| (1_000..2_500).contains(held)), "{held:?}");
}
