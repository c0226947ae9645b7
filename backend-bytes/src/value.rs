use super::access::Access;
use super::values::Values;
use backend_api::{Error, Result, StateKey, StateValue, ValueDescriptor, ValueState};

/// A value state of a [`ByteBackend`](super::ByteBackend).
pub struct ByteValue<'a, V: StateValue, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a ValueDescriptor<V, N>,
    pub(super) values: Values<'a, V>,
}

impl<V: StateValue, N: StateKey> ValueState<V> for ByteValue<'_, V, N> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        let default = self.descriptor.default_ref();
        self.values.with(&self.access, |value| f(value.or(default)))
    }

    fn set(&mut self, value: V) -> Result<()> {
        self.values.set(&mut self.access, value)
    }

    fn try_update<R, E: From<Error>>(
        &mut self,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut value = self.values.get(&self.access)?;
        let stored = value.is_some();
        if !stored {
            value = self.descriptor.default_ref().cloned();
        }
        let result = f(&mut value)?;
        match value {
            Some(value) => self.set(value)?,
            None if stored => self.clear()?,
            None => (),
        }
        Ok(result)
    }

    fn clear(&mut self) -> Result<()> {
        self.values.clear(&mut self.access)
    }

    fn get(&mut self) -> Result<Option<V>> {
        let value = self.values.get(&self.access)?;
        Ok(value.or_else(|| self.descriptor.default_ref().cloned()))
    }
}
