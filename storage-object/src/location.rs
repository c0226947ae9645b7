//! Paths of files as locations of objects.

use std::fmt;

use backend_api::storage::parent;
use object_store::path::{Path, PathPart};
use percent_encoding::percent_decode_str;

/// Names of hidden objects begin with a dot. No path of a storage has such a segment.
const HIDDEN: char = '.';

/// What the locations of a storage begin with.
pub struct Prefix(Path);

impl Prefix {
    pub fn new(prefix: Path) -> Self {
        Self(prefix)
    }

    /// The location of a file or folder.
    pub fn of(&self, path: &str) -> Path {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        self.0.parts().chain(segments.map(PathPart::from)).collect()
    }

    /// The path of an object. `None` if it is not under the prefix, or its name is no text.
    pub fn path(&self, location: &Path) -> Option<String> {
        let mut path = String::new();
        for part in location.prefix_match(&self.0)? {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&percent_decode_str(part.as_ref()).decode_utf8().ok()?);
        }
        Some(path)
    }

    /// The location of a hidden object in the folder of the file `path`.
    pub fn hidden(&self, path: &str, name: &str) -> Path {
        self.of(parent(path)).join(format!("{HIDDEN}{name}"))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// True for an object that is no file of the storage.
pub fn is_hidden(location: &Path) -> bool {
    location.filename().is_some_and(|name| name.starts_with(HIDDEN))
}
