use crate::{BoxError, Result, StateValue};

/// One value under one key and namespace.
///
/// # Errors
/// A backend that keeps bytes may return [`Io`](crate::ErrorKind::Io) or
/// [`Corrupt`](crate::ErrorKind::Corrupt) from every method. A write may return
/// [`Size`](crate::ErrorKind::Size) with a budget or limit, and [`Codec`](crate::ErrorKind::Codec) if the
/// backend encodes on access.
pub trait ValueState<V: StateValue> {
    /// Calls `f` with the value, or the descriptor's default, or `None`, without cloning it if the backend
    /// keeps objects.
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R>;

    /// Replaces the value. A value equal to the default is stored like any other.
    fn set(&mut self, value: V) -> Result<()>;

    /// Reads, changes and writes in one access. `f` gets the value, or the default, and its result is stored.
    /// `None` clears the state. If `f` fails or panics, nothing changes.
    ///
    /// ```
    /// # use backend_api::{Result, ValueState};
    /// # fn parse(mut total: impl ValueState<u64>, text: &str) -> Result<()> {
    /// total.try_update(|total| {
    ///     let sum = total.unwrap_or(0).checked_add(text.parse()?).ok_or("the sum is too large")?;
    ///     *total = Some(sum);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An [`Error`](crate::Error) of `f` is returned as it is. Any other error of `f` is the
    /// [source](std::error::Error::source) of an [`ErrorKind::Function`](crate::ErrorKind::Function).
    fn try_update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>) -> Result<R>;

    /// Removes the value, if present.
    fn clear(&mut self) -> Result<()>;

    /// The value, or the descriptor's default, or `None`, cloned.
    #[inline(always)]
    fn get(&mut self) -> Result<Option<V>> {
        self.with(|value| value.cloned())
    }

    /// [`try_update`](Self::try_update) with a function that cannot fail.
    ///
    /// ```
    /// # use backend_api::{Result, ValueState};
    /// # fn count(mut hits: impl ValueState<u64>) -> Result<u64> {
    /// let count = hits.update(|n| {
    ///     let n = n.get_or_insert(0);
    ///     *n += 1;
    ///     *n
    /// })?;
    /// # Ok(count)
    /// # }
    /// ```
    #[inline]
    fn update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> R) -> Result<R> {
        self.try_update(|value| Ok(f(value)))
    }
}
