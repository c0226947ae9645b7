//! Which entries leave the caches.
//!
//! All caches of a backend share one budget. When it is exceeded the largest of them frees some bytes. It
//! finds entries that were not used lately by a clock: the hand takes the mark of an entry that was used, and
//! picks one without a mark. Dirty entries are written first, many at once. What is read is not kept while
//! few reads hit.

use super::slots::{Slot, Slots};
use super::{AnyCache, Budget, Write};
use backend_api::Result;

/// Most bytes that are freed at once. The backend waits for them to be written.
const STEP_MAX: usize = 512 << 10;

/// One part in this many of the budget is freed at once.
const STEP_SHARE: usize = 16;

/// Slots that are looked at in search of clean ones.
const CLEAN_SEARCHED: usize = 4096;

/// Lookups from which the share of hits is taken.
const SAMPLE: u32 = 4096;

/// What is read is kept if at least one lookup in this many hits.
const HIT_SHARE: u32 = 5;

/// Bytes to free, and the cache that frees them.
pub(crate) struct Eviction<'c> {
    cache: &'c dyn AnyCache,
    bytes: usize,
}

impl<'c> Eviction<'c> {
    /// What is due now that the budget is exceeded. `None` if there is no cache.
    pub fn due(budget: &Budget, caches: impl Iterator<Item = &'c dyn AnyCache>) -> Option<Self> {
        let bytes = budget.excess() + (budget.max() / STEP_SHARE).min(STEP_MAX);
        caches.max_by_key(|cache| cache.bytes()).map(|cache| Self { cache, bytes })
    }

    /// Takes out clean entries that a short search finds. Gives `false` if it finds none.
    pub fn take_clean(&self) -> bool {
        self.cache.evict_clean(self.bytes, CLEAN_SEARCHED)
    }

    /// Takes out entries until the bytes are free or all are out. Dirty ones are written first.
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
    /// Picks slots that were not used lately and that `fits` agrees to, among the next `searched` ones, until
    /// they have `bytes` together.
    pub fn pick<O: Default>(
        &mut self,
        slots: &mut Slots<O>,
        bytes: usize,
        searched: usize,
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
            if slot.used {
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

    /// Picks slots until they have `bytes` together, or all of them.
    pub fn pick_any<O: Default>(&mut self, slots: &mut Slots<O>, bytes: usize) -> Vec<u32> {
        // The first round takes all marks, the second one all slots.
        self.pick(slots, bytes, slots.end() * 2, |_| true)
    }
}

/// Tells by the share of hits whether what is read is worth keeping.
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

    /// What the last lookup found was not enough: it was no hit.
    pub fn missed(&mut self) {
        self.hits = self.hits.saturating_sub(1);
    }

    /// True if what is read should be kept.
    pub fn keeps_reads(&self) -> bool {
        self.keeps_reads
    }
}
