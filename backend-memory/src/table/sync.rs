//! What the writer and the threads of snapshots share. Loom (`make loom`) puts its own in place of it, and so runs the
//! tests in every order of the threads, and with every value that the memory orderings allow a load to see.

#[cfg(not(all(test, loom)))]
pub(super) use std::sync::{
    Arc, Mutex, MutexGuard, Weak,
    atomic::{AtomicU64, fence},
};

#[cfg(all(test, loom))]
pub(super) use {
    loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, fence},
    },
    modelled::{Arc, Weak, forget, reading, taking},
};

#[cfg(all(test, loom))]
mod modelled;

/// The time in which a snapshot reads a segment.
#[cfg(not(all(test, loom)))]
pub(super) struct Reading;

/// Tells that a snapshot reads the segment at this address until the guard is dropped.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn reading(_: *const u8) -> Reading {
    Reading
}

/// Tells that from now on nobody but the caller uses the segment at this address.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn taking(_: *const u8) {}
