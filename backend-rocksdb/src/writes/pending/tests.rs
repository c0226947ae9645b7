use std::sync::Arc;

use backend_bytes::{BTreeStore, ByteStore};
use proptest::prelude::*;

use super::*;
use crate::database::{Database, Family, Setup};
use crate::working_folder::WorkingFolder;
use crate::writes::Writer;
use crate::writes::readers::Readers;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
    /// Some pending writes go to the database.
    Release,
    /// All pending writes go to the database.
    ReleaseAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..40_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..40_u8).prop_map(Step::Delete),
        2 => (0..40_u8, 0..40_u8).prop_map(|(from, to)| Step::DeleteRange(from, to)),
        1 => Just(Step::Release),
        1 => Just(Step::ReleaseAll),
    ];
    proptest::collection::vec(step, 0..60)
}

fn key(number: u8) -> [u8; 3] {
    [0, 0, number]
}

fn entries(mut cursor: impl ByteCursor) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((key, value)) = cursor.next().unwrap() {
        found.push((key.to_vec(), value.to_vec()));
    }
    assert_eq!(cursor.next().unwrap(), None);
    found
}

struct Boxed<'c>(Box<dyn ByteCursor + 'c>);

impl ByteCursor for Boxed<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.0.next()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_see_pending_writes(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let job = backend_api::JobFolder::new("job").unwrap();
        let options =
            crate::RocksDbOptions::in_folder(folder.path().join("checkpoints"), job, folder.path()).unwrap();
        let working = WorkingFolder::create(&folder.path().join("working"), "op", 0).unwrap();
        let database: Arc<Database> = Database::open(Setup::new(&options), working).unwrap();
        let (readers, writer) = (Readers::default(), Writer::new(Arc::clone(&database), vec![Family::Maps]));
        let (mut pending, mut model) = (PendingWrites::default(), BTreeStore::default());
        for step in steps {
            let mut batch = WriteBatch::default();
            match step {
                Step::Put(number, value) => batch.put(&key(number), &[value]),
                Step::Delete(number) => batch.delete(&key(number)),
                Step::DeleteRange(from, to) => batch.delete_range(&key(from), &key(to)),
                Step::Release => pending.release(|batch| writer.write(batch, &readers)).unwrap(),
                Step::ReleaseAll => {
                    while !pending.is_empty() {
                        pending.release(|batch| writer.write(batch, &readers)).unwrap();
                    }
                }
            }
            model.write(&batch).unwrap();
            pending.add(&batch);
            for number in 0..40 {
                let mut expected = None;
                model.get(&key(number), &mut |value| expected = value.map(<[u8]>::to_vec)).unwrap();
                let stored = || database.db().get_cf(database.family(Family::Maps).unwrap(), key(number)).unwrap();
                let found = pending.get(&key(number)).map_or_else(stored, |value| value.map(<[u8]>::to_vec));
                prop_assert_eq!(found, expected);
            }
            for (from, to) in [(0, 40), (5, 20)] {
                let (from, to) = (key(from), key(to));
                let stored = readers.scan(&database, Family::Maps, &from, &to).unwrap();
                let found = entries(pending.scan(stored, &from, &to));
                prop_assert_eq!(found, entries(Boxed(model.scan(&from, &to).unwrap())));
            }
        }
    }
}

#[test]
fn all_pending_writes_are_released_in_the_end() {
    let large = |round: u32| {
        let mut batch = WriteBatch::default();
        (0..5000_u32)
            .for_each(|number| batch.put(&[number.to_be_bytes(), round.to_be_bytes()].concat(), &[7; 50]));
        batch.delete_range(&round.to_be_bytes(), &round.to_be_bytes().map(|byte| byte | 1));
        batch
    };
    let mut pending = PendingWrites::default();
    (0..8).for_each(|round| pending.add(&large(round)));
    let mut before = pending.bytes_with(&WriteBatch::default());
    for round in 8.. {
        let (batch, mut released, mut most) = (large(round), 0, 0);
        let write = |batch: &WriteBatch| {
            released += batch.iter().count();
            most = most.max(batch.iter().count());
            Ok(())
        };
        pending.release_for(&batch, write).unwrap();
        // No write is large, and one batch does not release everything.
        assert!(most <= RELEASED && released <= 2 * batch.iter().count() + RELEASED);
        if pending.is_empty() {
            break;
        }
        pending.add(&batch);
        let bytes = pending.bytes_with(&WriteBatch::default());
        assert!(bytes < before, "{bytes} bytes are pending, {before} before");
        before = bytes;
    }
    assert_eq!(pending.bytes_with(&WriteBatch::default()), 0);
}
