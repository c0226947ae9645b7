//! Paths within a storage.

use crate::{Error, ErrorKind, Result};

/// Checks that `path` can be the name of a file. See the [contract](super::Storage).
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub fn check_path(path: &str) -> Result<()> {
    let fault = if path.is_empty() {
        "is empty"
    } else if path.starts_with('/') {
        "is absolute"
    } else if path.contains(['\\', '\0']) {
        "has a backslash or a zero byte"
    } else if path.split('/').any(str::is_empty) {
        "has an empty segment"
    } else if path.split('/').any(|segment| segment.starts_with('.')) {
        "has a segment that begins with a dot"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidArgument, format!("the path {path:?} {fault}")))
}

/// Checks that `path` can be the name of a folder: like [`check_path`], or `""` for the root.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub fn check_folder(path: &str) -> Result<()> {
    if path.is_empty() { Ok(()) } else { check_path(path) }
}

/// The folder that `path` is in, `""` for the root.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// True if `path` is in `folder` or below it.
pub(super) fn is_in(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_within_the_storage() {
        for path in ["a", "a/b", "job-1/chk-3/_metadata", "a b/c\u{e4}", "a/b.tmp", "a..b"] {
            check_path(path).unwrap();
        }
        for path in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a/.b", ".a/b", "a\\b", "a\0"] {
            assert_eq!(check_path(path).unwrap_err().kind(), ErrorKind::InvalidArgument, "{path:?}");
        }
        check_folder("").unwrap();
        assert!(check_folder("a/").is_err());
    }

    #[test]
    fn a_folder_contains_only_paths_below_it() {
        assert!(is_in("a/b", "a") && is_in("a/b/c", "a") && is_in("a", ""));
        assert!(!is_in("a", "a") && !is_in("ab/c", "a"));
        assert_eq!((parent("a/b/c"), parent("a")), ("a/b", ""));
    }
}
