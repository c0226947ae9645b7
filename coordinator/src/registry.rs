use std::collections::{BTreeMap, BTreeSet};

use backend_api::{Error, ErrorKind, Result, StateData, StateFile};

/// Counts the checkpoints that use each shared file. A file without users may be deleted.
///
/// It deletes nothing itself: its methods return the files to delete. After a failure it is rebuilt from the retained
/// checkpoints.
#[derive(Debug, Default)]
pub struct SharedStateRegistry {
    /// The checkpoints that use each file, by its path.
    users: BTreeMap<String, BTreeSet<u64>>,
    closed: bool,
}

impl SharedStateRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the shared ones of `files` as used by checkpoint `checkpoint_id`. Idempotent.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the registry is closed, or if a file of an earlier
    /// checkpoint is not registered, since it may be deleted already. Nothing is registered then.
    pub fn register<'f>(
        &mut self,
        checkpoint_id: u64,
        files: impl IntoIterator<Item = &'f StateFile>,
    ) -> Result<()> {
        let files: Vec<&StateFile> = files.into_iter().collect();
        let is_unknown = |file: &&&StateFile| file.created_by != checkpoint_id && !self.is_known(file);
        if let Some(file) = files.iter().find(is_unknown) {
            let message = format!(
                "checkpoint {checkpoint_id} refers to a shared file of checkpoint {} that is not registered",
                file.created_by
            );
            return Err(Error::new(ErrorKind::IllegalState, message).in_file(&file.name, None));
        }
        self.register_restored(checkpoint_id, files)
    }

    /// [`register`](Self::register) for a retained checkpoint, all of whose files exist.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the registry is closed.
    pub fn register_restored<'f>(
        &mut self,
        checkpoint_id: u64,
        files: impl IntoIterator<Item = &'f StateFile>,
    ) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::IllegalState, "the shared state registry is closed"));
        }
        for path in files.into_iter().filter_map(shared_path) {
            self.users.entry(path.to_owned()).or_default().insert(checkpoint_id);
        }
        Ok(())
    }

    /// True if the file may be used: it is registered, or not shared.
    fn is_known(&self, file: &StateFile) -> bool {
        shared_path(file).is_none_or(|path| self.is_used(path))
    }

    /// Removes checkpoint `checkpoint_id`. Returns the paths of the files without users, each once. Empty for
    /// an unknown id. Works on a closed registry too.
    pub fn release(&mut self, checkpoint_id: u64) -> Vec<String> {
        self.release_where(|user| user == checkpoint_id)
    }

    /// Removes all checkpoints below `lowest`. Returns the same as [`release`](Self::release).
    pub fn unregister_unused(&mut self, lowest: u64) -> Vec<String> {
        self.release_where(|user| user < lowest)
    }

    /// True if a checkpoint uses the file.
    pub fn is_used(&self, path: &str) -> bool {
        self.users.contains_key(path)
    }

    /// The files in use.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// Refuses registrations from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    fn release_where(&mut self, gone: impl Fn(u64) -> bool) -> Vec<String> {
        let mut dead = Vec::new();
        self.users.retain(|path, users| {
            users.retain(|&user| !gone(user));
            if users.is_empty() {
                dead.push(path.clone());
            }
            !users.is_empty()
        });
        dead
    }
}

/// The path of a shared file; `None` if it is not shared, or inline.
fn shared_path(file: &StateFile) -> Option<&str> {
    match &file.data {
        StateData::File { path, .. } if file.shared => Some(path),
        _ => None,
    }
}
