//! A store whose requests fail, one after the other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/faulty.rs"]
mod faulty;

use backend_api::{Cancel, ErrorKind, Result, Storage, StorageWriter};
use faulty::{Fault, Faulty};
use futures_util::TryStreamExt;
use storage_object::object_store::ObjectStore;
use storage_object::{ObjectOptions, ObjectStorage};

const PART: usize = 5 << 20;

fn open(store: &Faulty) -> ObjectStorage {
    let options = ObjectOptions::default().with_part_bytes(PART).unwrap();
    ObjectStorage::new(store.clone(), "jobs", options).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn write(storage: &ObjectStorage, path: &str, content: &[u8]) -> Result<()> {
    let mut writer = storage.create(path, &Cancel::new())?;
    for piece in content.chunks(1 << 20) {
        writer.write(piece)?;
    }
    writer.finish()
}

fn read(storage: &ObjectStorage, path: &str) -> Result<Vec<u8>> {
    let file = storage.open(path)?;
    Ok(file.read(0, file.len() as usize)?.into_owned())
}

/// All objects, hidden ones included.
fn objects(store: &Faulty) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let listed: Vec<_> = runtime.block_on(store.store.list(None).try_collect()).unwrap();
    listed.into_iter().map(|object| object.location.to_string()).collect()
}

/// Whatever request fails, a write is confirmed only if the file is there, and what failed leaves nothing after a sweep.
#[test]
fn a_write_is_confirmed_or_leaves_nothing() {
    for len in [0, 1000, 3 * PART + 7] {
        let content = bytes(len);
        for fault in [Fault::Before, Fault::After] {
            for at in 0.. {
                let store = Faulty::new(at, fault);
                let storage = open(&store);
                let written = write(&storage, "job/file", &content);
                let is_over = store.requests() <= at;
                let place = format!("{len} bytes, request {at} fails {fault:?}");
                let storage = open(&store.failing(usize::MAX, fault));
                match &written {
                    Ok(()) => assert_eq!(read(&storage, "job/file").unwrap(), content, "{place}"),
                    Err(error) => {
                        assert_eq!(
                            (error.kind(), error.file()),
                            (ErrorKind::Io, Some("job/file")),
                            "{place}"
                        );
                        assert!(storage.list("").unwrap().is_empty(), "{place}");
                    }
                }
                storage.sweep("").unwrap();
                let left = if written.is_ok() { vec!["jobs/job/file".to_owned()] } else { Vec::new() };
                assert_eq!(objects(&store), left, "{place}");
                if is_over {
                    assert!(written.is_ok(), "{place}");
                    break;
                }
            }
        }
    }
}

/// The reply to the request that stores the file is lost: the file is this writer's, and not another's.
#[test]
fn an_own_write_is_not_mistaken_for_a_rivals() {
    let store = Faulty::new(0, Fault::After);
    write(&open(&store), "job/_metadata", b"attempt 1").unwrap();
    // The same bytes by another writer are another file.
    let error = write(&open(&store), "job/_metadata", b"attempt 1").unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::AlreadyExists, Some("job/_metadata")));
}

/// The reply is lost, the client asks again, and the store cannot say whose the file is: it is not called a rival's.
#[test]
fn an_unknown_outcome_is_no_rival() {
    let store = Faulty::new(usize::MAX, Fault::Before);
    write(&open(&store), "job/_metadata", b"attempt 1").unwrap();
    // The first request is refused, since the name is taken, and the second, which asks for the writer, fails.
    let error = write(&open(&store.failing(1, Fault::Before)), "job/_metadata", b"attempt 1").unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("job/_metadata")), "{error}");
}

/// A writer that is dropped or cancelled while it completes frees the name.
#[test]
fn a_claim_goes_with_its_writer() {
    let content = bytes(PART + 1);
    for at in 0..12 {
        let store = Faulty::new(usize::MAX, Fault::Before);
        let first = write(&open(&store.failing(at, Fault::After)), "job/file", &content);
        if first.is_err() {
            write(&open(&store), "job/file", &content).unwrap();
        }
    }
}

