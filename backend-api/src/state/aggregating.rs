use crate::{BoxError, Result, StateValue};

/// An aggregate function, as in Flink's `AggregateFunction`: what is stored is the accumulator.
///
/// A method that fails or panics leaves the state as it was: it works on a copy.
///
/// ```
/// use backend_api::{Aggregate, BoxError};
///
/// /// The mean of what was added.
/// struct Mean;
///
/// impl Aggregate for Mean {
///     type Input = u64;
///     type Accumulator = (u64, u64);
///     type Output = f64;
///
///     fn create(&self) -> (u64, u64) {
///         (0, 0)
///     }
///     fn add(&self, (sum, count): &mut (u64, u64), input: u64) -> Result<(), BoxError> {
///         *sum = sum.checked_add(input).ok_or("the sum is too large")?;
///         *count += 1;
///         Ok(())
///     }
///     fn result(&self, (sum, count): &(u64, u64)) -> f64 {
///         *sum as f64 / *count as f64
///     }
///     fn merge(&self, into: &mut (u64, u64), other: &(u64, u64)) -> Result<(), BoxError> {
///         *into = (into.0 + other.0, into.1 + other.1);
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no aggregate function",
    label = "not an `Aggregate`",
    note = "implement `Aggregate` for it; for a function of two values of one type, `ReducingDescriptor` is simpler"
)]
pub trait Aggregate: Send + Sync + 'static {
    /// The type of inputs.
    type Input;
    /// The type that is stored.
    type Accumulator: StateValue;
    /// The type of results.
    type Output;

    /// A new accumulator. Called only at the first input of a key and namespace.
    fn create(&self) -> Self::Accumulator;

    /// Adds `input`.
    ///
    /// # Errors
    /// Any error of the function. The caller receives it as
    /// [`ErrorKind::Function`](crate::ErrorKind::Function).
    fn add(&self, accumulator: &mut Self::Accumulator, input: Self::Input) -> Result<(), BoxError>;

    /// The result for `accumulator`.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Output;

    /// Adds everything that was added to `other`. Used to merge namespaces.
    ///
    /// # Errors
    /// Same as [`add`](Self::add).
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) -> Result<(), BoxError>;
}

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
