//! Uploads in parts that were begun and not completed.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload};

use crate::Inner;
use crate::error::at;

/// The name of a note, without the dot, begins with this and ends with the id of the writer.
const NOTE: &str = "unfinished-";

/// The location of the note about the upload of a writer.
pub fn note(inner: &Inner, path: &str, id: &str) -> Path {
    inner.prefix.hidden(path, &format!("{NOTE}{id}"))
}

/// The content of a note: the location of the object, and the store's name of the upload.
pub fn note_content(location: &Path, upload: &str) -> PutPayload {
    format!("{location}\n{upload}").into_bytes().into()
}

/// The writer's id in the location of a note.
fn noted_writer(location: &Path) -> Option<&str> {
    location.filename()?.strip_prefix('.')?.strip_prefix(NOTE)
}

/// Aborts the uploads that `objects` has notes of. Returns the ids of their writers. The notes stay.
pub fn abort(inner: &Inner, objects: &[ObjectMeta]) -> Result<Vec<String>> {
    let mut aborted = Vec::new();
    for note in objects.iter().map(|object| &object.location) {
        let Some(id) = noted_writer(note) else { continue };
        let (store, location) = (Arc::clone(&inner.store), note.clone());
        inner
            .blocking
            .run(async move {
                let content = match store.get(&location).await {
                    Ok(found) => found.bytes().await?,
                    // Its writer has finished meanwhile.
                    Err(object_store::Error::NotFound { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                };
                let Some((object, upload)) =
                    std::str::from_utf8(&content).ok().and_then(|text| text.split_once('\n'))
                else {
                    return Ok(());
                };
                let Ok(object) = Path::parse(object) else { return Ok(()) };
                match store.abort_multipart(&object, &upload.to_owned()).await {
                    // It was completed or aborted before.
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            })?
            .map_err(|error| match inner.prefix.path(note) {
                Some(path) => at(&path)(error),
                None => Error::new(ErrorKind::Io, error.to_string()),
            })?;
        aborted.push(id.to_owned());
    }
    Ok(aborted)
}
