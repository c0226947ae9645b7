//! The interface that the author of a backend implements.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_api::{JobFolder, Result, StateBackend, StateKey, Storage};

/// Makes backends of one kind. Each value is a separate world, such as a temporary folder, and owns it. It
/// must outlive its backends.
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

    /// A world in a folder that outlives it, so that another process finds the checkpoints there. `None` if
    /// the backend does not support that.
    fn in_folder(_folder: &Path) -> Option<Self> {
        None
    }

    /// The options of a backend of this world, with the settings of `setup`. The author chooses those that it
    /// leaves open.
    ///
    /// # Errors
    /// The backend's errors for settings out of range, unless [`open`](StateBackend::open) returns them.
    fn options<K: StateKey>(&self, setup: &Setup) -> Result<<Self::Backend<K> as StateBackend>::Options>;

    /// The storage of checkpoints if [`Setup::storage`] is `None`. `None` if checkpoints go into the handle.
    fn storage(&self) -> Option<Arc<dyn Storage>>;

    /// The folder of the job within the storage.
    fn job(&self) -> JobFolder;

    /// The settings that the backend has.
    fn capabilities(&self) -> Capabilities;

    /// The folder of working files of this world's backends, if they have any.
    fn working_folder(&self) -> Option<PathBuf> {
        None
    }
}

/// Settings of a backend that a case needs. `None` leaves a setting to the factory.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The storage for checkpoints, for example one that blocks or fails.
    pub storage: Option<Arc<dyn Storage>>,
    /// The largest checkpoint file, in bytes, that is inline in the handle.
    pub inline_max: Option<usize>,
    /// The limit, in bytes, of the state of one checkpoint, for a backend that keeps it in memory.
    pub max_state_bytes: Option<u64>,
    /// The limit, in bytes, of an entry, and of each list or map as a whole.
    pub entry_bytes_max: Option<u64>,
    /// Compresses checkpoint files.
    pub compression: Option<bool>,
    /// Builds checkpoints on the last confirmed one.
    pub incremental: Option<bool>,
    /// Builds the first incremental checkpoint on the restored one. Off in factories.
    pub claim_restored: Option<bool>,
}

/// The settings of [`Setup`] that a backend has, one field per setting.
///
/// A case that needs a missing setting is skipped, and reports that on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Has [`Setup::storage`].
    pub storage: bool,
    /// Has [`Setup::inline_max`].
    pub inline_max: bool,
    /// Has [`Setup::max_state_bytes`].
    pub max_state_bytes: bool,
    /// Has [`Setup::entry_bytes_max`].
    pub entry_bytes_max: bool,
    /// Has [`Setup::compression`].
    pub compression: bool,
    /// Has [`Setup::incremental`].
    pub incremental: bool,
    /// Has [`Setup::claim_restored`].
    pub claim_restored: bool,
}

impl Capabilities {
    /// The name of the first setting in `setup` that the backend lacks.
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
