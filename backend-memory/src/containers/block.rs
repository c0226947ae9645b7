//! Shared arrays that are copied on write: the nodes of lists and maps.
//!
//! The handle holds the number of items, so a lookup waits only for the memory of the item itself.

#![expect(unsafe_code, reason = "reference-counted memory, partly uninitialized")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::Deref;
use std::process::abort;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::prefetch::{prefetch, prefetch_line};

/// Bytes of a block that are prefetched.
const PREFETCHED: usize = 256;

/// A handle of up to 65,535 items `T`, each with a stamp `S` stored apart from it, in one allocation. Clones
/// share the items, which cannot change while there are several handles. Each handle has its own `note`.
pub(crate) struct Block<T, N: Copy = (), S: Copy = ()> {
    /// The number of handles. It lies between the stamps (the first stamp is the nearest) and the items.
    count: NonNull<AtomicUsize>,
    /// Number of items.
    len: u16,
    /// Number of items that fit into the allocation.
    capacity: u16,
    pub(crate) note: N,
    items: PhantomData<(T, S)>,
}

const _: () = assert!(size_of::<Option<Block<u64, u32>>>() == 2 * size_of::<usize>());

// SAFETY: as for `Arc`: threads share the items, and any thread may drop them.
unsafe impl<T: Send + Sync, N: Copy + Send, S: Copy + Send + Sync> Send for Block<T, N, S> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync, N: Copy + Sync, S: Copy + Send + Sync> Sync for Block<T, N, S> {}

impl<T, N: Copy, S: Copy> Block<T, N, S> {
    /// Bytes before the items.
    const ITEMS_AT: usize = size_of::<AtomicUsize>().next_multiple_of(align_of::<T>());
    const ALIGN: usize =
        if align_of::<T>() > align_of::<AtomicUsize>() { align_of::<T>() } else { align_of::<AtomicUsize>() };

    /// Bytes before the counter, for the stamps.
    const fn stamps_for(capacity: usize) -> usize {
        const { assert!(align_of::<S>() <= align_of::<AtomicUsize>()) };
        (capacity * size_of::<S>()).next_multiple_of(Self::ALIGN)
    }

    /// Bytes of a block with this capacity, without what its items own.
    pub(crate) const fn bytes_for(capacity: usize) -> usize {
        Self::stamps_for(capacity) + Self::ITEMS_AT + capacity * size_of::<T>()
    }

    fn layout(capacity: u16) -> Layout {
        let capacity = usize::from(capacity);
        let items = capacity.checked_mul(size_of::<T>() + size_of::<S>());
        let size = items.and_then(|items| items.checked_add(Self::ITEMS_AT + Self::ALIGN));
        let layout = size.and_then(|_| Layout::from_size_align(Self::bytes_for(capacity), Self::ALIGN).ok());
        layout.expect("at most 65,535 items fit into memory")
    }

    /// Returns an empty block with this capacity.
    pub(crate) fn with_capacity(capacity: usize, note: N) -> Self {
        let room = u16::try_from(capacity).expect("at most 65,535 items");
        let layout = Self::layout(room);
        // SAFETY: the layout contains the counter, so it is not empty.
        let memory = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: within the allocation, and aligned like it.
        let count = unsafe { memory.byte_add(Self::stamps_for(capacity)) }.cast();
        // SAFETY: the counter lies within the new allocation.
        unsafe { count.write(AtomicUsize::new(1)) };
        Self { count, len: 0, capacity: room, note, items: PhantomData }
    }

    pub(crate) fn capacity(&self) -> usize {
        usize::from(self.capacity)
    }

    /// Bytes of the allocation, without what the items own.
    pub(crate) fn bytes(&self) -> usize {
        Self::bytes_for(self.capacity())
    }

    /// Prefetches the first 256 bytes.
    pub(crate) fn prefetch(&self) {
        prefetch(self.count.as_ptr(), (Self::ITEMS_AT + self.len() * size_of::<T>()).min(PREFETCHED));
    }

    /// Prefetches what appending an item needs: the counter, and the end of the items.
    pub(crate) fn prefetch_end(&self) {
        prefetch_line(self.count.as_ptr().cast());
        prefetch_line(self.first().as_ptr().wrapping_add(self.len()).cast());
    }

    #[inline]
    fn first(&self) -> NonNull<T> {
        // SAFETY: within the allocation, or at its end.
        unsafe { self.count.byte_add(Self::ITEMS_AT).cast() }
    }

