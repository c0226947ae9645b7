//! Checkpoints as a whole: their metadata, where they lie, who uses which file.

mod file_name;
mod layout;
mod metadata;
mod parts;
mod target;

pub use file_name::FileName;
pub use layout::JobFolder;
pub use metadata::{Checkpoint, TaskState};
pub use parts::{OperatorStateHandle, OperatorStateMeta, RawKeyedHandle, RawOperatorHandle, Redistribution};
pub use target::{AttemptTarget, CheckpointTarget, NewFile};
