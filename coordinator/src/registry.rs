use std::collections::{BTreeMap, BTreeSet};

use backend_api::{Error, ErrorKind, Result, StateData, StateFile};

/// Who uses which shared file: a file is dead when no checkpoint uses it.
///
/// It is bookkeeping only and deletes nothing itself: the methods answer what is to be deleted. It is rebuilt from
/// the retained checkpoints after a failure.
#[derive(Debug, Default)]
pub struct SharedStateRegistry {
    /// Path of each file to the checkpoints that use it.
    users: BTreeMap<String, BTreeSet<u64>>,
    closed: bool,
}

impl SharedStateRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that checkpoint `checkpoint_id` uses the shared ones of `files`. Registering them again changes nothing.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the registry is closed, or if one is a file of an earlier checkpoint
    /// that this registry does not know: it may be deleted already. Nothing is noted then.
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

    /// As [`register`](Self::register), for the files of a retained checkpoint: all of them are there.
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

    /// Whether the file may be used: it is registered, or not shared.
    fn is_known(&self, file: &StateFile) -> bool {
        shared_path(file).is_none_or(|path| self.is_used(path))
    }

    /// Checkpoint `checkpoint_id` is gone: answers the paths of the files that nobody uses any more, each once. An
    /// unknown id answers none. Works on a closed registry too.
    pub fn release(&mut self, checkpoint_id: u64) -> Vec<String> {
        self.release_where(|user| user == checkpoint_id)
    }

    /// All checkpoints below `lowest` are gone: answers as [`release`](Self::release).
    pub fn unregister_unused(&mut self, lowest: u64) -> Vec<String> {
        self.release_where(|user| user < lowest)
    }

    /// Whether some checkpoint uses the file.
    pub fn is_used(&self, path: &str) -> bool {
        self.users.contains_key(path)
    }

    /// The files that some checkpoint uses.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// No more registrations.
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

/// Where a shared file lies; `None` for others, and for bytes within the handle.
fn shared_path(file: &StateFile) -> Option<&str> {
    match &file.data {
        StateData::File { path, .. } if file.shared => Some(path),
        _ => None,
    }
}
