//! Which files contain which key group: the bookkeeping of incremental checkpoints.

use std::collections::{BTreeMap, HashMap};

use backend_api::format::StateMeta;
use backend_api::restore::RestorePlan;
use backend_api::{KeyedStateHandle, Result, StateData, StateFile};
use backend_memory::heap::{Extent, SharedArray, StateSnapshot};

/// A group is written in full again once its changes exceed this part of its base.
const CHANGES_PER_BASE: u64 = 2;

/// Fewer bytes of changes than this do not cause a rewrite.
const CHANGES_MIN: u64 = 256;

/// A group is written in full again after at least this many files, and at most twice as many. The number
/// varies by group, which spreads the rewrites over checkpoints.
const FILES_MIN: usize = 8;

/// Bytes of a section in a file's index.
pub(crate) const SECTION_BYTES: u64 = 41;

/// Most key groups of a job.
const KEY_GROUPS: usize = 1 << 15;

/// The files of a state's key group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    /// Numbers of the files, in the order in which they apply.
    files: Vec<u32>,
    base_bytes: u64,
    changed_bytes: u64,
}

impl Chain {
    /// The group written in full.
    fn full(file: u32, bytes: u64) -> Self {
        Self { files: vec![file], base_bytes: bytes, changed_bytes: 0 }
    }

    /// The group with changes on top.
    fn changed(mut self, file: u32, bytes: u64) -> Self {
        self.files.push(file);
        self.changed_bytes += bytes;
        self
    }

    fn bytes(&self) -> u64 {
        SECTION_BYTES + self.base_bytes + self.changed_bytes
    }

    /// Decides how much of a changed group with chain `old` is written. All of it if the changes since the
    /// last full section are many, lie in many files, are not known, or may be larger than the group.
    pub(crate) fn extent(old: Option<&Self>, key_group: u16, state: &dyn StateSnapshot) -> Result<Extent> {
        let Some(old) = old else { return Ok(Extent::Full { replaces: false }) };
        let files_max = FILES_MIN + usize::from(key_group) % (FILES_MIN + 1);
        let is_due = old.files.len() >= files_max
            || old.changed_bytes > (old.base_bytes / CHANGES_PER_BASE).max(CHANGES_MIN);
        if is_due || state.prefers_full(key_group)? {
            return Ok(Extent::Full { replaces: true });
        }
        Ok(Extent::Changes)
    }
}

/// All chains of a backend at one checkpoint, and their files. Clones share the chains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains {
    /// The chains of each state by key group, by the state's name.
    states: BTreeMap<String, SharedArray<Chain>>,
    /// The files with their numbers. They apply in ascending order.
    files: Vec<(u32, StateFile)>,
    /// Number of the next file.
    next_file: u32,
    /// Number of chains that use a file, by file number.
    uses: BTreeMap<u32, usize>,
    /// The metadata of the states, including those without entries.
    metas: Vec<StateMeta>,
    /// The file with this metadata. It is needed even if it has no rows.
    description: Option<u32>,
    /// Bytes of all chains.
    bytes: u64,
}

impl Chains {
    /// The chains of a restored backend, or `None` if it cannot build on the restored files.
    ///
    /// It cannot build on several handles: a file of one handle may contain a group that another handle has
    /// replaced in a file that the first does not know. Nor can it if a state occurs with several codecs.
    pub(crate) fn restored(handles: &[KeyedStateHandle], plan: &RestorePlan) -> Option<Self> {
        let [handle] = handles else { return None };
        if handle.files.iter().any(|file| !file.shared) || plan.states().any(|state| state.metas().len() > 1)
        {
            return None;
        }
        let mut chains = Self::default();
        let mut numbers = HashMap::new();
        for file in &handle.files {
            numbers.insert(path(file), chains.push_file(file.clone()));
        }
        for state in plan.states() {
            for group in state.groups() {
                let mut chain: Option<Chain> = None;
                for part in state.chain(group) {
                    let number = *numbers.get(part.reader().path())?;
                    let bytes = part.section().stored_bytes;
                    chain = Some(match chain {
                        Some(chain) => chain.changed(number, bytes),
                        None => Chain::full(number, bytes),
                    });
                }
                chains.replace(state.name(), group, chain);
            }
        }
        chains.drop_unused();
        Some(chains)
    }

