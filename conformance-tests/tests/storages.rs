//! The storages of the suite behave as named, and the storage in memory fulfils the contract.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use backend_api::{Cancel, ErrorKind, MemoryStorage, Result, Storage};
use conformance_tests::storage::{FailingStorage, Faults, GatedStorage};

conformance_tests::storage_contract!((Arc::new(MemoryStorage::new()), ()));

mod failing {
    use super::*;

    fn write(storage: &FailingStorage) -> Result<()> {
        let mut writer = storage.create("a", &Cancel::new())?;
        writer.write(b"x")?;
        writer.finish()
    }

    #[test]
    fn the_chosen_call_fails_and_leaves_nothing() {
        let storage = FailingStorage::new(Arc::new(MemoryStorage::new()));
        for nth in 1..=3 {
            storage.fail(nth, Faults::Once);
            assert_eq!(write(&storage).unwrap_err().kind(), ErrorKind::Io);
            assert!(storage.list("").unwrap().is_empty());
            assert_eq!((storage.calls(), storage.heal()), (nth + 1, 1));
        }
        storage.fail(4, Faults::Once);
        write(&storage).unwrap();
        storage.fail(2, Faults::Once);
        assert_eq!(&*storage.open("a").unwrap().read(0, 1).unwrap_err().file().unwrap().to_owned(), "a");
        assert_eq!(storage.list("").unwrap().len(), 1);
    }

    #[test]
    fn all_later_calls_fail_until_healed() {
        let storage = FailingStorage::new(Arc::new(MemoryStorage::new()));
        storage.fail(2, Faults::FromThenOn);
        write(&storage).unwrap_err();
        storage.delete("a").unwrap_err();
        assert_eq!(storage.heal(), 2);
        write(&storage).unwrap();
    }
}

mod gated {
    use std::thread;

    use super::*;

    fn gated() -> Arc<GatedStorage> {
        Arc::new(GatedStorage::new(Arc::new(MemoryStorage::new())))
    }

    fn write(storage: &GatedStorage, path: &str, cancel: &Cancel) -> Result<()> {
        let mut writer = storage.create(path, cancel)?;
        writer.write(b"x")?;
        writer.finish()
    }

    #[test]
    fn a_held_writer_waits_while_others_pass() {
        let storage = gated();
        storage.hold_next();
        let held = thread::spawn({
            let storage = Arc::clone(&storage);
            move || write(&storage, "held", &Cancel::new())
        });
        storage.wait_until_held();
        write(&storage, "other", &Cancel::new()).unwrap();
        assert_eq!(storage.list("").unwrap().len(), 1);
        storage.release();
        held.join().unwrap().unwrap();
        assert_eq!((storage.list("").unwrap().len(), storage.held()), (2, 0));
    }

    #[test]
    fn cancelling_wakes_a_held_writer() {
        let storage = gated();
        storage.hold_next();
        let cancel = Cancel::new();
        let held = thread::spawn({
            let (storage, cancel) = (Arc::clone(&storage), cancel.clone());
            move || write(&storage, "held", &cancel)
        });
        storage.wait_until_held();
        cancel.cancel();
        assert_eq!(held.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(storage.list("").unwrap().is_empty());
    }
}
