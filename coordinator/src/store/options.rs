use std::sync::Arc;

use backend_api::{Error, ErrorKind, JobFolder, Result, Storage};

/// How a [`CheckpointStore`](super::CheckpointStore) keeps what it is given.
#[derive(Clone, Debug)]
pub struct CheckpointStoreOptions {
    pub(super) storage: Option<Arc<dyn Storage>>,
    pub(super) job: JobFolder,
    pub(super) retained: usize,
    pub(super) max_message_bytes: u64,
    pub(super) max_total_bytes: u64,
}

impl CheckpointStoreOptions {
    /// Completed checkpoints live in this store's memory only, and end with it.
    pub fn in_memory(job: JobFolder) -> Self {
        Self {
            storage: None,
            job,
            retained: 1,
            max_message_bytes: 10 * 1024 * 1024,
            max_total_bytes: u64::MAX,
        }
    }

    /// The metadata of each completed checkpoint is one file in `storage`, state that is inline included.
    pub fn in_storage(job: JobFolder, storage: Arc<dyn Storage>) -> Self {
        Self { storage: Some(storage), ..Self::in_memory(job) }
    }

    /// How many completed checkpoints are kept (1 by default).
    pub fn retained(mut self, number: usize) -> Self {
        self.retained = number;
        self
    }

    /// How many bytes the acknowledgement of one subtask may have (10,485,760 by default). State that is inline in its
    /// handles counts.
    ///
    /// It is checked for each [`TaskState`](backend_api::TaskState), so for each operator by itself. An engine that
    /// chains operators and acknowledges them in one message must add them up and compare the sum with the limit of its
    /// transport.
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// How many bytes of state all kept checkpoints together may hold in this store's memory (no limit by default).
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
