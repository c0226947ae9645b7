//! The interface that scripts run on.

use backend_api::{Checkpoint, Error, ErrorKind, Result};

use super::{Datum, Declared};

/// An operation on one state at one key and namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Reads a value, list, map, or folded value.
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
    /// Checks if a map has an entry.
    Contains(Datum),
    /// Checks if a map has no entries.
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
    /// Merges other namespaces into this one.
    Merge(Vec<Datum>),
    /// Adds a timer with this time.
    AddTimer(i64),
    /// Removes the timer with this time.
    RemoveTimer(i64),
}

/// The answer to an [`Op`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The answer to a write.
    Done,
    /// A value, or none.
    Value(Option<Datum>),
    /// The elements of a list.
    List(Vec<Datum>),
    /// True or false.
    Flag(bool),
    /// The keys of a map, in the order of iteration.
    Keys(Vec<Datum>),
    /// The values of a map.
    Values(Vec<Option<Datum>>),
    /// The entries of a map.
    Map(Vec<(Datum, Option<Datum>)>),
    /// The entries of a map, in an order that matters.
    Sorted(Vec<(Datum, Option<Datum>)>),
}

/// A timer of a script: time, key and namespace.
pub type Timed = (i64, Datum, Option<Datum>);

/// A parallel operator with keyed state, which executes the commands of a script. Keys have Flink's groups.
/// The interpreter checks names of states and snapshots first.
pub trait Machine {
    /// Ends the operator with its running snapshots, and starts it with this parallelism, empty or from a
    /// snapshot.
    ///
    /// # Errors
    /// Errors of the backend.
    fn start(&mut self, parallelism: u16, from: Option<&str>) -> Result<()>;

    /// Sets the time for times to live, which is 0 at first.
    ///
    /// # Errors
    /// Errors of the backend.
    fn advance_to(&mut self, now: i64) -> Result<()>;

    /// Declares a state. Each subtask registers it at its first use.
    fn declare(&mut self, state: &str, declared: Declared);

    /// The key group and subtask of a key.
    ///
    /// # Errors
    /// Errors of the key space.
    fn place(&self, key: &Datum) -> Result<(u16, u16)>;

    /// Reads or writes.
    ///
    /// # Errors
    /// Errors of the backend.
    fn access(&mut self, state: &str, key: &Datum, namespace: Option<&Datum>, op: Op) -> Result<Answer>;

    /// The keys with an entry in a state and namespace, on all subtasks, in no order.
    ///
    /// # Errors
    /// Errors of the backend.
    fn keys(&mut self, state: &str, namespace: Option<&Datum>) -> Result<Vec<Datum>>;

    /// The keys and namespaces with an entry in a state, on all subtasks, in no order.
    ///
    /// # Errors
    /// Errors of the backend.
    fn pairs(&mut self, state: &str) -> Result<Vec<(Datum, Option<Datum>)>>;

    /// Clears a state in a namespace for every key.
    ///
    /// # Errors
    /// Errors of the backend.
    fn clear_every_key(&mut self, state: &str, namespace: Option<&Datum>) -> Result<()>;

    /// All timers of a state, on all subtasks, in no order.
    ///
    /// # Errors
    /// Errors of the backend.
    fn timers(&mut self, state: &str) -> Result<Vec<Timed>>;

    /// Fires the timers up to and including this time, on all subtasks.
    ///
    /// # Errors
    /// Errors of the backend.
    fn fire(&mut self, state: &str, to: i64) -> Result<Vec<Timed>>;

    /// The synchronous part of the snapshot for checkpoint `id`.
    ///
    /// # Errors
    /// Errors of the backend.
    fn begin(&mut self, snapshot: &str, id: u64) -> Result<()>;

    /// The asynchronous part.
    ///
    /// # Errors
    /// Errors of the backend.
    fn end(&mut self, snapshot: &str) -> Result<()>;

    /// Cancels the asynchronous part.
    fn cancel(&mut self, snapshot: &str);

    /// Notifies all subtasks that checkpoint `id` is complete.
    ///
    /// # Errors
    /// Errors of the backend.
    fn complete(&mut self, id: u64) -> Result<()>;

    /// Notifies all subtasks that checkpoint `id` was aborted.
    ///
    /// # Errors
    /// Errors of the backend.
    fn aborted(&mut self, id: u64) -> Result<()>;

    /// Takes a canonical savepoint, with all its state in the metadata.
    ///
    /// # Errors
    /// Errors of the backend. [`Unsupported`](ErrorKind::Unsupported) without one.
    fn savepoint(&mut self, id: u64) -> Result<Checkpoint> {
        Err(Error::new(ErrorKind::Unsupported, format!("no backend writes savepoint {id}")))
    }

    /// Adds the savepoint of another operator to the snapshots from which this one can start.
    fn adopt(&mut self, snapshot: &str, savepoint: Checkpoint) {
        let _ = (snapshot, savepoint);
    }

    /// Ends the operator, and checks that nothing is left behind.
    ///
    /// # Errors
    /// A list of leftovers.
    fn finish(&mut self) -> Result<(), String>;
}
