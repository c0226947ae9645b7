//! A store that fails at one request, before or after it has done what was asked.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use storage_object::object_store::memory::InMemory;
use storage_object::object_store::multipart::{MultipartStore, PartId};
use storage_object::object_store::path::Path;
use storage_object::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// When a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    Before,
    /// It was done, and the reply is lost.
    After,
}

/// A store in memory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Faulty {
    pub store: Arc<InMemory>,
    requests: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
}

impl Faulty {
    /// A store whose request number `at` fails, from 0.
    pub fn new(at: usize, fault: Fault) -> Self {
        Self { store: Arc::new(InMemory::new()), requests: Arc::new(AtomicUsize::new(0)), at, fault }
    }

    /// The same store, whose request number `at` fails from here on.
    pub fn failing(&self, at: usize, fault: Fault) -> Self {
        Self { store: Arc::clone(&self.store), ..Self::new(at, fault) }
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let is_faulty = self.requests.fetch_add(1, Ordering::SeqCst) == self.at;
        let reset = || Error::Generic { store: "faulty", source: "the connection was reset".into() };
        match self.fault {
            _ if !is_faulty => request.await,
            Fault::Before => Err(reset()),
            Fault::After => request.await.and_then(|_| Err(reset())),
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.ask(self.store.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(self.store.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.ask(self.store.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let one = stream::iter([Ok(location.clone())]).boxed();
                    this.ask(async {
                        this.store.delete_stream(one).collect::<Vec<_>>().await.pop().unwrap_or(Ok(location))
                    })
                    .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(path, PutMultipartOptions::default()).await
    }

    async fn create_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<MultipartId> {
        self.ask(self.store.create_multipart_opts(path, opts)).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.ask(self.store.put_part(path, id, part_idx, data)).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.ask(self.store.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let aborted = async {
            // Servers answer so if there is no such upload.
            self.store
                .abort_multipart(path, id)
                .await
                .map_err(|error| Error::NotFound { path: path.to_string(), source: Box::new(error) })
        };
        self.ask(aborted).await
    }
}
