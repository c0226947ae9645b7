//! How a store is used.

use std::path::PathBuf;
use std::time::Duration;

use backend_api::{Error, ErrorKind, Result};

/// Smallest part that all stores take.
const PART_BYTES_MIN: usize = 5 << 20;

/// Options of an [`ObjectStorage`](crate::ObjectStorage).
#[derive(Clone, Debug)]
pub struct ObjectOptions {
    part_bytes: usize,
    requests: usize,
    retry_for: Duration,
    local_folder: Option<PathBuf>,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self { part_bytes: 16 << 20, requests: 4, retry_for: Duration::from_secs(60), local_folder: None }
    }
}

impl ObjectOptions {
    /// Sets the bytes of a part of an upload or download. Up to this length a file is written by one request. A writer has
    /// one part in memory for itself, and one for each request under way. The default is 16 MiB, the least 5 MiB.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for fewer bytes.
    pub fn with_part_bytes(mut self, bytes: usize) -> Result<Self> {
        if bytes < PART_BYTES_MIN {
            let message =
                format!("parts of {bytes} bytes: object stores take no parts below {PART_BYTES_MIN}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.part_bytes = bytes;
        Ok(self)
    }

    /// Sets how many parts of a file are sent or fetched at once. The default is 4.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_requests(mut self, requests: usize) -> Result<Self> {
        if requests == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "no request at once is too few"));
        }
        self.requests = requests;
        Ok(self)
    }

    /// Sets how long a request is repeated that fails for a reason that may pass. The default is a minute.
    pub fn with_retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    /// Sets the folder for the local copies of files that are being read. They have no names there. The default is the
    /// system's folder for temporary files.
    pub fn with_local_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.local_folder = Some(folder.into());
        self
    }

    /// Bytes of a part.
    pub fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    /// Requests at once for one file.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// How long a request is repeated.
    pub fn retry_for(&self) -> Duration {
        self.retry_for
    }

    /// The folder for local copies. `None` is the system's.
    pub fn local_folder(&self) -> Option<&PathBuf> {
        self.local_folder.as_ref()
    }
}
