//! For authors of backends: duties that all backends share, from opening to closing.

use std::sync::{Arc, Weak};

use crate::format::{FileMeta, StateMeta};
use crate::{
    BackendId, BoxError, Cancel, Clock, Error, ErrorKind, KeyContext, KeyGroupRange, KeyedStateHandle, Place,
    Progress, Result, SnapshotRequest, SnapshotTask, StateFile, StateKey, StateToken, Subtask, Ttl,
};

/// Identity, subtask, order of checkpoints and running snapshots of one backend.
///
/// It makes the decisions on which all backends must agree, and creates their errors.
#[derive(Debug)]
pub struct Lifecycle<K: StateKey> {
    id: BackendId,
    subtask: Subtask<K>,
    last: LastCheckpoint,
    running: Vec<Running>,
    /// Names of the states, by the index of their tokens.
    names: Vec<String>,
    /// The time that the engine has handed in.
    clock: Clock,
    /// Times to live of the states, by the index of their tokens.
    ttls: Vec<Option<Ttl>>,
    is_closed: bool,
}

/// The checkpoint that a new one must follow.
#[derive(Clone, Copy, Debug)]
enum LastCheckpoint {
    None,
    Restored(u64),
    Taken(u64),
}

/// A snapshot whose task may still run.
#[derive(Debug)]
struct Running {
    checkpoint_id: u64,
    cancel: Cancel,
    /// Dead once the task is.
    task: Weak<()>,
}

impl<K: StateKey> Lifecycle<K> {
    /// For a backend opened for `subtask` with the state in `restore`.
    pub fn new(subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Self {
        let last = restore.iter().map(|handle| handle.checkpoint_id).max();
        Self {
            id: BackendId::fresh(),
            subtask,
            last: last.map_or(LastCheckpoint::None, LastCheckpoint::Restored),
            running: Vec::new(),
            names: Vec::new(),
            clock: Clock::new(),
            ttls: Vec::new(),
            is_closed: false,
        }
    }

    /// The identity that tokens carry. A closed backend has one that no token carries.
    #[inline(always)]
    pub fn id(&self) -> BackendId {
        self.id
    }

    /// The subtask.
    #[inline(always)]
    pub fn subtask(&self) -> &Subtask<K> {
        &self.subtask
    }

    /// Checks that the backend is not closed.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        if self.is_closed { Err(backend_closed()) } else { Ok(()) }
    }

    /// The error for a token that leads to no state: the backend is closed, or did not make the token.
    #[cold]
    pub fn refused_token(&self) -> Error {
        if self.is_closed {
            backend_closed()
        } else {
            Error::new(ErrorKind::ForeignToken, "the token is another backend's")
        }
    }

    /// Checks that the backend is open and made `token`.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), [`ForeignToken`](ErrorKind::ForeignToken).
    #[inline]
    pub fn check_token(&self, token: impl StateToken) -> Result<()> {
        // The id of a closed backend is in no token.
        if token.backend() == self.id { Ok(()) } else { Err(self.refused_token()) }
    }

    /// Checks that a key group belongs to the subtask. Returns its index among the groups of the subtask.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](ErrorKind::KeyOutOfRange). The error names the state of `token`.
    pub fn group_index(&self, token: impl StateToken, group: u16) -> Result<usize> {
        let index = self.subtask.group_index(group);
        index.map_err(|error| self.in_state(token, error).in_group(group))
    }

    /// Checks that a key belongs to the subtask. Returns the index of its group among the groups of the subtask.
    ///
    /// # Errors
    /// As [`Subtask::check`]. The error names the state of `token`.
    #[inline(always)]
    pub fn group_of(&self, token: impl StateToken, key: KeyContext<'_, K>) -> Result<usize> {
        self.subtask.check(&key).map_err(|error| self.in_state(token, error))
    }

    /// Records the name of the state with this token index, for errors.
    pub fn registered(&mut self, index: u32, name: &str) {
        let index = index as usize;
        if self.names.len() <= index {
            self.names.resize(index + 1, String::new());
        }
        if let Some(noted) = self.names.get_mut(index) {
            name.clone_into(noted);
        }
    }

    /// The time that the engine has handed in.
    #[inline]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The present time.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if none was handed in.
    #[inline]
    pub(crate) fn time(&self) -> Result<i64> {
        self.clock
            .now()
            .ok_or_else(|| Error::new(ErrorKind::IllegalState, "the backend does not know the time"))
    }

