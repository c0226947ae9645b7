//! A sparse array whose clones share items. Snapshots use it to take the state of many key groups at once.

use std::sync::Arc;

/// Items that are copied together when one of them changes.
const CHUNK: usize = 64;

type Chunk<T> = Arc<[Option<T>; CHUNK]>;

/// An array of fixed length whose items may be absent.
///
/// A clone copies one pointer. The first change to an item after that copies the 64 items around it, and the
/// pointers to the other chunks.
#[derive(Debug)]
pub struct SharedArray<T> {
    chunks: Arc<[Option<Chunk<T>>]>,
    len: usize,
}

impl<T> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<T> SharedArray<T> {
    /// Returns an array of `len` absent items.
    pub fn new(len: usize) -> Self {
        Self { chunks: (0..len.div_ceil(CHUNK)).map(|_| None).collect(), len }
    }

    /// Number of items, absent ones included.
    #[expect(clippy::len_without_is_empty, reason = "absent items count, so emptiness means nothing")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The item at `index`, or `None` if it is absent or out of range.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK)?.as_ref()?[index % CHUNK].as_ref()
    }

    /// The present items with their indexes, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.filter_map(|(number, chunk)| Some((number * CHUNK, chunk.as_ref()?)));
        chunks.flat_map(|(first, chunk)| {
            chunk.iter().enumerate().filter_map(move |(at, item)| Some((first + at, item.as_ref()?)))
        })
    }
}

impl<T: Clone> SharedArray<T> {
    /// Replaces an item, and returns the old one.
    ///
    /// # Panics
    /// If `index` is out of range.
    pub fn replace(&mut self, index: usize, item: Option<T>) -> Option<T> {
        assert!(index < self.len, "item {index} of {}", self.len);
        let chunk = &self.chunks[index / CHUNK];
        if item.is_none() && chunk.is_none() {
            return None;
        }
        let chunk = &mut Arc::make_mut(&mut self.chunks)[index / CHUNK];
        let chunk = chunk.get_or_insert_with(|| Arc::new([const { None }; CHUNK]));
        std::mem::replace(&mut Arc::make_mut(chunk)[index % CHUNK], item)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn content(array: &SharedArray<u32>) -> BTreeMap<usize, u32> {
        array.iter().map(|(index, item)| (index, *item)).collect()
    }

    proptest! {
        #[test]
        fn an_array_matches_a_map_and_clones_do_not_change(
            changes in prop::collection::vec((0..200_usize, any::<Option<u32>>(), any::<bool>()), 0..100),
        ) {
            let (mut array, mut model) = (SharedArray::new(200), BTreeMap::new());
            let mut clones = Vec::new();
            for (index, item, clone) in changes {
                let old = match item {
                    Some(item) => model.insert(index, item),
                    None => model.remove(&index),
                };
                prop_assert_eq!(array.replace(index, item), old);
                prop_assert_eq!(array.get(index), model.get(&index));
                if clone {
                    clones.push((array.clone(), model.clone()));
                }
            }
            prop_assert_eq!(content(&array), model);
            for (clone, model) in clones {
                prop_assert_eq!(content(&clone), model);
            }
            prop_assert_eq!((array.get(200), array.len()), (None, 200));
        }
    }

    #[test]
    fn an_array_without_items_has_no_chunks() {
        let mut array = SharedArray::<u32>::new(1_000);
        assert_eq!(array.replace(999, None), None);
        assert!(array.chunks.iter().all(Option::is_none));
    }
}
