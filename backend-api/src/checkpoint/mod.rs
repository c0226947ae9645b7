//! Checkpoints as a whole: their metadata, where they lie, who uses which file.

mod layout;
mod metadata;
mod target;

pub use layout::JobFolder;
pub use metadata::{Checkpoint, TaskState};
pub use target::CheckpointTarget;
