//! The storage in a local folder: its contract, and what it leaves on disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use backend_api::{Cancel, ErrorKind, Storage, StorageWriter};
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
fn only_files_and_their_folders_stay_on_disk() {
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
fn long_files_written_in_pieces_of_any_size_are_complete() {
    let (storage, _kept) = storage();
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|i| (i / 7 + i / 65_521) as u8).collect();
    for piece in [300_007, 3 << 20, bytes.len()] {
        let mut writer = storage.create("job/long", &Cancel::new()).unwrap();
        bytes.chunks(piece).for_each(|piece| writer.write(piece).unwrap());
        writer.finish().unwrap();
        assert!(fs::read(storage.root().join("job/long")).unwrap() == bytes, "in pieces of {piece}");
        storage.delete("job/long").unwrap();
        // A writer that is cancelled in between leaves nothing.
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
fn leftovers_of_a_crash_are_hidden_and_can_be_swept() {
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
    // The names of leftovers can be used again.
    write(&restarted, "job/chk-1/b");
    assert!(restarted.open("job/chk-1/b").unwrap().is_empty());
    restarted.delete_folder("job/chk-1").unwrap();
    assert_eq!(restarted.sweep("").unwrap(), 1);
    assert_eq!(on_disk(storage.root()), ["job", "job/chk-3", "job/chk-3/a"]);
}

#[test]
fn foreign_files_are_unchanged() {
    let (storage, _kept) = storage();
    write(&storage, "job/a");
    let theirs = storage.root().join("job/.theirs");
    fs::write(&theirs, "x").unwrap();
    // Foreign files with similar names.
    for name in ["notes", "0", "0123456789abcde", "0123456789abcdef0", "0123456789abcde."] {
        fs::write(storage.root().join(format!("job/.unfinished-{name}")), "x").unwrap();
    }
    assert_eq!(storage.list("").unwrap().len(), 1);
    assert_eq!(storage.sweep("").unwrap(), 0);
    storage.delete("job/a").unwrap();
    assert!(theirs.exists());
    assert_eq!(on_disk(&storage.root().join("job")).len(), 6);
}

/// A folder or file that was moved elsewhere and linked back behaves as before, with every method.
#[test]
fn all_methods_follow_links() {
    let (storage, kept) = storage();
    write(&storage, "job/chk-1/a");
    write(&storage, "job/chk-1/b");
    let (folder, elsewhere) = (storage.root().join("job/chk-1"), kept.path().join("elsewhere"));
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    let (file, moved) = (elsewhere.join("b"), kept.path().join("moved"));
    fs::rename(&file, &moved).unwrap();
    symlink(&moved, &file).unwrap();
    let listed = |folder: &str| -> Vec<String> {
        storage.list(folder).unwrap().into_iter().map(|entry| entry.path).collect()
    };
    for folder in ["", "job", "job/chk-1"] {
        assert_eq!(listed(folder), ["job/chk-1/a", "job/chk-1/b"], "{folder:?}");
    }
    for path in ["job/chk-1/a", "job/chk-1/b"] {
        assert!(storage.open(path).unwrap().is_empty());
        let taken = storage.create(path, &Cancel::new()).unwrap().finish().unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        // The path can be hard-linked, and is not a link itself.
        let hard = kept.path().join("hard");
        fs::hard_link(storage.local_path(path).unwrap(), &hard).unwrap();
        assert!(fs::symlink_metadata(&hard).unwrap().is_file());
        fs::remove_file(hard).unwrap();
    }
    std::mem::forget(storage.create("job/chk-1/left", &Cancel::new()).unwrap());
    assert_eq!(storage.sweep("job").unwrap(), 1);
    storage.delete("job/chk-1/b").unwrap();
    assert_eq!(on_disk(&elsewhere), ["a"]);
    assert!(moved.exists(), "a link to a file is deleted, and not what it leads to");
    storage.delete("job/chk-1/a").unwrap();
    assert_eq!((listed(""), on_disk(&elsewhere)), (vec![], vec![]));
    // The link to the folder stays, and writes follow it.
    write(&storage, "job/chk-1/c");
    assert_eq!((listed(""), on_disk(&elsewhere)), (vec!["job/chk-1/c".to_owned()], vec!["c".to_owned()]));
    // Links below a deleted folder are removed, but not their targets, which may contain other data.
    storage.delete_folder("job").unwrap();
    assert_eq!((on_disk(storage.root()), on_disk(&elsewhere)), (vec![], vec!["c".to_owned()]));
}

/// The target of such a link may not be mounted. That is different from a missing file.
#[test]
fn a_dangling_link_is_an_error() {
    for link in ["job", "job/chk-1", "job/chk-1/file"] {
        let (storage, _kept) = storage();
        write(&storage, "other/file");
        let path = storage.root().join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink("/nowhere/at/all", &path).unwrap();
        let fails = |kind: Option<ErrorKind>| assert_eq!(kind, Some(ErrorKind::Io), "{link}");
        for folder in ["", "job"] {
            fails(storage.list(folder).err().map(|error| error.kind()));
            fails(storage.sweep(folder).err().map(|error| error.kind()));
        }
        let written = storage.create("job/chk-1/file", &Cancel::new()).and_then(StorageWriter::finish);
        assert!(written.is_err(), "{link}");
        if link == "job/chk-1/file" {
            fails(storage.open(link).err().map(|error| error.kind()));
        }
        assert_eq!(storage.list("other").unwrap().len(), 1);
        // Editors leave such links as lock files.
        fs::remove_file(&path).unwrap();
        symlink("user@host.1", storage.root().join("other/.#file")).unwrap();
        assert_eq!(storage.list("").unwrap().len(), 1);
    }
}

#[test]
fn cyclic_links_end() {
    let (storage, _kept) = storage();
    write(&storage, "job/a/file");
    write(&storage, "job/b/file");
    symlink(storage.root(), storage.root().join("job/loop")).unwrap();
    symlink("../b", storage.root().join("job/a/to-b")).unwrap();
    symlink("../a", storage.root().join("job/b/to-a")).unwrap();
    let listed: Vec<_> = storage.list("job").unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(listed, ["job/a/file", "job/a/to-b/file", "job/b/file", "job/b/to-a/file"]);
    assert_eq!(storage.open("job/loop").unwrap_err().kind(), ErrorKind::NotFound);
}

/// Only its owner can read a storage that created its folder. An existing folder keeps its mode.
#[test]
fn only_its_owner_can_read_a_new_root() {
    let kept = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let made = LocalStorage::open(kept.path().join("made/here")).unwrap();
    assert_eq!((mode(made.root()), mode(&kept.path().join("made"))), (0o700, 0o700));
    let open = kept.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o775)).unwrap();
    let there = LocalStorage::open(&open).unwrap();
    write(&there, "job/a");
    // Compares with a new file and folder.
    fs::write(kept.path().join("file"), "x").unwrap();
    fs::create_dir(kept.path().join("folder")).unwrap();
    assert_eq!(mode(&open), 0o775);
    assert_eq!(mode(&open.join("job/a")), mode(&kept.path().join("file")));
    assert_eq!(mode(&open.join("job")), mode(&kept.path().join("folder")));
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
fn a_writer_that_failed_to_finish_keeps_failing() {
    let (storage, _kept) = storage();
    let mut writer = storage.create("job/a", &Cancel::new()).unwrap();
    writer.write(&[1; 100_000]).unwrap();
    // Meanwhile a folder takes the name of the file.
    fs::create_dir(storage.root().join("job/a")).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("job/a")));
    assert_eq!(on_disk(storage.root()), ["job", "job/a"]);
}
