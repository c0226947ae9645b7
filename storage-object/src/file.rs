//! Reading a file.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use backend_api::storage::Bytes;
use backend_api::{Error, ErrorKind, Result, StorageFile};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use crate::Inner;
use crate::error::at;

/// Files up to this length are read when they are opened.
const SMALL: u64 = 1 << 20;

/// Opens the file `path`.
pub fn open(inner: &Arc<Inner>, path: &str) -> Result<Box<dyn StorageFile>> {
    let (store, location) = (Arc::clone(&inner.store), inner.prefix.of(path));
    let asked = location.clone();
    let (meta, content) = inner
        .blocking
        .run(async move {
            let found = store.get(&asked).await?;
            let meta = found.meta.clone();
            let content = if meta.size <= SMALL { Some(found.bytes().await?) } else { None };
            Ok((meta, content))
        })?
        .map_err(at(path))?;
    Ok(match content {
        Some(content) => Box::new(Bytes::new(path, content)),
        None => Box::new(LongFile {
            inner: Arc::clone(inner),
            path: path.to_owned(),
            location,
            len: meta.size,
            version: meta.e_tag,
            copy: Mutex::new(None),
        }),
    })
}

/// A file that is copied when it is first read.
#[derive(Debug)]
struct LongFile {
    inner: Arc<Inner>,
    path: String,
    location: Path,
    len: u64,
    /// The store's tag of the content.
    version: Option<String>,
    /// Without a name.
    copy: Mutex<Option<Arc<File>>>,
}

impl LongFile {
    /// The local copy. The first call makes it, and others wait for it.
    fn copy(&self) -> Result<Arc<File>> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*copy {
            return Ok(Arc::clone(file));
        }
        let file = match self.inner.options.local_folder() {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        };
        let file = Arc::new(file.map_err(|error| self.local(0, &error))?);
        let part = self.inner.options.part_bytes() as u64;
        let starts = (0..self.len.div_ceil(part)).map(move |number| number * part);
        let (store, to) = (Arc::clone(&self.inner.store), Arc::clone(&file));
        let (location, version, len) = (self.location.clone(), self.version.clone(), self.len);
        let fetch = move |start: u64| {
            let (store, to, location) = (Arc::clone(&store), Arc::clone(&to), location.clone());
            let options = GetOptions {
                range: Some(GetRange::Bounded(start..len.min(start + part))),
                if_match: version.clone(),
                ..GetOptions::default()
            };
            async move {
                let content = store.get_opts(&location, options).await?.bytes().await?;
                to.write_all_at(&content, start).map_err(|error| object_store::Error::Generic {
                    store: "the local copy",
                    source: Box::new(error),
                })
            }
        };
        let requests = self.inner.options.requests();
        let copied = self.inner.blocking.run(async move {
            stream::iter(starts).map(fetch).buffer_unordered(requests).try_for_each(async |()| Ok(())).await
        })?;
        copied.map_err(|error| match error {
            object_store::Error::Precondition { .. } => {
                Error::new(ErrorKind::NotFound, "the file was replaced before it was read")
                    .in_file(&self.path, None)
            }
            error => at(&self.path)(error),
        })?;
        *copy = Some(Arc::clone(&file));
        Ok(file)
    }

    fn local(&self, offset: u64, error: &std::io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("the local copy: {error}")).in_file(&self.path, Some(offset))
    }
}

impl StorageFile for LongFile {
    fn path(&self) -> &str {
        &self.path
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            let message = format!("the file has {} bytes, and {len} more are expected here", self.len);
            return Err(Error::new(ErrorKind::Corrupt, message).in_file(&self.path, Some(offset)));
        }
        let mut bytes = vec![0; len];
        self.copy()?.read_exact_at(&mut bytes, offset).map_err(|error| self.local(offset, &error))?;
        Ok(Cow::Owned(bytes))
    }
}
