use std::collections::{BTreeMap, BTreeSet};

use backend_api::{Error, ErrorKind, KeyedStateHandle, Result, StateData};

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

    /// Notes that checkpoint `handle.checkpoint_id` uses the shared files of `handle`. Registering the same handle
    /// again changes nothing.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the registry is closed, or if the handle refers to a file of an
    /// earlier checkpoint that this registry does not know: it may be deleted already. Nothing is noted then.
    pub fn register(&mut self, handle: &KeyedStateHandle) -> Result<()> {
        let unknown = handle.files.iter().find(|file| {
            matches!(&file.data, StateData::File { path, .. }
                if file.shared && file.created_by != handle.checkpoint_id && !self.users.contains_key(path))
        });
        if let Some(file) = unknown {
            return Err(Error::new(
                ErrorKind::IllegalState,
                format!(
                    "checkpoint {} refers to a shared file of checkpoint {} that is not registered",
                    handle.checkpoint_id, file.created_by
                ),
            )
            .in_file(&file.name, None));
        }
        self.register_restored(handle)
    }

    /// As [`register`](Self::register), for a handle out of a retained checkpoint: all its files are there.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the registry is closed.
    pub fn register_restored(&mut self, handle: &KeyedStateHandle) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::IllegalState, "the shared state registry is closed"));
        }
        for file in handle.files.iter().filter(|file| file.shared) {
            if let StateData::File { path, .. } = &file.data {
                self.users.entry(path.clone()).or_default().insert(handle.checkpoint_id);
            }
        }
        Ok(())
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
