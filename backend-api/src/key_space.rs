//! From a key to its hash and key group, once per record.

use std::fmt;
use std::sync::Arc;

use crate::flink::{FlinkMapping, JavaHash};
use crate::key_group::check_max_parallelism;
use crate::mapping::{KeyGroupMapping, NATIVE_MAPPING, native_group};
use crate::{Borrowed, BorrowedKey, Error, ErrorKind, LookupKey, Result, StateKey, subtask_of_group};

/// The keys of a job: the number of key groups, and the mapping from keys to groups.
///
/// It is the same for all subtasks of an operator, and for the code that routes records to them. The native
/// mapping is the high 32 bits of the key's [stable hash](StateKey::stable_hash) modulo max parallelism. Hash
/// tables use the low 32 bits, because the high ones are nearly equal within a key group.
///
/// ```
/// use backend_api::KeySpace;
///
/// let keys = KeySpace::<String>::new(128)?;
/// let context = keys.key("/index.html")?;
/// assert_eq!((context.key(), context.group()), ("/index.html", 43));
/// assert_eq!(keys.subtask(4, "/index.html")?, 1);
/// # Ok::<(), backend_api::Error>(())
/// ```
pub struct KeySpace<K: StateKey> {
    max_parallelism: u16,
    /// `None` for the native mapping.
    mapping: Option<Arc<dyn KeyGroupMapping<K>>>,
    /// Mask for the native mapping if the number of groups is a power of two.
    mask: Option<u16>,
}

impl<K: StateKey> KeySpace<K> {
    /// Uses the native mapping.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `max_parallelism` is not in 1 to 32768. [`ErrorKind::Unsupported`]
    /// if the encoding of keys cannot carry the type ([`StateKey::check_type`]).
    pub fn new(max_parallelism: u16) -> Result<Self> {
        check_max_parallelism(max_parallelism)?;
        K::check_type()?;
        let mask = max_parallelism.is_power_of_two().then_some(max_parallelism - 1);
        Ok(Self { max_parallelism, mapping: None, mask })
    }

    /// Uses Flink's mapping.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `max_parallelism` is not in 1 to 32768. [`ErrorKind::Unsupported`]
    /// if the encoding of keys cannot carry the type ([`StateKey::check_type`]).
    pub fn flink(max_parallelism: u16) -> Result<Self>
    where
        Borrowed<K>: JavaHash,
    {
        Self::with_mapping(max_parallelism, Arc::new(FlinkMapping))
    }

    /// Uses a custom mapping.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `max_parallelism` is not in 1 to 32768. [`ErrorKind::Unsupported`]
    /// if the encoding of keys cannot carry the type ([`StateKey::check_type`]).
    pub fn with_mapping(max_parallelism: u16, mapping: Arc<dyn KeyGroupMapping<K>>) -> Result<Self> {
        check_max_parallelism(max_parallelism)?;
        K::check_type()?;
        Ok(Self { max_parallelism, mapping: Some(mapping), mask: None })
    }

    /// Hashes `key` and finds its group. The backend checks if the group belongs to it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] if the key cannot be encoded ([`StateKey::check`]). [`ErrorKind::IllegalState`]
    /// if a custom mapping returns a group out of range.
    #[inline(always)]
    pub fn key<'k, Q: LookupKey<K> + ?Sized>(&self, key: &'k Q) -> Result<KeyContext<'k, K>> {
        let key = key.lookup();
        key.check_key()?;
        let hash = key.key_hash();
        let group = match self.mask {
            Some(mask) => (hash >> 32) as u16 & mask,
            None => self.group(key, hash)?,
        };
        Ok(KeyContext { key, hash, group, max_parallelism: self.max_parallelism })
    }

    #[inline(never)]
    fn group(&self, key: &Borrowed<K>, hash: u64) -> Result<u16> {
        let Some(mapping) = &self.mapping else {
            return Ok(native_group(hash, self.max_parallelism));
        };
        let group = mapping.key_group(key, hash, self.max_parallelism);
        if group < self.max_parallelism {
            return Ok(group);
        }
        let message =
            format!("the mapping {:?} gave key group {group} of {}", mapping.id(), self.max_parallelism);
        Err(Error::new(ErrorKind::IllegalState, message).in_group(group))
    }

    /// The subtask, of `parallelism` subtasks, that a record with this key goes to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `parallelism` is 0 or above max parallelism. Errors of
    /// [`key`](Self::key).
    pub fn subtask<Q: LookupKey<K> + ?Sized>(&self, parallelism: u16, key: &Q) -> Result<u16> {
        subtask_of_group(self.max_parallelism, parallelism, self.key(key)?.group)
    }

    /// The number of key groups.
    #[inline]
    pub fn max_parallelism(&self) -> u16 {
        self.max_parallelism
    }

    /// The id of the mapping from keys to groups.
    pub fn mapping_id(&self) -> &str {
        self.mapping.as_ref().map_or(NATIVE_MAPPING, |mapping| mapping.id())
    }
}

impl<K: StateKey> Clone for KeySpace<K> {
    fn clone(&self) -> Self {
        Self { max_parallelism: self.max_parallelism, mapping: self.mapping.clone(), mask: self.mask }
    }
}

impl<K: StateKey> fmt::Debug for KeySpace<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySpace")
            .field("max_parallelism", &self.max_parallelism)
            .field("mapping", &self.mapping_id())
            .finish()
    }
}

/// A key with its hash and group, computed once for all states that a record touches. Made by
/// [`KeySpace::key`].
pub struct KeyContext<'k, K: StateKey> {
    key: &'k Borrowed<K>,
    hash: u64,
    group: u16,
    max_parallelism: u16,
}

impl<'k, K: StateKey> KeyContext<'k, K> {
    /// The key in its lookup form.
    #[inline]
    pub fn key(self) -> &'k Borrowed<K> {
        self.key
    }

    /// Its [stable hash](StateKey::stable_hash).
    #[inline]
    pub fn hash(self) -> u64 {
        self.hash
    }

    /// Its key group, less than [`max_parallelism`](Self::max_parallelism).
    #[inline]
    pub fn group(self) -> u16 {
        self.group
    }

    /// The number of key groups of the [`KeySpace`] that made it.
    #[inline]
    pub fn max_parallelism(self) -> u16 {
        self.max_parallelism
    }
}

impl<K: StateKey> Clone for KeyContext<'_, K> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: StateKey> Copy for KeyContext<'_, K> {}

impl<K: StateKey> fmt::Debug for KeyContext<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.with_encoded_key(|bytes| bytes.escape_ascii().to_string());
        f.debug_struct("KeyContext").field("key", &key).field("group", &self.group).finish_non_exhaustive()
    }
}
