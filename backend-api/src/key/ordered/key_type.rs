//! What is asked of a type that becomes a key.

use std::any::type_name;
use std::cmp::Ordering::Equal;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{decode_ordered, encode_ordered, ser};
use crate::key::KeyBuffer;
use crate::shape::Known;
use crate::{Error, ErrorKind, Result};

/// What the order-keeping format of [`serde_key!`](crate::serde_key) asks of a type, for a
/// [`StateKey`](crate::StateKey) written by hand (of a generic type, say). Keep one in a static where you can.
#[derive(Debug)]
pub struct OrderedType<T> {
    known: OnceLock<&'static Known>,
    /// Keys that were checked.
    checked: AtomicU32,
    keys: PhantomData<fn() -> T>,
}

/// In a release build so many keys make the round trip, and after them one in as many.
const ROUND_TRIPS: u32 = 256;

impl<T> OrderedType<T> {
    /// Nothing is known of the type yet.
    pub const fn new() -> Self {
        Self { known: OnceLock::new(), checked: AtomicU32::new(0), keys: PhantomData }
    }
}

impl<T> Default for OrderedType<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned + Ord + 'static> OrderedType<T> {
    #[inline]
    fn known(&self) -> &'static Known {
        self.known.get_or_init(Known::of::<T>)
    }

    /// The [`schema`](crate::StateKey::schema): the name and the shape, which [`KeySchema`](crate::KeySchema) parses.
    pub fn schema(&self, name: &str) -> String {
        match self.known().shape() {
            Ok(shape) => shape.named(name).to_string(),
            Err(_) => name.to_owned(),
        }
    }

    /// Checks that the format can carry the type, as far as the type alone tells.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with the reason.
    pub fn check_type(&self) -> Result<()> {
        self.known().shape().map(drop)
    }

    /// Checks that [`encode_ordered`] can encode `key`, and that [`decode_ordered`] makes an equal key of it. The latter in
    /// debug builds, and for some keys in others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] with the reason.
    pub fn check(&self, key: &T) -> Result<()> {
        key.serialize(&mut ser::Serializer::new(&mut Nowhere, Some(self.known())))?;
        // Threads may overtake each other here: it is only a sample.
        let checked = self.checked.load(Relaxed);
        self.checked.store(checked.wrapping_add(1), Relaxed);
        if cfg!(debug_assertions) || checked < ROUND_TRIPS || checked.is_multiple_of(ROUND_TRIPS) {
            round_trip(key)
        } else {
            Ok(())
        }
    }
}

struct Nowhere;

impl KeyBuffer for Nowhere {
    fn extend_from_slice(&mut self, _bytes: &[u8]) {}
}

#[cold]
fn round_trip<T: Serialize + DeserializeOwned + Ord>(key: &T) -> Result<()> {
    let refused =
        |reason: String| Error::new(ErrorKind::Codec, format!("a key of type {} {reason}", type_name::<T>()));
    let mut bytes = Vec::new();
    encode_ordered(key, &mut bytes)?;
    let mut input = &bytes[..];
    match decode_ordered::<T>(&mut input) {
        Ok(decoded) if decoded.cmp(key) == Equal && input.is_empty() => Ok(()),
        Ok(_) => Err(refused("is another key once it was encoded and decoded".to_owned())),
        Err(error) => Err(refused(format!("cannot be decoded from its encoding: {}", error.message()))),
    }
}
