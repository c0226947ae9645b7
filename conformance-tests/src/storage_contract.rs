//! The contract of every [`Storage`].
//!
//! Each function is one behaviour. Call it with an empty storage. It panics if the storage behaves
//! differently. [`storage_contract!`](crate::storage_contract!) makes a test of each.

use std::sync::Arc;

use backend_api::format::{ByteSink, DEFAULT_SPILL_THRESHOLD, MAX_SPILL_THRESHOLD, SpillingSink, Stored};
use backend_api::{Cancel, Error, ErrorKind, Result, Storage, StorageWriter};

/// Makes one test of each behaviour in [`storage_contract`](mod@crate::storage_contract).
///
/// The expression returns an `Arc<dyn Storage>` without files, and a guard that outlives its use.
#[macro_export]
macro_rules! storage_contract {
    ($make:expr) => {
        $crate::storage_contract!($make;
            a_finished_file_is_read_back,
            a_long_file_is_read_back,
            an_empty_file_is_a_file,
            reading_beyond_the_end_is_an_error,
            a_file_appears_when_it_is_finished,
            a_dropped_writer_leaves_nothing,
            a_cancelled_writer_leaves_nothing,
            a_finished_file_is_never_replaced,
            an_open_file_outlives_its_name,
            the_first_to_finish_has_the_name,
            a_swept_writer_does_not_harm_a_later_one,
            files_are_listed_by_folder_in_order,
            deleting_twice_is_no_error,
            a_folder_is_deleted_with_all_in_it,
            the_root_can_be_emptied,
            deleting_a_folder_ends_its_writers,
            a_sweep_removes_unfinished_files_alone,
            paths_stay_within_the_storage,
            a_name_is_a_file_or_a_folder,
            writers_and_deletions_do_not_disturb_each_other,
            small_states_are_kept_inline,
            a_spilling_sink_leaves_nothing_behind,
        );
    };
    ($make:expr; $($case:ident),* $(,)?) => {
        $(
            #[test]
            fn $case() {
                let (storage, _kept) = $make;
                let storage: $crate::storage_contract::Subject = storage;
                $crate::storage_contract::$case(&storage);
            }
        )*
    };
}

/// The storage under test. Some behaviours share it with threads.
pub type Subject = Arc<dyn Storage>;

/// A file written in pieces of one byte, some and many bytes reads back as a whole and in ranges.
pub fn a_finished_file_is_read_back(storage: &Subject) {
    let bytes = pattern(1 + 222 + 896 + 576_446);
    let mut writer = create(storage, "job/chk-1/file");
    let mut rest = &bytes[..];
    for size in [1, 222, 896, 576_446] {
        let (piece, left) = rest.split_at(size);
        writer.write(piece).expect("write");
        rest = left;
    }
    writer.finish().expect("finish");
    let file = storage.open("job/chk-1/file").expect("open");
    assert_eq!((file.path(), file.len()), ("job/chk-1/file", bytes.len() as u64));
    assert!(*file.read(0, bytes.len()).expect("read all") == bytes);
    for (offset, len) in [(0, 1), (222, 897), (65_530, 20), (bytes.len() - 1, 1), (bytes.len(), 0)] {
        let read = file.read(offset as u64, len).expect("read a range");
        assert!(*read == bytes[offset..offset + len], "{len} bytes at {offset}");
    }
}

/// A file of many megabytes reads back.
pub fn a_long_file_is_read_back(storage: &Subject) {
    let piece = pattern(1_000_003);
    let mut writer = create(storage, "long");
    for _ in 0..20 {
        writer.write(&piece).expect("write");
    }
    writer.finish().expect("finish");
    let file = storage.open("long").expect("open");
    assert_eq!(file.len(), 20 * piece.len() as u64);
    for number in 0..20 {
        assert!(
            *file.read(number * piece.len() as u64, piece.len()).expect("read") == piece,
            "piece {number}"
        );
    }
}

