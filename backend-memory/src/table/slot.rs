//! One slot of a segment, as raw memory.

use std::{alloc::Layout, marker::PhantomData, mem::needs_drop, ptr::NonNull};

use super::{Mode, Placement, TableKey, TableValue};

/// Marks the types in a slot without owning them.
pub(super) type Types<S, V, P> = PhantomData<fn() -> (S, V, P)>;

/// Address of a slot: `{tag: u32, epoch: u32}`, then key and value, the one with the stricter alignment
/// first.
///
/// An empty slot has the tag 0. A vacated slot has a tag without the top bit. Neither has an initialized key
/// or value, and an empty slot has no initialized epoch.
///
/// The unsafe methods require that the slot is occupied, unless they say otherwise, and one of two rules:
///
/// - *Read access*: its segment has not been freed, and no other thread writes to the slot meanwhile.
/// - *Write access*: its segment has not been freed, and no other thread reads or writes the slot meanwhile.
pub(super) struct Slot<S, V, P> {
    at: NonNull<u8>,
    marker: Types<S, V, P>,
}

impl<S, V, P> Clone for Slot<S, V, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, V, P> Copy for Slot<S, V, P> {}

impl<S: TableKey, V: TableValue, P: Placement<V>> Slot<S, V, P> {
    const VALUE: Layout = match P::MODE {
        Mode::Boxed => Layout::new::<NonNull<V>>(),
        Mode::Plain => {
            assert!(!needs_drop::<V>());
            Layout::new::<V>()
        }
        Mode::Handle => Layout::new::<V>(),
    };
    const KEY: Layout = Layout::new::<S>();
    const VALUE_FIRST: bool = Self::VALUE.align() > Self::KEY.align();
    const FIRST: (Layout, Layout) =
        if Self::VALUE_FIRST { (Self::VALUE, Self::KEY) } else { (Self::KEY, Self::VALUE) };
    const FIRST_AT: usize = 8usize.next_multiple_of(Self::FIRST.0.align());
    const SECOND_AT: usize = (Self::FIRST_AT + Self::FIRST.0.size()).next_multiple_of(Self::FIRST.1.align());
    const KEY_AT: usize = if Self::VALUE_FIRST { Self::SECOND_AT } else { Self::FIRST_AT };
    const VALUE_AT: usize = if Self::VALUE_FIRST { Self::FIRST_AT } else { Self::SECOND_AT };

    pub(super) const ALIGN: usize = if Self::FIRST.0.align() > 4 { Self::FIRST.0.align() } else { 4 };
    pub(super) const SIZE: usize = (Self::SECOND_AT + Self::FIRST.1.size()).next_multiple_of(Self::ALIGN);

    /// # Safety
    ///
    /// `at` is the address of a slot of these types.
    pub(super) unsafe fn new(at: NonNull<u8>) -> Self {
        Self { at, marker: PhantomData }
    }

    pub(super) fn address(self) -> *const u8 {
        self.at.as_ptr()
    }

    /// # Safety
    ///
    /// Requires read access. The slot may be empty.
    #[inline]
    pub(super) unsafe fn tag(self) -> u32 {
        // SAFETY: the tag is at offset 0 and always initialized.
        unsafe { self.at.cast::<u32>().read() }
    }

    /// # Safety
    ///
    /// Requires write access. The slot may be empty.
    #[inline]
    pub(super) unsafe fn set_tag(self, tag: u32) {
        // SAFETY: the tag is at offset 0.
        unsafe { self.at.cast::<u32>().write(tag) }
    }

    /// # Safety
    ///
    /// Requires read access. The slot may be vacated.
    #[inline]
    pub(super) unsafe fn epoch(self) -> u32 {
        // SAFETY: the epoch is at offset 4.
        unsafe { self.at.cast::<u32>().add(1).read() }
    }

    /// # Safety
    ///
    /// Requires write access. The slot may be empty.
    #[inline]
    pub(super) unsafe fn set_epoch(self, epoch: u32) {
        // SAFETY: the epoch is at offset 4.
        unsafe { self.at.cast::<u32>().add(1).write(epoch) }
    }

    #[inline]
    fn key_at(self) -> NonNull<S> {
        // SAFETY: within the slot.
        unsafe { self.at.byte_add(Self::KEY_AT).cast() }
    }

    #[inline]
    fn value_at(self) -> NonNull<V> {
        // SAFETY: within the slot.
        unsafe { self.at.byte_add(Self::VALUE_AT).cast() }
    }

    /// Address of the value: in the slot, or in its box.
    ///
    /// # Safety
    ///
    /// Requires read access.
    #[inline]
    pub(super) unsafe fn value_place(self) -> NonNull<V> {
        match P::MODE {
            // SAFETY: an occupied slot of a boxed value holds its pointer.
            Mode::Boxed => unsafe { self.value_at().cast::<NonNull<V>>().read() },
            Mode::Plain | Mode::Handle => self.value_at(),
        }
    }

