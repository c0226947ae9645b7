use std::borrow::Cow;

use crate::{Result, StateValue};

/// A list under one key and namespace, in insertion order. A missing list reads as empty.
///
/// Errors are those of [`ValueState`](crate::ValueState). Every write is all or nothing.
pub trait ListState<T: StateValue, N> {
    /// Appends an element.
    fn add(&mut self, element: T) -> Result<()>;

    /// Appends all elements in order. An empty iterator creates no entry.
    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()>;

    /// Replaces the list (Flink's `update`). An empty iterator [clears](Self::clear) it.
    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()>;

    /// The elements, one by one: borrowed if the backend keeps objects, decoded on the fly if it keeps bytes.
    /// A list can be larger than memory.
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>>;

    /// Appends the lists of the namespaces `sources` in that order, and clears them. This namespace and
    /// repeated sources are skipped.
    fn merge_from(&mut self, sources: &[N]) -> Result<()>;

    /// The lists of the namespaces `of`, one after the other. Nothing is changed, as with
    /// [`ReducingState::get_merged`](crate::ReducingState::get_merged).
    fn get_merged(&mut self, of: &[N]) -> Result<Vec<T>>;

    /// Removes the list.
    fn clear(&mut self) -> Result<()>;

    /// True if there are no elements.
    fn is_empty(&mut self) -> Result<bool> {
        Ok(self.iter()?.next().transpose()?.is_none())
    }

    /// All elements, cloned.
    fn get(&mut self) -> Result<Vec<T>> {
        self.iter()?.map(|element| element.map(Cow::into_owned)).collect()
    }
}