    /// Notes the time to live of a registered state.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the state was registered with another one.
    pub(crate) fn set_ttl(&mut self, token: impl StateToken, ttl: Ttl) -> Result<()> {
        let index = token.index();
        if self.ttls.len() <= index {
            self.ttls.resize(index + 1, None);
        }
        if self.ttls.get_mut(index).is_some_and(|noted| *noted.get_or_insert(ttl) != ttl) {
            let message = "the state was registered with another time to live";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }

    /// The time to live of a state.
    ///
    /// # Errors
    /// [`ForeignToken`](ErrorKind::ForeignToken) if the token is another backend's.
    #[inline]
    pub(crate) fn ttl(&self, token: impl StateToken) -> Result<Ttl> {
        let ttl = self.ttls.get(token.index()).copied().flatten();
        ttl.filter(|_| token.backend() == self.id).ok_or_else(|| self.refused_token())
    }

    /// Checks an access: the backend is open, made `token` and has the key's group, and the namespace can be
    /// encoded.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), [`ForeignToken`](ErrorKind::ForeignToken), those of [`Subtask::check`], and
    /// [`Codec`](ErrorKind::Codec).
    #[inline(always)]
    pub fn place<'a, T: StateToken>(
        &self,
        token: T,
        key: KeyContext<'a, K>,
        namespace: &'a T::Namespace,
    ) -> Result<Place<'a, K, T>> {
        self.check_token(token)?;
        let group = self.group_of(token, key)?;
        namespace.check().map_err(|error| self.in_state(token, error).in_group(key.group()))?;
        Ok(Place::new(token, key, group, namespace))
    }

    #[cold]
    #[inline(never)]
    fn in_state(&self, token: impl StateToken, error: Error) -> Error {
        match self.names.get(token.index()) {
            Some(name) => error.in_state(name),
            None => error,
        }
    }

    /// The error of dropping a state that is not restored, or is registered.
    #[cold]
    pub fn not_restored(&self, state: &str) -> Error {
        let message = "no state of that name was restored and is not registered";
        Error::new(ErrorKind::NotFound, message).in_state(state)
    }

    /// Checks a snapshot request before anything is frozen, in a backend that writes no savepoints.
    ///
    /// # Errors
    /// As [`check_any_request`](Self::check_any_request); [`Unsupported`](ErrorKind::Unsupported) for a savepoint.
    pub fn check_request(&self, request: &SnapshotRequest) -> Result<()> {
        self.check_any_request(request)?;
        request.refuse_savepoint()
    }

    /// Checks a snapshot request before anything is frozen, in a backend that writes savepoints of both formats.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); [`IllegalState`](ErrorKind::IllegalState) if the id does not come after that of the
    /// last snapshot, or of the checkpoint that the backend was restored from.
    pub fn check_any_request(&self, request: &SnapshotRequest) -> Result<()> {
        self.check_open()?;
        let id = request.checkpoint_id();
        let message = match self.last {
            LastCheckpoint::Taken(last) if id <= last => {
                format!("checkpoint {id} does not come after checkpoint {last}")
            }
            LastCheckpoint::Restored(last) if id <= last => format!(
                "checkpoint {id} does not come after checkpoint {last}, from which the state was restored; \
                 the ids of the job must go on above {last}"
            ),
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::IllegalState, message))
    }

    /// The metadata of a checkpoint file.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size) for too many states.
    pub fn file_meta(&self, format: &str, checkpoint_id: u64, states: Vec<StateMeta>) -> Result<FileMeta> {
        let (subtask, keys) = (&self.subtask, self.subtask.key_space());
        let meta = FileMeta {
            format: format.to_owned(),
            operator: subtask.operator().to_owned(),
            subtask: subtask.index().into(),
            checkpoint_id,
            max_parallelism: keys.max_parallelism().into(),
            key_groups: subtask.range().start()..=subtask.range().end(),
            key_schema: K::schema(),
            key_group_mapping: keys.mapping_id().to_owned(),
            states,
        };
        meta.check()?;
        Ok(meta)
    }

    /// The task of a checked and frozen snapshot. Aborting the checkpoint or closing the backend cancels it.
    pub fn task(
        &mut self,
        checkpoint_id: u64,
        work: impl FnOnce(&Cancel, &Progress) -> Result<Option<KeyedStateHandle>> + Send + 'static,
    ) -> SnapshotTask {
        self.last = LastCheckpoint::Taken(checkpoint_id);
        let (cancel, alive) = (Cancel::new(), Arc::new(()));
        self.running.retain(|running| running.task.strong_count() > 0);
        self.running.push(Running { checkpoint_id, cancel: cancel.clone(), task: Arc::downgrade(&alive) });
        SnapshotTask::new(checkpoint_id, cancel, move |cancel, progress| {
            let _alive = alive;
            work(cancel, progress)
        })
    }

    /// Cancels the task of a checkpoint that will never complete.
    pub fn abort(&mut self, checkpoint_id: u64) {
        for running in self.running.extract_if(.., |running| running.checkpoint_id == checkpoint_id) {
            running.cancel.cancel();
        }
    }

    /// Closes the backend and cancels all running tasks. Idempotent.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.id = BackendId::NONE;
        self.running.drain(..).for_each(|running| running.cancel.cancel());
    }
}

impl FileMeta {
    /// The handle of a checkpoint with these files for the key groups in `range`.
    pub fn handle(&self, range: KeyGroupRange, files: Vec<StateFile>) -> KeyedStateHandle {
        KeyedStateHandle {
            format: self.format.clone(),
            checkpoint_id: self.checkpoint_id,
            operator: self.operator.clone(),
            range,
            // The file stores it as a wider type.
            max_parallelism: u16::try_from(self.max_parallelism).unwrap_or(u16::MAX),
            key_group_mapping: self.key_group_mapping.clone(),
            key_schema: self.key_schema.clone(),
            files,
        }
    }
}

