use backend_api::any_backend;

any_backend! {
    /// The backend that a job's configuration chooses; the variant of [`AnyOptions`] is the choice.
    ///
    /// It costs about a nanosecond an access against the backend itself.
    pub enum AnyBackend: AnyOptions, AnyView {
        /// Objects on the heap, checkpoints in the coordinator's memory.
        Memory(backend_memory::MemoryBackend),
        /// Objects on the heap, checkpoints in files.
        Fs(backend_fs::FsBackend),
    }
}