    /// Address of the last of the first `len` stamps, which comes first in memory.
    #[inline]
    fn stamps_at(&self, len: usize) -> NonNull<S> {
        debug_assert!(len <= self.capacity());
        // SAFETY: the allocation has room for `len` stamps.
        unsafe { self.count.cast::<S>().sub(len) }
    }

    /// The stamps of the items, in reverse order.
    #[inline]
    pub(crate) fn stamps(&self) -> &[S] {
        // SAFETY: there are as many stamps as items, and a borrowed handle keeps them unchanged.
        unsafe { slice::from_raw_parts(self.stamps_at(self.len()).as_ptr(), self.len()) }
    }

    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        // SAFETY: a handle keeps the counter alive. Acquire: uses by dropped handles are complete.
        unsafe { self.count.as_ref() }.load(Ordering::Acquire) == 1
    }

    /// Write access to the items, if this is the only handle.
    #[inline]
    pub(crate) fn unique(&mut self) -> Option<Unique<'_, T, N, S>> {
        if self.is_unique() { Some(Unique(self)) } else { None }
    }
}

impl<T: Clone, N: Copy, S: Copy> Block<T, N, S> {
    /// Makes this the only handle of a block with room for `capacity` items, which must be at least the
    /// present number. Shared items are cloned. If a clone panics, nothing has changed.
    #[cold]
    #[inline(never)]
    pub(crate) fn resize(&mut self, capacity: usize) {
        let mut other = Self::with_capacity(capacity.max(self.len()), self.note);
        if self.is_unique() {
            // SAFETY: there is room for all items, and this block no longer counts them.
            unsafe {
                other.first().copy_from_nonoverlapping(self.first(), self.len());
                other.stamps_at(self.len()).copy_from_nonoverlapping(self.stamps_at(self.len()), self.len());
            }
            other.len = std::mem::take(&mut self.len);
        } else {
            let mut own = Unique(&mut other);
            self.iter()
                .zip(self.stamps().iter().rev())
                .for_each(|(item, stamp)| own.push_stamped(item.clone(), *stamp));
        }
        *self = other;
    }
}

impl<T: Clone, N: Copy> Block<T, N> {
    /// Returns a block with clones of `items`.
    pub(crate) fn of(items: &[T], capacity: usize, note: N) -> Self {
        let mut block = Self::with_capacity(capacity.max(items.len()), note);
        let mut own = Unique(&mut block);
        items.iter().for_each(|item| own.push(item.clone()));
        block
    }
}

impl<T, N: Copy, S: Copy> Deref for Block<T, N, S> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: these items are initialized, and a borrowed handle keeps them unchanged.
        unsafe { slice::from_raw_parts(self.first().as_ptr(), usize::from(self.len)) }
    }
}

impl<T, N: Copy, S: Copy> Clone for Block<T, N, S> {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: a handle keeps the counter alive.
        let before = unsafe { self.count.as_ref() }.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            // Only leaked handles can reach this number. The counter must not wrap around to 0.
            abort();
        }
        Self { ..*self }
    }
}

impl<T, N: Copy, S: Copy> Drop for Block<T, N, S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a handle keeps the counter alive. Release: completes the reads of this handle.
        if unsafe { self.count.as_ref() }.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.free();
        }
    }
}

impl<T, N: Copy, S: Copy> Block<T, N, S> {
    #[inline(never)]
    fn free(&mut self) {
        /// Frees the memory even if dropping an item panics.
        struct Memory(NonNull<u8>, Layout);

        impl Drop for Memory {
            fn drop(&mut self) {
                // SAFETY: allocated with this layout, and the last handle is gone.
                unsafe { dealloc(self.0.as_ptr(), self.1) };
            }
        }

        // SAFETY: the start of the allocation.
        let memory = unsafe { self.count.byte_sub(Self::stamps_for(self.capacity())) };
        let _memory = Memory(memory.cast(), Self::layout(self.capacity));
        let items = NonNull::slice_from_raw_parts(self.first(), self.len());
        // SAFETY: the items are initialized, and there is no other handle.
        unsafe { items.drop_in_place() };
    }
}

/// The only handle of a block.
pub(crate) struct Unique<'a, T, N: Copy = (), S: Copy = ()>(&'a mut Block<T, N, S>);

impl<T, N: Copy> Unique<'_, T, N> {
    /// Appends an item. There must be room.
    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        self.push_stamped(item, ());
    }
}

