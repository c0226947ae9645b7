//! The one error type.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The result of every fallible operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of user code: a function or a codec.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The kind of an error: what a caller can do about it. Match on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or option is out of range. Nothing was changed. Correct the call.
    InvalidArgument,
    /// The call does not fit earlier ones: a name registered with another type, a snapshot of another max
    /// parallelism, a reference to an unknown shared file.
    IllegalState,
    /// The key's group is not one of this backend's: the record was routed to the wrong subtask.
    KeyOutOfRange,
    /// A token was used with a backend that did not make it.
    ForeignToken,
    /// The backend, the storage or the stream has been closed.
    Closed,
    /// The snapshot was cancelled, or its backend was closed while it ran.
    Cancelled,
    /// The operating system or the storage refused.
    Io,
    /// Stored bytes are damaged. No row of them was used.
    Corrupt,
    /// Stored state has types, codecs or a version that the program no longer has, and cannot convert.
    Migration,
    /// The state of that name has another kind, such as a value where a list is requested.
    IncompatibleKind,
    /// A limit of bytes or of a number is exceeded: the size of a state, a message, a budget, a key or a
    /// value.
    Size,
    /// Nothing exists under that name or path.
    NotFound,
    /// The name is taken. Its owner is unchanged.
    AlreadyExists,
    /// The backend does not offer the operation.
    Unsupported,
    /// A codec could not encode a value.
    Codec,
    /// A user function (reduce, aggregate, migration) failed. The state is unchanged.
    Function,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "invalid argument",
            Self::IllegalState => "illegal state",
            Self::KeyOutOfRange => "key out of range",
            Self::ForeignToken => "foreign token",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Io => "I/O",
            Self::Corrupt => "corrupt data",
            Self::Migration => "migration",
            Self::IncompatibleKind => "incompatible kind",
            Self::Size => "size",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Unsupported => "unsupported",
            Self::Codec => "codec",
            Self::Function => "user function",
        })
    }
}

/// An error: a [kind](ErrorKind) to match on, a message for people, and where it happened.
///
/// It is one pointer wide, so a `Result` stays small in the access of every record. `Display` is one line
/// without the cause, which is in [`source`](std::error::Error::source).
///
/// ```
/// use backend_api::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Corrupt, "checksum mismatch")
///     .in_state("hits")
///     .in_group(7)
///     .in_file("chk-3/counts-0", Some(4096));
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(
///     error.to_string(),
///     "corrupt data: checksum mismatch (state \"hits\", key group 7, file chk-3/counts-0 at offset 4096)"
/// );
/// ```
pub struct Error(Box<Inner>);

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

struct Inner {
    kind: ErrorKind,
    message: String,
    state: Option<String>,
    group: Option<u16>,
    file: Option<String>,
    offset: Option<u64>,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` with a message (lower case, no full stop).
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            state: None,
            group: None,
            file: None,
            offset: None,
            source: None,
        }))
    }

    /// Sets the cause.
    #[cold]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the state, unless one is named already, since the innermost place knows best.
    #[cold]
    pub fn in_state(mut self, state: &str) -> Self {
        self.0.state.get_or_insert_with(|| state.to_owned());
        self
    }

    /// Names the key group, unless one is named already.
    #[cold]
    pub fn in_group(mut self, group: u16) -> Self {
        self.0.group.get_or_insert(group);
        self
    }

    /// Names the file and the offset in it, unless they are named already.
    #[cold]
    pub fn in_file(mut self, file: &str, offset: Option<u64>) -> Self {
        self.0.file.get_or_insert_with(|| file.to_owned());
        self.0.offset = self.0.offset.or(offset);
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message alone, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The state concerned, if any.
    pub fn state(&self) -> Option<&str> {
        self.0.state.as_deref()
    }

    /// The key group concerned, if any.
    pub fn key_group(&self) -> Option<u16> {
        self.0.group
    }

    /// The file concerned, as its path within the storage, if any.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The offset of the fault in [`file`](Self::file), in bytes.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
}

/// Runs user code. Its panic becomes an error of `kind`, which says what was done.
pub(crate) fn catch_panic<T>(kind: ErrorKind, done: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::new(kind, format!("panic while {done}: {text}")))
    })
}

impl From<std::io::Error> for Error {
    #[cold]
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, state, group, file, offset, .. } = &*self.0;
        write!(f, "{kind}: {message}")?;
        let mut separator = " (";
        let mut place = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let done = write!(f, "{separator}{text}");
            separator = ", ";
            done
        };
        if let Some(state) = state {
            place(f, format_args!("state {state:?}"))?;
        }
        if let Some(group) = group {
            place(f, format_args!("key group {group}"))?;
        }
        match (file, offset) {
            (Some(file), Some(offset)) => place(f, format_args!("file {file} at offset {offset}"))?,
            (Some(file), None) => place(f, format_args!("file {file}"))?,
            (None, Some(offset)) => place(f, format_args!("offset {offset}"))?,
            (None, None) => {}
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| &**e as _)
    }
}
