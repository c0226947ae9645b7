//! A server that speaks the protocol of S3: the contract of every storage, and the checkpoints of a job.

#![cfg(feature = "s3")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;

use backend_api::{
    Cancel, Checkpoint, ErrorKind, JobFolder, KeySpace, SnapshotRequest, StateBackend, Storage, Subtask,
    TaskState, ValueDescriptor, ValueState,
};
use backend_fs::{FsBackend, FsOptions};
use conformance_tests::storage_contract::{self as contract, Subject};
use coordinator::{CheckpointStore, CheckpointStoreOptions};
use server::Server;
use storage_object::object_store::aws::{AmazonS3, AmazonS3Builder};
use storage_object::{ObjectOptions, ObjectStorage};

const BUCKET: &str = "checkpoints";

fn client(server: &Server) -> AmazonS3 {
    let builder = AmazonS3Builder::new().with_bucket_name(BUCKET).with_region("us-east-1");
    let builder = builder.with_access_key_id("test").with_secret_access_key("test");
    builder.with_endpoint(&server.endpoint).with_allow_http(true).build().unwrap()
}

fn open(server: &Server, prefix: &str) -> Arc<dyn Storage> {
    let options = ObjectOptions::default().with_part_bytes(5 << 20).unwrap();
    // A client of one's own does not choose the cryptography.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Arc::new(ObjectStorage::new(client(server), prefix, options).unwrap())
}

/// What a behaviour is called, and the function that checks it.
type Case = (&'static str, fn(&Subject));

/// All behaviours but that of a name that is a file or a folder: an object store has no folders.
const CASES: &[Case] = &[
    ("a finished file", contract::a_finished_file_is_read_back),
    ("a long file", contract::a_long_file_is_read_back),
    ("an empty file", contract::an_empty_file_is_a_file),
    ("reading beyond the end", contract::reading_beyond_the_end_is_an_error),
    ("appearing", contract::a_file_appears_when_it_is_finished),
    ("a dropped writer", contract::a_dropped_writer_leaves_nothing),
    ("a cancelled writer", contract::a_cancelled_writer_leaves_nothing),
    ("a finished file stays", contract::a_finished_file_is_never_replaced),
    ("an open file", contract::an_open_file_outlives_its_name),
    ("the first to finish", contract::the_first_to_finish_has_the_name),
    ("a swept writer", contract::a_swept_writer_does_not_harm_a_later_one),
    ("listing", contract::files_are_listed_by_folder_in_order),
    ("deleting twice", contract::deleting_twice_is_no_error),
    ("deleting a folder", contract::a_folder_is_deleted_with_all_in_it),
    ("the root", contract::the_root_can_be_emptied),
    ("writers of a deleted folder", contract::deleting_a_folder_ends_its_writers),
    ("a sweep", contract::a_sweep_removes_unfinished_files_alone),
    ("paths", contract::paths_stay_within_the_storage),
    ("threads", contract::writers_and_deletions_do_not_disturb_each_other),
    ("inline states", contract::small_states_are_kept_inline),
    ("a dropped sink", contract::a_spilling_sink_leaves_nothing_behind),
];

#[test]
fn a_server_of_s3_keeps_checkpoints() {
    let Some(server) = Server::start(BUCKET) else { return };
    for (number, (name, check)) in CASES.iter().enumerate() {
        let storage = open(&server, &format!("contract/{number}"));
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&storage)));
        assert!(checked.is_ok(), "{name}");
    }
    a_job_continues_from_its_newest_checkpoint(&server);
    of_two_attempts_one_goes_on(&server);
    an_upload_in_parts_is_read_back_and_swept(&server);
}

/// Two checkpoints, the second of them incremental; another process restores it.
fn a_job_continues_from_its_newest_checkpoint(server: &Server) {
    let (job, prefix) = (JobFolder::new("job").unwrap(), "team");
    let subtask = Subtask::single("counts", KeySpace::<u64>::new(128).unwrap()).unwrap();
    let counts = || ValueDescriptor::<u64>::new("counts");
    let options =
        |storage| FsOptions::new(storage, job.clone()).with_incremental(true).with_inline_max(0).unwrap();

    let storage = open(server, prefix);
    let mut store =
        CheckpointStore::open(CheckpointStoreOptions::in_storage(job.clone(), Arc::clone(&storage))).unwrap();
    let mut backend = FsBackend::open(&options(storage), subtask.clone(), &[]).unwrap();
    let token = backend.register(counts()).unwrap();
    for round in 1..=2 {
        for key in 0..1000 * round {
            let key = backend.key(&key).unwrap();
            backend.value(token, key, &()).unwrap().set(round).unwrap();
        }
        let id = store.begin().unwrap();
        let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap();
        store.complete(Checkpoint::new(id, vec![TaskState::of(&subtask, handle)])).unwrap();
        backend.notify_complete(id).unwrap();
    }
    drop(backend);

    let storage = open(server, prefix);
    let store =
        CheckpointStore::open(CheckpointStoreOptions::in_storage(job.clone(), Arc::clone(&storage))).unwrap();
    assert!(store.orphans().unwrap().is_empty());
    let restore = store.latest().unwrap().restore(&subtask).unwrap();
    let mut backend = FsBackend::open(&options(storage), subtask, restore.keyed()).unwrap();
    let token = backend.register(counts()).unwrap();
    for key in 0..2000 {
        let key = backend.key(&key).unwrap();
        assert_eq!(backend.value(token, key, &()).unwrap().get().unwrap(), Some(2));
    }
}

/// Of two attempts that write one metadata file, the second is refused.
fn of_two_attempts_one_goes_on(server: &Server) {
    let write = |content: &[u8]| {
        let mut writer = open(server, "attempts").create("job/chk-1/_metadata", &Cancel::new())?;
        writer.write(content)?;
        writer.finish()
    };
    write(b"attempt 1").unwrap();
    assert_eq!(write(b"attempt 2").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(write(b"attempt 1").unwrap_err().kind(), ErrorKind::AlreadyExists);
}

/// A file of several parts, and one whose process ended.
fn an_upload_in_parts_is_read_back_and_swept(server: &Server) {
    let content: Vec<u8> = (0..(12 << 20) + 5).map(|at: u32| (at % 251) as u8).collect();
    let storage = open(server, "parts");
    let mut writer = storage.create("job/long", &Cancel::new()).unwrap();
    writer.write(&content).unwrap();
    writer.finish().unwrap();
    let mut killed = storage.create("job/killed", &Cancel::new()).unwrap();
    killed.write(&content).unwrap();
    std::mem::forget(killed);

    let next = open(server, "parts");
    assert_eq!((next.sweep("").unwrap(), next.sweep("").unwrap()), (1, 0));
    let file = next.open("job/long").unwrap();
    assert!(*file.read(0, content.len()).unwrap() == content);
    assert_eq!(next.list("").unwrap().len(), 1);
    let mut second = next.create("job/long", &Cancel::new()).unwrap();
    second.write(&content).unwrap();
    assert_eq!(second.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
}
