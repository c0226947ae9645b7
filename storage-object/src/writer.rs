//! Writing a file.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use backend_api::{Cancel, Error, ErrorKind, Result, StorageWriter};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartId, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::task::JoinHandle;

use crate::error::{at, is_taken};
use crate::unfinished::Begun;
use crate::{Inner, MultipartObjectStore, sweep};

/// The attribute of an object with the id of its writer.
const WRITER: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("writer"));

/// Bytes that a writer of a small file begins with.
const FIRST_BYTES: usize = 64 << 10;

/// Writes a file: by one request, or in parts if it is long.
pub struct ObjectWriter {
    inner: Arc<Inner>,
    path: String,
    target: Target,
    cancel: Cancel,
    begun: Arc<Begun>,
    /// Bytes that are in no part yet.
    buffer: Vec<u8>,
    upload: Option<Upload>,
    has_failed: bool,
}

/// The object of a writer.
#[derive(Clone)]
struct Target {
    store: Arc<dyn MultipartObjectStore>,
    location: Path,
    /// The random id of the writer.
    id: String,
}

/// An upload in parts.
struct Upload {
    /// The store's name of it.
    name: MultipartId,
    note: Path,
    /// The claim of the file's name, once it may be there.
    claim: Option<Path>,
    parts: Vec<PartId>,
    /// Parts under way, which come after `parts`.
    sending: VecDeque<JoinHandle<object_store::Result<PartId>>>,
}

impl ObjectWriter {
    pub fn new(inner: Arc<Inner>, path: &str, cancel: &Cancel) -> Result<Self> {
        let random = || {
            getrandom::u64().map_err(|error| {
                Error::new(ErrorKind::Io, format!("the system has no random numbers: {error}"))
            })
        };
        let id = format!("{:016x}{:016x}", random()?, random()?);
        let target = Target { store: Arc::clone(&inner.store), location: inner.prefix.of(path), id };
        Ok(Self {
            begun: inner.unfinished.begin(&target.id, path),
            path: path.to_owned(),
            target,
            cancel: cancel.clone(),
            buffer: Vec::with_capacity(FIRST_BYTES),
            upload: None,
            has_failed: false,
            inner,
        })
    }

    fn check(&self) -> Result<()> {
        self.cancel.check().map_err(|error| error.in_file(&self.path, None))?;
        let refuse = |message: &str| Err(Error::new(ErrorKind::Io, message).in_file(&self.path, None));
        if self.begun.is_ended() {
            return refuse("the file was deleted before it was finished");
        }
        if self.has_failed {
            return refuse("an earlier part could not be written");
        }
        Ok(())
    }

