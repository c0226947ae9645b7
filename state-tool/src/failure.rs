//! How the command ends when it does not succeed.

use std::fmt;
use std::io;
use std::process::ExitCode;

use backend_api::{Error, ErrorKind};

/// Result of a command.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command has failed.
#[derive(Debug)]
pub enum Failure {
    /// The arguments, or what they name, cannot be used.
    Usage(String),
    /// The checkpoint cannot be read.
    State(Error),
    /// Damage was found, and reported on the output.
    Damaged,
    /// The reader of the output has gone, such as `head`. That is no error.
    OutputClosed,
}

impl Failure {
    /// A failure because of the arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// 1 for damage, 2 for bad input.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Damaged => ExitCode::from(1),
            Self::State(error) if error.kind() == ErrorKind::Corrupt => ExitCode::from(1),
            Self::State(_) | Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::State(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Usage(format!("the output cannot be written: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::Usage(format!("the output cannot be written: {error}")),
        }
    }
}

/// One line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Usage(message) => message.clone(),
            Self::State(error) => error.to_string(),
            Self::Damaged | Self::OutputClosed => String::new(),
        };
        f.write_str(&text.replace('\n', " "))
    }
}
