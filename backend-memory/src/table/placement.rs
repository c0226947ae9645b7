//! Types that a table can hold, and how it holds them.

use std::hash::RandomState;
use std::thread;

/// The stored form of a key.
///
/// # Safety
///
/// Another thread may read a bitwise copy of a key while the key itself stays in place. The type therefore
/// has no interior mutability in its own bytes, and reading it does not depend on its address. Its `Clone`
/// and `Drop` do not panic.
pub unsafe trait TableKey: Clone + Send + Sync + 'static {
    /// Bytes that it owns on the heap.
    fn heap_size(&self) -> usize;
}

/// The hash of a key, and further ones for when too many keys share it.
pub trait KeyHash: Copy {
    /// The hash that is tried first.
    fn hash(self) -> u64;

    /// A hash of the key's encoding under a secret seed, a different one for each `attempt`.
    fn rehash(self, secret: &RandomState, attempt: u8) -> u64;
}

/// A value that a table may hold.
pub trait TableValue: Clone + Send + Sync + 'static {}

impl<V: Clone + Send + Sync + 'static> TableValue for V {}

/// Where a value lives, and how copies on write treat it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the slot, and cloned with the segment. For small types without drop glue.
    Plain,
    /// In a box. Copies of the segment share the box until the writer replaces the value by a clone.
    Boxed,
    /// In the slot. Copies of the segment hold the same bits until the writer replaces the value by a clone.
    Handle,
}

/// How a table holds values of type `V`.
///
/// # Safety
///
/// `MODE` is [`Mode::Plain`] only if `V` has no drop glue, and [`Mode::Handle`] only if `V` is a [`Handle`].
pub unsafe trait Placement<V>: 'static {
    const MODE: Mode;

    /// Prefetches the memory to which a value points.
    fn prefetch(value: &V) {
        let _ = value;
    }

    /// Drops a value that has left the table.
    fn dispose(value: V) {
        drop(value);
    }
}

/// Values of arbitrary user types.
///
/// Even a type without drop glue may have interior mutability, like a `Clone` type around a `Mutex<u64>`. The
/// bits of a value are therefore never copied while two threads can read it. Small types without drop glue
/// are cloned, which is a plain copy for plain data. All others are boxed, so a value exists once.
pub enum UserValue {}

const PLAIN_SIZE_MAX: usize = 128;
const PLAIN_ALIGN_MAX: usize = 16;

// SAFETY: plain only without drop glue, and never a handle.
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

/// Largest list or map, in bytes, that is dropped in the caller. Takes about a millisecond.
pub const DROPPED_IN_PLACE: u64 = 1 << 20;

/// This crate's copy-on-write containers.
pub enum Container {}

// SAFETY: for handles only.
unsafe impl<V: Handle> Placement<V> for Container {
    const MODE: Mode = Mode::Handle;

    fn prefetch(value: &V) {
        value.prefetch();
    }

    fn dispose(value: V) {
        if value.is_large() {
            // If no thread can be spawned, the closure drops the value here.
            _ = thread::Builder::new().name("dispose".to_owned()).spawn(move || drop(value));
        }
    }
}

/// A value whose bits can be shared.
///
/// # Safety
///
/// Another thread may read and clone a bitwise copy of a value while the value itself stays unchanged. The
/// type therefore has no interior mutability in its own bytes (what it points to may have), holds no `Box` or
/// `&mut`, and reading it does not depend on its address.
pub unsafe trait Handle: TableValue {
    /// True if dropping it takes too long for the table's owner to wait.
    fn is_large(&self) -> bool {
        false
    }

    /// Prefetches the memory to which it points.
    fn prefetch(&self) {}
}