/// Of many writers of one name only one finishes, by one request or in parts.
#[test]
fn of_racing_writers_one_finishes() {
    for len in [10, PART + 10] {
        let store = Faulty::new(usize::MAX, Fault::Before);
        let storage = open(&store);
        let contents: Vec<Vec<u8>> = (0..6).map(|writer| vec![writer; len]).collect();
        let finished: Vec<_> = std::thread::scope(|scope| {
            let writers = contents.iter().map(|content| {
                let storage = &storage;
                scope.spawn(move || write(storage, "job/_metadata", content))
            });
            writers.collect::<Vec<_>>().into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..6).filter(|writer| finished[*writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{finished:?}");
        assert_eq!(read(&storage, "job/_metadata").unwrap(), contents[winners[0]]);
        for error in finished.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        }
        assert_eq!(objects(&store), ["jobs/job/_metadata"]);
    }
}

/// A failed read names the file, and another one succeeds.
#[test]
fn a_read_fails_once() {
    for len in [10, 2 * PART + 1] {
        for at in 0..4 {
            let content = bytes(len);
            let store = Faulty::new(usize::MAX, Fault::Before);
            write(&open(&store), "file", &content).unwrap();
            let failing = store.failing(at, Fault::Before);
            let first = read(&open(&failing), "file");
            if failing.requests() > at {
                let error = first.unwrap_err();
                assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("file")), "{error}");
            }
            assert_eq!(read(&open(&store), "file").unwrap(), content);
        }
    }
}

/// What a killed process left of an upload is swept by the next one, and counted.
#[test]
fn a_sweep_aborts_the_uploads_of_others() {
    let store = Faulty::new(usize::MAX, Fault::Before);
    let storage = open(&store);
    let mut writer = storage.create("job/chk-1/file", &Cancel::new()).unwrap();
    writer.write(&bytes(2 * PART)).unwrap();
    // As if its process had ended here.
    std::mem::forget(writer);
    write(&storage, "job/chk-1/done", b"x").unwrap();
    assert_eq!(objects(&store).len(), 2);
    let next = open(&store);
    assert_eq!(next.list("").unwrap().len(), 1);
    assert_eq!(
        (next.sweep("other").unwrap(), next.sweep("job").unwrap(), next.sweep("").unwrap()),
        (0, 1, 0)
    );
    assert_eq!(objects(&store), ["jobs/job/chk-1/done"]);
}

/// Threads of a runtime may block in a storage, open one and drop it.
#[test]
fn a_storage_works_within_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Faulty::new(usize::MAX, Fault::Before);
        let storage = open(&store);
        write(&storage, "file", &bytes(PART + 1)).unwrap();
        assert_eq!(read(&storage, "file").unwrap(), bytes(PART + 1));
        drop(storage);
    });
}

/// A cancellation wakes a writer and leaves nothing.
#[test]
fn a_cancelled_upload_leaves_nothing() {
    let store = Faulty::new(usize::MAX, Fault::Before);
    let storage = open(&store);
    let cancel = Cancel::new();
    let mut writer = storage.create("job/file", &cancel).unwrap();
    writer.write(&bytes(2 * PART)).unwrap();
    cancel.cancel();
    assert_eq!(writer.write(b"more").unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(StorageWriter::finish(writer).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(objects(&store), [""; 0]);
}

/// A text that names no store is refused when it is given.
#[test]
fn urls_name_a_store() {
    for url in ["", "bucket/job", "s4://bucket/job", "file:///tmp/x", "http://host/x"] {
        let error = ObjectStorage::open(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url:?}: {error}");
    }
    let storage = ObjectStorage::open("memory:///jobs").unwrap();
    write(&storage, "a", b"x").unwrap();
    assert_eq!(storage.list("").unwrap().len(), 1);
}
