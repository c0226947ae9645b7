//! Errors of object stores.

use std::error::Error as _;

use backend_api::{Error, ErrorKind};

/// Turns an error of the store into one that names the path.
pub fn at(path: &str) -> impl FnOnce(object_store::Error) -> Error {
    move |error| {
        let kind = match &error {
            object_store::Error::NotFound { .. } => ErrorKind::NotFound,
            error if is_taken(error) => ErrorKind::AlreadyExists,
            _ => ErrorKind::Io,
        };
        let message = match kind {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            ErrorKind::AlreadyExists => "there is a file of that name already".to_owned(),
            _ => format!("the object store: {error}"),
        };
        let new = Error::new(kind, message).in_file(path, None);
        match error.source() {
            Some(source) => new.with_source(source.to_string()),
            None => new,
        }
    }
}

/// True if the store refused a new object because its name is taken.
pub fn is_taken(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}
