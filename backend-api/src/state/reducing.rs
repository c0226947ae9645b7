use crate::{Result, StateValue};

/// One value under one key and namespace, into which every added value is folded.
///
/// Errors are as those of [`ValueState`](crate::ValueState); a function that fails is
/// [`ErrorKind::Function`](crate::ErrorKind::Function).
pub trait ReducingState<T: StateValue, N> {
    /// Shows what is accumulated without cloning it where the backend keeps objects.
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R>;

    /// Folds `value` in: `reduce(accumulated, value)`. The first value is stored as it is.
    fn add(&mut self, value: T) -> Result<()>;

    /// Folds in what the namespaces `sources` hold and empties them: `reduce(target, fold(sources))`, the sources
    /// folded in the given order. A source that is this namespace itself, or named twice, counts once.
    fn merge_from(&mut self, sources: &[N]) -> Result<()>;

    /// Removes the value.
    fn clear(&mut self) -> Result<()>;

    /// What is accumulated, cloned.
    fn get(&mut self) -> Result<Option<T>> {
        self.with(|value| value.cloned())
    }
}
