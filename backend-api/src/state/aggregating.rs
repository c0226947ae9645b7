use crate::{Aggregate, Result};

/// One accumulator under one key and namespace.
///
/// Errors are as those of [`ReducingState`](crate::ReducingState).
pub trait AggregatingState<A: Aggregate, N> {
    /// Adds `input`, making an accumulator first where there is none.
    fn add(&mut self, input: A::Input) -> Result<()>;

    /// The result of what was added; `None` where nothing was.
    fn get(&mut self) -> Result<Option<A::Output>>;

    /// Merges in the accumulators of the namespaces `sources` and empties them: `merge(target, fold(sources))`, the
    /// sources merged with each other in the given order. A source that
    /// is this namespace itself, or named twice, counts once.
    fn merge_from(&mut self, sources: &[N]) -> Result<()>;

    /// Removes the accumulator.
    fn clear(&mut self) -> Result<()>;
}
