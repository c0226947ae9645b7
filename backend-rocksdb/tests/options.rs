//! Options of RocksDB that the user changes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use backend_api::{
    ErrorKind, JobFolder, KeySpace, KeyedStateHandle, SnapshotRequest, StateBackend, Subtask,
    ValueDescriptor, ValueState,
};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions, Tuned};
use rocksdb::{
    BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, DBPath, Env, Options,
    PlainTableFactoryOptions, SliceTransform, compaction_filter::Decision,
};

const KEYS: u32 = 400;

fn options(folder: &Path) -> RocksDbOptions {
    let (checkpoints, working) = (folder.join("checkpoints"), folder.join("working"));
    let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job").unwrap(), working).unwrap();
    options
        .with_profile(Profile::Tiny)
        .with_memory_budget(4 << 20)
        .unwrap()
        .with_incremental(true)
        .with_inline_max(0)
        .unwrap()
}

fn part(parallelism: u16, index: u16) -> Subtask<u32> {
    Subtask::new("op", KeySpace::new(10).unwrap(), parallelism, index).unwrap()
}

/// A value that is longer than the smallest blob.
fn text(key: u32, round: u32) -> String {
    format!("{key:>100} {round}")
}

fn write(backend: &mut RocksDbBackend<u32>, round: u32) {
    let token = backend.register(ValueDescriptor::<String>::new("texts")).unwrap();
    for key in (0..KEYS).step_by(1 + round as usize) {
        if backend.subtask().key(&key).is_ok() {
            let context = backend.key(&key).unwrap();
            backend.value(token, context, &()).unwrap().set(text(key, round)).unwrap();
        }
    }
}

fn read(backend: &mut RocksDbBackend<u32>) -> Vec<Option<String>> {
    let token = backend.register(ValueDescriptor::<String>::new("texts")).unwrap();
    let mut read = |key| {
        let context = backend.key(&key).unwrap();
        backend.value(token, context, &()).unwrap().get().unwrap()
    };
    (0..KEYS).map(&mut read).collect()
}

fn checkpoint(backend: &mut RocksDbBackend<u32>, id: u64) -> KeyedStateHandle {
    let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap();
    backend.notify_complete(id).unwrap();
    handle
}

#[test]
fn values_in_blob_files_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    for cache in [0, 1 << 20] {
        let options = options(folder.path()).with_cache_bytes(cache).with_tune(|what, options| {
            if what != Tuned::Database {
                options.set_enable_blob_files(true);
                options.set_min_blob_size(16);
            }
        });
        let handles: Vec<_> = (0..2)
            .map(|index| {
                let mut backend = RocksDbBackend::open(&options, part(2, index), &[]).unwrap();
                write(&mut backend, 0);
                checkpoint(&mut backend, 1);
                write(&mut backend, 1);
                checkpoint(&mut backend, 2)
            })
            .collect();
        let has_blobs =
            |handle: &KeyedStateHandle| handle.files.iter().any(|file| file.name.contains(".blob"));
        assert!(handles.iter().all(has_blobs));
        let mut joined = RocksDbBackend::open(&options, part(1, 0), &handles).unwrap();
        let expected: Vec<_> = (0..KEYS).map(|key| Some(text(key, (key + 1) % 2))).collect();
        assert_eq!(read(&mut joined), expected);
        // The joined database is complete: it can be restored again.
        let handle = checkpoint(&mut joined, 3);
        let mut restored = RocksDbBackend::open(&options, part(1, 0), &[handle]).unwrap();
        assert_eq!(read(&mut restored), expected);
    }
}

type Tune = fn(&mut Options);

/// Opens a backend with options changed by `tune`, for the database or for the families.
fn open(folder: &Path, of_database: bool, tune: Tune) -> Result<RocksDbBackend<u32>, backend_api::Error> {
    let options = options(folder).with_tune(move |what, options| {
        if (what == Tuned::Database) == of_database {
            tune(options);
        }
    });
    RocksDbBackend::open(&options, part(1, 0), &[])
}

