//! The state of a task that is not kept by key, and one snapshot of all state of the task.
//!
//! | kind | who has it | when the parallelism changes |
//! | --- | --- | --- |
//! | keyed | operators on a keyed stream: a [`StateBackend`](backend_api::StateBackend) | key groups move |
//! | operator | any operator, typically a source: [`OperatorState`] with lists and broadcast maps | elements are dealt out anew, or every subtask gets all; of a broadcast map each gets one copy |
//! | raw | whoever writes bytes: [`RawKeyedWriter`] and [`RawOperatorWriter`] | as keyed; as an even-split list |
//!
//! All of it goes where the backend's checkpoints go, is written by one [`TaskSnapshot`] and restored by one
//! [`TaskRestore`](backend_api::TaskRestore). User functions see it through [`CheckpointedFunction`] or
//! [`ListCheckpointed`].
//!
//! The position of a source belongs into the snapshot, next to the state that the records before it produced: kept
//! anywhere else, a restart reads records twice or not at all.

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
