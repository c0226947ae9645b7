//! Metadata of a checkpoint file and its states.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::shape::{KeyRole, check_key_type, migration};
use crate::versions::version_in;
use crate::{Error, ErrorKind, KeyGroupRange, Result, StateKind, TimeDomain, ValueSchema};

/// Most states of one backend, as in Flink (`Short.MAX_VALUE`).
pub const MAX_STATES: usize = 32_767;

/// Metadata of a checkpoint file. Its postcard encoding is part of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// Format of the rows, such as [`row::FORMAT`](crate::row::FORMAT).
    pub format: String,
    /// Name of the operator.
    pub operator: String,
    /// Index of the operator's subtask.
    pub subtask: u32,
    /// Number of the checkpoint.
    pub checkpoint_id: u64,
    /// Number of key groups of the operator, 1 to 32,768.
    pub max_parallelism: u32,
    /// The key groups of the subtask, all below `max_parallelism`.
    pub key_groups: RangeInclusive<u16>,
    /// Schema of the key's encoding.
    pub key_schema: String,
    /// Name of the mapping from a key's hash to its key group.
    pub key_group_mapping: String,
    /// The states. Sections refer to them by index.
    pub states: Vec<StateMeta>,
}

/// Metadata of one state in a checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMeta {
    /// Name of the state.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Schema of the namespace's encoding.
    pub namespace_schema: String,
    /// Ids of the codecs of a row's contents after the key (for a map: its key and its value).
    pub codecs: Vec<String>,
    /// Seed of the hash table that wrote the rows, so that a restored table has the same order.
    pub table_seed: u64,
    /// Settings of the state that a later reader needs, by name.
    pub options: BTreeMap<String, Vec<u8>>,
}

/// Option of a state that was dropped and only keeps its number.
const DROPPED: &str = "dropped";

/// Option of timers: the name of their time domain.
const TIME: &str = "time";

/// Option of a state whose rows are in their canonical form: sorted, and with
/// [canonical values](crate::ValueSchema::encode_canonical) if the id of their codec tells what they consist of.
pub const CANONICAL: &str = "canonical";

impl StateMeta {
    /// The placeholder of a dropped state, so that other states keep their numbers.
    pub fn dropped(number: u16, kind: StateKind) -> Self {
        Self {
            // Not a valid name of a registered state.
            name: format!("\0{kind} {number}"),
            kind,
            namespace_schema: "()".to_owned(),
            codecs: Vec::new(),
            table_seed: 0,
            options: [(DROPPED.to_owned(), Vec::new())].into(),
        }
    }

    /// True if it is a [placeholder](Self::dropped).
    pub fn is_dropped(&self) -> bool {
        self.options.contains_key(DROPPED)
    }

    /// Sets the time domain of timers.
    pub(crate) fn with_time_domain(mut self, domain: TimeDomain) -> Self {
        self.options.insert(TIME.to_owned(), domain.name().into());
        self
    }

    /// What the times of timers are compared with. `None` for other states.
    pub fn time_domain(&self) -> Option<TimeDomain> {
        self.options.get(TIME).and_then(|name| TimeDomain::of_name(name))
    }

    /// The version of the state's values. The first one is 1.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the metadata has something else in its place.
    pub fn version(&self) -> Result<u32> {
        version_in(&self.options).map_err(|error| error.in_state(&self.name))
    }

    /// The metadata of the state in a canonical savepoint.
    pub fn canonical(&self) -> Self {
        let mut meta = Self { table_seed: 0, ..self.clone() };
        meta.options.insert(CANONICAL.to_owned(), Vec::new());
        meta
    }

    /// The metadata of the state in other files.
    pub fn with_codec_values(&self) -> Self {
        let mut meta = self.clone();
        meta.options.remove(CANONICAL);
        meta
    }

    /// True if the rows are in their [canonical form](Self::canonical).
    pub fn is_canonical(&self) -> bool {
        self.options.contains_key(CANONICAL)
    }

    /// What the values consist of, if the id of their codec tells.
    pub fn values(&self) -> Option<ValueSchema> {
        self.codecs.last().and_then(|codec| ValueSchema::parse(codec).ok())
    }

    /// What canonical values consist of. `None` if the rows have the values of their codec.
    pub(crate) fn canonical_values(&self) -> Option<ValueSchema> {
        self.values().filter(|_| self.is_canonical())
    }

