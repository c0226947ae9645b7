//! Adding entries, and making room for them.

use backend_api::{Error, ErrorKind, Result};

use crate::table::{KeyHash, Placement, Table, TableKey, TableValue, segment::Segment};

/// Further hashes that are tried for an entry. In a small group each falls into a full part with a chance of
/// at most 1 in 64, and in a large group with a far smaller one.
const REHASHES: u8 = 8;

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Adds an entry whose key is new. `tag` and `vacancy` come from the search for it.
    #[inline]
    pub(in crate::table) fn insert(
        &mut self,
        group: usize,
        hash: impl KeyHash,
        (tag, mut vacancy): (u32, usize),
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        self.touch(group);
        let (mut segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments.
        let (header, is_empty) = unsafe { (segment.header(), segment.slot(vacancy).tag() == 0) };
        if is_empty && header.is_full() {
            let Some(roomy) = self.make_room(group, tag) else {
                return self.insert_rehashed(group, hash, key, value);
            };
            segment = roomy;
            // SAFETY: the segment belongs to the writer.
            vacancy = unsafe { segment.vacancy(tag) };
        } else if header.epoch != self.epoch {
            segment = self.make_own(group, tag);
        }
        let key = key();
        // SAFETY: the segment belongs to the writer, and has room or a vacated slot.
        unsafe { segment.insert(vacancy, tag, self.epoch + 1, key, value) };
        self.groups[group].len += 1;
        self.len += 1;
        Ok(())
    }

    /// Adds an entry by another hash of its key, because too many keys have the first one.
    #[cold]
    #[inline(never)]
    fn insert_rehashed(
        &mut self,
        group: usize,
        hash: impl KeyHash,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        for attempt in 1..=REHASHES {
            let tag = self.tag(hash.rehash(&self.secret, attempt));
            let Some(segment) = self.make_room(group, tag) else { continue };
            let key = key();
            // SAFETY: the segment belongs to the writer, and has room.
            unsafe { segment.insert(segment.vacancy(tag), tag, self.epoch + 1, key, value) };
            let entries = &mut self.groups[group];
            entries.rehashed = entries.rehashed.max(attempt);
            entries.len += 1;
            self.len += 1;
            return Ok(());
        }
        Err(Error::new(ErrorKind::Size, "too many keys with one hash"))
    }

    /// Returns the segment for an entry with `tag`, owned by the writer and with room. `None` if too many
    /// tags are equal.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&mut self, group: usize, tag: u32) -> Option<Segment<S, V, P>> {
        loop {
            let (segment, _) = self.groups[group].segment(tag);
            // SAFETY: the writer reads its own segments.
            let header = unsafe { segment.header() };
            if !header.is_full() {
                return Some(self.own(group, tag));
            }
            self.relieve();
            let slots = usize::from(header.slots);
            // SAFETY: as above.
            let (room, entries) = unsafe { (u32::from(header.room()), segment.entries()) };
            // If vacated slots make up an eighth, a rebuild suffices. Entries that come and go then do not
            // split a segment that has room for them.
            if entries * 8 < room * 7 {
                self.rebuild(group, tag, segment, slots);
            } else if let Some(next) = Segment::<S, V, P>::next_slots(slots) {
                self.rebuild(group, tag, segment, next);
            } else if !self.split(group, tag, segment) {
                if entries >= room {
                    return None;
                }
                self.rebuild(group, tag, segment, slots);
            }
        }
    }
}