    /// Runs a step that the cancellation may end. Its error names the file.
    fn step<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = self.inner.blocking.run_until(&self.cancel, work);
        done.map_err(|error| error.in_file(&self.path, None))?.map_err(at(&self.path))
    }

    /// Sends the buffer as a part. Waits if too many are under way.
    fn send_part(&mut self) -> Result<()> {
        if self.upload.is_none() {
            let (target, note) = (self.target.clone(), sweep::note(&self.inner, &self.path, &self.target.id));
            let noted = note.clone();
            let name = self.step(async move { target.begin(&noted).await })?;
            self.upload =
                Some(Upload { name, note, claim: None, parts: Vec::new(), sending: VecDeque::new() });
        }
        let requests = self.inner.options.requests();
        self.wait_for_parts(requests - 1)?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let part = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.inner.options.part_bytes()));
        let (target, name) = (self.target.clone(), upload.name.clone());
        let number = upload.parts.len() + upload.sending.len();
        let sending = self.inner.blocking.spawn(async move {
            target.store.put_part(&target.location, &name, number, PutPayload::from(part)).await
        });
        upload.sending.push_back(sending?);
        Ok(())
    }

    /// Waits until at most `left` parts are under way.
    fn wait_for_parts(&mut self, left: usize) -> Result<()> {
        while let Some(upload) = &mut self.upload
            && upload.sending.len() > left
            && let Some(sending) = upload.sending.pop_front()
        {
            let part = self.step(async move {
                sending.await.unwrap_or_else(|source| Err(object_store::Error::JoinError { source }))
            })?;
            self.upload.iter_mut().for_each(|upload| upload.parts.push(part.clone()));
        }
        Ok(())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        let part_bytes = self.inner.options.part_bytes();
        while self.buffer.len() + bytes.len() > part_bytes {
            let (fits, rest) = bytes.split_at(part_bytes - self.buffer.len());
            self.buffer.extend_from_slice(fits);
            self.send_part()?;
            bytes = rest;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finish_all(&mut self) -> Result<()> {
        if self.upload.is_none() {
            let (target, content) = (self.target.clone(), std::mem::take(&mut self.buffer));
            return self.step(async move { target.put(content.into()).await });
        }
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        self.wait_for_parts(0)?;
        let file = self.path.rsplit('/').next().unwrap_or_default();
        let claim = self.inner.prefix.hidden(&self.path, &format!("claim-{file}"));
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let (name, parts) = (upload.name.clone(), std::mem::take(&mut upload.parts));
        let (target, claimed) = (self.target.clone(), claim.clone());
        upload.claim = Some(claim);
        self.step(async move {
            target.claim(&claimed).await?;
            target.complete(&name, parts).await
        })
    }
}

impl Target {
    fn attributes(&self) -> Attributes {
        Attributes::from_iter([(WRITER, self.id.clone())])
    }

    /// Stores the object as a whole if its name is free.
    async fn put(&self, content: PutPayload) -> object_store::Result<()> {
        let options =
            PutOptions { mode: PutMode::Create, attributes: self.attributes(), ..PutOptions::default() };
        match self.store.put_opts(&self.location, content, options).await {
            Ok(_) => Ok(()),
            Err(error) => self.unless_own(error).await,
        }
    }

    /// The error of a request that stores the object, unless the object is there and this writer's: the reply to an earlier
    /// attempt of the same request may be lost. If the store does not say whose the object is, nothing is known of a rival.
    async fn unless_own(&self, error: object_store::Error) -> object_store::Result<()> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.location, options).await {
            Ok(found) if found.attributes.get(&WRITER).is_some_and(|writer| **writer == *self.id) => Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Err(error),
            Err(unknown) => Err(if is_taken(&error) { unknown } else { error }),
        }
    }

    /// Begins an upload, and notes it for a sweep.
    async fn begin(&self, note: &Path) -> object_store::Result<MultipartId> {
        let options = PutMultipartOptions { attributes: self.attributes(), ..PutMultipartOptions::default() };
        let name = self.store.create_multipart_opts(&self.location, options).await?;
        let content = sweep::note_content(&self.location, &name);
        if let Err(error) = self.store.put(note, content).await {
            // The first error counts.
            let _ = self.store.abort_multipart(&self.location, &name).await;
            return Err(error);
        }
        Ok(name)
    }

    /// Claims the name for the completion of an upload.
    async fn claim(&self, claim: &Path) -> object_store::Result<()> {
        let content = PutPayload::from(self.id.clone().into_bytes());
        let failed = match self.store.put_opts(claim, content, PutMode::Create.into()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // The reply to an earlier attempt of the same request may be lost.
        match self.holds(claim).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed),
            Err(unknown) => Err(if is_taken(&failed) { unknown } else { failed }),
        }
    }

    /// True if the claim is there and this writer's.
    async fn holds(&self, claim: &Path) -> object_store::Result<bool> {
        match self.store.get(claim).await {
            Ok(found) => Ok(*found.bytes().await? == *self.id.as_bytes()),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the claim of this writer. That of another stays.
    async fn release(&self, claim: Option<&Path>) -> object_store::Result<()> {
        let Some(claim) = claim else { return Ok(()) };
        if self.holds(claim).await? { self.store.delete(claim).await } else { Ok(()) }
    }

    /// Completes an upload if the name is free.
    async fn complete(&self, name: &MultipartId, parts: Vec<PartId>) -> object_store::Result<()> {
        match self.store.head(&self.location).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let source = "another writer has finished first".into();
                return Err(object_store::Error::AlreadyExists { path: self.location.to_string(), source });
            }
        }
        match self.store.complete_multipart(&self.location, name, parts).await {
            Ok(_) => Ok(()),
            Err(error) => self.unless_own(error).await,
        }
    }
}

impl StorageWriter for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.write_all(bytes).inspect_err(|_| self.has_failed = true)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.check()?;
        self.finish_all()?;
        if let Some(upload) = self.upload.take() {
            let target = self.target.clone();
            // What stays is swept.
            let _ = self.inner.blocking.run(async move {
                target.release(upload.claim.as_ref()).await?;
                target.store.delete(&upload.note).await
            });
        }
        Ok(())
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        self.inner.unfinished.forget(&self.target.id);
        let Some(upload) = self.upload.take() else { return };
        upload.sending.iter().for_each(JoinHandle::abort);
        let target = self.target.clone();
        let aborted = self.inner.blocking.run(async move {
            target.release(upload.claim.as_ref()).await?;
            target.store.abort_multipart(&target.location, &upload.name).await?;
            target.store.delete(&upload.note).await
        });
        // The sweep after a crash repeats it.
        if let Ok(Err(error)) = aborted {
            tracing::warn!(path = self.path, %error, "an upload could not be aborted");
        }
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter").field("path", &self.path).finish_non_exhaustive()
    }
}
