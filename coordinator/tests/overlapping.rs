//! Several checkpoints are under way at once: nothing that one of them builds on is deleted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::{Faulty, ids, open, written};

/// 2 begins before 1 is complete, so it is whole by itself; 3 builds on 1; then 2 lets go of 1.
#[test]
fn files_of_a_subsumed_checkpoint_stay_for_those_that_began_before() {
    for retained in 1..3 {
        let storage = Arc::new(Faulty::default());
        let mut store = open(&storage, retained);
        let [first, second] = [store.begin().unwrap(), store.begin().unwrap()];
        store.complete(written(&storage, first, &[])).unwrap();
        let third = store.begin().unwrap();
        store.complete(written(&storage, second, &[])).unwrap();
        assert!(storage.names().contains(&"1 shared".to_owned()));
        assert!(store.orphans().unwrap().is_empty());
        let fourth = store.begin().unwrap();
        store.complete(written(&storage, third, &[first])).unwrap();
        store.complete(written(&storage, fourth, &[second])).unwrap();
        let fifth = store.begin().unwrap();
        store.complete(written(&storage, fifth, &[fourth])).unwrap();
        assert!(!storage.names().contains(&"1 shared".to_owned()), "{:?}", storage.names());
        assert_eq!(ids(&store), [3, 4, 5][3 - retained..]);
        assert!(store.orphans().unwrap().is_empty());
    }
}

/// However a checkpoint under way ends, what was kept for it goes: it is discarded, fails, or a later one is complete.
#[test]
fn files_that_were_kept_go_with_the_last_that_may_need_them() {
    for end in ["discarded", "failed", "overtaken", "nothing"] {
        let storage = Arc::new(Faulty::default());
        let mut store = open(&storage, 1);
        let first = store.begin().unwrap();
        store.complete(written(&storage, first, &[])).unwrap();
        let [second, third, fourth] = [(); 3].map(|()| store.begin().unwrap());
        store.complete(written(&storage, second, &[])).unwrap();
        assert_eq!(storage.names(), ["1 shared", "2 meta", "2 private", "2 shared"]);
        match end {
            "discarded" => store.discard(third, &written(&storage, third, &[first]).tasks),
            "failed" => {
                storage.fail(&["create job/chk-3"]);
                store.complete(written(&storage, third, &[first])).unwrap_err();
                storage.fail(&[]);
            }
            // Its tasks have written, and nobody says so.
            "overtaken" => _ = written(&storage, third, &[first]),
            _ => {}
        }
        store.complete(written(&storage, fourth, &[second])).unwrap();
        assert_eq!(storage.names(), ["2 shared", "4 meta", "4 private", "4 shared"], "{end}");
        store.remove_all();
        assert_eq!(storage.names(), [""; 0], "{end}");
    }
}

/// A late one can be neither completed nor does it disturb the later one.
#[test]
fn a_checkpoint_that_was_overtaken_cannot_be_completed() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    let [first, second] = [store.begin().unwrap(), store.begin().unwrap()];
    let late = written(&storage, first, &[]);
    store.complete(written(&storage, second, &[])).unwrap();
    store.complete(late.clone()).unwrap_err();
    store.discard(first, &late.tasks);
    assert_eq!(storage.names(), ["2 meta", "2 private", "2 shared"]);
}
