//! Checks of types that become keys.

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

/// Checks that the order-keeping format of [`serde_key!`](crate::serde_key) can carry a type. For a
/// [`StateKey`](crate::StateKey) implementation by hand, such as of a generic type. Keep it in a static if
/// you can.
#[derive(Debug)]
pub struct OrderedType<T> {
    known: OnceLock<&'static Known>,
    /// Number of keys checked so far.
    checked: AtomicU32,
    keys: PhantomData<fn() -> T>,
}

/// In a release build this many keys are round-tripped, and then one in this many.
const ROUND_TRIPS: u32 = 256;

impl<T> OrderedType<T> {
    /// A new instance.
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

    /// Checks that the format can carry the type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with the reason.
    pub fn check_type(&self) -> Result<()> {
        self.known().shape().map(drop)
    }

    /// Checks that [`encode_ordered`] can encode `key`, and that [`decode_ordered`] returns an equal key. The
    /// second check covers all keys in debug builds, and a sample in others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] with the reason.
    pub fn check(&self, key: &T) -> Result<()> {
        key.serialize(&mut ser::Serializer::new(&mut Nowhere, Some(self.known())))?;
        // Races between threads only change the sample.
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
