use std::collections::BTreeMap;

use super::*;
use crate::RocksDbOptions;
use crate::database::Setup;
use crate::working_folder::WorkingFolder;

fn database(folder: &std::path::Path) -> Arc<Database> {
    let job = backend_api::JobFolder::new("job").unwrap();
    let options = RocksDbOptions::in_folder(folder.join("checkpoints"), job, folder.join("working")).unwrap();
    let working = WorkingFolder::create(&folder.join("working"), "op", 0).unwrap();
    Database::open(Setup::new(&options), working).unwrap()
}

fn put(database: &Database, key: u32) {
    let handle = database.family(Family::Maps).unwrap();
    database
        .write(4, |db, options| db.put_cf_opt(handle, key.to_be_bytes(), [1], options).map_err(failed))
        .unwrap();
}

fn delete(database: &Database, key: u32) {
    let handle = database.family(Family::Maps).unwrap();
    database
        .write(4, |db, options| db.delete_cf_opt(handle, key.to_be_bytes(), options).map_err(failed))
        .unwrap();
}

fn read(readers: &Readers, database: &Arc<Database>, from: u32, to: u32) -> Vec<u32> {
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    let mut cursor = readers.scan(database, Family::Maps, &from, &to).unwrap();
    let mut found = Vec::new();
    while let Some((key, _)) = cursor.next().unwrap() {
        found.push(u32::from_be_bytes(key.try_into().unwrap()));
    }
    found
}

#[test]
fn a_reused_iterator_sees_later_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (database, readers) = (database(folder.path()), Readers::default());
    let handle = database.family(Family::Maps).unwrap();
    let mut model = BTreeMap::new();
    let mut number = 1_u32;
    for round in 0..2000_u32 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = (number >> 8) % 5000;
        if round % 3 == 2 {
            delete(&database, key);
            model.remove(&key);
        } else {
            put(&database, key);
            model.insert(key, ());
        }
        if round % 500 == 250 {
            database.db().flush_cf(handle).unwrap();
        }
        readers.note_written(1 << 14);
        let (from, to) = (key.saturating_sub(40), key + 40);
        let expected: Vec<u32> = model.range(from..to).map(|(key, ())| *key).collect();
        assert_eq!(read(&readers, &database, from, to), expected, "round {round}");
    }
}

#[test]
fn a_scan_continues_after_more_tombstones_than_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (database, readers) = (database(folder.path()), Readers::default());
    let removed = SKIPPED as u32 * 3;
    for key in 0..removed + 10 {
        put(&database, key);
    }
    for key in 1..removed {
        delete(&database, key);
    }
    for _ in 0..2 {
        assert_eq!(read(&readers, &database, 0, removed + 2), [0, removed, removed + 1]);
        assert_eq!(read(&readers, &database, 1, removed + 1), [removed]);
        // Nothing is read behind the end.
        assert_eq!(read(&readers, &database, 0, 1), [0]);
        assert_eq!(read(&readers, &database, 5, removed), [0; 0]);
    }
}

#[test]
fn two_cursors_at_once_are_independent() {
    let folder = tempfile::tempdir().unwrap();
    let (database, readers) = (database(folder.path()), Readers::default());
    for key in 0..10_u32 {
        put(&database, key);
    }
    let (from, to) = (0_u32.to_be_bytes(), 10_u32.to_be_bytes());
    let mut first = readers.scan(&database, Family::Maps, &from, &to).unwrap();
    for key in 0..10_u32 {
        assert_eq!(read(&readers, &database, key, 10), (key..10).collect::<Vec<_>>());
        assert_eq!(first.next().unwrap().unwrap().0, key.to_be_bytes());
    }
    assert!(first.next().unwrap().is_none());
}
