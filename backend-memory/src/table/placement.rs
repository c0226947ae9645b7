//! What a table may hold, and how it holds it.

use std::hash::RandomState;
use std::thread;

/// The stored form of a key.
///
/// # Safety
///
/// A bitwise copy of a key may be read by another thread while the key itself stays where it is: the type has
/// no interior mutability in its own bytes, and reading does not depend on its address. Its `Clone` and
/// `Drop` do not panic.
pub unsafe trait TableKey: Clone + Send + Sync + 'static {
    /// Bytes that it owns outside of its own.
    fn heap_size(&self) -> usize;
}

/// The hash of a key, and others for the case that too many keys have it.
pub trait KeyHash: Copy {
    /// The hash by which the key is looked for first.
    fn hash(self) -> u64;

    /// A hash of the key's encoding that cannot be foreseen, another one for each `attempt`.
    fn rehash(self, secret: &RandomState, attempt: u8) -> u64;
}

/// A value that a table may hold.
pub trait TableValue: Clone + Send + Sync + 'static {}

impl<V: Clone + Send + Sync + 'static> TableValue for V {}

/// Where a value lives, and what happens to it when its segment is copied on write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the slot; `Clone`d with the segment. For small types without drop glue.
    Plain,
    /// In a box of its own that the segment's copies share, until the writer replaces it by a clone.
    Boxed,
    /// In the slot; the segment's copies hold the same bits, until the writer replaces it by a clone.
    Handle,
}

/// The policy by which a table holds values of type `V`.
///
/// # Safety
///
/// `MODE` is [`Mode::Plain`] only if `V` has no drop glue, and [`Mode::Handle`] only if `V` is a [`Handle`].
pub unsafe trait Placement<V>: 'static {
    /// How values are held.
    const MODE: Mode;

    /// Loads the memory to which a value points, without waiting for it.
    fn prefetch(value: &V) {
        let _ = value;
    }

    /// Drops a value that has left the table.
    fn dispose(value: V) {
        drop(value);
    }
}

/// Values of the user's own types, of which nothing is known.
///
/// Even a type without drop glue may have interior mutability (a `Clone` type around a `Mutex<u64>`), so the
/// bits of a value are never copied while two parties may look at it: small types without drop glue are
/// `Clone`d (which for plain data is a copy), all others are boxed, so that a value is one object.
pub enum UserValue {}

const PLAIN_SIZE_MAX: usize = 128;
const PLAIN_ALIGN_MAX: usize = 16;

// SAFETY: plain only without drop glue, never a handle.
unsafe impl<V> Placement<V> for UserValue {
    const MODE: Mode = if !std::mem::needs_drop::<V>()
        && size_of::<V>() <= PLAIN_SIZE_MAX
        && align_of::<V>() <= PLAIN_ALIGN_MAX
    {
        Mode::Plain
    } else {
        Mode::Boxed
    };
}

/// Bytes of a list or map that are dropped at once: about a millisecond's work.
pub const DROPPED_IN_PLACE: u64 = 1 << 20;

/// This crate's own copy-on-write containers.
pub enum Container {}

// SAFETY: for handles only.
unsafe impl<V: Handle> Placement<V> for Container {
    const MODE: Mode = Mode::Handle;

    fn prefetch(value: &V) {
        value.prefetch();
    }

    fn dispose(value: V) {
        if value.is_large() {
            // Were there no thread to be had, the value would be dropped here, with the closure.
            _ = thread::Builder::new().name("dispose".to_owned()).spawn(move || drop(value));
        }
    }
}

/// A value whose bits may be shared.
///
/// # Safety
///
/// A bitwise copy of a value may be read, and cloned, by another thread while the value itself stays as it is:
/// the type has no interior mutability in its own bytes (what it points to is another matter), it holds no
/// `Box` or `&mut`, and reading does not depend on its address.
pub unsafe trait Handle: TableValue {
    /// True if dropping it takes so long that the owner of a table must not wait for it.
    fn is_large(&self) -> bool {
        false
    }

    /// Loads the memory to which it points, without waiting for it.
    fn prefetch(&self) {}
}
