//! The checkpoints of a job: which are complete, which files they share, and what may be deleted.
//!
//! [`CheckpointStore`] is the coordinator's hand on the storage. [`SharedStateRegistry`] knows which checkpoint uses which
//! shared file.

mod registry;
mod store;

pub use registry::SharedStateRegistry;
pub use store::{CheckpointStore, CheckpointStoreOptions};
