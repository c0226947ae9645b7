//! Which files make up which key group: the memory of incremental checkpoints.

use std::collections::{BTreeSet, HashMap};

use backend_api::format::StateMeta;
use backend_api::restore::RestorePlan;
use backend_api::{KeyedStateHandle, StateData, StateFile};

/// A group whose changes outgrow this part of its base is written in full again.
const CHANGES_PER_BASE: u64 = 2;

/// Changes of less than this many bytes are not worth a rewrite.
const CHANGES_MIN: u64 = 256;

/// A group is written in full again after this many files at the least, and twice as many at the most: the groups
/// differ, so that the rewrites are spread over checkpoints.
const FILES_MIN: usize = 8;

/// What a state's key group is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    /// Names of the files, in the order in which they apply.
    files: Vec<String>,
    base_bytes: u64,
    changed_bytes: u64,
}

impl Chain {
    /// A group written in full.
    pub(crate) fn full(file: &str, bytes: u64) -> Self {
        Self { files: vec![file.to_owned()], base_bytes: bytes, changed_bytes: 0 }
    }

    /// The group with changes on top.
    pub(crate) fn changed(mut self, file: &str, bytes: u64) -> Self {
        self.files.push(file.to_owned());
        self.changed_bytes += bytes;
        self
    }

    /// Whether it is time to write the group in full again.
    pub(crate) fn is_due(&self, key_group: u16) -> bool {
        let files_max = FILES_MIN + usize::from(key_group) % (FILES_MIN + 1);
        self.files.len() >= files_max
            || self.changed_bytes > (self.base_bytes / CHANGES_PER_BASE).max(CHANGES_MIN)
    }
}

/// All chains of a backend at one checkpoint, and the files that they are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains {
    /// By name of the state and key group.
    chains: HashMap<(String, u16), Chain>,
    /// In the order in which they apply.
    files: Vec<StateFile>,
    /// What the states are, those without entries too.
    states: Vec<StateMeta>,
    /// Name of a file that says so: it is needed even if it has nothing else to say.
    description: Option<String>,
}

impl Chains {
    /// No chains, of these states.
    pub(crate) fn of(states: &[StateMeta]) -> Self {
        Self { states: states.to_vec(), ..Self::default() }
    }

    /// The chains that a backend was restored from; `None` if it cannot go on using the files.
    ///
    /// Those of several handles it cannot: a file of one may hold what another has replaced since, in a file that the
    /// first knows nothing of. Nor if a state is there with several codecs.
    pub(crate) fn restored(handles: &[KeyedStateHandle], plan: &RestorePlan) -> Option<Self> {
        let [handle] = handles else { return None };
        let files = handle.files.clone();
        if files.iter().any(|file| !file.shared) || plan.states().any(|state| state.metas().len() > 1) {
            return None;
        }
        let by_path: HashMap<&str, &str> = files.iter().map(|file| (path(file), &*file.name)).collect();
        let mut chains = HashMap::new();
        for state in plan.states() {
            for group in state.groups() {
                let mut chain = Chain::default();
                for part in state.chain(group) {
                    let name = by_path.get(part.reader().path())?;
                    let bytes = part.section().stored_bytes;
                    chain = if chain.files.is_empty() {
                        Chain::full(name, bytes)
                    } else {
                        chain.changed(name, bytes)
                    };
                }
                chains.insert((state.name().to_owned(), group), chain);
            }
        }
        let mut restored = Self { chains, files, ..Self::default() };
        restored.drop_unused();
        Some(restored)
    }

    /// The chain of a state and group; `None` if the group was empty.
    pub(crate) fn get(&self, state: &str, key_group: u16) -> Option<&Chain> {
        self.chains.get(&(state.to_owned(), key_group))
    }

    pub(crate) fn insert(&mut self, state: &str, key_group: u16, chain: Chain) {
        self.chains.insert((state.to_owned(), key_group), chain);
    }

    /// The files, in the order in which they apply.
    pub(crate) fn files(&self) -> &[StateFile] {
        &self.files
    }

    /// Whether there is anything that the file of that name, written on top of `base`, is needed for: changes, or what
    /// the states are.
    pub(crate) fn wants(&self, base: Option<&Self>, name: &str) -> bool {
        let has_news = self.chains.values().any(|chain| chain.files.iter().any(|file| file == name));
        let described = base.is_some_and(|base| base.description.is_some() && base.states == self.states);
        has_news || !described
    }

    /// Takes over the files of `base`, puts `new` behind them, and lets go of all that no chain uses.
    pub(crate) fn set_files(&mut self, base: Option<&Self>, new: Option<StateFile>) {
        self.description = match &new {
            Some(file) => Some(file.name.clone()),
            None => base.and_then(|base| base.description.clone()),
        };
        self.files = base.map_or(&[][..], |base| &base.files).to_vec();
        self.files.extend(new);
        self.drop_unused();
    }

    fn drop_unused(&mut self) {
        let used = self.chains.values().flat_map(|chain| &chain.files).chain(&self.description);
        let used: BTreeSet<&String> = used.collect();
        self.files.retain(|file| used.contains(&file.name));
    }
}

/// What a reader of the file calls it.
fn path(file: &StateFile) -> &str {
    match &file.data {
        StateData::Inline(_) => &file.name,
        StateData::File { path, .. } => path,
    }
}
