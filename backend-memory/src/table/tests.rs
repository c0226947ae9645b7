//! Compares the table with a plain map, with snapshots read late, partly, in another thread or never.

mod concurrency;
mod filling;
#[cfg(loom)]
mod hand_over;
mod model;
mod structure;

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
    },
};

use super::{Container, Handle, KeyHash, Placement, Table, TableKey, TableValue, UserValue, Walk};

// SAFETY: plain data.
unsafe impl TableKey for u64 {
    fn heap_size(&self) -> usize {
        0
    }
}

// SAFETY: a string has no interior mutability in its own bytes.
unsafe impl TableKey for String {
    fn heap_size(&self) -> usize {
        self.capacity()
    }
}

/// The identity. Keys that share this hash share all further ones too.
impl KeyHash for u64 {
    fn hash(self) -> u64 {
        self
    }

    fn rehash(self, secret: &RandomState, attempt: u8) -> u64 {
        secret.hash_one((self, attempt))
    }
}

trait TestKey: TableKey {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl TestKey for u64 {
    fn of(number: u64) -> Self {
        number
    }
    fn number(&self) -> u64 {
        *self
    }
}

impl TestKey for String {
    fn of(number: u64) -> Self {
        format!("key {number}")
    }
    fn number(&self) -> u64 {
        self[4..].parse().unwrap()
    }
}

/// A value made from a number. Types with drop glue count themselves in `alive`.
trait TestValue: TableValue {
    fn of(number: u64, alive: &Arc<AtomicIsize>) -> Self;
    fn number(&self) -> u64;
}

impl TestValue for u64 {
    fn of(number: u64, _: &Arc<AtomicIsize>) -> Self {
        number
    }
    fn number(&self) -> u64 {
        *self
    }
}

impl TestValue for Vec<u8> {
    fn of(number: u64, _: &Arc<AtomicIsize>) -> Self {
        number.to_le_bytes().to_vec()
    }
    fn number(&self) -> u64 {
        u64::from_le_bytes(self.as_slice().try_into().unwrap())
    }
}

impl TestValue for String {
    fn of(number: u64, _: &Arc<AtomicIsize>) -> Self {
        number.to_string()
    }
    fn number(&self) -> u64 {
        self.parse().unwrap()
    }
}

/// Counts its live instances.
struct Counted {
    number: Box<u64>,
    alive: Arc<AtomicIsize>,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        fuss();
        self.alive.fetch_add(1, Ordering::Relaxed);
        Self { number: self.number.clone(), alive: self.alive.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TestValue for Counted {
    fn of(number: u64, alive: &Arc<AtomicIsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { number: Box::new(number), alive: alive.clone() }
    }
    fn number(&self) -> u64 {
        *self.number
    }
}

/// A type without drop glue whose `Clone` can panic.
#[derive(Debug)]
struct Fussy(u64);

impl Clone for Fussy {
    fn clone(&self) -> Self {
        fuss();
        Self(self.0)
    }
}

impl TestValue for Fussy {
    fn of(number: u64, _: &Arc<AtomicIsize>) -> Self {
        Self(number)
    }
    fn number(&self) -> u64 {
        self.0
    }
}

thread_local! {
    /// Number of clones until one panics, or 0.
    static FUSE: Cell<u32> = const { Cell::new(0) };
}

fn fuss() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    if left == 1 {
        // Skips the panic hook, which would print.
        resume_unwind(Box::new("a clone that panics"));
    }
}

/// A handle: `triomphe` counts references, `Counted` counts values.
type Shared = triomphe::Arc<Counted>;

// SAFETY: a counted pointer, whose bits may be copied.
unsafe impl<T: Send + Sync + 'static> Handle for triomphe::Arc<T> {}

impl TestValue for Shared {
    fn of(number: u64, alive: &Arc<AtomicIsize>) -> Self {
        triomphe::Arc::new(Counted::of(number, alive))
    }
    fn number(&self) -> u64 {
        (**self).number()
    }
}

/// How the tests hash: spread out, or nearly all alike.
fn hash_of(number: u64) -> u64 {
    number.wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(29)
}
