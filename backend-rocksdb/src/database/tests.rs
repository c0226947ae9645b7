use std::fs;

use backend_api::JobFolder;

use super::*;
use crate::RocksDbOptions;

#[test]
fn files_that_are_not_ingested_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let job = JobFolder::new("job").unwrap();
    let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
    let options = RocksDbOptions::in_folder(checkpoints, job, &working).unwrap();
    let working = WorkingFolder::create(&working, "op", 0).unwrap();
    let database = Database::open(Setup::new(&options), working).unwrap();
    let loads = || {
        let names = fs::read_dir(database.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("load")).count()
    };
    let file = || {
        let mut file = SstWriter::create(&database, Family::Lists).unwrap();
        file.put(b"b", b"1").unwrap();
        file
    };

    let mut unsorted = file();
    unsorted.put(b"a", b"2").unwrap_err();
    assert_eq!(loads(), 1);
    drop(unsorted);
    assert_eq!(loads(), 0);

    let damaged = file().finish().unwrap();
    fs::write(damaged.path(), b"damaged").unwrap();
    let files = [file().finish().unwrap(), damaged];
    database.ingest(Family::Lists, &files).unwrap_err();
    drop(files);
    assert_eq!(loads(), 0);

    let value = || database.db().get_cf(database.family(Family::Lists).unwrap(), b"b").unwrap();
    assert_eq!(value(), None);
    database.ingest(Family::Lists, &[file().finish().unwrap()]).unwrap();
    assert_eq!((value().as_deref(), loads()), (Some(&b"1"[..]), 0));
}
