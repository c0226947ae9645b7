//! From hashes to slots.

/// Buckets of an index that has none yet.
const BUCKETS_MIN: usize = 16;

/// A hash table of the numbers of slots, probed linearly. A bucket holds the hash too, so that a look-up reads one bucket
/// and the slot that it means, and growing reads no slot.
#[derive(Default)]
pub(super) struct Index {
    /// A power of two of them, or none.
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    hash: u32,
    /// The number of the slot plus one; 0 if the bucket is empty.
    slot: u32,
}

impl Index {
    /// The slot of that hash that `is_it` agrees to.
    #[inline]
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let bucket = self.buckets.get(at)?;
            if bucket.slot == 0 {
                return None;
            }
            if bucket.hash == hash && is_it(bucket.slot - 1) {
                return Some(bucket.slot - 1);
            }
            at = self.next(at);
        }
    }

    /// Adds a slot that is not there; its number is below `u32::MAX`.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        if self.len >= self.buckets.len() / 4 * 3 {
            self.grow();
        }
        self.len += 1;
        self.place(Bucket { hash, slot: slot + 1 });
    }

    /// Removes a slot, if it is there.
    pub fn remove(&mut self, hash: u32, slot: u32) {
        let mut hole = self.home(hash);
        loop {
            match self.buckets.get(hole) {
                Some(bucket) if bucket.slot == slot + 1 && bucket.hash == hash => break,
                Some(bucket) if bucket.slot != 0 => hole = self.next(hole),
                _ => return,
            }
        }
        self.len -= 1;
        // What follows without a gap must still be found from its home.
        let mask = self.buckets.len() - 1;
        let mut at = hole;
        loop {
            at = self.next(at);
            let bucket = self.buckets[at];
            if bucket.slot == 0 {
                break;
            }
            let from_home = at.wrapping_sub(self.home(bucket.hash)) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.buckets[hole] = bucket;
                hole = at;
            }
        }
        self.buckets[hole] = Bucket::default();
    }

    /// The bucket where the search for a hash begins: its leading bits, so that growing moves on steadily.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.buckets.len() - 1)
    }

    fn place(&mut self, bucket: Bucket) {
        let mut at = self.home(bucket.hash);
        while self.buckets[at].slot != 0 {
            at = self.next(at);
        }
        self.buckets[at] = bucket;
    }

    #[cold]
    fn grow(&mut self) {
        let buckets = (self.buckets.len() * 2).max(BUCKETS_MIN);
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::default(); buckets]);
        old.into_iter().filter(|bucket| bucket.slot != 0).for_each(|bucket| self.place(bucket));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_added_and_not_removed(
            // Few hashes, at both ends: runs of buckets that collide and wrap around.
            steps in prop::collection::vec((any::<bool>(), 0..100_u32, 0..4_usize), 1..400),
        ) {
            let hashes = [0, 1 << 31, u32::MAX - 1, u32::MAX];
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (adds, slot, hash) in steps {
                let hash = hashes[hash];
                if !adds {
                    index.remove(hash, slot);
                    model.remove(&(hash, slot));
                } else if model.insert((hash, slot)) {
                    index.insert(hash, slot);
                }
                for hash in hashes {
                    for slot in 0..100 {
                        let found = index.find(hash, |at| at == slot);
                        prop_assert_eq!(found, model.contains(&(hash, slot)).then_some(slot));
                    }
                }
            }
        }
    }
}
