//! A list of a few plain numbers, stored inline.

#![expect(unsafe_code, reason = "inline storage for numbers of several sizes, partly uninitialized")]

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::slice;

/// Words of storage.
const WORDS: usize = 2;

/// Up to 16 bytes of plain numbers. For other types it has no capacity.
///
/// The table copies its bits while another thread may read the elements. That is sound for plain numbers. A
/// type without drop glue is not enough: it could be a `Clone` type around an atomic or a `Mutex`.
pub(crate) struct ShortList<T> {
    words: [MaybeUninit<u64>; WORDS],
    /// Number of elements.
    len: u8,
    items: PhantomData<T>,
}

/// True if `T` is a numeric type, `bool` or `char`. Decided at compile time. None of these types needs more
/// than a word's alignment.
#[inline(always)]
fn is_plain<T: 'static>() -> bool {
    macro_rules! is_one_of {
        ($($plain:ty)*) => { $(TypeId::of::<T>() == TypeId::of::<$plain>())||* };
    }
    is_one_of! { u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64 bool char }
}

impl<T> ShortList<T> {
    pub(crate) const fn new() -> Self {
        Self { words: [MaybeUninit::uninit(); WORDS], len: 0, items: PhantomData }
    }
}

impl<T: 'static> ShortList<T> {
    /// Largest number of elements.
    #[inline(always)]
    fn capacity() -> usize {
        if is_plain::<T>() { size_of::<[u64; WORDS]>() / size_of::<T>() } else { 0 }
    }

    /// True if `more` further elements fit.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        more <= Self::capacity() - self.len()
    }

    /// Appends an element if it fits. Otherwise returns it.
    #[inline(always)]
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        let len = usize::from(self.len);
        if len >= Self::capacity() {
            return Err(item);
        }
        // SAFETY: there is room for one more element of this type, and words are aligned for it.
        unsafe { self.words.as_mut_ptr().cast::<T>().add(len).write(item) };
        self.len += 1;
        Ok(())
    }

    /// Drops the elements from index `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        // Not more than the present number, which fits.
        self.len = len.min(self.len()) as u8;
    }
}

impl<T: 'static> Deref for ShortList<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        if !is_plain::<T>() {
            return &[];
        }
        // SAFETY: `len` elements of this type are initialized, and words are aligned for it.
        unsafe { slice::from_raw_parts(self.words.as_ptr().cast(), usize::from(self.len)) }
    }
}

impl<T> Clone for ShortList<T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn numbers_of_any_size_fill_two_words() {
        let mut list = ShortList::new();
        assert!((0..16_u8).all(|item| list.has_room(1) && list.push(item).is_ok()));
        assert_eq!((list.push(16), list.has_room(1)), (Err(16), false));
        assert!(list.iter().copied().eq(0..16));
        let mut copy = list.clone();
        copy.truncate(3);
        copy.truncate(5);
        assert_eq!((&*copy, copy.has_room(13), copy.has_room(14)), (&[0, 1, 2][..], true, false));
        assert_eq!(list.len(), 16);
        let mut list = ShortList::new();
        assert_eq!([1.5, -0.0, f64::NAN].map(|item| list.push(item).is_ok()), [true, true, false]);
        assert_eq!(list.to_vec(), [1.5, 0.0]);
    }

    #[test]
    fn types_with_interior_mutability_or_heap_memory_are_refused() {
        #[repr(align(64))]
        struct Wide;
        assert!(ShortList::new().push(Cell::new(1_u32)).is_err());
        assert!(ShortList::new().push(AtomicU32::new(1)).is_err());
        assert!(ShortList::new().push(Some(1_u32)).is_err());
        assert!(ShortList::new().push(String::new()).is_err());
        assert!(ShortList::new().push(()).is_err());
        assert!(ShortList::<Wide>::new().is_empty());
        assert!(ShortList::<String>::new().clone().is_empty());
    }
}
