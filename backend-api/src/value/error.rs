//! Errors of reading a value.

use std::fmt::{self, Display, Formatter};

use serde::de;

use crate::{Error, ErrorKind};

/// The error, and its place in the value.
#[derive(Debug)]
pub(super) struct ReadError {
    message: String,
    /// Fields, variants and indexes around the place, the innermost first.
    path: Vec<String>,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The bytes are not a value of the shape.
    Corrupt,
    /// The type cannot read this shape, for any value.
    Unfit,
    /// The type refused this value.
    Refused,
}

impl ReadError {
    #[cold]
    pub fn corrupt(message: &str) -> Self {
        Self { message: message.to_owned(), path: Vec::new(), reason: Reason::Corrupt }
    }

    #[cold]
    pub fn unfit(message: String) -> Self {
        Self { message, path: Vec::new(), reason: Reason::Unfit }
    }

    /// Adds the name of an enclosing part to the place.
    #[cold]
    pub fn within(mut self, part: impl Into<String>) -> Self {
        self.path.push(part.into());
        self
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            f.write_str("in ")?;
            for (i, part) in self.path.iter().rev().enumerate() {
                write!(f, "{}{part}", if i == 0 { "" } else { "." })?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let (kind, text) = match error.reason {
            Reason::Unfit => (ErrorKind::Migration, format!("restored with another type: {error}")),
            _ => (ErrorKind::Corrupt, format!("a value could not be decoded: {error}")),
        };
        Self::new(kind, text)
    }
}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self { message: message.to_string(), path: Vec::new(), reason: Reason::Refused }
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::unfit(format!("{unexpected} where {expected} is expected"))
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        Self { reason: Reason::Refused, ..Self::unfit(format!("{len} elements, {expected} expected")) }
    }

    fn unknown_variant(variant: &str, _: &'static [&'static str]) -> Self {
        Self::unfit(format!("the variant {variant:?} was removed"))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::unfit(format!("the field {field:?} was removed, and the type denies unknown fields"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::unfit(format!("two fields of the value are the field {field:?} now"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::unfit(format!("the field {field:?} was added without a default"))
    }
}
