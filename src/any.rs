use backend_api::any_backend;

/// Defines the enum with the backends of this build.
macro_rules! backends {
    ($($(#[$meta:meta])* $variant:ident($($backend:tt)+),)*) => {
        any_backend! {
            /// The backend of a job's configuration. The variant of [`AnyOptions`] chooses it.
            ///
            /// Each access matches on the variant, which costs about a nanosecond.
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