#[test]
fn options_that_would_break_a_restore_are_refused() {
    let refused: &[(&str, bool, Tune)] = &[
        ("comparator", false, |options| {
            options.set_comparator("reverse", Box::new(|a, b| b.cmp(a)));
        }),
        ("merge_operator", false, |options| {
            options.set_merge_operator_associative("first", |_, old, _| old.map(<[u8]>::to_vec));
        }),
        ("prefix_extractor", false, |options| {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(6));
        }),
        ("compaction_filter", false, |options| {
            options.set_compaction_filter("all", |_, _, _| Decision::Remove);
        }),
        ("compaction_style", false, |options| options.set_compaction_style(DBCompactionStyle::Fifo)),
        ("table_factory", false, |options| {
            options.set_plain_table_factory(&PlainTableFactoryOptions {
                user_key_length: 0,
                bloom_bits_per_key: 10,
                hash_table_ratio: 0.75,
                index_sparseness: 16,
                huge_page_tlb_size: 0,
                encoding_type: rocksdb::KeyEncodingType::Plain,
                full_scan_mode: false,
                store_index_in_file: false,
            });
        }),
        ("inplace_update_support", false, |options| {
            options.set_inplace_update_support(true);
            options.set_allow_concurrent_memtable_write(false);
        }),
        ("unordered_write", true, |options| options.set_unordered_write(true)),
        ("row cache", true, |options| options.set_row_cache(&Cache::new_lru_cache(1 << 20))),
        ("outside of the working folder", true, |options| {
            options.set_env(&Env::mem_env().unwrap());
        }),
    ];
    for (what, of_database, tune) in refused {
        let folder = tempfile::tempdir().unwrap();
        let error =
            open(folder.path(), *of_database, *tune).err().unwrap_or_else(|| panic!("{what} is taken"));
        let text = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains(what), "{what}: {text}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {text}");
        let left = fs::read_dir(folder.path().join("working")).unwrap().count();
        assert_eq!(left, 0, "{what}");
    }
}

#[test]
fn paths_outside_of_the_working_folder_are_refused_and_left_empty() {
    for is_log in [false, true] {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = elsewhere.path().to_owned();
        let options = options(folder.path()).with_tune(move |what, options| match (what, is_log) {
            (Tuned::Database, true) => options.set_wal_dir(&path),
            (Tuned::Database, false) => options.set_db_paths(&[DBPath::new(&path, 1 << 30).unwrap()]),
            _ => {}
        });
        let error = RocksDbBackend::<u32>::open(&options, part(1, 0), &[]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let left: Vec<_> =
            fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn other_options_are_accepted() {
    let taken: &[(bool, Tune)] = &[
        (false, |options| options.set_compression_type(DBCompressionType::Zstd)),
        (false, |options| options.set_bottommost_compression_type(DBCompressionType::Zstd)),
        (false, |options| options.set_compaction_style(DBCompactionStyle::Level)),
        (false, |options| options.set_write_buffer_size(64 << 10)),
        (false, |options| options.set_disable_auto_compactions(true)),
        (false, |options| options.set_num_levels(4)),
        (false, |options| {
            let mut table = BlockBasedOptions::default();
            table.set_ribbon_filter(8.0);
            table.set_format_version(5);
            options.set_block_based_table_factory(&table);
        }),
        (true, |options| options.set_max_open_files(16)),
        (true, |options| options.set_atomic_flush(true)),
        (true, |options| options.create_if_missing(false)),
        (true, |options| options.set_error_if_exists(true)),
    ];
    for (at, (of_database, tune)) in taken.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let (of_database, tune) = (*of_database, *tune);
        let options = options(folder.path()).with_tune(move |what, options| {
            if (what == Tuned::Database) == of_database {
                tune(options);
            }
        });
        let handles: Vec<_> = (0..2)
            .map(|index| {
                let mut backend = RocksDbBackend::open(&options, part(2, index), &[]).unwrap();
                write(&mut backend, 0);
                checkpoint(&mut backend, 1)
            })
            .collect();
        let mut joined = RocksDbBackend::open(&options, part(1, 0), &handles).unwrap();
        let expected: Vec<_> = (0..KEYS).map(|key| Some(text(key, 0))).collect();
        assert_eq!(read(&mut joined), expected, "option {at}");
    }
}

#[test]
fn several_files_are_transferred_at_once_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        options(folder.path()).with_transfer_threads(0).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    for threads in [1, 16] {
        let options = options(folder.path()).with_transfer_threads(threads).unwrap();
        let mut backend = RocksDbBackend::open(&options, part(1, 0), &[]).unwrap();
        write(&mut backend, 0);
        let handle = checkpoint(&mut backend, u64::from(threads));
        let mut restored = RocksDbBackend::open(&options, part(1, 0), &[handle]).unwrap();
        assert_eq!(read(&mut restored)[7], Some(text(7, 0)));
    }
}

/// The options files that RocksDB has written below a folder.
fn options_files(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(options_files(&path));
        } else if path.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS-") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts
}

#[test]
fn the_log_of_rocksdb_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let _backend = RocksDbBackend::open(&options(folder.path()), part(1, 0), &[]).unwrap();
    let written = options_files(folder.path());
    assert!(!written.is_empty());
    for text in written {
        for limit in ["max_log_file_size=1048576", "keep_log_file_num=2"] {
            assert!(text.lines().any(|line| line.trim() == limit), "{limit} is missing");
        }
    }
}
