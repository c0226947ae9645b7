use super::Changes;
use crate::EntryKey;
use backend_api::{Codec, Result, StateValue};

/// What a state has under one key and namespace. The default is that of a cache that knows nothing.
///
/// It remembers which parts of it the store has.
pub(crate) trait Object: Default + Send + 'static {
    /// What the codec of the state encodes.
    type Value: StateValue;

    /// Adds what the store lacks. It does no harm to write that twice, or to write it before what the object
    /// has become.
    fn encode(&self, key: EntryKey<'_>, codec: &dyn Codec<Self::Value>, changes: &mut Changes) -> Result<()>;

    /// The store has all of it now.
    fn mark_stored(&mut self);

    /// The store may get what [`encode`](Self::encode) gives now at any time, and the object is about to
    /// change.
    fn preserve(&mut self);

    /// Bytes that it owns on the heap, about.
    fn heap_size(&self, codec: &dyn Codec<Self::Value>) -> usize;
}

/// A list or map. A cache may know only a part of it.
pub(crate) trait Collection: Object {
    /// One that is too long to be cached whole. The store has all of it.
    fn long() -> Self;

    /// True if the store has nothing that is not known here, except what was removed.
    fn is_whole(&self) -> bool;

    /// True if more is known of it than should be kept.
    fn is_too_long(&self) -> bool;

    /// True if it is known to be empty, so that clearing it changes nothing.
    fn is_clear(&self) -> bool;

    /// Removes all that is in it.
    fn clear(&mut self);

    /// Bytes of the encodings of all that is known to be in it. What cannot be encoded is left out.
    fn lower_bound_bytes(&self, codec: &dyn Codec<Self::Value>) -> u64;
}

/// A value, an accumulator or a sum. `None` if the state has nothing there.
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

/// What the store has of a list or map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Base {
    /// Perhaps more than is known here.
    #[default]
    Partial,
    /// Nothing but what is known here.
    Whole,
    /// Something that must be removed before anything that is known here is written.
    ClearPending,
    /// Nothing.
    Empty,
}

impl Base {
    /// After all was removed.
    pub fn cleared(self) -> Self {
        if self == Self::Empty { Self::Empty } else { Self::ClearPending }
    }

    /// After all was written.
    pub fn stored(self, is_empty: bool) -> Self {
        match self {
            Self::Partial => Self::Partial,
            _ if is_empty => Self::Empty,
            _ => Self::Whole,
        }
    }

    /// When the store may get what is known here at any time.
    pub fn preserved(self) -> Self {
        if self == Self::Empty { Self::Whole } else { self }
    }

    /// True if the store need not be asked for anything.
    pub fn is_whole(self) -> bool {
        self != Self::Partial
    }

    /// True if the store has nothing once a pending clear is written.
    pub fn is_cleared(self) -> bool {
        matches!(self, Self::ClearPending | Self::Empty)
    }
}

/// Makes room for `by` more items. It does not double what stays small: caches hold many of these.
pub(super) fn grow<T>(items: &mut Vec<T>, by: usize) {
    if items.capacity() - items.len() < by {
        items.reserve_exact(by + items.len() / 4);
    }
}
