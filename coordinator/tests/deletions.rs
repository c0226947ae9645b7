//! Old checkpoints that cannot be deleted hold nothing back, and are deleted as soon as possible.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use coordinator::{CheckpointConfig, Retention};
use support::Faulty;
use support::small_job::{SmallJob, answered, driver};

#[test]
fn checkpoints_continue_while_deletions_fail() {
    let storage = Arc::new(Faulty::default());
    storage.fail(&["delete"]);
    let config =
        CheckpointConfig { retention: Retention::RetainOnCancellation, ..CheckpointConfig::default() };
    let count = |storage: &Faulty| {
        storage
            .names()
            .iter()
            .filter(|name| name.ends_with("meta"))
            .map(|name| name[..1].to_owned())
            .collect()
    };
    SmallJob::default()
        .run(driver(&storage, config), &storage, &["a", "b"], |handle| {
            (0..6).for_each(|_| _ = answered(handle.trigger()).unwrap());
            let there: Vec<String> = count(&storage);
            assert_eq!(there, ["1", "2", "3", "4", "5", "6"]);
            // The next checkpoint deletes them.
            storage.fail(&[]);
            answered(handle.trigger()).unwrap();
            answered(handle.trigger()).unwrap();
            let there: Vec<String> = count(&storage);
            assert_eq!(there, ["8"]);
        })
        .unwrap();
}
