use backend_api::any_backend;

/// Makes the enum with the backends that this build has.
macro_rules! backends {
    ($($(#[$meta:meta])* $variant:ident($($backend:tt)+),)*) => {
        any_backend! {
            /// The backend that a job's configuration chooses. The variant of [`AnyOptions`] is the choice.
            ///
            /// Each access opens the state, so it costs one branch more than with the backend itself.
            pub enum AnyBackend: AnyOptions {
                /// Objects on the heap, checkpoints in the coordinator's memory.
                Memory(backend_memory::MemoryBackend),
                /// Objects on the heap, checkpoints in files.
                Fs(backend_fs::FsBackend),
                $($(#[$meta])* $variant($($backend)+),)*
            }
        }
    };
}

#[cfg(not(feature = "rocksdb"))]
backends! {}

#[cfg(feature = "rocksdb")]
backends! {
    /// State in RocksDB, larger than memory; checkpoints in files.
    RocksDb(backend_rocksdb::RocksDbBackend),
}
