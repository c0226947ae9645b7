//! The peers of the heap table: tables that cannot be frozen, restored or split.

use hashbrown::{HashMap, HashTable};
use state_backends::api::{KeyContext, StateKey};

/// One flat table for each key group, with the key's stable hash, which also gives the group.
#[derive(Debug)]
pub struct GroupedTables<K> {
    groups: Vec<HashTable<(K, u64)>>,
}

impl<K: StateKey> GroupedTables<K> {
    /// Without entries.
    pub fn new(groups: u16) -> Self {
        Self { groups: (0..groups).map(|_| HashTable::new()).collect() }
    }

    /// The count of a key.
    #[inline]
    pub fn get(&self, at: KeyContext<'_, K>, key: &K) -> Option<u64> {
        let found = self.groups[usize::from(at.group())].find(at.hash(), |(known, _)| known == key);
        found.map(|(_, count)| *count)
    }

    /// Adds one to the count of a key.
    #[inline]
    pub fn add_one(&mut self, at: KeyContext<'_, K>, key: &K) {
        let group = &mut self.groups[usize::from(at.group())];
        match group.find_mut(at.hash(), |(known, _)| known == key) {
            Some((_, count)) => *count += 1,
            None => {
                group.insert_unique(at.hash(), (key.clone(), 1), |(key, _)| key.stable_hash());
            }
        }
    }

    /// Removes a key.
    #[inline]
    pub fn remove(&mut self, at: KeyContext<'_, K>, key: &K) {
        let group = &mut self.groups[usize::from(at.group())];
        if let Ok(entry) = group.find_entry(at.hash(), |(known, _)| known == key) {
            entry.remove();
        }
    }

    /// Number of entries, and the sum of all counts.
    pub fn totals(&self) -> (u64, u64) {
        let counts = self.groups.iter().flatten().map(|(_, count)| count);
        counts.fold((0, 0), |(entries, sum), count| (entries + 1, sum + count))
    }
}

/// One flat map for all keys, with its default hasher.
#[derive(Debug)]
pub struct PlainMap<K>(HashMap<K, u64>);

impl<K: StateKey + std::hash::Hash> PlainMap<K> {
    /// Without entries.
    pub fn new() -> Self {
        Self(HashMap::new())
    }

    /// Adds one to the count of a key.
    #[inline]
    pub fn add_one(&mut self, key: &K) {
        match self.0.get_mut(key) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(key.clone(), 1)),
        }
    }

    /// Removes a key.
    #[inline]
    pub fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Number of entries, and the sum of all counts.
    pub fn totals(&self) -> (u64, u64) {
        (self.0.len() as u64, self.0.values().sum())
    }
}

impl<K: StateKey + std::hash::Hash> Default for PlainMap<K> {
    fn default() -> Self {
        Self::new()
    }
}
