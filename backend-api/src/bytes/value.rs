use super::access::Access;
use crate::{Error, Result, StateKey, StateValue, ValueDescriptor, ValueState};

/// A value state of a [`ByteBackend`](super::ByteBackend).
pub struct ByteValue<'a, V, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a ValueDescriptor<V, N>,
}

impl<V: StateValue, N: StateKey> ValueState<V> for ByteValue<'_, V, N> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        let value = self.access.read(&**self.descriptor.codec())?;
        Ok(f(value.as_ref().or(self.descriptor.default_ref())))
    }

    fn set(&mut self, value: V) -> Result<()> {
        self.access.write(|access| access.put(&value, &**self.descriptor.codec()))
    }

    fn try_update<R, E: From<Error>>(
        &mut self,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut value = self.access.read(&**self.descriptor.codec())?;
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
        self.access.write(|access| {
            access.delete();
            Ok(())
        })
    }

    fn get(&mut self) -> Result<Option<V>> {
        let value = self.access.read(&**self.descriptor.codec())?;
        Ok(value.or_else(|| self.descriptor.default_ref().cloned()))
    }
}
