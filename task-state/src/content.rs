//! The content of one state, and its encoding.

use std::any::Any;
use std::sync::Arc;

use backend_api::format::CheckpointWriter;
use backend_api::{Cancel, Codec, Result, StateKey, StateValue, canonical_codec};
use rpds::RedBlackTreeMapSync;

use crate::shared_list::SharedList;

/// The elements of one state, with their type erased.
pub trait AnyContent: Send {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// Shares the present content. O(1).
    fn freeze(&self) -> Box<dyn FrozenContent>;
}

/// Immutable content.
pub trait FrozenContent: Send {
    fn elements(&self) -> u64;
    /// Writes the elements, with [canonical](backend_api::ValueSchema::encode_canonical) values if asked for.
    fn write(&self, writer: &mut CheckpointWriter<'_>, is_canonical: bool, cancel: &Cancel) -> Result<()>;
}

/// A list.
pub struct ListContent<T> {
    pub list: SharedList<T>,
    codec: Arc<dyn Codec<T>>,
}

impl<T> ListContent<T> {
    pub fn new(codec: Arc<dyn Codec<T>>) -> Self {
        Self { list: SharedList::default(), codec }
    }
}

impl<T: StateValue> AnyContent for ListContent<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn freeze(&self) -> Box<dyn FrozenContent> {
        Box::new(Self { list: self.list.clone(), codec: Arc::clone(&self.codec) })
    }
}

impl<T: StateValue> FrozenContent for ListContent<T> {
    fn elements(&self) -> u64 {
        self.list.len() as u64
    }

    fn write(&self, writer: &mut CheckpointWriter<'_>, is_canonical: bool, cancel: &Cancel) -> Result<()> {
        let codec = codec_of_rows(&self.codec, is_canonical);
        self.list.iter().try_for_each(|element| {
            cancel.check()?;
            writer.row(|row| codec.encode(element, row))
        })
    }
}

/// A broadcast map.
pub struct MapContent<K: StateKey, V> {
    pub map: RedBlackTreeMapSync<K, V>,
    codec: Arc<dyn Codec<V>>,
}

impl<K: StateKey, V> MapContent<K, V> {
    pub fn new(codec: Arc<dyn Codec<V>>) -> Self {
        Self { map: RedBlackTreeMapSync::default(), codec }
    }
}

impl<K: StateKey, V: StateValue> AnyContent for MapContent<K, V> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn freeze(&self) -> Box<dyn FrozenContent> {
        Box::new(Self { map: self.map.clone(), codec: Arc::clone(&self.codec) })
    }
}

impl<K: StateKey, V: StateValue> FrozenContent for MapContent<K, V> {
    fn elements(&self) -> u64 {
        self.map.size() as u64
    }

    fn write(&self, writer: &mut CheckpointWriter<'_>, is_canonical: bool, cancel: &Cancel) -> Result<()> {
        let codec = codec_of_rows(&self.codec, is_canonical);
        self.map.iter().try_for_each(|(key, value)| {
            cancel.check()?;
            writer.row(|row| {
                key.check()?;
                key.encode(row);
                codec.encode(value, row)
            })
        })
    }
}

fn codec_of_rows<T: 'static>(codec: &Arc<dyn Codec<T>>, is_canonical: bool) -> Arc<dyn Codec<T>> {
    if is_canonical { canonical_codec(codec) } else { Arc::clone(codec) }
}
