//! Checkpoints as a whole: their metadata, where they lie, who uses which file.

mod layout;
mod metadata;
mod registry;
mod store;
mod target;

pub use layout::JobFolder;
pub use metadata::{Checkpoint, TaskState};
pub use registry::SharedStateRegistry;
pub use store::{CheckpointStore, CheckpointStoreOptions};
pub use target::CheckpointTarget;
