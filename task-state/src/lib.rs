//! State of a task other than keyed state, and one snapshot of all state of the task.
//!
//! | kind | used by | when the parallelism changes |
//! | --- | --- | --- |
//! | keyed | operators on a keyed stream, through a [`StateBackend`](backend_api::StateBackend) | key groups move |
//! | operator | any operator, typically a source, through [`OperatorState`] with lists and broadcast maps | list elements are redistributed, or go to every subtask; each subtask gets one copy of a broadcast map |
//! | raw | code that writes bytes, through [`RawKeyedWriter`] and [`RawOperatorWriter`] | like keyed state; like an even-split list |
//!
//! All of it is written by one [`TaskSnapshot`] to where the backend's checkpoints go, and restored by one
//! [`TaskRestore`](backend_api::TaskRestore). User functions use it through [`CheckpointedFunction`] or
//! [`ListCheckpointed`].
//!
//! The position of a source must be in the same snapshot as the state that its earlier records produced.
//! Otherwise a restart reads records twice or not at all.

mod content;
mod descriptor;
mod function;
mod operator;
mod raw_keyed;
mod raw_operator;
mod restored;
mod shared_list;
mod snapshot;
mod views;

pub use descriptor::{
    BroadcastDescriptor, BroadcastToken, OperatorListDescriptor, OperatorListToken, OperatorStateDescriptor,
};
pub use function::{CheckpointedFunction, InitializationContext, ListCheckpointed, Listed, SnapshotContext};
pub use operator::OperatorState;
pub use raw_keyed::{RawKeyedState, RawKeyedWriter, RawStream};
pub use raw_operator::{PartitionStream, Partitions, RawOperatorState, RawOperatorWriter};
pub use snapshot::TaskSnapshot;
pub use views::{Broadcast, BroadcastEntries, OperatorList};