impl<'a, T, N: Copy, S: Copy> Unique<'a, T, N, S> {
    #[inline]
    pub(crate) fn into_item(self, at: usize) -> Option<(&'a mut T, &'a mut S)> {
        // SAFETY: the item is initialized, there is no other handle, and this one is borrowed.
        (at < self.0.len())
            .then(|| unsafe { (self.0.first().add(at).as_mut(), self.0.stamps_at(at + 1).as_mut()) })
    }

    /// True if there is room for another item.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.0.len < self.0.capacity
    }

    /// Appends an item and its stamp. There must be room.
    #[inline]
    pub(crate) fn push_stamped(&mut self, item: T, stamp: S) {
        assert!(self.has_room());
        // SAFETY: there is room for one more, and only the one handle can reach it.
        unsafe {
            self.0.first().add(self.0.len()).write(item);
            self.0.stamps_at(self.0.len() + 1).write(stamp);
        }
        self.0.len += 1;
    }

    /// Inserts an item and its stamp at `at`, which is at most the number of items. There must be room.
    pub(crate) fn insert(&mut self, at: usize, item: T, stamp: S) {
        let len = self.0.len();
        assert!(self.has_room() && at <= len);
        // SAFETY: moves the items from `at` on by one, for which there is room.
        unsafe {
            let place = self.0.first().add(at);
            place.copy_to(place.add(1), len - at);
            place.write(item);
            self.0.stamps_at(len).copy_to(self.0.stamps_at(len + 1), len - at);
            self.0.stamps_at(at + 1).write(stamp);
        }
        self.0.len += 1;
    }

    /// Removes the item at `at`, which must exist, and its stamp.
    pub(crate) fn remove(&mut self, at: usize) -> (T, S) {
        let len = self.0.len();
        assert!(at < len);
        self.0.len -= 1;
        // SAFETY: the item is initialized, and is overwritten or out of bounds once the others have moved
        // down.
        unsafe {
            let place = self.0.first().add(at);
            let removed = (place.read(), self.0.stamps_at(at + 1).read());
            place.add(1).copy_to(place, len - 1 - at);
            self.0.stamps_at(len).copy_to(self.0.stamps_at(len - 1), len - 1 - at);
            removed
        }
    }

    /// Drops the items from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        let Some(more) = self.0.len().checked_sub(len) else { return };
        // Not more than the present number, which fits.
        self.0.len = len as u16;
        // SAFETY: these items are initialized, and no longer counted.
        unsafe { NonNull::slice_from_raw_parts(self.0.first().add(len), more).drop_in_place() };
    }

    /// Moves the items from `at` on to a new block. Its capacity is `capacity`, or the number of these items
    /// if that is more.
    pub(crate) fn split_off(&mut self, at: usize, capacity: usize) -> Block<T, N, S> {
        let len = self.0.len();
        assert!(at <= len);
        let mut right = Block::with_capacity(capacity.max(len - at), self.0.note);
        // SAFETY: the new block has room for them, and this block no longer counts them.
        unsafe {
            right.first().copy_from_nonoverlapping(self.0.first().add(at), len - at);
            right.stamps_at(len - at).copy_from_nonoverlapping(self.0.stamps_at(len), len - at);
        }
        // Not more than this block had, which fits.
        right.len = (len - at) as u16;
        self.0.len = at as u16;
        right
    }

    /// Moves all items of `other` to the end of this block, which must have room.
    pub(crate) fn append(&mut self, other: &mut Unique<'_, T, N, S>) {
        let (len, more) = (self.0.len(), other.0.len());
        assert!(len + more <= self.0.capacity());
        // SAFETY: this block has room for them, and `other` no longer counts them.
        unsafe {
            self.0.first().add(len).copy_from_nonoverlapping(other.0.first(), more);
            self.0.stamps_at(len + more).copy_from_nonoverlapping(other.0.stamps_at(more), more);
        }
        self.0.len += std::mem::take(&mut other.0.len);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;

    fn numbers(items: impl IntoIterator<Item = u32>) -> Block<String> {
        Block::of(&Vec::from_iter(items.into_iter().map(|item| item.to_string())), 8, ())
    }

    #[test]
    fn moving_items_between_blocks_loses_none() {
        let mut block = numbers(0..5);
        let mut own = block.unique().unwrap();
        own.insert(2, "new".to_owned(), ());
        assert_eq!(own.remove(0).0, "0");
        let mut right = own.split_off(3, 0);
        assert_eq!((block.join(" "), right.join(" "), right.capacity()), ("1 new 2".into(), "3 4".into(), 2));
        block.unique().unwrap().append(&mut right.unique().unwrap());
        block.unique().unwrap().truncate(4);
        assert_eq!(*block, ["1", "new", "2", "3"].map(String::from));
        assert!(right.is_empty());
    }

    #[test]
    fn stamps_move_with_their_items() {
        fn stamped<T: ToString>(block: &Block<T, (), u32>) -> String {
            let stamps = block.stamps().iter().rev();
            Vec::from_iter(
                block.iter().zip(stamps).map(|(item, stamp)| format!("{}{stamp}", item.to_string())),
            )
            .join(" ")
        }
        fn moves<T: Clone + ToString>(letter: impl Fn(char) -> T) {
            let mut block = Block::with_capacity(3, ());
            let mut own = block.unique().unwrap();
            own.push_stamped(letter('a'), 0);
            own.push_stamped(letter('c'), 2);
            own.insert(1, letter('b'), 1);
            let shared = block.clone();
            block.resize(5);
            let mut own = block.unique().unwrap();
            own.insert(0, letter('x'), 7);
            own.insert(4, letter('y'), 8);
            assert!(own.into_item(5).is_none());
            if let Some((item, stamp)) = block.unique().unwrap().into_item(2) {
                (*item, *stamp) = (letter('z'), 9);
            }
            assert_eq!((stamped(&block), stamped(&shared)), ("x7 a0 z9 c2 y8".into(), "a0 b1 c2".into()));
            let removed = block.unique().unwrap().remove(1);
            assert_eq!((removed.0.to_string(), removed.1), ("a".to_owned(), 0));
            let mut right = block.unique().unwrap().split_off(1, 3);
            assert_eq!((stamped(&block), stamped(&right)), ("x7".into(), "z9 c2 y8".into()));
            block.resize(4);
            block.unique().unwrap().append(&mut right.unique().unwrap());
            block.unique().unwrap().truncate(3);
            assert_eq!((stamped(&block), stamped(&right)), ("x7 z9 c2".into(), String::new()));
        }
        moves(|letter| letter);
        moves(|letter| letter.to_string());
    }

    #[test]
    fn a_shared_block_does_not_change() {
        let mut block = numbers(0..3);
        let other = block.clone();
        assert!(block.unique().is_none());
        block.resize(4);
        block.unique().unwrap().push("3".to_owned());
        assert_eq!((block.len(), other.len()), (4, 3));
    }

    /// Counts its instances. If the flag is set, its clone and drop panic.
    struct Picky(Arc<()>, bool);

    impl Clone for Picky {
        fn clone(&self) -> Self {
            assert!(!self.1, "no clone");
            Self(self.0.clone(), false)
        }
    }

    impl Drop for Picky {
        fn drop(&mut self) {
            assert!(!self.1 || std::thread::panicking(), "no drop");
        }
    }

    #[test]
    fn panics_of_items_neither_leak_nor_drop_twice() {
        let live = Arc::new(());
        let mut block = Block::with_capacity(3, ());
        for panics in [false, true, false] {
            block.unique().unwrap().push(Picky(live.clone(), panics));
        }
        let shared = block.clone();
        assert!(catch_unwind(AssertUnwindSafe(|| block.resize(8))).is_err());
        assert_eq!((block.len(), Arc::strong_count(&live)), (3, 4));
        drop(shared);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(block))).is_err());
        assert_eq!(Arc::strong_count(&live), 1);
    }

    #[test]
    fn items_can_be_zero_sized_or_overaligned() {
        #[derive(Clone, PartialEq, Debug)]
        #[repr(align(64))]
        struct Wide(u8);
        let block = Block::of(&[Wide(1), Wide(2)], 0, 7_u16);
        assert_eq!((&*block, block.note), (&[Wide(1), Wide(2)][..], 7));
        assert!(block.as_ptr().is_aligned());
        let mut block = Block::<Wide, (), u32>::with_capacity(1, ());
        block.unique().unwrap().push_stamped(Wide(3), 4);
        block.resize(17);
        assert_eq!((&*block, block.stamps()), (&[Wide(3)][..], &[4][..]));
        assert!(block.as_ptr().is_aligned());
        assert_eq!(Block::of(&[(); 300], 0, ()).len(), 300);
    }

    #[test]
    fn any_thread_can_drop_a_handle() {
        let live = Arc::new(());
        let block = Block::of(&[live.clone(), live.clone()], 0, ());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let block = block.clone();
                scope.spawn(move || assert_eq!(block.clone().len(), 2));
            }
            drop(block);
        });
        assert_eq!(Arc::strong_count(&live), 1);
    }
}
