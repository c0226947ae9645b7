//! The checkpoints of a job: when they are taken, which are complete, which files they share, and what may be deleted.
//!
//! [`CheckpointCoordinator`] decides; it is a state machine without I/O, clock and threads. [`CheckpointStore`] is its
//! hand on the storage, and [`SharedStateRegistry`] knows which checkpoint uses which shared file. [`JobConfig`] reads
//! Flink's settings. [`Alignment`] is for operators with several inputs. [`JobDriver`] runs all of it on threads, for
//! jobs of one process; an engine of its own takes what it needs.

mod alignment;
mod config;
mod driver;
mod machine;
mod registry;
mod restart;
mod statistics;
mod store;

pub use alignment::{Aligned, Alignment, Message};
pub use config::{
    BackendConfig, BackendKind, CheckpointConfig, CheckpointingMode, JobConfig, JobEnd, Retention,
    parse_duration, parse_size,
};
pub use driver::{
    AlignmentTime, Attempt, Control, Input, Inputs, JobDriver, JobHandle, JobOutcome, Task, TaskContext,
};
pub use machine::{
    AbortReason, Ack, Acknowledged, Barrier, BarrierKind, CheckpointCoordinator, CheckpointReport, Output,
    Refusal, RequestId, StoreAs, TaskId, TaskMetrics,
};
pub use registry::SharedStateRegistry;
pub use restart::{RestartStrategy, Restarts};
pub use statistics::{Statistics, Summary};
pub use store::{CheckpointStore, CheckpointStoreOptions, JobContents};
