use crate::{Aggregate, Result};

/// One accumulator under one key and namespace.
///
/// Errors are those of [`ReducingState`](crate::ReducingState).
pub trait AggregatingState<A: Aggregate, N> {
    /// Adds `input`, and creates an accumulator if there is none.
    fn add(&mut self, input: A::Input) -> Result<()>;

    /// The result of the accumulator. `None` if there is none.
    fn get(&mut self) -> Result<Option<A::Output>>;

    /// Merges the accumulators of the namespaces `sources` into this one, and clears them: `merge(target,
    /// fold(sources))`, with the sources merged in the given order. This namespace and repeated sources are
    /// skipped.
    fn merge_from(&mut self, sources: &[N]) -> Result<()>;

    /// The result of what the namespaces `of` hold, merged in the given order; `None` if they hold nothing. Nothing is
    /// changed, as with [`ReducingState::get_merged`](crate::ReducingState::get_merged).
    fn get_merged(&mut self, of: &[N]) -> Result<Option<A::Output>>;

    /// Removes the accumulator.
    fn clear(&mut self) -> Result<()>;
}
