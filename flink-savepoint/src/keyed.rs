//! The keyed state of an operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};

use crate::header::{StateInfo, StateKind};
use crate::input::{corrupt, unsupported};
use crate::metadata::OperatorMeta;
use crate::part::Part;
use crate::rows::{AllRows, Rows};
use crate::types::Type;

/// The keyed state of an operator. The streams of all its subtasks are open.
#[derive(Debug)]
pub struct KeyedState {
    operator: String,
    key: Type,
    max_parallelism: u16,
    states: BTreeMap<String, StateInfo>,
    parts: Vec<Arc<Part>>,
}

impl KeyedState {
    pub(crate) fn open(operator: &OperatorMeta, label: &str) -> Result<Option<Self>> {
        let mut keyed = Self {
            operator: label.to_owned(),
            key: Type::Void,
            max_parallelism: operator.max_parallelism,
            states: BTreeMap::new(),
            parts: Vec::new(),
        };
        for handle in operator.subtasks.iter().filter_map(|subtask| subtask.keyed.as_ref()) {
            let part = Part::open(handle, operator.max_parallelism)?;
            if !keyed.parts.is_empty() && part.key != keyed.key {
                let message = format!("the subtasks of operator {label:?} have keys of different types");
                return Err(part.stream.placed(corrupt(message), 0));
            }
            keyed.key = part.key.clone();
            for state in &part.states {
                let known = keyed.states.entry(state.name.clone()).or_insert_with(|| state.clone());
                if !same_state(known, state) {
                    let message =
                        format!("the subtasks of operator {label:?} have different types of a state");
                    return Err(part.stream.placed(corrupt(message), 0).in_state(&state.name));
                }
            }
            keyed.parts.push(Arc::new(part));
        }
        Ok((!keyed.parts.is_empty()).then_some(keyed))
    }

    /// Type of the keys.
    pub fn key(&self) -> &Type {
        &self.key
    }

    /// Number of key groups.
    pub fn max_parallelism(&self) -> u16 {
        self.max_parallelism
    }

    /// The states, by their names.
    pub fn states(&self) -> impl ExactSizeIterator<Item = &StateInfo> {
        self.states.values()
    }

    /// The state of that name.
    pub fn state(&self, name: &str) -> Option<&StateInfo> {
        self.states.get(name)
    }

    /// Bytes of the streams. Those of key groups are packed if the savepoint is.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.stream.len()).sum()
    }

    /// The rows of a state, by key group: a value, an element, an entry or a timer each.
    ///
    /// Rows of all states of a key group follow one another, so this reads those of other states too.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound). [`Unsupported`](ErrorKind::Unsupported) for a state with
    /// types that only Java reads; [`all_rows`](Self::all_rows) has the bytes of its rows.
    pub fn rows(&self, state: &str) -> Result<Rows> {
        let info = self.states.get(state).ok_or_else(|| {
            let message = format!("operator {:?} has no such state", self.operator);
            Error::new(ErrorKind::NotFound, message).in_state(state)
        })?;
        self.check_readable(info)?;
        Ok(Rows::new(self.all_rows(), state.to_owned()))
    }

    /// The rows of all states as bytes: by key group, and in it by state.
    pub fn all_rows(&self) -> AllRows {
        AllRows::new(self.parts.clone())
    }

    /// The rows of the subtask whose key groups begin here.
    pub(crate) fn rows_of_subtask(&self, first_group: u16) -> AllRows {
        let of_subtask = |part: &&Arc<Part>| part.first_group == first_group;
        AllRows::new(self.parts.iter().filter(of_subtask).cloned().collect())
    }

    /// Checks that the rows of a state can be decoded.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported), with operator, state and serializer.
    pub fn check_readable(&self, state: &StateInfo) -> Result<()> {
        let operator = &self.operator;
        let message = match (self.key.opaque(), state.opaque()) {
            (Some(opaque), _) => {
                format!("the keys of operator {operator:?} are written by {opaque}, which only Java reads")
            }
            (None, Some(opaque)) => {
                format!("operator {operator:?} has values of {opaque}, which only Java reads")
            }
            (None, None) if state.kind == StateKind::Unknown => {
                format!("operator {operator:?} has a state of a kind that is not known")
            }
            (None, None) => return Ok(()),
        };
        Err(unsupported(message).in_state(&state.name))
    }
}

/// POJOs may have seen different subclasses.
fn same_state(a: &StateInfo, b: &StateInfo) -> bool {
    a.kind == b.kind
        && a.has_ttl == b.has_ttl
        && a.namespace == b.namespace
        && a.map_key.as_ref().map(Type::to_string) == b.map_key.as_ref().map(Type::to_string)
        && a.value.to_string() == b.value.to_string()
}
