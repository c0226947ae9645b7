//! The checkpoints of a job: when they are taken, which are complete, which files they share, and what can be
//! deleted.
//!
//! [`CheckpointCoordinator`] decides. It is a state machine without I/O, clock and threads.
//! [`CheckpointStore`] stores and deletes checkpoints, and [`SharedStateRegistry`] records which checkpoint
//! uses which shared file. [`JobConfig`] reads Flink's settings. [`Alignment`] is for operators with several
//! inputs, and so is [`Watermarks`]. [`MergingWindows`] are session windows. [`JobDriver`] runs all of it on threads, for jobs in one process. Other engines use the parts they
//! need.

mod alignment;
mod check;
mod config;
mod driver;
mod machine;
mod merging_windows;
mod registry;
mod restart;
mod savepoint;
mod statistics;
mod store;
mod watermarks;
mod window;

pub use alignment::{Aligned, Alignment, Message};
pub use check::check_operator;
pub use config::{
    BackendConfig, BackendKind, CheckpointConfig, CheckpointingMode, JobConfig, JobEnd, Retention,
};
pub use driver::{
    AlignmentTime, Attempt, Control, Input, Inputs, JobDriver, JobHandle, JobOutcome, Task, TaskContext,
};
pub use machine::{
    AbortReason, Ack, Acknowledged, Barrier, BarrierKind, CheckpointCoordinator, CheckpointReport, Completed,
    DeclineReason, Output, Refusal, RequestId, Reserved, StoreAs, TaskId, TaskMetrics,
};
pub use merging_windows::{AddedWindow, MergingWindows};
pub use registry::SharedStateRegistry;
pub use restart::{RestartStrategy, Restarts};
pub use savepoint::{ClaimMode, Savepoint, SavepointWriter};
pub use statistics::{Statistics, Summary};
pub use store::{CheckpointStore, CheckpointStoreOptions, JobContents};
pub use watermarks::Watermarks;
pub use window::TimeWindow;
