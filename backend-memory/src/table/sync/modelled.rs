//! What loom lacks: an `Arc` with weak references and the orderings of the standard library, and a check of
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
    /// Weak references, plus one for all strong references.
    weak: AtomicUsize,
    value: std::cell::UnsafeCell<Option<T>>,
}

/// `std::sync::Arc`.
pub(in crate::table) struct Arc<T>(NonNull<Counted<T>>);

/// `std::sync::Weak`.
pub(in crate::table) struct Weak<T>(Option<NonNull<Counted<T>>>);

// SAFETY: as for `std::sync::Arc`.
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

    /// Drops this reference. Returns the value if it was the last one.
    fn release(&self) -> Option<T> {
        if self.counted().strong.fetch_sub(1, Release) != 1 {
            return None;
        }
        fence(Acquire);
        let _all_strong = Weak(Some(self.0));
        // SAFETY: this was the last reference to the value.
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
        // SAFETY: a strong reference keeps the value, and nothing changes it.
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
        // SAFETY: a weak reference keeps the counts alive. The last one frees them.
        unsafe {
            if counted.as_ref().weak.fetch_sub(1, Release) == 1 {
                fence(Acquire);
                drop(Box::from_raw(counted.as_ptr()));
            }
        }
    }
}

std::thread_local! {
    /// Users of the segment at each address. Loom runs all its threads on one system thread.
    static WATCHED: RefCell<HashMap<usize, Rc<UnsafeCell<()>>>> = RefCell::default();
}

/// Forgets all users. Called when loom starts a new execution.
pub(in crate::table) fn forget() {
    WATCHED.with_borrow_mut(HashMap::clear);
}

/// See [`super::reading`]. Loom panics if the segment is taken meanwhile, or could have been taken before.
pub(in crate::table) fn reading(segment: *const u8) -> Option<ConstPtr<()>> {
    let watched = WATCHED.with_borrow(|watched| watched.get(&segment.addr()).cloned());
    // The shared empty segment is never taken.
    watched.map(|watched| watched.get())
}

/// See [`super::taking`]. Loom panics if a snapshot reads the segment, or could have read it later.
pub(in crate::table) fn taking(segment: *const u8) {
    let new = || Rc::new(UnsafeCell::new(()));
    let watched =
        WATCHED.with_borrow_mut(|watched| watched.entry(segment.addr()).or_insert_with(new).clone());
    watched.with_mut(|_| ());
}
