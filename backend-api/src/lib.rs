//! The contract of the state backend family.

mod any_backend;
mod backend;
mod cancel;
mod checkpoint;
mod codec;
mod descriptor;
mod error;
pub mod format;
mod handle;
mod key;
mod key_group;
mod key_space;
mod snapshot;
mod state;
mod state_kind;
mod storage;
mod subtask;
mod token;

