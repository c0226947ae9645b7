//! Which entries leave the caches.
//!
//! All caches of a backend share one budget. When it is exceeded, the largest cache evicts some bytes. A
//! clock finds entries that were not used lately: the hand clears the mark of used entries, and picks entries
//! without a mark, and entries that have expired. Dirty entries are written first, in batches. While few reads hit, values that were read
//! are not kept.

use super::slots::{Slot, Slots};
use super::{AnyCache, Budget, Write};
use backend_api::Result;

/// Most bytes evicted at once. The backend waits while they are written.
const STEP_MAX: usize = 512 << 10;

/// Fraction of the budget evicted at once.
const STEP_SHARE: usize = 16;

/// Slots searched for clean ones.
const CLEAN_SEARCHED: usize = 4096;

/// Lookups per sample of the hit rate.
const SAMPLE: u32 = 4096;

/// Values that were read are kept if at least one lookup in this many hits.
const HIT_SHARE: u32 = 5;

/// Bytes to evict, and the cache to evict them from.
pub(crate) struct Eviction<'c> {
    cache: &'c dyn AnyCache,
    bytes: usize,
}

impl<'c> Eviction<'c> {
    /// The eviction that is due because the budget is exceeded. `None` without caches.
    pub fn due(budget: &Budget, caches: impl Iterator<Item = &'c dyn AnyCache>) -> Option<Self> {
        let bytes = budget.excess() + (budget.max() / STEP_SHARE).min(STEP_MAX);
        caches.max_by_key(|cache| cache.bytes()).map(|cache| Self { cache, bytes })
    }

    /// Evicts clean entries found by a short search. Returns false if there are none.
    pub fn take_clean(&self) -> bool {
        self.cache.evict_clean(self.bytes, CLEAN_SEARCHED)
    }

    /// Evicts entries until the bytes are free or the cache is empty. Writes dirty ones first.
    pub fn take(&self, write: &mut Write<'_>) -> Result<()> {
        self.cache.evict(self.bytes, write)
    }
}

/// The hand of the clock.
#[derive(Default)]
pub(super) struct Clock {
    hand: usize,
}

impl Clock {
    /// Picks slots that were not used lately or have expired, and that `fits` accepts, among the next `searched` ones,
    /// until they have `bytes` together.
    pub fn pick<O: Default>(
        &mut self,
        slots: &mut Slots<O>,
        bytes: usize,
        searched: usize,
        has_expired: impl Fn(&Slot<O>) -> bool,
        fits: impl Fn(&Slot<O>) -> bool,
    ) -> Vec<u32> {
        let (mut picked, mut freed) = (Vec::new(), 0);
        for _ in 0..searched {
            if freed >= bytes {
                break;
            }
            let at = self.hand as u32;
            self.hand = if self.hand + 1 < slots.end() { self.hand + 1 } else { 0 };
            let Some(slot) = slots.get_mut(at) else { continue };
            if slot.used && !has_expired(slot) {
                slot.used = false;
            } else if slot.bytes > 0 && fits(slot) {
                freed += slot.bytes as usize;
                picked.push(at);
            }
        }
        picked.sort_unstable();
        picked.dedup();
        picked
    }

    /// Picks slots until they have `bytes` together, or all slots.
    pub fn pick_any<O: Default>(
        &mut self,
        slots: &mut Slots<O>,
        bytes: usize,
        has_expired: impl Fn(&Slot<O>) -> bool,
    ) -> Vec<u32> {
        // The first round clears all marks, the second one picks all slots.
        self.pick(slots, bytes, slots.end() * 2, has_expired, |_| true)
    }
}

/// Decides by the hit rate if values that were read are kept.
pub(super) struct Admission {
    lookups: u32,
    hits: u32,
    keeps_reads: bool,
}

impl Admission {
    pub fn new() -> Self {
        Self { lookups: 0, hits: 0, keeps_reads: true }
    }

    /// Counts a lookup.
    #[inline]
    pub fn count(&mut self, is_hit: bool) {
        self.lookups += 1;
        self.hits += u32::from(is_hit);
        if self.lookups >= SAMPLE {
            self.keeps_reads = self.hits >= self.lookups / HIT_SHARE;
            (self.lookups, self.hits) = (0, 0);
        }
    }

    /// Counts the last lookup as a miss, because what it found was incomplete.
    pub fn missed(&mut self) {
        self.hits = self.hits.saturating_sub(1);
    }

    /// True if values that are read should be kept.
    pub fn keeps_reads(&self) -> bool {
        self.keeps_reads
    }
}
