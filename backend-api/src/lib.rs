//! The contract of the state backend family.

mod cancel;
mod codec;
mod error;
pub mod format;
mod key;
mod state_kind;
pub mod storage;

pub use cancel::{Cancel, CancelGuard};
pub use codec::Codec;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use key::{StateKey, StoredKey};
pub use state_kind::StateKind;
pub use storage::{MemoryStorage, Storage, StorageEntry, StorageFile, StorageWriter};