    /// # Safety
    ///
    /// Requires read access for as long as the reference is used.
    #[inline]
    pub(super) unsafe fn key<'a>(self) -> &'a S {
        // SAFETY: the slot is occupied.
        unsafe { self.key_at().as_ref() }
    }

    /// # Safety
    ///
    /// Requires read access for as long as the reference is used.
    #[inline]
    pub(super) unsafe fn value<'a>(self) -> &'a V {
        // SAFETY: the slot is occupied.
        unsafe { self.value_place().as_ref() }
    }

    /// # Safety
    ///
    /// Requires write access. The slot is empty or vacated.
    #[inline]
    pub(super) unsafe fn fill(self, tag: u32, epoch: u32, key: S, value: V) {
        // SAFETY: required of the caller.
        unsafe {
            self.put(value);
            self.key_at().write(key);
            self.set_epoch(epoch);
            self.set_tag(tag);
        }
    }

    /// Writes a value without dropping the old one.
    ///
    /// # Safety
    ///
    /// Requires write access. The slot may be empty.
    #[inline]
    pub(super) unsafe fn put(self, value: V) {
        // SAFETY: required of the caller.
        unsafe {
            match P::MODE {
                Mode::Boxed => {
                    let held = NonNull::from(Box::leak(Box::new(value)));
                    self.value_at().cast::<NonNull<V>>().write(held);
                }
                Mode::Plain | Mode::Handle => self.value_at().write(value),
            }
        }
    }

    /// Moves the value out. The slot must not be read as occupied afterwards.
    ///
    /// # Safety
    ///
    /// Requires write access.
    #[inline]
    pub(super) unsafe fn take(self) -> OwnedValue<V> {
        // SAFETY: required of the caller.
        unsafe {
            match P::MODE {
                Mode::Boxed => OwnedValue::Boxed(BoxedValue(self.value_place())),
                Mode::Plain | Mode::Handle => OwnedValue::Inline(self.value_at().read()),
            }
        }
    }

    /// Moves the key out. The slot must not be read as occupied afterwards.
    ///
    /// # Safety
    ///
    /// Requires write access.
    #[inline]
    pub(super) unsafe fn take_key(self) -> S {
        // SAFETY: required of the caller.
        unsafe { self.key_at().read() }
    }

    /// Copies `self` bit for bit to `to`, which is empty. Only one of the two owns the contents afterwards,
    /// unless the [`Mode`] lets copies share the value.
    ///
    /// # Safety
    ///
    /// Requires read access to `self` and write access to `to`.
    #[inline]
    pub(super) unsafe fn copy_to(self, to: Self) {
        // SAFETY: two slots are identical or do not overlap.
        unsafe { self.at.copy_to_nonoverlapping(to.at, Self::SIZE) }
    }

    /// Copies `self` to `to`, which is empty. If `shared`, both stay readable.
    ///
    /// # Safety
    ///
    /// Requires read access to `self` and write access to `to`.
    #[inline]
    pub(super) unsafe fn transfer(self, shared: bool, to: Self) {
        // SAFETY: required of the caller.
        unsafe { if shared && P::MODE == Mode::Plain { self.clone_to(to) } else { self.copy_to(to) } }
    }

    /// Copies `self` to `to`, which is empty. Clones the value and copies the rest bit for bit.
    ///
    /// # Safety
    ///
    /// Requires read access to `self` and write access to `to`. The mode is plain.
    #[inline]
    pub(super) unsafe fn clone_to(self, to: Self) {
        // SAFETY: required of the caller.
        unsafe {
            to.value_at().write(self.value().clone());
            self.key_at().copy_to_nonoverlapping(to.key_at(), 1);
            to.set_epoch(self.epoch());
            to.set_tag(self.tag());
        }
    }
}

/// A value moved out of a slot.
pub(super) enum OwnedValue<V> {
    Inline(V),
    Boxed(BoxedValue<V>),
}

impl<V> OwnedValue<V> {
    /// Drops the value as the placement `P` says.
    pub(super) fn dispose<P: Placement<V>>(self) {
        match self {
            Self::Inline(value) => P::dispose(value),
            Self::Boxed(boxed) => drop(boxed),
        }
    }
}

/// A box kept as a raw pointer. Moving a `Box` would assert unique access, but snapshots may read the value.
pub(super) struct BoxedValue<V>(NonNull<V>);

// SAFETY: as for a `Box`.
unsafe impl<V: Send> Send for BoxedValue<V> {}
// SAFETY: as for a `Box`.
unsafe impl<V: Sync> Sync for BoxedValue<V> {}

impl<V> Drop for BoxedValue<V> {
    fn drop(&mut self) {
        // SAFETY: `put` leaked this box, and it is owned here.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
