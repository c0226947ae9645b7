//! What a script runs on.

use backend_api::Result;

use super::{Datum, Declared};

/// What a command does with one state at one key and namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Reads a value, a list, a map or what was folded.
    Get,
    /// Removes it.
    Clear,
    /// Replaces a value.
    Set(Datum),
    /// Adds to a list, or folds in.
    Add(Datum),
    /// Adds to a list.
    AddAll(Vec<Datum>),
    /// Replaces a list.
    SetAll(Vec<Datum>),
    /// Reads a map's entry.
    GetEntry(Datum),
    /// Asks whether a map has an entry.
    Contains(Datum),
    /// Asks whether a map has no entries.
    IsEmpty,
    /// Reads the keys of a map.
    Keys,
    /// Reads the values of a map.
    Values,
    /// Reads the entries of a map from a key (included) to another (excluded), in order.
    Range(Datum, Datum),
    /// Puts a map's entry.
    Put(Datum, Option<Datum>),
    /// Puts entries of a map.
    PutAll(Vec<(Datum, Option<Datum>)>),
    /// Removes a map's entry.
    Remove(Datum),
    /// Merges in what other namespaces hold.
    Merge(Vec<Datum>),
}

/// What comes of an [`Op`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing: it was a write.
    Done,
    /// A value, or none.
    Value(Option<Datum>),
    /// The elements of a list.
    List(Vec<Datum>),
    /// Yes or no.
    Flag(bool),
    /// The keys of a map, in the order in which they came.
    Keys(Vec<Datum>),
    /// The values of a map.
    Values(Vec<Option<Datum>>),
    /// The entries of a map.
    Map(Vec<(Datum, Option<Datum>)>),
    /// The entries of a map, of which the order is asked for.
    Sorted(Vec<(Datum, Option<Datum>)>),
}

/// A parallel operator with keyed state: what the commands of a script come down to. Keys fall into groups as in
/// Flink. The names of states and snapshots are known to it, since the interpreter has looked.
pub trait Machine {
    /// Ends the operator, with all snapshots under way, and starts it with this parallelism, empty or from a snapshot.
    ///
    /// # Errors
    /// Those of the backend.
    fn start(&mut self, parallelism: u16, from: Option<&str>) -> Result<()>;

    /// Takes note of a state, which each subtask registers when it first uses it.
    fn declare(&mut self, state: &str, declared: Declared);

    /// The key group of a key and the number of the subtask that has it.
    ///
    /// # Errors
    /// Those of the key space.
    fn place(&self, key: &Datum) -> Result<(u16, u16)>;

    /// Reads or writes.
    ///
    /// # Errors
    /// Those of the backend.
    fn access(&mut self, state: &str, key: &Datum, namespace: Option<&Datum>, op: Op) -> Result<Answer>;

    /// The keys that have something in a state and namespace, on all subtasks, in no order.
    ///
    /// # Errors
    /// Those of the backend.
    fn keys(&mut self, state: &str, namespace: Option<&Datum>) -> Result<Vec<Datum>>;

    /// The keys and namespaces that have something in a state, on all subtasks, in no order.
    ///
    /// # Errors
    /// Those of the backend.
    fn pairs(&mut self, state: &str) -> Result<Vec<(Datum, Option<Datum>)>>;

    /// Clears a state in a namespace for every key.
    ///
    /// # Errors
    /// Those of the backend.
    fn clear_every_key(&mut self, state: &str, namespace: Option<&Datum>) -> Result<()>;

    /// The synchronous part of a snapshot, which becomes checkpoint `id`.
    ///
    /// # Errors
    /// Those of the backend.
    fn begin(&mut self, snapshot: &str, id: u64) -> Result<()>;

    /// The asynchronous part.
    ///
    /// # Errors
    /// Those of the backend.
    fn end(&mut self, snapshot: &str) -> Result<()>;

    /// Cancels the asynchronous part.
    fn cancel(&mut self, snapshot: &str);

    /// Tells all subtasks that checkpoint `id` is complete.
    ///
    /// # Errors
    /// Those of the backend.
    fn complete(&mut self, id: u64) -> Result<()>;

    /// Tells all subtasks that checkpoint `id` was aborted.
    ///
    /// # Errors
    /// Those of the backend.
    fn aborted(&mut self, id: u64) -> Result<()>;

    /// Ends the operator, and looks whether anything is left that should not be.
    ///
    /// # Errors
    /// What is left, in words.
    fn finish(&mut self) -> Result<(), String>;
}
