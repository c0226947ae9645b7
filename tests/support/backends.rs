//! The backends on which the examples are tested.

/// Three tests that call `$check::<B>(options)` with a backend. Each call of `options` returns the options of the backend and
/// of a checkpoint store, over an empty storage.
macro_rules! on_each_backend {
    ($check:ident, $job:literal) => {
        #[test]
        fn on_the_heap() {
            let store = || CheckpointStoreOptions::in_memory(JobFolder::new($job).unwrap());
            $check::<MemoryBackend<_>>(|| (MemoryOptions::default(), store()));
        }

        #[test]
        fn on_the_heap_with_increments_in_files() {
            let (folder, mut numbers) = (tempfile::tempdir().unwrap(), 0..);
            $check::<FsBackend<_>>(|| {
                let own = folder.path().join(numbers.next().unwrap().to_string());
                let storage: std::sync::Arc<dyn Storage> =
                    std::sync::Arc::new(LocalStorage::open(own).unwrap());
                let job = || JobFolder::new($job).unwrap();
                let options = FsOptions::new(std::sync::Arc::clone(&storage), job()).with_incremental(true);
                (options, CheckpointStoreOptions::in_storage(job(), storage))
            });
        }

        #[cfg(feature = "rocksdb")]
        #[test]
        fn in_rocksdb() {
            let (folder, mut numbers) = (tempfile::tempdir().unwrap(), 0..);
            $check::<RocksDbBackend<_>>(|| {
                let own = folder.path().join(numbers.next().unwrap().to_string());
                let storage: std::sync::Arc<dyn Storage> =
                    std::sync::Arc::new(LocalStorage::open(own.join("checkpoints")).unwrap());
                let job = || JobFolder::new($job).unwrap();
                let options =
                    RocksDbOptions::new(std::sync::Arc::clone(&storage), job(), own.join("working"));
                (options.with_incremental(true), CheckpointStoreOptions::in_storage(job(), storage))
            });
        }
    };
}
