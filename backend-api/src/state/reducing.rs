use crate::{Result, StateValue};

/// One value under one key and namespace, into which added values are folded.
///
/// Errors are those of [`ValueState`](crate::ValueState). A failing function is
/// [`ErrorKind::Function`](crate::ErrorKind::Function).
pub trait ReducingState<T: StateValue, N> {
    /// Calls `f` with the accumulated value, without cloning it if the backend keeps objects.
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R>;

    /// Folds `value` in: `reduce(accumulated, value)`. The first value is stored unchanged.
    fn add(&mut self, value: T) -> Result<()>;

    /// Folds in the values of the namespaces `sources`, and clears them: `reduce(target, fold(sources))`,
    /// with the sources folded in the given order. This namespace and repeated sources are skipped.
    fn merge_from(&mut self, sources: &[N]) -> Result<()>;

    /// What the namespaces `of` hold, folded in the given order; `None` if they hold nothing. Nothing is changed: the panes of
    /// sliding windows stay for the next window. This namespace counts only if it is named, and one that is named twice
    /// counts once.
    fn get_merged(&mut self, of: &[N]) -> Result<Option<T>>;

    /// Removes the value.
    fn clear(&mut self) -> Result<()>;

    /// The accumulated value, cloned.
    fn get(&mut self) -> Result<Option<T>> {
        self.with(|value| value.cloned())
    }
}
