use std::borrow::Cow;
use std::collections::BTreeSet;

use super::access::{Access, decoded};
use crate::{ListDescriptor, ListState, Result, StateKey, StateValue};

/// A list state of a [`ByteBackend`](super::ByteBackend). Appending reads nothing; reading streams.
pub struct ByteList<'a, T, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a ListDescriptor<T, N>,
    pub(super) namespace: &'a N,
}

impl<T: StateValue, N: StateKey> ListState<T, N> for ByteList<'_, T, N> {
    fn add(&mut self, element: T) -> Result<()> {
        self.access.write(|access| access.append(&element, &**self.descriptor.codec()))
    }

    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let codec = &**self.descriptor.codec();
        self.access
            .write(|access| elements.into_iter().try_for_each(|element| access.append(&element, codec)))
    }

    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let codec = &**self.descriptor.codec();
        self.access.write(|access| access.replace(elements, codec))
    }

    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>> {
        let (place, codec) = (self.access.place, &**self.descriptor.codec());
        let cursor = self.access.scan_all()?;
        Ok(decoded(cursor, place, |_, element| Some(codec.decode(element).map(Cow::Owned))))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let mut seen = BTreeSet::from([self.namespace]);
        self.access.write(|access| {
            let mut sources = sources.iter().filter(|source| seen.insert(source));
            sources.try_for_each(|source| access.move_elements(source))
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.access.write(|access| {
            access.delete_all();
            Ok(())
        })
    }

    fn is_empty(&mut self) -> Result<bool> {
        Ok(!self.access.has_any()?)
    }
}
