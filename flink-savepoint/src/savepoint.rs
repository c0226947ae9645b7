//! A savepoint and its operators.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result, Storage};

use crate::keyed::KeyedState;
use crate::metadata::{self, Metadata, OperatorId, OperatorMeta, SubtaskMeta};
use crate::operator_state::OperatorState;

/// A canonical savepoint of Flink.
#[derive(Debug)]
pub struct Savepoint {
    version: i32,
    checkpoint_id: i64,
    operators: Vec<Operator>,
}

impl Savepoint {
    /// Opens the savepoint in `folder` of a storage, `""` for its root. Only its file `_metadata` is read.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) without that file. [`Corrupt`](ErrorKind::Corrupt), with file and offset.
    /// [`Unsupported`](ErrorKind::Unsupported) for native savepoints, for checkpoints, and for versions of Flink that came
    /// later.
    pub fn open(storage: Arc<dyn Storage>, folder: &str) -> Result<Self> {
        let Metadata { version, checkpoint_id, operators } = metadata::read(&storage, folder)?;
        let operators = operators.into_iter().map(|meta| Operator { label: label(&meta), meta }).collect();
        Ok(Self { version, checkpoint_id, operators })
    }

    /// Version of the metadata: 6 for Flink 2.3, 3 for Flink 1.11.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The number that Flink's job gave to the savepoint.
    pub fn checkpoint_id(&self) -> i64 {
        self.checkpoint_id
    }

    /// The operators, also those without state.
    pub fn operators(&self) -> &[Operator] {
        &self.operators
    }

    /// The operator with this uid, id or name.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound). [`InvalidArgument`](ErrorKind::InvalidArgument) for a name that several have.
    pub fn operator(&self, text: &str) -> Result<&Operator> {
        let id = OperatorId::of_uid(text);
        let by_id = |operator: &&Operator| operator.meta.id == id || operator.meta.id.to_string() == text;
        if let Some(found) = self.operators.iter().find(by_id) {
            return Ok(found);
        }
        let mut named = self.operators.iter().filter(|operator| operator.name() == Some(text));
        match (named.next(), named.next()) {
            (Some(operator), None) => Ok(operator),
            (Some(_), Some(_)) => {
                let message = format!("several operators have the name {text:?}; use the uid or the id");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            (None, _) => {
                let message = format!("the savepoint has no operator with the uid, id or name {text:?}");
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }
}

/// An operator of the job.
#[derive(Debug)]
pub struct Operator {
    meta: OperatorMeta,
    label: String,
}

/// What errors call an operator.
fn label(meta: &OperatorMeta) -> String {
    meta.uid.clone().or_else(|| meta.name.clone()).unwrap_or_else(|| meta.id.to_string())
}

impl Operator {
    /// Its id, a hash.
    pub fn id(&self) -> OperatorId {
        self.meta.id
    }

    /// Its name for people. Savepoints before Flink 1.20 do not have it.
    pub fn name(&self) -> Option<&str> {
        self.meta.name.as_deref()
    }

    /// Its uid, if the job gives it one. Savepoints before Flink 1.20 do not have it.
    pub fn uid(&self) -> Option<&str> {
        self.meta.uid.as_deref()
    }

    /// The uid, else the name, else the id.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Number of subtasks.
    pub fn parallelism(&self) -> u32 {
        self.meta.parallelism
    }

    /// Number of key groups.
    pub fn max_parallelism(&self) -> u16 {
        self.meta.max_parallelism
    }

    /// True if all subtasks had finished. They have no state then.
    pub fn is_finished(&self) -> bool {
        self.meta.is_finished
    }

    /// Opens its keyed state and timers. `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for a missing file. [`Corrupt`](ErrorKind::Corrupt).
    /// [`Unsupported`](ErrorKind::Unsupported) if the description of a serializer is unknown, and ends at an unknown place.
    pub fn keyed_state(&self) -> Result<Option<KeyedState>> {
        KeyedState::open(&self.meta, &self.label)
    }

    /// Opens its operator state. `None` if it has none.
    ///
    /// # Errors
    ///
    /// As [`keyed_state`](Self::keyed_state).
    pub fn operator_state(&self) -> Result<Option<OperatorState>> {
        OperatorState::open(&self.meta, &self.label)
    }

    pub(crate) fn subtasks(&self) -> &[SubtaskMeta] {
        &self.meta.subtasks
    }

    /// Bytes of state that this crate leaves alone: raw state, which only the operator reads, and state of its coordinator.
    pub fn raw_bytes(&self) -> u64 {
        let subtasks = self.meta.subtasks.iter().flat_map(|subtask| {
            let operator = subtask.raw_operator.as_ref().map(|handle| handle.stream.len());
            operator.into_iter().chain(subtask.raw_keyed.as_ref().map(|handle| handle.stream.len()))
        });
        subtasks.chain(self.meta.coordinator.as_ref().map(|stream| stream.len())).sum()
    }
}
