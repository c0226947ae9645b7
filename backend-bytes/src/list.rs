use std::borrow::Cow;
use std::collections::BTreeSet;

use super::access::Access;
use super::lists::Lists;
use super::totals::Change;
use backend_api::{ListState, Result, StateKey, StateValue};

/// A list state of a [`ByteBackend`](super::ByteBackend). Appending reads nothing; reading streams where the list is not in
/// the cache.
pub struct ByteList<'a, T: StateValue, N> {
    pub(super) access: Access<'a>,
    pub(super) lists: Lists<'a, T>,
    pub(super) namespace: &'a N,
}

impl<T: StateValue, N: StateKey> ListState<T, N> for ByteList<'_, T, N> {
    fn add(&mut self, element: T) -> Result<()> {
        self.lists.add(&mut self.access, element)
    }

    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        self.lists.add_all(&mut self.access, elements)
    }

    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        self.lists.set(&mut self.access, elements)
    }

    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>> {
        self.lists.iter(&mut self.access)
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let mut seen = BTreeSet::from([self.namespace]);
        let sources: Vec<&N> = sources.iter().filter(|source| seen.insert(source)).collect();
        self.lists.write_out(&mut self.access, &sources)?;
        let mut moved = Vec::new();
        self.access.write_charged(|access| {
            for source in &sources {
                moved.push(access.move_elements(*source)?);
            }
            Ok(Change::adding(moved.iter().sum()))
        })?;
        sources.iter().zip(moved).try_for_each(|(source, bytes)| self.access.emptied(*source, bytes))
    }

    fn clear(&mut self) -> Result<()> {
        self.lists.clear(&mut self.access)
    }

    fn is_empty(&mut self) -> Result<bool> {
        self.lists.is_empty(&mut self.access)
    }

    fn get(&mut self) -> Result<Vec<T>> {
        self.lists.get(&mut self.access)
    }
}
