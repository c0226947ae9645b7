use std::sync::Arc;

use backend_api::{Error, ErrorKind, JobFolder, Result, Storage};

/// Options of a [`CheckpointStore`](super::CheckpointStore).
#[derive(Clone, Debug)]
pub struct CheckpointStoreOptions {
    pub(super) storage: Option<Arc<dyn Storage>>,
    pub(super) job: JobFolder,
    pub(super) retained: usize,
    pub(super) max_message_bytes: u64,
    pub(super) max_total_bytes: u64,
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

    /// Number of completed checkpoints to retain (1 by default).
    pub fn retained(mut self, number: usize) -> Self {
        self.retained = number;
        self
    }

    /// Limit of the acknowledgement of one subtask in bytes, including inline state (10,485,760 by default).
    ///
    /// It is checked for each [`TaskState`](backend_api::TaskState), so for each operator by itself. An engine that
    /// chains operators and acknowledges them in one message must add them up and compare the sum with the limit of its
    /// transport.
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Limit of the state of all retained checkpoints in the store's memory, in bytes (no limit by default).
    pub fn max_total_bytes(mut self, bytes: u64) -> Self {
        self.max_total_bytes = bytes;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.retained == 0 || self.max_message_bytes == 0 || self.max_total_bytes == 0 {
            let message = "the number of retained checkpoints and the limits must be at least 1";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }
}
