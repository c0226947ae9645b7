//! The states and operators that `rewrite` drops and renames.

use std::collections::BTreeMap;

use crate::args::Rewrite;
use crate::failure::{Failure, Result};
use crate::rows::Keyed;
use crate::source::Operator;

/// Names that are kept, dropped or changed.
#[derive(Debug)]
pub struct Changes {
    kept_states: Vec<String>,
    dropped_states: Vec<String>,
    dropped_operators: Vec<String>,
    renamed_states: BTreeMap<String, String>,
    renamed_operators: BTreeMap<String, String>,
}

impl Changes {
    /// The changes of the arguments. Every name must exist in the checkpoint.
    pub fn of(args: &Rewrite, operators: &[Operator<'_>], keyed: &[Option<Keyed>]) -> Result<Self> {
        let changes = Self {
            kept_states: args.state.clone(),
            dropped_states: args.drop_state.clone(),
            dropped_operators: args.drop_operator.clone(),
            renamed_states: pairs(&args.rename_state)?,
            renamed_operators: pairs(&args.rename_operator)?,
        };
        let named = changes.dropped_operators.iter().chain(changes.renamed_operators.keys());
        for name in named {
            if !operators.iter().any(|operator| operator.is_called(name)) {
                return Err(Failure::Usage(format!(
                    "there is no operator {name:?}; `state inspect` lists them"
                )));
            }
        }
        let named =
            changes.kept_states.iter().chain(&changes.dropped_states).chain(changes.renamed_states.keys());
        for name in named {
            if !keyed.iter().flatten().any(|keyed| keyed.state(name).is_some()) {
                return Err(Failure::Usage(format!(
                    "there is no keyed state {name:?}; `state inspect` lists them"
                )));
            }
        }
        Ok(changes)
    }

    /// True if the operator is dropped.
    pub fn is_operator_dropped(&self, operator: &Operator<'_>) -> bool {
        self.dropped_operators.iter().any(|name| operator.is_called(name))
    }

    /// The new id of an operator.
    pub fn operator_id(&self, operator: &Operator<'_>) -> String {
        let new = self.renamed_operators.iter().find(|(old, _)| operator.is_called(old));
        new.map_or(operator.id, |(_, new)| new).to_owned()
    }

    /// True if a keyed state stays.
    pub fn is_state_kept(&self, name: &str) -> bool {
        let is_kept = self.kept_states.is_empty() || self.kept_states.iter().any(|kept| kept == name);
        is_kept && !self.dropped_states.iter().any(|dropped| dropped == name)
    }

    /// The new name of a state.
    pub fn state_name(&self, name: &str) -> String {
        self.renamed_states.get(name).map_or(name, String::as_str).to_owned()
    }
}

/// Arguments of the form `OLD=NEW`.
fn pairs(arguments: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |argument: &String| match argument.split_once('=') {
        Some((old, new)) if !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err(Failure::Usage(format!("{argument:?} is not of the form OLD=NEW"))),
    };
    arguments.iter().map(pair).collect()
}
