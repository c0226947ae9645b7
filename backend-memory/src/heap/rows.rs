//! Writing the rows of a frozen state.

use std::sync::Arc;

use backend_api::format::{CheckpointWriter, SectionKind};
use backend_api::row::{ReadBack, RowOp};
use backend_api::{Error, ErrorKind, Result, StateKey};

use super::content::Content;
use super::row_key::RowKey;
use crate::table::TableSnapshot;

/// Bytes by which a row of a delta may be larger than the same row of a full section: the operation, and its length.
pub(super) const ROW_OVERHEAD: u64 = 5;

/// A delta is written if what it saves is this many times what it has beyond a full section. Compression may shrink the one
/// more than the other.
const MARGIN: u64 = 4;

/// Why the bytes of a group are not counted to the end.
enum Stop {
    Enough,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The rows of one state and key group on their way into a file. A section is begun with its first row.
struct Rows<'r, 'w> {
    writer: &'r mut CheckpointWriter<'w>,
    name: &'r str,
    state: u16,
    group: u16,
    kind: SectionKind,
    begun: bool,
    written: u64,
}

impl<'r, 'w> Rows<'r, 'w> {
    #[inline]
    fn begin(&mut self) -> Result<()> {
        if !self.begun {
            self.writer.begin_section(self.state, self.group, self.kind)?;
            self.begun = true;
        }
        Ok(())
    }

    /// Tells of which state and key group the row is that could not be encoded. Storage errors are of no row.
    #[cold]
    fn locate(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Cancelled => error,
            _ => error.in_state(self.name).in_group(self.group),
        }
    }

    #[inline]
    fn of<'e, K: StateKey, N: StateKey>(&'e mut self, key: &'e RowKey<K, N>) -> EntryRows<'e, 'r, 'w, K, N> {
        EntryRows { rows: self, key }
    }
}

/// The rows of one entry.
pub(super) struct EntryRows<'e, 'r, 'w, K: StateKey, N: StateKey> {
    rows: &'e mut Rows<'r, 'w>,
    key: &'e RowKey<K, N>,
}

impl<K: StateKey, N: StateKey> EntryRows<'_, '_, '_, K, N> {
    /// Writes a row; `rest` appends what follows key and namespace.
    #[inline]
    pub(super) fn row(&mut self, op: RowOp, rest: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.rows.begin()?;
        let (kind, key) = (self.rows.kind, self.key);
        let written = self.rows.writer.row(|out| {
            if kind == SectionKind::Delta {
                op.encode(out);
            }
            key.encode(out)?;
            rest(out)
        });
        self.rows.written += 1;
        written.map_err(|error| self.rows.locate(error))
    }
}

/// What is to be written of a state and key group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it. `replaces` says that there is older data to replace, so that emptiness must be told too.
    Full {
        /// True if an empty group is written as an empty section.
        replaces: bool,
    },
    /// What changed since the last confirmed checkpoint.
    Changes,
}

/// A state as it was at a snapshot; its key groups are written once, in ascending order.
pub trait StateSnapshot: Send {
    /// The key groups that have entries, ascending.
    fn groups(&self) -> Vec<u16>;

    /// The key groups that have changed since the last confirmed checkpoint, ascending, with those that lost all entries.
    /// `None` if that is not known.
    ///
    /// # Errors
    /// Those of what an increment builds on without writing it again, if it is damaged.
    fn changed_groups(&self) -> Result<Option<Vec<u16>>>;

    /// Entries of a key group, or rows of one that is passed on as it is.
    fn entries(&self, key_group: u16) -> u64;

    /// True if the changes of a group since the last confirmed checkpoint are not known, or may be more bytes than all of
    /// it.
    ///
    /// # Errors
    /// Those of codecs.
    fn prefers_full(&self, key_group: u16) -> Result<bool>;

    /// Gets ready on the thread that will write, so that the owner's copies need not wait for memory.
    fn prepare(&self);

    /// Writes a key group of what is state number `state` in the file, and answers how many rows that were.
    ///
    /// # Errors
    /// Those of codecs and of the writer.
    fn write(
        &mut self,
        key_group: u16,
        extent: Extent,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64>;
}

pub(super) struct RegisteredSnapshot<K: StateKey, N: StateKey, C: Content> {
    pub(super) snapshot: TableSnapshot<RowKey<K, N>, C::Cell, C::Placement>,
    pub(super) content: Arc<C>,
    pub(super) read_back: ReadBack,
    /// The state's name.
    pub(super) name: String,
    /// Epoch of the last confirmed checkpoint, if there is one.
    pub(super) base: Option<u32>,
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

    /// Compares what a delta has and all of the group has not (removals, and a little for each change) with what all of
    /// the group has and a delta has not (entries that did not change).
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
        writer.read_back(state, self.read_back.clone());
        let group = self.index(key_group);
        let content = &self.content;
        let (kind, base) = match extent {
            Extent::Full { .. } => (SectionKind::Full, None),
            Extent::Changes => (SectionKind::Delta, Some(self.base.unwrap_or(0))),
        };
        let mut rows =
            Rows { writer, name: &self.name, state, group: key_group, kind, begun: false, written: 0 };
        if extent == (Extent::Full { replaces: true }) {
            rows.begin()?;
        }
        if let Some(removed) = base.and_then(|base| self.snapshot.removed_since(group, base)) {
            for key in removed {
                rows.of(key).row(RowOp::Remove, |_| Ok(()))?;
            }
        }
        self.snapshot.scan(group, base, |key, cell, _| content.write(cell, base, &mut rows.of(key)))?;
        Ok(rows.written)
    }
}
