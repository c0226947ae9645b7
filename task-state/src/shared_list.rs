//! A list whose clones share elements.

use std::sync::Arc;

/// Elements per chunk. Few enough to copy a chunk at once, and many enough to keep the list of chunks short.
const CHUNK: usize = 512;

/// A list in chunks. A clone shares all of it. The first change after a clone copies the list of chunks and
/// the changed chunk.
pub(crate) struct SharedList<T> {
    chunks: Arc<Vec<Arc<Vec<T>>>>,
    len: usize,
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<T> SharedList<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }
}

impl<T: Clone> SharedList<T> {
    pub fn push(&mut self, element: T) {
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(element),
            _ => chunks.push(Arc::new(vec![element])),
        }
        self.len += 1;
    }

    /// Replaces the element at `index`, if it exists.
    pub fn set(&mut self, index: usize, element: T) {
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(index / CHUNK);
        if let Some(place) = chunk.and_then(|chunk| Arc::make_mut(chunk).get_mut(index % CHUNK)) {
            *place = element;
        }
    }
}

impl<T: Clone> Extend<T> for SharedList<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(element));
    }
}

impl<T: Clone> FromIterator<T> for SharedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut list = Self::default();
        list.extend(elements);
        list
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_clone_keeps_its_elements(
            first in prop::collection::vec(any::<u16>(), 0..1500),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<u16>>()), 0..50),
        ) {
            let mut list: SharedList<u16> = first.iter().copied().collect();
            let clone = list.clone();
            let mut model = first.clone();
            for (index, change) in changes {
                match change {
                    Some(element) if !model.is_empty() => {
                        let index = index.index(model.len());
                        model[index] = element;
                        list.set(index, element);
                    }
                    _ => {
                        model.push(7);
                        list.push(7);
                    }
                }
            }
            prop_assert!(list.iter().eq(&model));
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.get(model.len()), None);
            prop_assert!(model.is_empty() || *list.get(model.len() - 1).unwrap() == model[model.len() - 1]);
            prop_assert!(clone.iter().eq(&first));
        }
    }
}