    /// The chain of a state and group, or `None` if the group was empty.
    pub(crate) fn get(&self, state: &str, key_group: u16) -> Option<&Chain> {
        self.states.get(state)?.get(usize::from(key_group))
    }

    /// The key groups of a state that have a chain.
    pub(crate) fn groups(&self, state: &str) -> Vec<u16> {
        let chains = self.states.get(state).into_iter().flat_map(SharedArray::iter);
        chains.map(|(group, _)| group as u16).collect()
    }

    /// Replaces the metadata of the states, and drops all other states. Returns true if it changed.
    pub(crate) fn describe(&mut self, metas: &[StateMeta]) -> bool {
        let is_known = |name: &String| metas.iter().any(|meta| meta.name == *name);
        let dropped: Vec<String> = self.states.keys().filter(|name| !is_known(name)).cloned().collect();
        for name in dropped {
            for group in self.groups(&name) {
                self.replace(&name, group, None);
            }
            self.states.remove(&name);
        }
        let is_new = self.description.is_none() || self.metas != metas;
        self.metas = metas.to_vec();
        is_new
    }

    /// Removes the chain of a group that became empty.
    pub(crate) fn remove(&mut self, state: &str, key_group: u16) -> Option<Chain> {
        self.replace(state, key_group, None)
    }

    /// Forgets the file that describes the states, because the next file will.
    pub(crate) fn forget_description(&mut self) {
        self.description = None;
    }

    /// True if a file in use may have rows of a group that had this chain: a file of the chain, or an older
    /// one whose rows the chain replaced.
    pub(crate) fn may_hold(&self, chain: &Chain) -> bool {
        let oldest = self.uses.keys().next().copied().into_iter().chain(self.description).min();
        oldest.zip(chain.files.last()).is_some_and(|(oldest, newest)| oldest <= *newest)
    }

    /// Records that `bytes` of a group are in the file being written, as `extent` says.
    pub(crate) fn add(&mut self, state: &str, key_group: u16, extent: Extent, bytes: u64) {
        let chain = match (extent, self.get(state, key_group)) {
            (Extent::Changes, Some(old)) => old.clone().changed(self.next_file, bytes),
            _ => Chain::full(self.next_file, bytes),
        };
        self.replace(state, key_group, Some(chain));
    }

    /// Adds the written file, if there is one, and drops files that are no longer used.
    pub(crate) fn finish(&mut self, file: Option<StateFile>) {
        if let Some(file) = file {
            self.description = Some(self.push_file(file));
        }
        self.drop_unused();
    }

    /// The files, in the order in which they apply.
    pub(crate) fn files(&self) -> Vec<StateFile> {
        self.files.iter().map(|(_, file)| file.clone()).collect()
    }

    /// Bytes of the files that are inline in the handle.
    pub(crate) fn inline_bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.data.inline_bytes()).sum()
    }

    /// Bytes of all chains, which approximates the size of a full checkpoint.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push_file(&mut self, file: StateFile) -> u32 {
        let number = self.next_file;
        self.files.push((number, file));
        self.next_file += 1;
        number
    }

    fn replace(&mut self, state: &str, key_group: u16, chain: Option<Chain>) -> Option<Chain> {
        if let Some(chain) = &chain {
            self.bytes += chain.bytes();
            for number in &chain.files {
                *self.uses.entry(*number).or_default() += 1;
            }
        }
        if !self.states.contains_key(state) {
            self.states.insert(state.to_owned(), SharedArray::new(KEY_GROUPS));
        }
        let old = self.states.get_mut(state)?.replace(usize::from(key_group), chain)?;
        self.bytes -= old.bytes();
        for number in &old.files {
            if let Some(uses) = self.uses.get_mut(number) {
                *uses -= 1;
                if *uses == 0 {
                    self.uses.remove(number);
                }
            }
        }
        Some(old)
    }

    fn drop_unused(&mut self) {
        let Self { files, uses, description, .. } = self;
        files.retain(|(number, _)| uses.contains_key(number) || *description == Some(*number));
    }
}

/// The path that a reader of the file reports.
fn path(file: &StateFile) -> &str {
    match &file.data {
        StateData::Inline(_) => &file.name,
        StateData::File { path, .. } => path,
    }
}
