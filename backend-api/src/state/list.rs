use std::borrow::Cow;

use crate::{Result, StateValue};

/// A list under one key and namespace, in the order of the adds. An empty list and no list are the same.
///
/// Errors are as those of [`ValueState`](crate::ValueState). Every write is all or nothing.
pub trait ListState<T: StateValue, N> {
    /// Appends an element.
    fn add(&mut self, element: T) -> Result<()>;

    /// Appends all elements, in order; none creates no entry.
    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()>;

    /// Replaces the list (Flink's `update`); no elements is a [`clear`](Self::clear).
    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()>;

    /// The elements, one by one: borrowed where the backend keeps objects, decoded as they come where it keeps
    /// bytes. A list larger than memory can be read.
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>>;

    /// Appends the lists of the namespaces `sources`, in that order, and empties them. A source that is this
    /// namespace itself, or named twice, counts once; an empty one adds nothing.
    fn merge_from(&mut self, sources: &[N]) -> Result<()>;

    /// Removes the list.
    fn clear(&mut self) -> Result<()>;

    /// Whether there are no elements.
    fn is_empty(&mut self) -> Result<bool> {
        Ok(self.iter()?.next().transpose()?.is_none())
    }

    /// All elements, cloned.
    fn get(&mut self) -> Result<Vec<T>> {
        self.iter()?.map(|element| element.map(Cow::into_owned)).collect()
    }
}
