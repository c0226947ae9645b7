//! The storage in a local folder does what a storage must, and leaves the folder as it should.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backend_api::{Cancel, ErrorKind, Storage};
use storage_local::LocalStorage;
use tempfile::TempDir;

conformance_tests::storage_contract!(storage());

fn storage() -> (Arc<LocalStorage>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(LocalStorage::open(folder.path().join("made/here")).unwrap()), folder)
}

/// All files and folders, whatever their names.
fn on_disk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        found.push(entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            let below = on_disk(&entry.path()).into_iter();
            found.extend(below.map(|path| format!("{}/{path}", entry.file_name().to_str().unwrap())));
        }
    }
    found.sort();
    found
}

fn write(storage: &LocalStorage, path: &str) {
    storage.create(path, &Cancel::new()).unwrap().finish().unwrap();
}

#[test]
fn nothing_but_the_files_and_their_folders_is_left_on_the_disk() {
    let (storage, _kept) = storage();
    let dropped = storage.create("job/chk-1/dropped", &Cancel::new()).unwrap();
    assert_eq!(on_disk(storage.root()).len(), 3);
    drop(dropped);
    assert_eq!(on_disk(storage.root()), [""; 0]);
    write(&storage, "job/chk-1/a");
    write(&storage, "job/chk-1/b");
    assert_eq!(on_disk(storage.root()), ["job", "job/chk-1", "job/chk-1/a", "job/chk-1/b"]);
    storage.delete("job/chk-1/a").unwrap();
    assert_eq!(on_disk(storage.root()), ["job", "job/chk-1", "job/chk-1/b"]);
    storage.delete("job/chk-1/b").unwrap();
    assert_eq!(on_disk(storage.root()), [""; 0]);
    assert!(storage.root().is_dir(), "the root stays");
}

#[test]
fn long_files_are_what_was_written_in_whatever_pieces() {
    let (storage, _kept) = storage();
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|i| (i / 7 + i / 65_521) as u8).collect();
    for piece in [300_007, 3 << 20, bytes.len()] {
        let mut writer = storage.create("job/long", &Cancel::new()).unwrap();
        bytes.chunks(piece).for_each(|piece| writer.write(piece).unwrap());
        writer.finish().unwrap();
        assert!(fs::read(storage.root().join("job/long")).unwrap() == bytes, "in pieces of {piece}");
        storage.delete("job/long").unwrap();
        // Cancelled in between, it leaves nothing.
        let cancel = Cancel::new();
        let mut writer = storage.create("job/long", &cancel).unwrap();
        writer.write(&bytes).unwrap();
        cancel.cancel();
        assert_eq!(writer.write(&bytes[..piece]).unwrap_err().kind(), ErrorKind::Cancelled);
        drop(writer);
        assert_eq!(on_disk(storage.root()), [""; 0]);
    }
}

#[test]
fn what_a_crash_has_left_is_hidden_and_can_be_removed() {
    let (storage, _kept) = storage();
    let crash = |path: &str| {
        // A process that ends without unwinding drops nothing.
        std::mem::forget(storage.create(path, &Cancel::new()).unwrap());
    };
    crash("job/chk-1/a");
    crash("job/chk-2/deep/a");
    write(&storage, "job/chk-3/a");
    let restarted = LocalStorage::open(storage.root()).unwrap();
    assert_eq!(restarted.list("").unwrap().len(), 1);
    // The names of the leftovers are taken, and that is no hindrance.
    write(&restarted, "job/chk-1/b");
    assert!(restarted.open("job/chk-1/b").unwrap().is_empty());
    restarted.delete_folder("job/chk-1").unwrap();
    assert_eq!(restarted.sweep("").unwrap(), 1);
    assert_eq!(on_disk(storage.root()), ["job", "job/chk-3", "job/chk-3/a"]);
}

#[test]
fn files_of_others_are_left_alone() {
    let (storage, _kept) = storage();
    write(&storage, "job/a");
    let theirs = storage.root().join("job/.theirs");
    fs::write(&theirs, "x").unwrap();
    std::os::unix::fs::symlink(storage.root(), storage.root().join("job/loop")).unwrap();
    assert_eq!(storage.list("").unwrap().len(), 1);
    assert_eq!(storage.sweep("").unwrap(), 0);
    storage.delete("job/a").unwrap();
    assert!(theirs.exists());
    assert_eq!(storage.open("job/loop").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    let error = LocalStorage::open(&path).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, path.to_str()));
}

#[test]
fn a_writer_that_could_not_be_finished_fails_for_good() {
    let (storage, _kept) = storage();
    let mut writer = storage.create("job/a", &Cancel::new()).unwrap();
    writer.write(&[1; 100_000]).unwrap();
    // A folder takes the name of the file in the meantime.
    fs::create_dir(storage.root().join("job/a")).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("job/a")));
    assert_eq!(on_disk(storage.root()), ["job", "job/a"]);
}
