//! What the author of a backend writes to have it checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_api::{JobFolder, Result, StateBackend, StateKey, Storage};

/// Makes backends of one kind. Each value is a world of its own: a temporary folder, or memory; it is the guard of
/// that world too, and outlives all backends of it.
///
/// ```
/// # use std::sync::Arc;
/// # use backend_api::{JobFolder, Result, StateBackend, StateKey, Storage};
/// use conformance_tests::{Capabilities, Factory, Setup};
///
/// # fn example<Mine: StateBackend<Key = u64>>() {}
/// // struct MyFactory { folder: tempfile::TempDir }
/// // impl Factory for MyFactory { type Backend<K: StateKey> = MyBackend<K>; .. }
/// // conformance_tests::suite!(my_backend, MyFactory);
/// ```
pub trait Factory: Sized + 'static {
    /// The backend, for any type of keys.
    type Backend<K: StateKey>: StateBackend<Key = K>;

    /// A fresh world.
    fn new() -> Self;

    /// A world of which all lies in a folder that outlives it, so that another process finds the checkpoints there; `None`
    /// if the backend has nothing of the kind.
    fn in_folder(_folder: &Path) -> Option<Self> {
        None
    }

    /// The options of a backend of this world, set up as `setup` asks; what it leaves open is the author's choice.
    ///
    /// # Errors
    /// What the backend itself says of a setting that is out of range, unless it says so in
    /// [`open`](StateBackend::open).
    fn options<K: StateKey>(&self, setup: &Setup) -> Result<<Self::Backend<K> as StateBackend>::Options>;

    /// The storage into which checkpoints go when [`Setup::storage`] names none; `None` if they go into the handle.
    fn storage(&self) -> Option<Arc<dyn Storage>>;

    /// The folder of the job within the storage.
    fn job(&self) -> JobFolder;

    /// Which settings the backend has.
    fn capabilities(&self) -> Capabilities;

    /// The folder in which backends of this world keep working files, if they do.
    fn working_folder(&self) -> Option<PathBuf> {
        None
    }
}

/// What a case asks of a backend's options. `None` leaves the setting as the factory has it.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The storage for checkpoints: one that blocks or fails, say.
    pub storage: Option<Arc<dyn Storage>>,
    /// The most bytes of a checkpoint file that go into the handle.
    pub inline_max: Option<usize>,
    /// The most bytes that the state of one checkpoint may have, of a backend that keeps it in memory.
    pub max_state_bytes: Option<u64>,
    /// The most bytes of an entry, and of all that one list or map has.
    pub entry_bytes_max: Option<u64>,
    /// Whether checkpoint files are compressed.
    pub compression: Option<bool>,
    /// Whether a checkpoint builds on the one confirmed last.
    pub incremental: Option<bool>,
    /// Whether the first incremental checkpoint builds on the restored one. Factories leave that off.
    pub claim_restored: Option<bool>,
}

/// Which settings of [`Setup`] a backend has: each field is named as the one that it heeds.
///
/// A case that asks for a setting the backend does not have is skipped, and says so on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Heeds [`Setup::storage`].
    pub storage: bool,
    /// Heeds [`Setup::inline_max`].
    pub inline_max: bool,
    /// Heeds [`Setup::max_state_bytes`].
    pub max_state_bytes: bool,
    /// Heeds [`Setup::entry_bytes_max`].
    pub entry_bytes_max: bool,
    /// Heeds [`Setup::compression`].
    pub compression: bool,
    /// Heeds [`Setup::incremental`].
    pub incremental: bool,
    /// Heeds [`Setup::claim_restored`].
    pub claim_restored: bool,
}

impl Capabilities {
    /// The name of the first setting that `setup` asks for and the backend does not have.
    pub fn lacking(&self, setup: &Setup) -> Option<&'static str> {
        let asked = [
            ("storage", setup.storage.is_some(), self.storage),
            ("inline_max", setup.inline_max.is_some(), self.inline_max),
            ("max_state_bytes", setup.max_state_bytes.is_some(), self.max_state_bytes),
            ("entry_bytes_max", setup.entry_bytes_max.is_some(), self.entry_bytes_max),
            ("compression", setup.compression.is_some(), self.compression),
            ("incremental", setup.incremental.is_some(), self.incremental),
            ("claim_restored", setup.claim_restored.is_some(), self.claim_restored),
        ];
        asked.into_iter().find(|(_, asked, had)| *asked && !had).map(|(name, ..)| name)
    }
}
