//! Checkpoints as a whole: their metadata, where they lie, who uses which file.

mod layout;
mod metadata;
mod parts;
mod target;

pub use layout::JobFolder;
pub use metadata::{Checkpoint, TaskState};
pub use parts::{OperatorStateHandle, OperatorStateMeta, RawKeyedHandle, RawOperatorHandle, Redistribution};
pub use target::{CheckpointTarget, NewFile};
