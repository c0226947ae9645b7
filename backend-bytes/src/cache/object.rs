//! What caches hold.

use super::super::{EntryKey, WriteBatch};
use super::Write;
use backend_api::{Codec, Result, StateValue};

/// Ranges that are removed in one batch: a store may look into each of them, and at what comes before it in the batch.
const RANGES: usize = 128;

/// What a state has under one key and namespace. By default it is what a cache knows that knows nothing.
///
/// It remembers which parts of it the store has. A cache calls [`preserve`](Self::preserve) and
/// [`settle`](Self::settle), between which it may change.
pub(in super::super) trait Object: Default + Send + 'static {
    /// What the state's codec makes bytes of.
    type Value: StateValue;

    /// Adds what the store does not have. To write that twice, or first it and then what this has become, does no harm.
    fn encode(&self, key: EntryKey<'_>, codec: &dyn Codec<Self::Value>, changes: &mut Changes) -> Result<()>;

    /// The store has all of it now.
    fn settle(&mut self);

    /// What it would encode now may come into the store at any time, and it is about to change.
    fn preserve(&mut self);

    /// Bytes that it owns on the heap, about.
    fn heap_size(&self, codec: &dyn Codec<Self::Value>) -> usize;
}

/// A list or map, of which a cache may know only a part.
pub(in super::super) trait Collection: Object {
    /// One that is too long to be kept as a whole, and of which the store knows all.
    fn long() -> Self;

    /// Whether the store has nothing of it that is not known, but for what was removed.
    fn is_whole(&self) -> bool;

    /// Whether what is known of it is more than should be kept.
    fn is_too_long(&self) -> bool;

    /// Whether it is known that there is nothing in it, and that clearing it again would change nothing.
    fn is_clear(&self) -> bool;

    /// Removes all that is in it.
    fn clear(&mut self);

    /// Bytes of the encodings of what is known to be in it; less if some of that cannot be encoded.
    fn least(&self, codec: &dyn Codec<Self::Value>) -> u64;
}

/// A value, an accumulator or a sum; `None` if the state has nothing there.
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

    fn settle(&mut self) {}

    fn preserve(&mut self) {}

    fn heap_size(&self, codec: &dyn Codec<V>) -> usize {
        self.as_ref().map_or(0, |value| codec.heap_size(value))
    }
}

/// What is to be written to the store.
#[derive(Default)]
pub(in super::super) struct Changes {
    /// Ranges, which are removed first.
    ranges: Vec<WriteBatch>,
    /// Ranges in the last of these batches.
    in_last: usize,
    pub batch: WriteBatch,
    /// A key in the making.
    pub scratch: Vec<u8>,
}

impl Changes {
    /// All that begins with the key goes, before anything else is done.
    pub fn remove_all(&mut self, key: EntryKey<'_>) {
        if self.in_last == 0 || self.in_last == RANGES {
            self.ranges.push(WriteBatch::default());
            self.in_last = 0;
        }
        self.in_last += 1;
        let from = [&key.head(), key.own].concat();
        EntryKey::successor(&from, &mut self.scratch);
        if let Some(last) = self.ranges.last_mut() {
            last.delete_range(&from, &self.scratch);
        }
    }

    /// Bytes of memory that they take.
    pub fn size(&self) -> usize {
        self.ranges.iter().chain([&self.batch]).map(WriteBatch::size).sum()
    }

    /// Adds all to a batch.
    pub fn move_to(mut self, batch: &mut WriteBatch) {
        self.ranges.iter_mut().for_each(|ranges| batch.append(ranges));
        batch.append(&mut self.batch);
    }

    /// Writes them, each batch in the order of its keys.
    pub fn write(mut self, write: &mut Write<'_>) -> Result<()> {
        for ranges in self.ranges.iter_mut().chain([&mut self.batch]).filter(|batch| !batch.is_empty()) {
            ranges.sort();
            write(ranges)?;
        }
        Ok(())
    }
}

/// What of a collection the store has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Base {
    /// Perhaps more than is known here.
    #[default]
    Partial,
    /// Nothing but what is known here.
    Whole,
    /// What is to be removed before anything that is known here is written.
    Gone,
    /// Nothing.
    Nothing,
}

impl Base {
    /// After everything is removed.
    pub fn cleared(self) -> Self {
        if self == Self::Nothing { Self::Nothing } else { Self::Gone }
    }

    /// After everything is written.
    pub fn settled(self, is_empty: bool) -> Self {
        match self {
            Self::Partial => Self::Partial,
            _ if is_empty => Self::Nothing,
            _ => Self::Whole,
        }
    }

    /// When what is known here may come into the store at any time.
    pub fn preserved(self) -> Self {
        if self == Self::Nothing { Self::Whole } else { self }
    }

    /// Whether the store need not be asked for anything.
    pub fn is_whole(self) -> bool {
        self != Self::Partial
    }
}

/// Makes room for `by` more, without doubling what stays small: caches hold many of these.
pub(super) fn grow<T>(items: &mut Vec<T>, by: usize) {
    if items.capacity() - items.len() < by {
        items.reserve_exact(by + items.len() / 4);
    }
}
