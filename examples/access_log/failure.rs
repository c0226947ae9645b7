//! Why the program ends early.

use std::error::Error as _;
use std::fmt;
use std::io;

use state_backends::api::Error;

/// Exit status of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why the program ends, for the user.
#[derive(Debug)]
pub enum Failure {
    /// The job could not start or continue.
    Job(String),
    /// The user pressed Ctrl-C.
    Interrupted {
        message: String,
        /// True if a checkpoint is complete.
        can_resume: bool,
    },
}

impl Failure {
    /// An `error` concerning `what`.
    pub fn job(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Job(format!("{what}: {error}"))
    }

    /// The exit status. A command line that cannot be used ends with 2, in clap.
    pub fn status(&self) -> u8 {
        match self {
            Self::Job(_) => 1,
            Self::Interrupted { .. } => INTERRUPTED,
        }
    }
}

/// One line, for any message.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Job(message) | Self::Interrupted { message, .. }) = self;
        f.write_str(&message.replace(['\n', '\r'], " "))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Job(with_causes(&error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Job(error.to_string())
    }
}

/// The error's line, and those of its causes.
pub fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        // A wrapped I/O error says the same twice.
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}
