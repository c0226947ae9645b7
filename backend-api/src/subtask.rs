//! The part of the state that one backend holds.

use crate::{Error, ErrorKind, FileName, KeyContext, KeyGroupRange, KeySpace, LookupKey, Result, StateKey};

/// One parallel instance of an operator: the operator's name, the subtask's number and its key groups.
///
/// ```
/// use backend_api::{KeySpace, Subtask};
///
/// // The second of three subtasks of an operator with 10 key groups.
/// let subtask = Subtask::new("counts", KeySpace::<String>::new(10)?, 3, 1)?;
/// assert_eq!(subtask.range().to_string(), "4-6");
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subtask<K: StateKey> {
    operator: String,
    index: u16,
    parallelism: u16,
    range: KeyGroupRange,
    key_space: KeySpace<K>,
    hash_seed: u64,
}

impl<K: StateKey> Subtask<K> {
    /// Subtask number `index` (from 0) of `parallelism`, with the key groups of Flink's arithmetic.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an operator name that cannot be part of file
    /// names: it must consist of 1 to [`OPERATOR_BYTES_MAX`](FileName::OPERATOR_BYTES_MAX) ASCII letters,
    /// digits, `-`, `_` and `.`. Also for a parallelism of 0 or above the max parallelism, or an index out of
    /// range.
    pub fn new(
        operator: impl Into<String>,
        key_space: KeySpace<K>,
        parallelism: u16,
        index: u16,
    ) -> Result<Self> {
        let range = KeyGroupRange::of_subtask(key_space.max_parallelism(), parallelism, index)?;
        let operator = operator.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if operator.is_empty() || operator.starts_with('.') || !operator.chars().all(allowed) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("operator name {operator:?} is not made of ASCII letters, digits, '-', '_' and '.'"),
            ));
        }
        let limit = FileName::OPERATOR_BYTES_MAX;
        if operator.len() > limit {
            let message =
                format!("operator name {operator:?} has {} bytes, the limit is {limit}", operator.len());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self { operator, index, parallelism, range, key_space, hash_seed: 0 })
    }

    /// The only subtask of an operator, with all key groups.
    ///
    /// # Errors
    /// Same as [`new`](Self::new).
    pub fn single(operator: impl Into<String>, key_space: KeySpace<K>) -> Result<Self> {
        Self::new(operator, key_space, 1, 0)
    }

    /// Sets the seed of the hash tables, so that their layout is reproducible. Formats and key groups do not
    /// depend on it. Without it, caches use a random seed, so that outsiders cannot choose colliding keys.
    pub fn with_hash_seed(mut self, seed: u64) -> Self {
        self.hash_seed = seed;
        self
    }

    /// The operator's name.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The subtask's number, from 0.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Number of subtasks of the operator.
    pub fn parallelism(&self) -> u16 {
        self.parallelism
    }

    /// The key groups of this subtask.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// The mapping from keys to groups.
    pub fn key_space(&self) -> &KeySpace<K> {
        &self.key_space
    }

    /// The seed of the hash tables.
    pub fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// Hashes `key` once and finds its group.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](ErrorKind::KeyOutOfRange) if the group is another subtask's.
    #[inline(always)]
    pub fn key<'k, Q: LookupKey<K> + ?Sized>(&self, key: &'k Q) -> Result<KeyContext<'k, K>> {
        let context = self.key_space.key(key)?;
        self.check(&context)?;
        Ok(context)
    }

    /// The index of the key's group among the groups of this subtask, for backends.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](ErrorKind::KeyOutOfRange) if the group is another subtask's, and
    /// [`IllegalState`](ErrorKind::IllegalState) if the context was made for another max parallelism.
    #[inline(always)]
    pub fn check(&self, key: &KeyContext<'_, K>) -> Result<usize> {
        if key.max_parallelism() != self.key_space.max_parallelism() || !self.range.contains(key.group()) {
            return Err(self.refuse(key.group(), key.max_parallelism()));
        }
        Ok(usize::from(key.group() - self.range.start()))
    }

    /// The index of a key group among the groups of this subtask.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](ErrorKind::KeyOutOfRange) for a group of another subtask.
    pub fn group_index(&self, group: u16) -> Result<usize> {
        if self.range.contains(group) {
            return Ok(usize::from(group - self.range.start()));
        }
        Err(self.refuse(group, self.key_space.max_parallelism()))
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, group: u16, theirs: u16) -> Error {
        let ours = self.key_space.max_parallelism();
        if theirs != ours {
            return Error::new(
                ErrorKind::IllegalState,
                format!("the key was hashed for max parallelism {theirs}, this backend has {ours}"),
            );
        }
        Error::new(
            ErrorKind::KeyOutOfRange,
            format!(
                "key group {group} is not in the range {} of subtask {} of {:?}; is the record routed by the same key?",
                self.range, self.index, self.operator
            ),
        )
        .in_group(group)
    }
}
