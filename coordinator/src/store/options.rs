use std::sync::Arc;

use backend_api::{Error, ErrorKind, JobFolder, Result, Storage};

/// Options of a [`CheckpointStore`](super::CheckpointStore).
#[derive(Clone, Debug)]
pub struct CheckpointStoreOptions {
    pub(super) storage: Option<Arc<dyn Storage>>,
    pub(super) job: JobFolder,
    retained: usize,
    max_message_bytes: u64,
    max_total_bytes: u64,
}

impl CheckpointStoreOptions {
    /// Keeps completed checkpoints in the memory of the store only. They end with it.
    pub fn in_memory(job: JobFolder) -> Self {
        Self {
            storage: None,
            job,
            retained: 1,
            max_message_bytes: 10 * 1024 * 1024,
            max_total_bytes: u64::MAX,
        }
    }

    /// Keeps the metadata of each completed checkpoint, with its inline state, in a file in `storage`.
    pub fn in_storage(job: JobFolder, storage: Arc<dyn Storage>) -> Self {
        Self { storage: Some(storage), ..Self::in_memory(job) }
    }

    /// Sets the number of completed checkpoints to retain. The default is 1.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_retained(mut self, number: usize) -> Result<Self> {
        self.retained = number;
        positive(number > 0, "the number of retained checkpoints").map(|()| self)
    }

    /// Sets the limit of the acknowledgement of one subtask in bytes, including inline state. The default is 10,485,760.
    ///
    /// It is checked for each [`TaskState`](backend_api::TaskState), so for each operator by itself. An engine that
    /// chains operators and acknowledges them in one message must add them up and compare the sum with the limit of its
    /// transport.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_max_message_bytes(mut self, bytes: u64) -> Result<Self> {
        self.max_message_bytes = bytes;
        positive(bytes > 0, "the limit of an acknowledgement").map(|()| self)
    }

    /// Sets the limit of the state of all retained checkpoints in the store's memory, in bytes. The default is no limit.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_max_total_bytes(mut self, bytes: u64) -> Result<Self> {
        self.max_total_bytes = bytes;
        positive(bytes > 0, "the limit of retained state").map(|()| self)
    }

    /// The number of completed checkpoints to retain.
    pub fn retained(&self) -> usize {
        self.retained
    }

    /// The limit of the acknowledgement of one subtask in bytes.
    pub fn max_message_bytes(&self) -> u64 {
        self.max_message_bytes
    }

    /// The limit of the state of all retained checkpoints in the store's memory, in bytes.
    pub fn max_total_bytes(&self) -> u64 {
        self.max_total_bytes
    }
}

fn positive(is_positive: bool, what: &str) -> Result<()> {
    if is_positive {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("{what} must be at least 1")))
}
