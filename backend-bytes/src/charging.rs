//! Seeing to it that no list or map grows beyond the limit.

use std::collections::BTreeMap;

use super::access::Access;
use super::cache::{Cache, Collection};
use super::totals::Change;
use super::{EntryKey, WriteOp};
use backend_api::{Error, ErrorKind, Result, StateKey, StateKind};

/// Entries of a list or map that is cleared, which are looked at for their bytes.
const CLEARED: usize = 256;

impl Access<'_> {
    /// Bytes of an entry that count to the total of its list or map: of the element, or of map key and value.
    #[inline]
    pub fn content(&self, entry: usize) -> u64 {
        entry.saturating_sub(self.head_len()) as u64
    }

    fn head_len(&self) -> usize {
        self.prefix_len() + if self.place.meta.kind == StateKind::List { EntryKey::SEQUENCE_BYTES } else { 0 }
    }

    /// Whether of what is replaced or removed here the bytes should be found out, when so many are added.
    #[inline]
    pub fn is_close(&self, added: u64) -> bool {
        self.totals.is_close(&self.buffers.key, added)
    }

    /// Makes `apply` change the list or map here, if it is within the limit then. Where that must be counted, `settle` sees
    /// to it that the store knows all of it.
    #[inline]
    pub fn charged(
        &mut self,
        change: Change,
        settle: impl FnOnce(&mut Self) -> Result<()>,
        apply: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if !self.totals.charge(&self.buffers.key, change) {
            self.charge_counted(change, settle)?;
        }
        apply(self).inspect_err(|_| {
            self.totals.add(&self.buffers.key, change.removed);
            self.totals.credit(&self.buffers.key, change.added);
        })
    }

    #[cold]
    fn charge_counted(&mut self, change: Change, settle: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let total = match self.totals.known(&self.buffers.key) {
            Some(total) => total,
            None => {
                settle(self)?;
                let total = self.least_stored(usize::MAX)?;
                self.totals.know(&self.buffers.key, total);
                if self.totals.charge(&self.buffers.key, change) {
                    return Ok(());
                }
                total
            }
        };
        Err(self.too_long(total.saturating_sub(change.removed).saturating_add(change.added)))
    }

    /// Makes `add` fill the batch, and writes it if the list or map here is within the limit then, of which the store knows
    /// all. If it fails or panics, nothing is written.
    pub fn write_charged(&mut self, add: impl FnOnce(&mut Self) -> Result<Change>) -> Result<()> {
        self.buffers.batch.clear();
        let change = add(self).map_err(|error| self.place.name(error))?;
        self.charged(change, |_| Ok(()), Self::commit)
    }

    /// As [`write_charged`](Self::write_charged), of map entries that are put and removed.
    pub fn write_entries(&mut self, add: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.write_charged(|access| {
            add(access)?;
            access.entries_in_batch()
        })
    }

    /// Bytes of the map entries in the batch, and of those that they replace.
    fn entries_in_batch(&self) -> Result<Change> {
        let prefix = self.prefix_len();
        let pairs = || {
            self.buffers.batch.iter().map(|op| match op {
                WriteOp::Put { key, value } => (key, (key.len() - prefix + value.len()) as u64),
                WriteOp::Delete { key } | WriteOp::DeleteRange { from: key, .. } => (key, 0),
            })
        };
        let added = pairs().map(|(_, bytes)| bytes).sum();
        if !self.is_close(added) {
            return Ok(Change { added, removed: 0 });
        }
        // Of one that is put twice only the last counts.
        let mut change = Change::default();
        for (key, bytes) in pairs().collect::<BTreeMap<_, _>>() {
            change.added += bytes;
            let mut old = 0;
            self.store.get(key, &mut |value| {
                old = value.map_or(0, |value| key.len() - prefix + value.len());
            })?;
            change.removed += old as u64;
        }
        Ok(change)
    }

    /// Notes a list that replaced the one here, if it is not too long.
    pub fn replaced(&mut self, change: Change, replace: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if change.added > self.entry_bytes_max {
            return Err(self.too_long(change.added));
        }
        replace(self)?;
        self.totals.clear(&self.buffers.key, change.removed);
        self.totals.add(&self.buffers.key, change.added);
        Ok(())
    }

    /// Notes that the list in another namespace, of so many bytes, is empty now.
    pub fn emptied<N: StateKey>(&mut self, namespace: &N, bytes: u64) -> Result<()> {
        self.set_other(namespace)?;
        self.totals.clear(&self.buffers.from, bytes);
        Ok(())
    }

    /// Bytes that there certainly are here, to be credited when they go; 0 where that does not matter.
    pub fn least<O: Collection>(&mut self, cache: Option<&Cache<O>>) -> Result<u64> {
        // One that is known is forgotten.
        if !self.is_close(0) || self.totals.known(&self.buffers.key).is_some() {
            return Ok(0);
        }
        if let Some(cache) = cache {
            let mut table = cache.lock();
            // Of a part the store has more, and, unless it is dirty, nothing that is removed, which was credited then.
            if let Some(at) = table.find(&self.buffers.key)
                && (table.is_dirty(at) || table.object(at).is_some_and(O::is_whole))
            {
                return Ok(table.learn(at, |collection, codec| collection.least(codec)).unwrap_or_default());
            }
        }
        self.least_stored(CLEARED)
    }

    /// Bytes of the first entries here in the store.
    fn least_stored(&mut self, entries: usize) -> Result<u64> {
        let (place, head) = (self.place, self.head_len());
        let mut cursor = self.scan_all()?;
        let mut bytes = 0;
        for _ in 0..entries {
            match cursor.next().map_err(|error| place.name(error))? {
                Some((key, value)) => bytes += (key.len() + value.len()).saturating_sub(head) as u64,
                None => break,
            }
        }
        Ok(bytes)
    }

    #[cold]
    fn too_long(&self, total: u64) -> Error {
        let (kind, max) = (self.place.meta.kind, self.entry_bytes_max);
        let message = format!("a {kind} of {total} bytes exceeds the limit of {max} bytes for all of one");
        self.place.name(Error::new(ErrorKind::Size, message))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::access::Buffers;
    use super::super::cache::{AnyCache, Budget, CachedList, CachedMap};
    use super::super::lists::Lists;
    use super::super::maps::Maps;
    use super::super::totals::Totals;
    use super::super::{BTreeStore, ByteStore};
    use super::*;
    use backend_api::PlainCodec;
    use backend_api::format::StateMeta;

    const LIMIT: u64 = 100 << 10;

    type List = CachedList<String>;
    type Map = CachedMap<u8, String>;

    /// One list or map.
    struct World<O: Collection<Value = String>> {
        store: BTreeStore,
        buffers: Buffers,
        totals: Totals,
        meta: StateMeta,
        cache: Cache<O>,
    }

    impl<O: Collection<Value = String>> World<O> {
        fn new(kind: StateKind, bound: u64) -> Self {
            let meta = StateMeta {
                name: "state".to_owned(),
                kind,
                namespace_schema: String::new(),
                codecs: Vec::new(),
                table_seed: 0,
                options: Default::default(),
            };
            Self {
                store: BTreeStore::default(),
                buffers: Buffers::starting_at(0),
                totals: Totals::with_bounds(LIMIT, &[bound]),
                meta,
                cache: Cache::new(0, 0, Arc::new(PlainCodec), Budget::new(1 << 20)),
            }
        }

        fn access(&mut self) -> Access<'_> {
            let Self { store, buffers, totals, meta, .. } = self;
            Access::new(store, buffers, totals, meta, (0, 0), (&0_u8, &()), LIMIT).unwrap()
        }

        /// Does something, and clears what is there then; again and again.
        fn churn(mut self, fill: impl Fn(&mut Self)) {
            for _ in 0..40 {
                fill(&mut self);
                let cache = self.cache.clone();
                let mut access = self.access();
                let at = cache.lock().find(access.key()).unwrap();
                assert!(!cache.lock().is_dirty(at) && !cache.lock().object(at).unwrap().is_whole());
                access.clear_collection(Some(&cache)).unwrap();
            }
            fill(&mut self);
            let stored = self.access().least_stored(usize::MAX).unwrap();
            let bound = self.totals.bounds().into_iter().max().unwrap();
            assert!((stored..=LIMIT * 3 / 4).contains(&bound), "{bound} for {stored}");
        }

        fn flush(&mut self) {
            self.cache.flush(&mut |batch| self.store.write(batch)).unwrap();
        }

        fn evict(&mut self) {
            self.cache.evict(usize::MAX, &mut |batch| self.store.write(batch)).unwrap();
        }
    }

    fn texts(number: usize) -> impl Iterator<Item = String> {
        (0..number).map(|_| "x".repeat(500))
    }

    #[test]
    fn of_a_long_list_that_is_cleared_the_bytes_in_the_store_are_credited() {
        World::<List>::new(StateKind::List, 0).churn(|world| {
            let cache = world.cache.clone();
            let lists = Lists::new(Some(&cache), &PlainCodec);
            lists.add_all(&mut world.access(), texts(40)).unwrap();
            assert_eq!(lists.get(&mut world.access()).unwrap().len(), 40);
        });
    }

    #[test]
    fn of_a_list_of_which_a_part_was_written_the_bytes_in_the_store_are_credited() {
        World::<List>::new(StateKind::List, 0).churn(|world| {
            let cache = world.cache.clone();
            world.evict();
            Lists::new(Some(&cache), &PlainCodec).add_all(&mut world.access(), texts(10)).unwrap();
            world.flush();
        });
    }

    #[test]
    fn what_is_removed_and_not_written_is_not_credited_again() {
        let mut world = World::<Map>::new(StateKind::Map, LIMIT * 3 / 4);
        let cache = world.cache.clone();
        let maps = Maps::new(Some(&cache), &PlainCodec);
        maps.put_all(&mut world.access(), (0..).zip(texts(20))).unwrap();
        world.evict();
        assert!(world.access().least(Some(&cache)).unwrap() > 20 * 500);
        for key in 1..20 {
            maps.remove(&mut world.access(), &key).unwrap();
        }
        assert!(world.access().least(Some(&cache)).unwrap() < 2 * 500);
        world.flush();
        let left = world.access().least(Some(&cache)).unwrap();
        assert!((500..2 * 500).contains(&left), "{left}");
    }
}