/// An empty file can be written, listed and opened.
pub fn an_empty_file_is_a_file(storage: &Subject) {
    write(storage, "empty", b"");
    assert_eq!(names(storage, ""), ["empty"]);
    let file = storage.open("empty").expect("open");
    assert!(file.is_empty());
    assert_eq!(file.read(0, 0).expect("read nothing").len(), 0);
}

/// A range outside of the file is reported as damage, with the file's path, and does not panic.
pub fn reading_beyond_the_end_is_an_error(storage: &Subject) {
    for len in [3, 100_000] {
        storage.delete("file").expect("delete");
        write(storage, "file", &pattern(len));
        let file = storage.open("file").expect("open");
        for (offset, count) in [(0, len + 1), (len, 1), (len + 1, 0), (usize::MAX, 1), (1, usize::MAX)] {
            let error = file.read(offset as u64, count).expect_err("beyond the end");
            assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some("file")), "{error}");
        }
    }
}

/// A file is neither listed nor opened before it is finished.
pub fn a_file_appears_when_it_is_finished(storage: &Subject) {
    let mut writer = create(storage, "job/file");
    writer.write(&pattern(300_000)).expect("write");
    assert_eq!(names(storage, ""), [""; 0]);
    let error = storage.open("job/file").expect_err("not finished");
    assert_eq!((error.kind(), error.file()), (ErrorKind::NotFound, Some("job/file")));
    writer.finish().expect("finish");
    assert_eq!(names(storage, ""), ["job/file"]);
}

/// A writer dropped before the end leaves no file, finished or not.
pub fn a_dropped_writer_leaves_nothing(storage: &Subject) {
    let mut writer = create(storage, "job/file");
    writer.write(&pattern(300_000)).expect("write");
    drop(writer);
    assert_eq!(names(storage, ""), [""; 0]);
    assert_eq!(storage.sweep("").expect("sweep"), 0);
}

