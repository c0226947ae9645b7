//! Why the program ends early.

use std::error::Error as _;
use std::fmt;

use state_backends::api::Error;

/// What to say, and whether what was asked for is to blame or what happened on the way.
#[derive(Debug)]
pub enum Failure {
    /// An option or an input that cannot be used.
    Usage(String),
    /// The job could not go on.
    Job(String),
}

impl Failure {
    /// `error` happened to `what`, which the caller named.
    pub fn usage(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Usage(format!("{what}: {error}"))
    }

    /// The exit status: 2 for what was asked, 1 for the rest.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Job(_) => 1,
        }
    }
}

/// One line, whatever the message holds.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(message) | Self::Job(message)) = self;
        f.write_str(&message.replace(['\n', '\r'], " "))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Job(with_causes(&error))
    }
}

/// The error's line, and those of its causes.
pub fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        // A wrapped I/O error tells the same twice.
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}
