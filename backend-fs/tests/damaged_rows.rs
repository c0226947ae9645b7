//! Restores of states whose rows are damaged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use backend_api::format::{CheckpointReader, SectionKind};
use backend_api::storage::Bytes;
use backend_api::{
    Cancel, CheckpointTarget, ErrorKind, JobFolder, KeySpace, KeyedStateHandle, SnapshotRequest,
    StateBackend, StateData, StateKey, Subtask, ValueDescriptor, ValueState,
};
use backend_fs::{FsBackend, FsOptions};
use tempfile::TempDir;

const KEYS: u32 = 40_000;

fn options(folder: &TempDir) -> FsOptions {
    FsOptions::in_folder(folder.path(), JobFolder::new("job").unwrap()).unwrap()
}

fn open_with(options: &FsOptions, handle: &[KeyedStateHandle]) -> FsBackend<u32> {
    let subtask = Subtask::single("op", KeySpace::new(2).unwrap()).unwrap();
    FsBackend::open(options, subtask, handle).unwrap()
}

fn open(folder: &TempDir, handle: &[KeyedStateHandle]) -> FsBackend<u32> {
    open_with(&options(folder), handle)
}

fn state(name: &str) -> ValueDescriptor<u32> {
    ValueDescriptor::new(name)
}

/// Writes a checkpoint of two states into a file.
fn checkpoint(mut backend: FsBackend<u32>) -> KeyedStateHandle {
    for name in ["first", "second"] {
        let token = backend.register(state(name)).unwrap();
        for key in 0..KEYS {
            let context = backend.key(&key).unwrap();
            backend.value(token, context, &()).unwrap().set(key).unwrap();
        }
    }
    backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap().unwrap()
}

#[test]
fn damage_is_detected_before_a_row_of_its_block_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let handle = checkpoint(open(&folder, &[]));
    let StateData::File { path, length } = &handle.files[0].data else { panic!("a file") };
    let file = folder.path().join(path);
    let mut bytes = std::fs::read(&file).unwrap();
    // In the second state's half of the file.
    bytes[*length as usize * 3 / 4] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let mut backend = open(&folder, std::slice::from_ref(&handle));
    let first = backend.register(state("first")).unwrap();
    let error = backend.register(state("second")).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Corrupt, Some("second")));
    assert!(error.file() == Some(path) && error.offset().is_some() && error.key_group().is_some(), "{error}");
    // The sound state works. The damaged one is not passed on to a checkpoint.
    let key = backend.key(&7).unwrap();
    assert_eq!(backend.value(first, key, &()).unwrap().get().unwrap(), Some(7));
    let error = backend.snapshot(SnapshotRequest::new(2)).unwrap().run().unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Corrupt, Some("second")));
}

#[test]
fn an_increment_does_not_build_on_a_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder).with_incremental(true).with_claim_restored(true);
    let handle = checkpoint(open_with(&options, &[]));
    let StateData::File { path, length } = &handle.files[0].data else { panic!("a file") };
    let file = folder.path().join(path);
    let increment = |registers: bool| {
        let mut backend = open_with(&options, std::slice::from_ref(&handle));
        backend.register(state("first")).unwrap();
        if registers {
            backend.register(state("second")).unwrap_err();
        }
        // Every further attempt of this backend fails too.
        [2, 3].map(|id| backend.snapshot(SnapshotRequest::new(id)).unwrap().run())
    };
    for made in increment(false) {
        let files = made.unwrap().unwrap().files;
        assert!(files.iter().any(|file| file.data == handle.files[0].data), "the sound one is taken over");
    }
    let mut bad = std::fs::read(&file).unwrap();
    bad[*length as usize * 3 / 4] ^= 1;
    std::fs::write(&file, bad).unwrap();
    for registers in [false, true] {
        for made in increment(registers) {
            let error = made.unwrap_err();
            assert_eq!((error.kind(), error.state()), (ErrorKind::Corrupt, Some("second")));
            assert!(error.file() == Some(path) && error.offset().is_some(), "{error}");
        }
    }
}

#[test]
fn a_full_section_with_two_rows_for_a_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut handle = checkpoint(open(&folder, &[]));
    let StateData::File { path, .. } = &handle.files[0].data else { panic!("a file") };
    let bytes = std::fs::read(folder.path().join(path)).unwrap();
    let reader = CheckpointReader::open(Box::new(Bytes::new(path.clone(), bytes))).unwrap();
    for rows in [2, 10, 1_000] {
        // Rows of keys of the first group. The last row repeats the key of the first.
        let space = KeySpace::<u32>::new(2).unwrap();
        let mut keys: Vec<u32> =
            (0..KEYS).filter(|key| space.key(key).unwrap().group() == 0).take(rows - 1).collect();
        keys.push(keys[0]);
        let target = CheckpointTarget::memory(1 << 20).unwrap().for_attempt().unwrap();
        let file = target.write(reader.meta(), false, &Cancel::new(), |writer| {
            writer.begin_section(0, 0, SectionKind::Full)?;
            for key in &keys {
                writer.row(|out| {
                    key.encode(out);
                    out.extend_from_slice(&key.to_le_bytes());
                    Ok(())
                })?;
            }
            Ok(true)
        });
        handle.files = vec![file.unwrap().unwrap()];
        let mut backend = open(&folder, std::slice::from_ref(&handle));
        let error = backend.register(state("first")).unwrap_err();
        assert_eq!((error.kind(), error.key_group()), (ErrorKind::Corrupt, Some(0)), "{rows} rows");
        assert!(error.file().is_some(), "{error}");
    }
}

#[test]
fn every_flipped_byte_and_truncation_is_detected_at_registration() {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = open(&folder, &[]);
    for name in ["first", "second"] {
        let token = backend.register(state(name)).unwrap();
        for key in 0..6 {
            let context = backend.key(&key).unwrap();
            backend.value(token, context, &()).unwrap().set(key).unwrap();
        }
    }
    let mut handle = backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap().unwrap();
    let StateData::Inline(good) = handle.files[0].data.clone() else { panic!("a small file") };
    let flips = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cuts = (0..good.len()).map(|len| good[..len].to_vec());
    for bytes in flips.chain(cuts) {
        handle.files[0].data = StateData::Inline(bytes);
        let subtask = Subtask::single("op", KeySpace::new(2).unwrap()).unwrap();
        let restored = FsBackend::<u32>::open(&options(&folder), subtask, std::slice::from_ref(&handle));
        let error = restored.and_then(|mut backend| {
            backend.register(state("first"))?;
            backend.register(state("second"))
        });
        let error = error.unwrap_err();
        assert!([ErrorKind::Corrupt, ErrorKind::Unsupported].contains(&error.kind()), "{error}");
        assert!(error.file().is_some() && error.offset().is_some(), "{error}");
    }
}
