//! Writing the rows of a frozen state.

use std::sync::Arc;

use backend_api::format::{CheckpointWriter, SectionKind};
use backend_api::row::{ReadBack, RowOp, SortedRows};
use backend_api::{Error, Expiry, Result, StateKey};

use super::content::{Content, Expired, Write};
use super::entry_rows::{ROW_OVERHEAD, Rows};
use super::row_key::RowKey;
use crate::table::TableSnapshot;

/// A delta is written if it saves this many times its overhead. The margin is for compression, which may
/// shrink the full section more.
const MARGIN: u64 = 4;

/// Why counting the bytes of a group stopped early.
enum Stop {
    Enough,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Which rows of a state and key group are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All rows.
    Full {
        /// True if an older section must be replaced. An empty group then writes an empty section.
        replaces: bool,
    },
    /// All rows, without contents that have expired. Nothing builds on them.
    Live,
    /// The changes since the last confirmed checkpoint.
    Changes,
}

impl Extent {
    /// The kind of a section with these rows.
    fn section(self) -> SectionKind {
        match self {
            Self::Full { .. } | Self::Live => SectionKind::Full,
            Self::Changes => SectionKind::Delta,
        }
    }
}

/// Starts the rows of a key group of the state `name`, which has number `state` in the file. An older section that must be
/// replaced is replaced even if no row follows.
pub(super) fn start_rows<'r, 'w>(
    writer: &'r mut CheckpointWriter<'w>,
    (name, read_back): (&'r str, &ReadBack),
    (state, group): (u16, u16),
    extent: Extent,
) -> Result<Rows<'r, 'w>> {
    writer.read_back(state, read_back.clone());
    let kind = extent.section();
    let mut rows = Rows { writer, name, state, group, kind, begun: false, written: 0, sorted: None };
    if extent == (Extent::Full { replaces: true }) {
        rows.begin()?;
    }
    Ok(rows)
}

/// A state at the time of a snapshot. Its key groups are written once, in ascending order.
pub trait StateSnapshot: Send {
    /// The key groups with entries, ascending.
    fn groups(&self) -> Vec<u16>;

    /// The key groups that changed since the last confirmed checkpoint, ascending, including those that
    /// became empty. `None` if they are not known.
    ///
    /// # Errors
    /// [`Corrupt`](backend_api::ErrorKind::Corrupt) if restored data that the increment would take over is
    /// damaged.
    fn changed_groups(&self) -> Result<Option<Vec<u16>>>;

    /// Entries of a key group, or rows of a restored one that is passed on unchanged.
    fn entries(&self, key_group: u16) -> u64;

    /// True if the changes to a group since the last confirmed checkpoint are not known, or may be larger
    /// than the group in full.
    ///
    /// # Errors
    /// Errors of codecs.
    fn prefers_full(&self, key_group: u16) -> Result<bool>;

    /// Prepares memory for the owner's copies. Called on the thread that writes.
    fn prepare(&self);

    /// Writes a key group as part of state number `state` of the file, and returns the number of rows.
    ///
    /// # Errors
    /// Errors of codecs and of the writer.
    fn write(
        &mut self,
        key_group: u16,
        extent: Extent,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64>;
}

/// A registered state at the time of a snapshot.
pub trait CanonicalSnapshot: StateSnapshot {
    /// Writes a key group to a canonical savepoint as part of state number `state`, and returns the number of rows.
    /// `sorted` is empty, and stays so.
    ///
    /// # Errors
    /// Errors of codecs and of the writer.
    fn write_canonical(
        &mut self,
        key_group: u16,
        sorted: &mut SortedRows,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64>;
}

pub(super) struct RegisteredSnapshot<K: StateKey, N: StateKey, C: Content> {
    pub(super) snapshot: TableSnapshot<RowKey<K, N>, C::Cell, C::Placement>,
    pub(super) content: Arc<C>,
    /// Writes canonical values. Made when it is needed.
    pub(super) canonical: Option<Arc<C>>,
    pub(super) read_back: ReadBack,
    pub(super) name: String,
    /// Epoch of the last confirmed checkpoint, if any.
    pub(super) base: Option<u32>,
    /// Which contents had expired, if the state has a time to live.
    pub(super) expiry: Option<Expiry>,
    /// The first of the backend's key groups.
    pub(super) first: u16,
}

impl<K: StateKey, N: StateKey, C: Content> RegisteredSnapshot<K, N, C> {
    fn index(&self, key_group: u16) -> usize {
        usize::from(key_group - self.first)
    }

    fn key_group(&self, index: usize) -> u16 {
        self.first + index as u16
    }

    /// Compares what only a delta of the group contains (removals, and the overhead of each change) with what
    /// only the full group contains (unchanged entries).
    fn changes_may_be_larger(&self, group: usize) -> Result<bool> {
        let Some(base) = self.base else { return Ok(true) };
        let Some(removed) = self.snapshot.removed_since(group, base) else { return Ok(true) };
        let mut row = Vec::new();
        let mut extra = 0;
        for key in removed {
            row.clear();
            key.encode(&mut row)?;
            extra += ROW_OVERHEAD + row.len() as u64;
        }
        self.snapshot.look(group, Some(base), |_, cell, _| {
            extra += self.content.extra_bytes(cell, base);
            Ok::<(), Error>(())
        })?;
        let (enough, mut saved) = (extra * MARGIN, 0);
        let counted = self.snapshot.look(group, None, |key, cell, epoch| {
            if saved >= enough {
                return Err(Stop::Enough);
            }
            row.clear();
            let is_changed = epoch > base;
            if !is_changed {
                key.encode(&mut row)?;
            }
            saved += row.len() as u64;
            saved += self.content.unchanged_bytes(cell, is_changed.then_some(base), enough, &mut row)?;
            Ok(())
        });
        match counted {
            Err(Stop::Failed(error)) => Err(error),
            Ok(()) | Err(Stop::Enough) => Ok(saved < enough),
        }
    }
}

/// Passes what has not expired of a cell, which was written in an epoch, to `write`.
#[inline]
fn write_live<C: Content>(
    content: &C,
    (cell, epoch): (&C::Cell, u32),
    expiry: Option<&Expiry>,
    write: impl FnOnce(&C::Cell) -> Result<()>,
) -> Result<()> {
    let expired = expiry.map(|expiry| content.expire(cell, expiry, Write { epoch, logs_removals: false }));
    match expired {
        None | Some(Expired::Nothing) => write(cell),
        Some(Expired::Part(rest)) => write(&rest),
        Some(Expired::All) => Ok(()),
    }
}

impl<K: StateKey, N: StateKey, C: Content> StateSnapshot for RegisteredSnapshot<K, N, C> {
    fn groups(&self) -> Vec<u16> {
        self.snapshot.groups().map(|group| self.key_group(group)).collect()
    }

    fn changed_groups(&self) -> Result<Option<Vec<u16>>> {
        let groups = |base| self.snapshot.changed_groups(base).map(|group| self.key_group(group)).collect();
        Ok(self.base.map(groups))
    }

    fn entries(&self, key_group: u16) -> u64 {
        self.snapshot.group_len(self.index(key_group)) as u64
    }

    fn prefers_full(&self, key_group: u16) -> Result<bool> {
        self.changes_may_be_larger(self.index(key_group))
            .map_err(|error| error.in_state(&self.name).in_group(key_group))
    }

    fn prepare(&self) {
        self.snapshot.prepare(self.snapshot.segments() / 16);
    }

    fn write(
        &mut self,
        key_group: u16,
        extent: Extent,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        let group = self.index(key_group);
        let content = &self.content;
        let base = match extent {
            Extent::Full { .. } | Extent::Live => None,
            Extent::Changes => Some(self.base.unwrap_or(0)),
        };
        let mut rows = start_rows(writer, (&self.name, &self.read_back), (state, key_group), extent)?;
        if let Some(removed) = base.and_then(|base| self.snapshot.removed_since(group, base)) {
            for key in removed {
                rows.of(key).row(RowOp::Remove, |_| Ok(()))?;
            }
        }
        let expiry = self.expiry.as_ref().filter(|_| extent == Extent::Live);
        self.snapshot.scan(group, base, |key, cell, epoch| {
            write_live(&**content, (cell, epoch), expiry, |cell| content.write(cell, base, &mut rows.of(key)))
        })?;
        Ok(rows.written)
    }
}

impl<K: StateKey, N: StateKey, C: Content> CanonicalSnapshot for RegisteredSnapshot<K, N, C> {
    fn write_canonical(
        &mut self,
        key_group: u16,
        sorted: &mut SortedRows,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        let (group, full) = (self.index(key_group), Extent::Full { replaces: false });
        let canonical = Arc::clone(self.canonical.get_or_insert_with(|| Arc::new(self.content.canonical())));
        let (content, expiry) = (&self.content, self.expiry.as_ref());
        let read_back = self.read_back.canonical();
        let mut rows = start_rows(writer, (&self.name, &read_back), (state, key_group), full)?;
        rows.sorted = Some(&mut *sorted);
        self.snapshot.scan(group, None, |key, cell, epoch| {
            write_live(&**content, (cell, epoch), expiry, |cell| {
                canonical.write(cell, None, &mut rows.of(key))
            })
        })?;
        sorted.write(writer)
    }
}
