//! Checkpoints as a whole: their metadata, where they lie, who uses which file.

mod file_name;
mod layout;
mod metadata;
mod parts;
mod redistribute;
mod restore_rules;
mod target;
mod task_restore;

pub use file_name::FileName;
pub use layout::{JobFile, JobFolder, METADATA_FILE};
pub use metadata::{Checkpoint, TaskState};
pub use parts::{OperatorStateHandle, OperatorStateMeta, RawKeyedHandle, RawOperatorHandle, Redistribution};
pub use redistribute::{OperatorStatePart, RawPartitions, Rescale, redistribute, redistribute_raw};
pub use restore_rules::RestoreRules;
pub use target::{AttemptTarget, CheckpointTarget, NewFile};
pub use task_restore::TaskRestore;
