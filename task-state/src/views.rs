use backend_api::{Result, StateKey, StateValue};

use crate::content::{ListContent, MapContent};

/// A list of operator state. A list that was never written is empty.
pub struct OperatorList<'a, T>(pub(crate) &'a mut ListContent<T>);

impl<T: StateValue> OperatorList<'_, T> {
    /// The elements, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.list.iter()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.list.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.list.get(index)
    }

    /// Appends an element.
    pub fn add(&mut self, element: T) {
        self.0.list.push(element);
    }

    /// Appends elements.
    pub fn add_all(&mut self, elements: impl IntoIterator<Item = T>) {
        self.0.list.extend(elements);
    }

    /// Replaces all elements.
    pub fn set(&mut self, elements: impl IntoIterator<Item = T>) {
        self.0.list = elements.into_iter().collect();
    }

    /// Changes the element at `index` in place. Returns true if it exists. A running snapshot keeps the old
    /// element.
    pub fn update(&mut self, index: usize, f: impl FnOnce(&mut T)) -> bool {
        let Some(mut element) = self.0.list.get(index).cloned() else { return false };
        f(&mut element);
        self.0.list.set(index, element);
        true
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        self.set([]);
    }
}

/// A broadcast map, open for changes. All subtasks must make the same changes in the same order, because a
/// restore may give a subtask the copy of another one.
pub struct Broadcast<'a, K: StateKey, V>(pub(crate) &'a mut MapContent<K, V>);

impl<K: StateKey, V: StateValue> Broadcast<'_, K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.map.get(key)
    }

    /// True if there is an entry.
    pub fn contains(&self, key: &K) -> bool {
        self.0.map.contains_key(key)
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.map.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.map.size()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.map.is_empty()
    }

    /// Adds or replaces an entry.
    ///
    /// # Errors
    /// [`Codec`](backend_api::ErrorKind::Codec) for a key that cannot be encoded.
    pub fn put(&mut self, key: K, value: V) -> Result<()> {
        key.check()?;
        self.0.map.insert_mut(key, value);
        Ok(())
    }

    /// Adds or replaces all entries, or none.
    ///
    /// # Errors
    /// Same as [`put`](Self::put).
    pub fn put_all(&mut self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        let mut map = self.0.map.clone();
        for (key, value) in entries {
            key.check()?;
            map.insert_mut(key, value);
        }
        self.0.map = map;
        Ok(())
    }

    /// Removes an entry. Returns true if it was present.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.map.remove_mut(key)
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.0.map = Default::default();
    }
}

/// The entries of a broadcast map, read-only.
pub struct BroadcastEntries<'a, K: StateKey, V>(pub(crate) &'a MapContent<K, V>);

impl<'a, K: StateKey, V: StateValue> BroadcastEntries<'a, K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&'a V> {
        self.0.map.get(key)
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'a K, &'a V)> {
        self.0.map.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.map.size()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.map.is_empty()
    }
}
