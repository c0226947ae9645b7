//! The storage that a configuration names.

use std::path::Path;
use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result, Storage};
use storage_local::LocalStorage;

/// Opens the storage at `location`: a folder of the file system, as a path or `file://` URL, or with the features `s3`, `gcs`
/// and `azure` an object store, such as `s3://bucket/folder`. It is the value of `execution.checkpointing.dir`.
///
/// An object store takes its credentials from the environment. A folder is created if it is missing.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a URL of a store that this build does not have.
/// [`Io`](ErrorKind::Io) if the folder cannot be created.
pub fn open_storage(location: &str) -> Result<Arc<dyn Storage>> {
    match location.split_once("://") {
        None => Ok(Arc::new(LocalStorage::open(Path::new(location))?)),
        Some(("file", path)) if path.starts_with('/') => Ok(Arc::new(LocalStorage::open(Path::new(path))?)),
        Some(("file", _)) => {
            let message =
                format!("{location}: the path of a file URL is absolute, as in file:///checkpoints");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
        Some(_) => open_object(location),
    }
}

#[cfg(feature = "object")]
fn open_object(location: &str) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(storage_object::ObjectStorage::open(location)?))
}

#[cfg(not(feature = "object"))]
fn open_object(location: &str) -> Result<Arc<dyn Storage>> {
    let message =
        format!("{location}: this build has no object stores; the features s3, gcs and azure add them");
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_a_url() {
        let folder = std::env::temp_dir();
        let folder = folder.to_str().expect("a path in UTF-8");
        open_storage(folder).expect("a path");
        open_storage(&format!("file://{folder}")).expect("a URL");
        for location in ["file://host/path", "s4://bucket/job", "://"] {
            let error = open_storage(location).expect_err("no storage");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
    }
}
