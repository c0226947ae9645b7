//! Concurrent checkpoints: files that one of them builds on are not deleted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::{Faulty, ids, open, written};

/// Checkpoint 2 begins before 1 is complete, so it is full. 3 builds on 1. Then 2 subsumes 1.
#[test]
fn files_of_a_subsumed_checkpoint_stay_for_checkpoints_that_began_before() {
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

/// Files kept for a running checkpoint are deleted when it is discarded, fails, or a later one completes.
#[test]
fn kept_files_are_deleted_with_the_last_checkpoint_that_may_need_them() {
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
            // Its tasks have written, and no acknowledgement arrives.
            "overtaken" => _ = written(&storage, third, &[first]),
            _ => {}
        }
        store.complete(written(&storage, fourth, &[second])).unwrap();
        assert_eq!(storage.names(), ["2 shared", "4 meta", "4 private", "4 shared"], "{end}");
        store.remove_all();
        assert_eq!(storage.names(), [""; 0], "{end}");
    }
}

/// An overtaken checkpoint cannot complete, and does not disturb the later one.
#[test]
fn an_overtaken_checkpoint_cannot_be_completed() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    let [first, second] = [store.begin().unwrap(), store.begin().unwrap()];
    let late = written(&storage, first, &[]);
    store.complete(written(&storage, second, &[])).unwrap();
    store.complete(late.clone()).unwrap_err();
    store.discard(first, &late.tasks);
    assert_eq!(storage.names(), ["2 meta", "2 private", "2 shared"]);
}
