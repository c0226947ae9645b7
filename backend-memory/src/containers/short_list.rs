//! A list that is no pointer: a few plain numbers, where the list itself lies.

#![expect(unsafe_code, reason = "as many numbers as fit, whatever their size, some of them not there yet")]

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::slice;

/// Words of the elements.
const WORDS: usize = 2;

/// Up to 16 bytes of plain numbers; of a type that is none, no element ever.
///
/// The table copies its bits while another thread may be looking at the elements. That is right for plain numbers. That a
/// type needs no drop would not be enough: it might be a `Clone` type around an atomic or a `Mutex`.
pub(crate) struct ShortList<T> {
    words: [MaybeUninit<u64>; WORDS],
    /// The first so many elements are there.
    len: u8,
    items: PhantomData<T>,
}

/// True if values of a type are numbers (or `bool` or `char`), which the compiler knows. None of these types has a stricter
/// alignment than a word.
#[inline(always)]
fn is_plain<T: 'static>() -> bool {
    macro_rules! is_one_of {
        ($($plain:ty)*) => { $(TypeId::of::<T>() == TypeId::of::<$plain>())||* };
    }
    is_one_of! { u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64 bool char }
}

impl<T> ShortList<T> {
    /// A list without elements.
    pub(crate) const fn new() -> Self {
        Self { words: [MaybeUninit::uninit(); WORDS], len: 0, items: PhantomData }
    }
}

impl<T: 'static> ShortList<T> {
    /// How many elements there can be.
    #[inline(always)]
    fn capacity() -> usize {
        if is_plain::<T>() { size_of::<[u64; WORDS]>() / size_of::<T>() } else { 0 }
    }

    /// True if so many more elements fit.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        more <= Self::capacity() - self.len()
    }

    /// Adds an element at the end if it fits, or else gives it back.
    #[inline(always)]
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        let len = usize::from(self.len);
        if len >= Self::capacity() {
            return Err(item);
        }
        // SAFETY: there is room for one more element of this type, which words are aligned for.
        unsafe { self.words.as_mut_ptr().cast::<T>().add(len).write(item) };
        self.len += 1;
        Ok(())
    }

    /// Drops the elements from number `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        // No more than there were.
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
        // SAFETY: so many elements of this type are there, which words are aligned for.
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
    fn numbers_fill_two_words_whatever_their_size() {
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
    fn what_may_change_where_it_lies_or_owns_something_is_never_taken() {
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
