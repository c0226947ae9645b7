//! Primitives shared by the writer and the threads of snapshots. Under loom (`make loom`) they are loom's, so
//! tests run in every order of the threads and with every value that the memory orderings allow.

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

/// Marks the time during which a snapshot reads a segment.
#[cfg(not(all(test, loom)))]
pub(super) struct Reading;

/// Declares that a snapshot reads the segment at this address until the guard is dropped.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn reading(_: *const u8) -> Reading {
    Reading
}

/// Declares that only the caller uses the segment at this address from now on.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn taking(_: *const u8) {}