impl StateMeta {
    /// Checks that a state can be registered under this name.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an empty name, or one that begins with a zero
    /// character.
    pub fn check_name(&self) -> Result<()> {
        let message = match self.name.chars().next() {
            None => "the name of a state is empty",
            Some('\0') => "the name of a state begins with a zero character",
            Some(_) => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidArgument, message).in_state(&self.name))
    }

    /// Checks that a state is registered again with the same kind, types and codecs. `same_types` is true if
    /// the types of the two descriptors are equal.
    ///
    /// # Errors
    /// [`IncompatibleKind`](ErrorKind::IncompatibleKind) for another kind.
    /// [`IllegalState`](ErrorKind::IllegalState) for other types, codecs or versions, or another time domain of timers.
    pub fn check_again(&self, again: &Self, same_types: bool) -> Result<()> {
        let (kind, message) = if self.kind != again.kind {
            let message = format!("registered as {} state, now as {}", self.kind, again.kind);
            (ErrorKind::IncompatibleKind, message)
        } else if let (Some(known), Some(now)) = (self.time_domain(), again.time_domain())
            && known != now
        {
            (ErrorKind::IllegalState, format!("registered as timers of {known}, now as timers of {now}"))
        } else if !same_types
            || (&self.namespace_schema, &self.codecs) != (&again.namespace_schema, &again.codecs)
            || self.version()? != again.version()?
        {
            let message = "the name is registered with other types, another codec or another version";
            (ErrorKind::IllegalState, message.to_owned())
        } else {
            return Ok(());
        };
        Err(Error::new(kind, message).in_state(&self.name))
    }
}

/// The error of a user function, such as a reduce function, that failed with `cause`. The caller adds state
/// and key group.
#[cold]
pub fn function_failed(cause: BoxError) -> Error {
    Error::new(ErrorKind::Function, "the function of the state failed").with_source(cause)
}

/// The error of the failed function of an update. An [`Error`] stays as it is, any other error becomes
/// [`function_failed`].
#[cold]
pub fn update_failed(cause: BoxError) -> Error {
    cause.downcast::<Error>().map_or_else(function_failed, |error| *error)
}

/// The error of a closed backend.
#[cold]
pub fn backend_closed() -> Error {
    Error::new(ErrorKind::Closed, "the backend is closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeySpace, SavepointFormat, SnapshotKind};

    fn lifecycle(restored: &[u64]) -> Lifecycle<u64> {
        let subtask = Subtask::new("op", KeySpace::new(10).unwrap(), 2, 1).unwrap();
        let new = Lifecycle::new(subtask.clone(), &[]);
        let meta = |id: &u64| new.file_meta("f", *id, Vec::new()).unwrap();
        let handles: Vec<_> =
            restored.iter().map(|id| meta(id).handle(subtask.range(), Vec::new())).collect();
        Lifecycle::new(subtask, &handles)
    }

    fn refused<K: StateKey>(lifecycle: &Lifecycle<K>, request: SnapshotRequest) -> ErrorKind {
        lifecycle.check_request(&request).unwrap_err().kind()
    }

    #[test]
    fn ids_come_after_those_taken_and_restored() {
        let mut new = lifecycle(&[]);
        new.check_request(&SnapshotRequest::new(0)).unwrap();
        drop(new.task(5, |_, _| Ok(None)));
        assert_eq!(refused(&new, SnapshotRequest::new(5)), ErrorKind::IllegalState);
        new.check_request(&SnapshotRequest::new(6)).unwrap();

        let restored = lifecycle(&[3, 7]);
        let error = restored.check_request(&SnapshotRequest::new(7)).unwrap_err();
        assert!(error.message().contains("restored"), "{error}");
        restored.check_request(&SnapshotRequest::new(8)).unwrap();
    }

    #[test]
    fn a_savepoint_is_refused() {
        let savepoint = SnapshotRequest::new(1).with_kind(SnapshotKind::Savepoint(SavepointFormat::Native));
        assert_eq!(refused(&lifecycle(&[]), savepoint), ErrorKind::Unsupported);
    }

    #[test]
    fn aborting_cancels_one_task_and_closing_cancels_all() {
        let mut life = lifecycle(&[]);
        let tasks = [1, 2, 3].map(|id| life.task(id, |cancel, _| cancel.check().map(|()| None)));
        let is_cancelled =
            |tasks: &[SnapshotTask; 3]| tasks.each_ref().map(|task| task.cancel_token().is_cancelled());
        life.abort(2);
        life.abort(4);
        assert_eq!(is_cancelled(&tasks), [false, true, false]);
        life.close();
        assert_eq!(is_cancelled(&tasks), [true; 3]);
        assert_eq!(life.check_open().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(life.refused_token().kind(), ErrorKind::Closed);
        assert_eq!(refused(&life, SnapshotRequest::new(9)), ErrorKind::Closed);
    }
}
