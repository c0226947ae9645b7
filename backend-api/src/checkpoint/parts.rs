//! The parts of a task's state other than keyed state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{KeyGroupRange, StateFile};

/// How an operator state is distributed over the subtasks when the parallelism changes. The order of the variants is
/// part of the checkpoint format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Redistribution {
    /// The elements are dealt out evenly (Flink: `SPLIT_DISTRIBUTE`).
    EvenSplit,
    /// Every subtask gets the elements of all (Flink: `UNION`).
    Union,
    /// Every subtask gets one copy (Flink: `BROADCAST`).
    Broadcast,
}

/// Description of one operator state in a handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorStateMeta {
    /// Name of the state.
    pub name: String,
    /// How it is redistributed.
    pub redistribution: Redistribution,
    /// Ids of the codecs: of the elements, or of the keys and values of a broadcast map.
    pub codecs: Vec<String>,
    /// Number of elements or entries.
    pub elements: u64,
    /// Settings that a later reader needs, by name.
    pub options: BTreeMap<String, Vec<u8>>,
}

/// The operator state of one subtask at one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorStateHandle {
    /// The checkpoint.
    pub checkpoint_id: u64,
    /// The states, in the order of the file.
    pub states: Vec<OperatorStateMeta>,
    /// The file with the elements of all states.
    pub file: StateFile,
}

/// Raw keyed state of one subtask at one checkpoint: a stream of bytes per key group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawKeyedHandle {
    /// The checkpoint.
    pub checkpoint_id: u64,
    /// The key groups that a restore takes from it.
    pub range: KeyGroupRange,
    /// Number of key groups of the operator.
    pub max_parallelism: u16,
    /// The file with all streams, in which the index locates each.
    pub file: StateFile,
}

/// Raw operator state of one subtask at one checkpoint: a list of byte partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawOperatorHandle {
    /// The checkpoint.
    pub checkpoint_id: u64,
    /// Number of partitions.
    pub partitions: u32,
    /// The file with all partitions.
    pub file: StateFile,
}