/// Once cancelled, a writer fails and leaves nothing, and none can be created.
pub fn a_cancelled_writer_leaves_nothing(storage: &Subject) {
    let cancel = Cancel::new();
    let mut writing = storage.create("job/writing", &cancel).expect("create");
    writing.write(b"some").expect("write");
    let mut finishing = storage.create("job/finishing", &cancel).expect("create");
    finishing.write(b"all").expect("write");
    cancel.cancel();
    assert_eq!(writing.write(b"more").expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(writing.finish().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(finishing.finish().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    let error = storage.create("job/late", &cancel).expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(names(storage, ""), [""; 0]);
    assert_eq!(storage.sweep("").expect("sweep"), 0);
}

/// A taken name is refused, and its file is unchanged, however long the new file is.
pub fn a_finished_file_is_never_replaced(storage: &Subject) {
    for len in [3, 0, 200_000] {
        write(storage, "job/file", b"old");
        let written = storage.create("job/file", &Cancel::new()).and_then(|mut writer| {
            writer.write(&pattern(len))?;
            writer.finish()
        });
        let error = written.expect_err("the name is taken");
        assert_eq!((error.kind(), error.file()), (ErrorKind::AlreadyExists, Some("job/file")), "{error}");
        assert_eq!(read(storage, "job/file"), b"old");
        assert_eq!((names(storage, ""), storage.sweep("").expect("sweep")), (vec!["job/file".to_owned()], 0));
        // The name is free again once the file is deleted.
        storage.delete("job/file").expect("delete");
    }
}

/// An opened file stays readable and unchanged after it is deleted and its name is taken by another file.
pub fn an_open_file_outlives_its_name(storage: &Subject) {
    for len in [100, 200_000] {
        let bytes = pattern(len);
        write(storage, "job/file", &bytes);
        let file = storage.open("job/file").expect("open");
        storage.delete("job/file").expect("delete");
        write(storage, "job/file", b"other");
        assert!(*file.read(0, len).expect("read") == bytes);
        storage.delete_folder("job").expect("delete");
        assert!(*file.read(0, len).expect("read") == bytes);
    }
}

/// Of two writers of one name, the first to finish gets it, and the other is refused and leaves nothing. A
/// writer that is dropped or fails does not harm the file of that name.
pub fn the_first_to_finish_has_the_name(storage: &Subject) {
    let (mut first, mut second, third) =
        (create(storage, "file"), create(storage, "file"), create(storage, "file"));
    first.write(b"first").expect("write");
    second.write(b"second").expect("write");
    second.finish().expect("finish");
    drop(third);
    assert_eq!(read(storage, "file"), b"second");
    assert_eq!(first.finish().expect_err("the name is taken").kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(storage, "file"), b"second");
    assert_eq!((names(storage, ""), storage.sweep("").expect("sweep")), (vec!["file".to_owned()], 0));
}

/// A writer whose unfinished file was swept does not affect a later writer of the same folder or name.
pub fn a_swept_writer_does_not_harm_a_later_one(storage: &Subject) {
    let mut swept = [create(storage, "job/a"), create(storage, "job/b")];
    swept.iter_mut().for_each(|writer| writer.write(b"old").expect("write"));
    assert_eq!(storage.sweep("job").expect("sweep"), 2);
    let mut later = [create(storage, "job/a"), create(storage, "job/c")];
    later.iter_mut().for_each(|writer| writer.write(b"new").expect("write"));
    let [finished, dropped] = swept;
    assert_eq!(finished.finish().expect_err("swept").kind(), ErrorKind::Io);
    drop(dropped);
    for writer in later {
        writer.finish().expect("a writer of its own");
    }
    assert_eq!(names(storage, ""), ["job/a", "job/c"]);
    assert_eq!((read(storage, "job/a"), read(storage, "job/c")), (b"new".to_vec(), b"new".to_vec()));
}

/// A folder's files are listed with those below it, by path, and without those of similar names.
pub fn files_are_listed_by_folder_in_order(storage: &Subject) {
    assert_eq!(names(storage, "nowhere"), [""; 0]);
    for path in ["b/2", "b/10", "b-c", "b/c/d/e", "bb/1", "a"] {
        write(storage, path, path.as_bytes());
    }
    assert_eq!(names(storage, ""), ["a", "b-c", "b/10", "b/2", "b/c/d/e", "bb/1"]);
    assert_eq!(names(storage, "b"), ["b/10", "b/2", "b/c/d/e"]);
    assert_eq!(names(storage, "b/c/d"), ["b/c/d/e"]);
    assert_eq!(names(storage, "a"), [""; 0], "a file is no folder");
    for entry in storage.list("").expect("list") {
        assert_eq!(entry.len, entry.path.len() as u64);
    }
}

/// Deleting removes one file. Deleting a missing file or a folder is no error.
pub fn deleting_twice_is_no_error(storage: &Subject) {
    for path in ["job/chk-1/a", "job/chk-1/b", "job/shared"] {
        write(storage, path, b"x");
    }
    for _ in 0..2 {
        storage.delete("job/chk-1/a").expect("delete");
        assert_eq!(names(storage, ""), ["job/chk-1/b", "job/shared"]);
    }
    storage.delete("job/chk-1").expect("delete no file");
    storage.delete("job/shared/below").expect("delete no file");
    storage.delete("no/where").expect("delete no file");
    assert_eq!(names(storage, ""), ["job/chk-1/b", "job/shared"]);
    assert_eq!(storage.open("job/chk-1/a").expect_err("deleted").kind(), ErrorKind::NotFound);
    storage.delete("job/chk-1/b").expect("delete");
    write(storage, "job/chk-1", b"the folder has gone with its last file");
}

/// A folder is deleted with everything below it, and folders with similar names stay. Repeating is no error.
pub fn a_folder_is_deleted_with_all_in_it(storage: &Subject) {
    for path in ["job/chk-1/a", "job/chk-1/deep/b", "job/chk-10/a", "job/shared"] {
        write(storage, path, b"x");
    }
    for _ in 0..2 {
        storage.delete_folder("job/chk-1").expect("delete");
        assert_eq!(names(storage, ""), ["job/chk-10/a", "job/shared"]);
    }
    storage.delete_folder("job/shared").expect("a file is no folder");
    storage.delete_folder("job/shared/below").expect("there is no such folder");
    assert_eq!(names(storage, ""), ["job/chk-10/a", "job/shared"]);
}

/// The root is a folder too, and stays usable after it was emptied.
pub fn the_root_can_be_emptied(storage: &Subject) {
    storage.delete_folder("").expect("delete nothing");
    write(storage, "a", b"x");
    write(storage, "b/c", b"x");
    storage.delete_folder("").expect("delete");
    assert_eq!(names(storage, ""), [""; 0]);
    write(storage, "a", b"x");
    assert_eq!(names(storage, ""), ["a"]);
}

/// A writer whose folder is deleted cannot bring it back.
pub fn deleting_a_folder_ends_its_writers(storage: &Subject) {
    let mut writer = create(storage, "job/chk-1/file");
    let other = create(storage, "job/chk-2/file");
    storage.delete_folder("job/chk-1").expect("delete");
    // The writer may notice only at the end.
    _ = writer.write(b"some");
    assert_eq!(writer.finish().expect_err("deleted").kind(), ErrorKind::Io);
    assert_eq!(names(storage, ""), [""; 0]);
    other.finish().expect("another folder");
    assert_eq!(names(storage, ""), ["job/chk-2/file"]);
}

/// A sweep removes and counts unfinished files in the folder, and keeps finished ones.
pub fn a_sweep_removes_unfinished_files_alone(storage: &Subject) {
    assert_eq!(storage.sweep("nowhere").expect("sweep"), 0);
    write(storage, "job/a/done", b"x");
    let first = create(storage, "job/a/first");
    let second = create(storage, "job/second");
    let other = create(storage, "other/third");
    assert_eq!(storage.sweep("job").expect("sweep"), 2);
    assert_eq!(storage.sweep("job").expect("sweep"), 0);
    assert_eq!(names(storage, ""), ["job/a/done"]);
    assert_eq!(first.finish().expect_err("swept").kind(), ErrorKind::Io);
    assert_eq!(second.finish().expect_err("swept").kind(), ErrorKind::Io);
    other.finish().expect("another folder");
    assert_eq!(names(storage, ""), ["job/a/done", "other/third"]);
}

/// All methods refuse paths that are absolute, lead upwards, or are not in canonical form.
pub fn paths_stay_within_the_storage(storage: &Subject) {
    fn refused<T>(what: &str, path: &str, result: Result<T>) {
        let kind = result.err().map(|error: Error| error.kind());
        assert_eq!(kind, Some(ErrorKind::InvalidArgument), "{what} of {path:?}");
    }
    for path in ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a/.hidden", "a\\b", "a\0b"] {
        refused("create", path, storage.create(path, &Cancel::new()));
        refused("open", path, storage.open(path));
        refused("delete", path, storage.delete(path));
        if !path.is_empty() {
            refused("list", path, storage.list(path));
            refused("delete_folder", path, storage.delete_folder(path));
            refused("sweep", path, storage.sweep(path));
        }
    }
    write(storage, "a b/\u{e4}~%:*..", b"x");
    assert_eq!(names(storage, ""), ["a b/\u{e4}~%:*.."]);
}

/// A file cannot be written where a folder is, nor below a file, and the attempt changes nothing.
pub fn a_name_is_a_file_or_a_folder(storage: &Subject) {
    write(storage, "folder/file", b"x");
    for path in ["folder", "folder/file/below", "folder/file/far/below"] {
        let written = storage.create(path, &Cancel::new()).and_then(StorageWriter::finish);
        let error = written.expect_err("no such file is possible");
        assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some(path)));
        assert_eq!(storage.open(path).expect_err("no file").kind(), ErrorKind::NotFound);
    }
    assert_eq!(names(storage, ""), ["folder/file"]);
    assert_eq!(storage.sweep("").expect("sweep"), 0);
}

