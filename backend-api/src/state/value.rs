use crate::{Error, Result, StateValue};

/// One value under one key and namespace.
///
/// # Errors
/// Every method of a backend that keeps bytes may answer [`Io`](crate::ErrorKind::Io) or
/// [`Corrupt`](crate::ErrorKind::Corrupt); every write may answer [`Size`](crate::ErrorKind::Size) where a budget
/// or a limit is set, and [`Codec`](crate::ErrorKind::Codec) where the backend encodes on access.
pub trait ValueState<V: StateValue> {
    /// Shows the value, or the descriptor's default, or `None`, without cloning it where the backend keeps
    /// objects.
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R>;

    /// Replaces the value. Setting what is the default stores an entry like any other.
    fn set(&mut self, value: V) -> Result<()>;

    /// Reads, changes and writes in one access: `f` is given the value (or the default), and what it leaves is
    /// stored; `None` clears. If `f` answers an error or panics, nothing is changed.
    ///
    /// # Errors
    /// Those of `f`, and those of the trait turned into `E`.
    fn try_update<R, E: From<Error>>(
        &mut self,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E>;

    /// Removes the value. No error where there is none.
    fn clear(&mut self) -> Result<()>;

    /// The value, or the descriptor's default, or `None`: cloned.
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
