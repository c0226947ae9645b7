//! What loom does not have: an `Arc` with weak references, with the orderings of the standard library's; and a watch over
//! who uses which segment.

use std::{cell::RefCell, collections::HashMap, ops::Deref, ptr::NonNull, rc::Rc};

use loom::{
    cell::{ConstPtr, UnsafeCell},
    sync::atomic::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};

struct Counted<T> {
    strong: AtomicUsize,
    /// Weak references, and one more for all strong ones.
    weak: AtomicUsize,
    value: std::cell::UnsafeCell<Option<T>>,
}

/// `std::sync::Arc`.
pub(in crate::table) struct Arc<T>(NonNull<Counted<T>>);

/// `std::sync::Weak`.
pub(in crate::table) struct Weak<T>(Option<NonNull<Counted<T>>>);

// SAFETY: as the standard library's.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for Weak<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Weak<T> {}

impl<T> Arc<T> {
    pub(in crate::table) fn new(value: T) -> Self {
        let (strong, weak) = (AtomicUsize::new(1), AtomicUsize::new(1));
        Self(NonNull::from(Box::leak(Box::new(Counted { strong, weak, value: Some(value).into() }))))
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: a strong reference keeps it alive.
        unsafe { self.0.as_ref() }
    }

    pub(in crate::table) fn downgrade(this: &Self) -> Weak<T> {
        this.counted().weak.fetch_add(1, Relaxed);
        Weak(Some(this.0))
    }

    pub(in crate::table) fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.0 == other.0
    }

    pub(in crate::table) fn into_inner(this: Self) -> Option<T> {
        std::mem::ManuallyDrop::new(this).release()
    }

    /// Gives up this reference, and takes the value if it was the last.
    fn release(&self) -> Option<T> {
        if self.counted().strong.fetch_sub(1, Release) != 1 {
            return None;
        }
        fence(Acquire);
        let _all_strong = Weak(Some(self.0));
        // SAFETY: nobody else has a reference to the value.
        unsafe { &mut *self.counted().value.get() }.take()
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.counted().strong.fetch_add(1, Relaxed);
        Self(self.0)
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is there as long as a strong reference is, and nobody changes it.
        unsafe { &*self.counted().value.get() }.as_ref().expect("a strong reference")
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        drop(self.release());
    }
}

impl<T> Weak<T> {
    pub(in crate::table) fn new() -> Self {
        Self(None)
    }

    pub(in crate::table) fn upgrade(&self) -> Option<Arc<T>> {
        let counted = self.0?;
        // SAFETY: a weak reference keeps the counts alive.
        let strong = unsafe { &counted.as_ref().strong };
        strong.fetch_update(Acquire, Relaxed, |n| (n > 0).then(|| n + 1)).ok().map(|_| Arc(counted))
    }
}

impl<T> Drop for Weak<T> {
    fn drop(&mut self) {
        let Some(counted) = self.0 else { return };
        // SAFETY: a weak reference keeps the counts alive; the last frees them.
        unsafe {
            if counted.as_ref().weak.fetch_sub(1, Release) == 1 {
                fence(Acquire);
                drop(Box::from_raw(counted.as_ptr()));
            }
        }
    }
}

std::thread_local! {
    /// Who uses the segment at an address. Loom runs all its threads in one of the system's.
    static WATCHED: RefCell<HashMap<usize, Rc<UnsafeCell<()>>>> = RefCell::default();
}

/// Forgets who used which segment: a new execution of loom's begins.
pub(in crate::table) fn forget() {
    WATCHED.with_borrow_mut(HashMap::clear);
}

/// As [`super::reading`] says: loom panics if the segment is taken meanwhile, or may have been taken before.
pub(in crate::table) fn reading(segment: *const u8) -> Option<ConstPtr<()>> {
    let watched = WATCHED.with_borrow(|watched| watched.get(&segment.addr()).cloned());
    // The segment of nothing is never taken.
    watched.map(|watched| watched.get())
}

/// As [`super::taking`] says: loom panics if a snapshot reads the segment, or may have read it later than this.
pub(in crate::table) fn taking(segment: *const u8) {
    let new = || Rc::new(UnsafeCell::new(()));
    let watched =
        WATCHED.with_borrow_mut(|watched| watched.entry(segment.addr()).or_insert_with(new).clone());
    watched.with_mut(|_| ());
}
