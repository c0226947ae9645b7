//! Files that writers of this storage have begun.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file that is being written.
#[derive(Debug)]
pub struct Begun {
    path: String,
    ended: AtomicBool,
}

impl Begun {
    /// True if the file was swept, or its folder deleted.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// The files that are being written, by the ids of their writers.
#[derive(Debug, Default)]
pub struct Unfinished(Mutex<BTreeMap<String, Arc<Begun>>>);

impl Unfinished {
    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Begun>>> {
        // Every change is one call on the map, so a poisoned lock still guards a consistent one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new writer.
    pub fn begin(&self, id: &str, path: &str) -> Arc<Begun> {
        let begun = Arc::new(Begun { path: path.to_owned(), ended: AtomicBool::new(false) });
        self.begun().insert(id.to_owned(), Arc::clone(&begun));
        begun
    }

    /// Forgets a writer.
    pub fn forget(&self, id: &str) {
        self.begun().remove(id);
    }

    /// Ends the writers in a folder and below. Returns their ids.
    pub fn end(&self, folder: &str) -> Vec<String> {
        let is_in = |path: &str| {
            folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        let mut begun = self.begun();
        let ended: Vec<_> =
            begun.iter().filter(|(_, begun)| is_in(&begun.path)).map(|(id, _)| id.clone()).collect();
        for id in &ended {
            if let Some(begun) = begun.remove(id) {
                begun.ended.store(true, Ordering::Release);
            }
        }
        ended
    }
}
