//! Shapes of types, found once per type.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;

use super::Shape;
use super::trace::{Traced, trace};
use crate::{Error, ErrorKind, Result};

/// The shape of a type, and checks that `Serialize` agrees with `Deserialize`.
#[derive(Debug)]
pub(crate) struct Known {
    found: Result<Traced, String>,
    /// Places in a `Serialize` that were found to agree, by a hash of what they pass.
    agreed: [AtomicU64; SLOTS],
}

const SLOTS: usize = 32;

impl Known {
    /// The entry for `T`. The first call takes as long as reading some thousand values.
    pub fn of<T: DeserializeOwned + 'static>() -> &'static Self {
        // Each type has one entry until the program ends.
        static ALL: Mutex<BTreeMap<TypeId, &'static Known>> = Mutex::new(BTreeMap::new());
        let all = || ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all().get(&TypeId::of::<T>()).copied();
        known.unwrap_or_else(|| {
            let found = trace::<T>();
            let new = Self { found, agreed: [const { AtomicU64::new(0) }; SLOTS] };
            all().entry(TypeId::of::<T>()).or_insert_with(|| Box::leak(Box::new(new)))
        })
    }

    /// The shape.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if an encoding that does not describe itself cannot carry the type.
    pub fn shape(&self) -> Result<&Shape> {
        match &self.found {
            Ok(traced) => Ok(&traced.shape),
            Err(reason) => Err(Error::new(ErrorKind::Unsupported, reason.clone())),
        }
    }

    /// Checks that a struct is written with as many fields as it is read with.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] with the reason.
    #[inline]
    pub fn check_struct(&self, name: &'static str, len: usize) -> Result<()> {
        self.check(name, "", 0, len)
    }

    /// Checks that a variant of this index has the same name and number of fields when it is read.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] with the reason.
    #[inline]
    pub fn check_variant(
        &self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<()> {
        // An index that no struct has.
        self.check(name, variant, index.wrapping_add(1), len)
    }

    /// A place in a `Serialize` passes the same names each time, so their addresses identify it.
    #[inline]
    fn check(&self, name: &'static str, variant: &'static str, index: u32, len: usize) -> Result<()> {
        const MIX: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9];
        let names = name.as_ptr() as u64 ^ (variant.as_ptr() as u64).wrapping_mul(MIX[1]);
        let rest =
            (name.len() as u64) << 48 ^ (variant.len() as u64) << 40 ^ u64::from(index) << 16 ^ len as u64;
        let place = (names.wrapping_mul(MIX[0]) ^ rest.wrapping_mul(MIX[2])) | 1;
        let slot = &self.agreed[(place >> 59) as usize];
        if slot.load(Relaxed) == place {
            return Ok(());
        }
        self.compare(name, variant, index, len)?;
        slot.store(place, Relaxed);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn compare(&self, name: &str, variant: &str, index: u32, len: usize) -> Result<()> {
        let Ok(traced) = &self.found else { return self.shape().map(drop) };
        let agrees = match index.checked_sub(1) {
            None => traced.names.check_struct(name, len),
            Some(index) => traced.names.check_variant(name, index, variant, len),
        };
        agrees.map_err(|reason| Error::new(ErrorKind::Codec, reason))
    }
}

/// A field that some values omit cannot be distinguished from the next one.
#[cold]
pub(crate) fn skipped(field: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("the field {field} is left out of a value, and read from each"))
}
