//! Adding entries, and making room for them.

use backend_api::{Error, ErrorKind, Result};

use crate::table::{Placement, Table, TableKey, TableValue, segment::Segment};

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Adds an entry whose key is new; `vacancy` is where the search for it ended.
    #[inline]
    pub(in crate::table) fn insert(
        &mut self,
        group: usize,
        tag: u32,
        mut vacancy: usize,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        let (mut segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments.
        let (header, is_empty) = unsafe { (segment.header(), segment.slot(vacancy).tag() == 0) };
        if is_empty && header.is_full() {
            segment = self.make_room(group, tag)?;
            // SAFETY: the writer's segment.
            vacancy = unsafe { segment.vacancy(tag) };
        } else if header.epoch != self.epoch {
            segment = self.make_own(group, tag);
        }
        let key = key();
        // SAFETY: the writer's segment, with room or a vacated slot.
        unsafe { segment.insert(vacancy, tag, self.epoch, key, value) };
        self.groups[group].len += 1;
        self.len += 1;
        Ok(())
    }

    /// The segment for an entry with `tag`, the writer's and with room for it.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&mut self, group: usize, tag: u32) -> Result<Segment<S, V, P>> {
        loop {
            let (segment, _) = self.groups[group].segment(tag);
            // SAFETY: the writer reads its own segments.
            let header = unsafe { segment.header() };
            if !header.is_full() {
                return Ok(self.own(group, tag));
            }
            self.relieve();
            let slots = usize::from(header.slots);
            // SAFETY: as above.
            let (room, entries) = unsafe { (u32::from(header.room()), segment.entries()) };
            // An eighth of the room is worth a new segment. So entries that come and go do not make one split that has room
            // for them.
            if entries * 8 < room * 7 {
                self.rebuild(group, tag, segment, slots);
            } else if let Some(next) = Segment::<S, V, P>::next_slots(slots) {
                self.rebuild(group, tag, segment, next);
            } else if !self.split(group, tag, segment) {
                if entries >= room {
                    return Err(Error::new(ErrorKind::Size, "too many keys with one hash"));
                }
                self.rebuild(group, tag, segment, slots);
            }
        }
    }
}
