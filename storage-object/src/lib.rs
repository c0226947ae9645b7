//! Checkpoint storage in object stores: Amazon S3, Google Cloud Storage, Azure Blob Storage, and what speaks their protocols.
//!
//! [`ObjectStorage`] implements [`Storage`] on the crate [`object_store`], which is re-exported. Each store is a feature:
//! `s3`, `gcs`, `azure`. None needs cmake.

mod blocking;
mod error;
mod file;
mod location;
mod open;
mod options;
mod sweep;
mod unfinished;
mod writer;

use std::fmt;
use std::sync::Arc;

use backend_api::storage::{check_folder, check_path};
use backend_api::{Cancel, Error, ErrorKind, Result, Storage, StorageEntry, StorageFile, StorageWriter};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

pub use object_store;
pub use options::ObjectOptions;

use blocking::Blocking;
use error::at;
use location::Prefix;
use unfinished::Unfinished;
use writer::ObjectWriter;

/// A store with uploads in parts.
pub trait MultipartObjectStore: ObjectStore + MultipartStore {}

impl<S: ObjectStore + MultipartStore> MultipartObjectStore for S {}

/// A [`Storage`] under a prefix of an object store. Clones are the same storage.
///
/// # Writing
/// A file up to [`part_bytes`](ObjectOptions::with_part_bytes) is one request, which the store refuses if the name is taken. A
/// longer one is uploaded in parts while it is written, several at once. It appears when its last part and the order of the
/// parts are stored. Every object carries the random id of its writer. If the reply to a request is lost, the id tells the
/// writer's own object from that of another.
///
/// The store's protocol cannot refuse to complete an upload in parts. Such a writer takes a claim of the name first and
/// looks for a file, so of two of them only one finishes. A file of one request that appears between that look and the
/// completion would be replaced. The backends give each attempt names of its own, and their metadata fits in one request.
///
/// # Reading
/// Opening a file of at most 1 MiB reads it. The first read of a longer one copies it to an unnamed local file, in
/// parallel ranges. From then on it stays readable when its name is deleted; before that the read fails with
/// [`NotFound`](ErrorKind::NotFound).
///
/// # Names
/// A store has no folders, so one name may be a file and a folder at once.
///
/// # Leftovers
/// A writer that uploads parts notes the upload in a hidden object. [`sweep`](Storage::sweep) aborts what a crash left. A
/// crash between the start of an upload and its note leaves parts that only a lifecycle rule of the bucket removes.
///
/// # Threads
/// Methods block. They can be called on any thread, also on those of a tokio runtime.
#[derive(Clone, Debug)]
pub struct ObjectStorage(Arc<Inner>);

struct Inner {
    store: Arc<dyn MultipartObjectStore>,
    prefix: Prefix,
    options: ObjectOptions,
    unfinished: Unfinished,
    blocking: Blocking,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.prefix, self.store)
    }
}

impl ObjectStorage {
    /// Opens the storage with this URL, with the default options.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(url: &str) -> Result<Self> {
        Self::open_with(url, ObjectOptions::default())
    }

    /// Opens the storage with this URL: `s3://bucket/folder`, `gs://bucket/folder` or `az://container/folder`, and the other
    /// forms that [`object_store`] takes. `memory:///` is a new store in this process.
    ///
    /// Credentials, region and endpoint come from the environment, by the names that each store's users know, such as
    /// `AWS_ACCESS_KEY_ID`, `AWS_REGION` and `AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, or from
    /// the machine's role. No request is sent yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a text that is no such URL, a setting that is missing, or a store
    /// that this build does not have.
    pub fn open_with(url: &str, options: ObjectOptions) -> Result<Self> {
        let (store, prefix) = open::store(url, &options)?;
        Self::build(store, Prefix::new(prefix), options)
    }

    /// The storage under `prefix` of a store of one's own, such as one with other credentials or a wrapper. `""` is all of it.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if `prefix` is no path. [`Io`](ErrorKind::Io) if the system has no
    /// threads for the requests.
    pub fn new<S: MultipartObjectStore>(store: S, prefix: &str, options: ObjectOptions) -> Result<Self> {
        let prefix =
            Path::parse(prefix).map_err(|error| Error::new(ErrorKind::InvalidArgument, error.to_string()))?;
        Self::build(Arc::new(store), Prefix::new(prefix), options)
    }

    fn build(store: Arc<dyn MultipartObjectStore>, prefix: Prefix, options: ObjectOptions) -> Result<Self> {
        let blocking = Blocking::new()?;
        Ok(Self(Arc::new(Inner { store, prefix, options, unfinished: Unfinished::default(), blocking })))
    }

    /// The objects in a folder and below, hidden ones included.
    fn objects(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let (store, at_folder) = (Arc::clone(&self.0.store), self.0.prefix.of(folder));
        let listed = self.0.blocking.run(async move { store.list(Some(&at_folder)).try_collect().await })?;
        listed.map_err(at(folder))
    }

    /// Deletes objects, as many as possible. A missing one is no error.
    fn delete_all(&self, locations: Vec<Path>, folder: &str) -> Result<()> {
        if locations.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.0.store);
        let first = self.0.blocking.run(async move {
            let all = stream::iter(locations.into_iter().map(Ok)).boxed();
            let failed = store.delete_stream(all).filter_map(async |deleted| match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => Some(error),
            });
            let failed: Vec<_> = failed.collect().await;
            failed.into_iter().next()
        })?;
        first.map_or(Ok(()), |error| Err(at(folder)(error)))
    }
}

impl Storage for ObjectStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        check_path(path)?;
        cancel.check().map_err(|error| error.in_file(path, None))?;
        Ok(Box::new(ObjectWriter::new(Arc::clone(&self.0), path, cancel)?))
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        check_path(path)?;
        file::open(&self.0, path)
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        check_folder(folder)?;
        let objects = self.objects(folder)?;
        let entry = |object: &ObjectMeta| {
            let path = self.0.prefix.path(&object.location)?;
            check_path(&path).ok()?;
            Some(StorageEntry { path, len: object.size })
        };
        let mut entries: Vec<_> = objects.iter().filter_map(entry).collect();
        entries.sort_unstable();
        Ok(entries)
    }

    fn delete(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let (store, location) = (Arc::clone(&self.0.store), self.0.prefix.of(path));
        match self.0.blocking.run(async move { store.delete(&location).await })? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(at(path)(error)),
        }
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        check_folder(folder)?;
        self.0.unfinished.end(folder);
        let objects = self.objects(folder)?;
        // The notes go last, so that a failed attempt can be repeated.
        let aborted = sweep::abort(&self.0, &objects);
        let locations = objects.into_iter().map(|object| object.location).collect();
        self.delete_all(locations, folder)?;
        aborted.map(drop)
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        check_folder(folder)?;
        let ended = self.0.unfinished.end(folder);
        let objects = self.objects(folder)?;
        let mut uploads = sweep::abort(&self.0, &objects)?;
        uploads.retain(|id| !ended.contains(id));
        let hidden = objects.into_iter().map(|object| object.location).filter(location::is_hidden);
        self.delete_all(hidden.collect(), folder)?;
        Ok(ended.len() + uploads.len())
    }
}
