use super::Changes;
use crate::EntryKey;
use backend_api::{Codec, Expiry, Result, StateValue};

/// The cached content of a state under one key and namespace. The default knows nothing.
///
/// An object records which parts of it the store has.
pub(crate) trait Object: Default + Send + 'static {
    /// The type that the state's codec encodes.
    type Value: StateValue;

    /// Adds the changes that the store lacks. Writing them twice is harmless, and so is writing them before
    /// later changes.
    fn encode(&self, key: EntryKey<'_>, codec: &dyn Codec<Self::Value>, changes: &mut Changes) -> Result<()>;

    /// True if all of it is known, and has expired.
    fn has_expired(&self, codec: &dyn Codec<Self::Value>, expiry: &Expiry) -> bool;

    /// Removes all of it.
    fn clear(&mut self);

    /// The store has all of it now.
    fn mark_stored(&mut self);

    /// Called before a change, when the present [`encode`](Self::encode) result may reach the store at any
    /// time.
    fn preserve(&mut self);

    /// Approximate bytes that it owns on the heap.
    fn heap_size(&self, codec: &dyn Codec<Self::Value>) -> usize;
}

/// A list or map, possibly known only in part.
pub(crate) trait Collection: Object {
    /// A collection too long to be cached whole, with all of it in the store.
    fn long() -> Self;

    /// True if everything in the store, except removed entries, is known.
    fn is_whole(&self) -> bool;

    /// True if more of it is known than should be kept.
    fn is_too_long(&self) -> bool;

    /// True if it is known to be empty, so that clearing it changes nothing.
    fn is_clear(&self) -> bool;

    /// Bytes of the encodings of its known content. Skips values that cannot be encoded.
    fn lower_bound_bytes(&self, codec: &dyn Codec<Self::Value>) -> u64;
}

/// A value, an accumulator or a sum. `None` if there is none.
impl<V: StateValue> Object for Option<V> {
    type Value = V;

    fn encode(&self, key: EntryKey<'_>, codec: &dyn Codec<V>, changes: &mut Changes) -> Result<()> {
        match self {
            Some(value) => {
                changes.batch.put_encoded(&key.head(), key.own, |out| codec.encode(value, out)).map(drop)
            }
            None => {
                changes.batch.delete_parts(&key.head(), key.own);
                Ok(())
            }
        }
    }

    fn has_expired(&self, codec: &dyn Codec<V>, expiry: &Expiry) -> bool {
        self.as_ref().is_some_and(|value| expiry.has_expired(value, codec))
    }

    fn clear(&mut self) {
        *self = None;
    }

    fn mark_stored(&mut self) {}

    fn preserve(&mut self) {}

    #[inline]
    fn heap_size(&self, codec: &dyn Codec<V>) -> usize {
        match self {
            Some(value) if std::mem::needs_drop::<V>() => codec.heap_size(value),
            _ => 0,
        }
    }
}

/// The store's content of a list or map, relative to the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Base {
    /// Possibly more than the cache knows.
    #[default]
    Partial,
    /// Exactly what the cache knows.
    Whole,
    /// Content that must be removed before the cache's entries are written.
    ClearPending,
    /// None.
    Empty,
}

impl Base {
    /// The result of clearing the collection.
    pub fn cleared(self) -> Self {
        if self == Self::Empty { Self::Empty } else { Self::ClearPending }
    }

    /// The result of writing everything.
    pub fn stored(self, is_empty: bool) -> Self {
        match self {
            Self::Partial => Self::Partial,
            _ if is_empty => Self::Empty,
            _ => Self::Whole,
        }
    }

    /// The result when the present content may reach the store at any time.
    pub fn preserved(self) -> Self {
        if self == Self::Empty { Self::Whole } else { self }
    }

    /// True if a lookup need not read the store.
    pub fn is_whole(self) -> bool {
        self != Self::Partial
    }

    /// True if the store is empty once a pending clear is written.
    pub fn is_cleared(self) -> bool {
        matches!(self, Self::ClearPending | Self::Empty)
    }
}

/// Reserves room for `by` more items in small steps, because caches hold many small collections.
pub(super) fn grow<T>(items: &mut Vec<T>, by: usize) {
    if items.capacity() - items.len() < by {
        items.reserve_exact(by + items.len() / 4);
    }
}