    /// Checks that a state written with this metadata has the kind, namespaces and map keys of `registered`, which are
    /// never converted.
    ///
    /// # Errors
    /// [`IncompatibleKind`](ErrorKind::IncompatibleKind) for another kind.
    /// [`Migration`](ErrorKind::Migration) for another type of namespaces or map keys, or another time domain of timers,
    /// naming the change.
    pub fn check_keys(&self, registered: &Self) -> Result<()> {
        let fault = |kind, message: String| Err(Error::new(kind, message).in_state(&self.name));
        if registered.kind != self.kind {
            let message = format!("restored as {} state, registered as {}", self.kind, registered.kind);
            return fault(ErrorKind::IncompatibleKind, message);
        }
        let keys = |role, old: &str, new: &str| {
            check_key_type(role, old, new).map_err(|error| error.in_state(&self.name))
        };
        keys(KeyRole::Namespace, &self.namespace_schema, &registered.namespace_schema)?;
        if let (Some(old), Some(new)) = (self.time_domain(), registered.time_domain())
            && old != new
        {
            return fault(
                ErrorKind::Migration,
                format!("restored as timers of {old}, registered as timers of {new}"),
            );
        }
        let (old, new) = (&self.codecs, &registered.codecs);
        if old.len() != new.len() {
            let message = format!("restored with codecs {old:?}, registered with {new:?}");
            return fault(ErrorKind::Migration, message);
        }
        // The last one is the codec of the values.
        old.iter().zip(new).rev().skip(1).try_for_each(|(old, new)| keys(KeyRole::MapKey, old, new))
    }

    /// Checks that a state written with this metadata has the same types as `registered`, which is a descriptor's
    /// [`meta`](crate::StateDescriptor::meta) or that of another file.
    ///
    /// # Errors
    /// As [`check_keys`](Self::check_keys). [`Migration`](ErrorKind::Migration) for another codec or version of the
    /// values, naming both.
    pub fn check_registration(&self, registered: &Self) -> Result<()> {
        self.check_keys(registered)?;
        let fault = |message: String| Err(Error::new(ErrorKind::Migration, message).in_state(&self.name));
        let (old, new) = (self.version()?, registered.version()?);
        if old != new {
            return fault(format!("one part of the state has version {old}, another has version {new}"));
        }
        match self.codecs.last().zip(registered.codecs.last()) {
            Some((old, new)) if old != new => fault(migration("codec", old, new)),
            _ => Ok(()),
        }
    }
}

impl FileMeta {
    /// True if the file has all key groups in `range`.
    pub fn holds_groups(&self, range: KeyGroupRange) -> bool {
        self.key_groups.contains(&range.start()) && self.key_groups.contains(&range.end())
    }

    /// Checks the limits that writer and reader rely on.
    ///
    /// # Errors
    /// [`ErrorKind::Size`] for more than [`MAX_STATES`] states. [`ErrorKind::InvalidArgument`] for an empty
    /// range of key groups, groups outside of `0..max_parallelism`, or a max parallelism outside of
    /// `1..=32768`.
    pub fn check(&self) -> Result<()> {
        let states = self.states.len();
        if states > MAX_STATES {
            let message = format!("{states} states exceed the limit of {MAX_STATES} states");
            return Err(Error::new(ErrorKind::Size, message));
        }
        let (groups, max) = (&self.key_groups, self.max_parallelism);
        if !(1..=32_768).contains(&max) || groups.is_empty() || u32::from(*groups.end()) >= max {
            let message = format!("key groups {groups:?} with a max parallelism of {max}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(states: usize) -> FileMeta {
        let state = StateMeta {
            name: String::new(),
            kind: StateKind::Value,
            namespace_schema: String::new(),
            codecs: Vec::new(),
            table_seed: 0,
            options: BTreeMap::new(),
        };
        FileMeta {
            format: "rows/1".into(),
            operator: "count".into(),
            subtask: 0,
            checkpoint_id: 1,
            max_parallelism: 128,
            key_groups: 0..=127,
            key_schema: "u64".into(),
            key_group_mapping: "xxh3".into(),
            states: vec![state; states],
        }
    }

    #[test]
    fn there_are_32767_states_at_most() {
        meta(32_767).check().unwrap();
        let error = meta(32_768).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Size);
        assert_eq!(error.message(), "32768 states exceed the limit of 32767 states");
    }

    #[test]
    fn key_groups_lie_within_the_max_parallelism() {
        for (max, first, last) in [(0, 0, 0), (10, 0, 10), (10, 1, 0), (32_769, 0, 1)] {
            let meta = FileMeta { max_parallelism: max, key_groups: first..=last, ..meta(0) };
            assert_eq!(meta.check().unwrap_err().kind(), ErrorKind::InvalidArgument, "{meta:?}");
        }
        FileMeta { max_parallelism: 32_768, key_groups: 5..=32_767, ..meta(0) }.check().unwrap();
    }
}