/// Threads write and delete in the same folders. Each sees its own files, and none is left.
pub fn writers_and_deletions_do_not_disturb_each_other(storage: &Subject) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..25 {
                    let path = format!("job/chk-{}/{thread}", round % 2);
                    write(storage, &path, path.as_bytes());
                    assert_eq!(read(storage, &path), path.as_bytes());
                    storage.delete(&path).expect("delete");
                    // Much quicker than a whole file, so folders appear and disappear all the time.
                    for _ in 0..100 {
                        drop(create(storage, "job/deep/folder/dropped"));
                    }
                }
            });
        }
    });
    assert_eq!(names(storage, ""), [""; 0]);
    write(storage, "job", b"the folder has gone with its last file");
}

/// Up to its threshold a [`SpillingSink`] writes no file, and above it exactly one. Empty state is
/// distinguished.
pub fn small_states_are_kept_inline(storage: &Subject) {
    let store = |threshold: usize, pieces: &[&[u8]]| {
        let mut sink = SpillingSink::new(Arc::clone(storage), "job/state", threshold, Cancel::new())?;
        pieces.iter().try_for_each(|piece| sink.write(piece))?;
        sink.finish()
    };
    let bytes = pattern(DEFAULT_SPILL_THRESHOLD + 1);
    let (inline, last) = bytes.split_at(DEFAULT_SPILL_THRESHOLD);
    assert_eq!(store(DEFAULT_SPILL_THRESHOLD, &[]).expect("nothing"), Stored::Empty);
    assert_eq!(store(0, &[b""]).expect("nothing"), Stored::Empty);
    for pieces in [&[inline][..], &[&inline[..1], &inline[1..]]] {
        let stored = store(DEFAULT_SPILL_THRESHOLD, pieces).expect("inline");
        assert_eq!(stored, Stored::Inline(inline.to_vec()));
    }
    assert_eq!(names(storage, ""), [""; 0]);
    for (threshold, pieces, length) in
        [(DEFAULT_SPILL_THRESHOLD, &[inline, last][..], bytes.len()), (0, &[&inline[..1]], 1)]
    {
        let stored = store(threshold, pieces).expect("a file");
        assert_eq!(stored, Stored::File { path: "job/state".into(), length: length as u64 });
        assert_eq!(names(storage, ""), ["job/state"]);
        assert_eq!(read(storage, "job/state"), bytes[..length]);
        storage.delete("job/state").expect("delete");
    }
    store(MAX_SPILL_THRESHOLD, &[]).expect("the largest threshold");
    let error = store(MAX_SPILL_THRESHOLD + 1, &[]).expect_err("too large a threshold");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// A sink that is dropped, or cancelled, leaves no file.
pub fn a_spilling_sink_leaves_nothing_behind(storage: &Subject) {
    let cancel = Cancel::new();
    let sink = |cancel: &Cancel| {
        let mut sink =
            SpillingSink::new(Arc::clone(storage), "job/state", 10, cancel.clone()).expect("a sink");
        sink.write(&pattern(100_000)).expect("write");
        sink
    };
    drop(sink(&cancel));
    let mut cancelled = sink(&cancel);
    cancel.cancel();
    assert_eq!(cancelled.write(b"x").expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(cancelled.finish().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(names(storage, ""), [""; 0]);
    assert_eq!(storage.sweep("").expect("sweep"), 0);
}

fn create(storage: &Subject, path: &str) -> Box<dyn StorageWriter> {
    storage.create(path, &Cancel::new()).expect("create")
}

fn write(storage: &Subject, path: &str, bytes: &[u8]) {
    let mut writer = create(storage, path);
    writer.write(bytes).expect("write");
    writer.finish().expect("finish");
}

fn read(storage: &Subject, path: &str) -> Vec<u8> {
    let file = storage.open(path).expect("open");
    file.read(0, file.len() as usize).expect("read").into_owned()
}

fn names(storage: &Subject, folder: &str) -> Vec<String> {
    storage.list(folder).expect("list").into_iter().map(|entry| entry.path).collect()
}

/// Bytes without a period of a power of two.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect()
}
