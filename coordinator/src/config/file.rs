use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use backend_api::{Error, ErrorKind, Result};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::{
    BackendConfig, BackendKind, CheckpointConfig, CheckpointingMode, Retention, number, one_of,
    parse_duration, parse_size, refused,
};
use crate::RestartStrategy;

/// The configuration of a job, from a file with Flink's keys.
///
/// ```
/// use std::time::Duration;
/// use coordinator::{BackendKind, JobConfig};
///
/// let config = JobConfig::from_yaml("
/// execution.checkpointing.interval: 30 s
/// execution:
///   checkpointing:
///     timeout: 10 min
/// state.backend.type: rocksdb
/// state.backend.incremental: true
/// ")?;
/// assert_eq!(config.checkpoints.interval, Some(Duration::from_secs(30)));
/// assert_eq!((config.backend.kind, config.backend.incremental), (BackendKind::RocksDb, true));
///
/// let error = JobConfig::from_yaml("execution.checkpointing.intervall: 30 s").unwrap_err();
/// assert!(error.message().contains("execution.checkpointing.intervall"));
/// # Ok::<(), backend_api::Error>(())
/// ```
///
/// It deserializes from any format of serde's that has maps; keys may be written in one piece, or as maps in maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobConfig {
    /// The checkpoints.
    pub checkpoints: CheckpointConfig,
    /// The backend.
    pub backend: BackendConfig,
    /// What is done after a failure.
    pub restart: RestartStrategy,
}

impl JobConfig {
    /// Reads YAML.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument): one line that names the key that is unknown, given twice or has
    /// a value that it cannot have.
    pub fn from_yaml(text: &str) -> Result<Self> {
        let settings: Option<Settings> = serde_saphyr::from_str(text).map_err(|error| {
            let error = error.to_string();
            let line = error.lines().next().unwrap_or_default();
            Error::new(ErrorKind::InvalidArgument, format!("the configuration is not YAML: {line}"))
        })?;
        Self::from_settings(settings.unwrap_or_default())
    }

    fn from_settings(settings: Settings) -> Result<Self> {
        let mut flat = BTreeMap::new();
        settings.0.into_iter().try_for_each(|(key, node)| flatten(key, node, &mut flat))?;
        let mut config = Self::default();
        let (mut storage, mut is_hashmap) = (None, true);
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in &flat {
            let name = current_name(key);
            if let Some(other) = seen.insert(name, key) {
                return Err(refused(key, &format!("is the same setting as {other}")));
            }
            let set = match name {
                STORAGE => one_of(value, &STORAGES).map(|chosen| storage = Some(chosen)),
                name => config.set(name, value),
            };
            set.map_err(|reason| refused(key, &reason))?;
            is_hashmap &= name != "state.backend.type" || value.eq_ignore_ascii_case("hashmap");
        }
        // As in Flink, checkpoints go to files if there is a folder for them.
        let default = match config.checkpoints.checkpoint_dir {
            Some(_) => CheckpointStorage::Filesystem,
            None => CheckpointStorage::JobManager,
        };
        if is_hashmap {
            config.backend.kind = storage.unwrap_or(default).kind();
        } else if let Some(storage) = storage {
            let kind = config.backend.kind;
            if kind != storage.kind()
                && (kind, storage) != (BackendKind::RocksDb, CheckpointStorage::Filesystem)
            {
                return Err(refused(
                    STORAGE,
                    "the checkpoints of the chosen state.backend.type go elsewhere",
                ));
            }
        }
        config.checkpoints.check()?;
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Self { checkpoints, backend, restart } = self;
        let Some(key) = key.strip_prefix("execution.checkpointing.") else {
            return match key.strip_prefix("restart-strategy.") {
                Some(key) => restart.set(key, value),
                None => backend.set(key, value),
            };
        };
        match key {
            "interval" => checkpoints.interval = Some(parse_duration(value)?),
            "mode" => {
                let modes = [
                    ("EXACTLY_ONCE", CheckpointingMode::ExactlyOnce),
                    ("AT_LEAST_ONCE", CheckpointingMode::AtLeastOnce),
                ];
                checkpoints.mode = one_of(value, &modes)?;
            }
            "timeout" => checkpoints.timeout = parse_duration(value)?,
            "min-pause" => checkpoints.min_pause = parse_duration(value)?,
            "max-concurrent-checkpoints" => checkpoints.max_concurrent = number(value)?,
            "tolerable-failed-checkpoints" => checkpoints.tolerable_failures = number(value)?,
            "num-retained" => checkpoints.retained = number(value)?,
            "externalized-checkpoint-retention" => {
                let retentions = [
                    ("NO_EXTERNALIZED_CHECKPOINTS", Retention::None),
                    ("DELETE_ON_CANCELLATION", Retention::DeleteOnCancellation),
                    ("RETAIN_ON_CANCELLATION", Retention::RetainOnCancellation),
                ];
                checkpoints.retention = one_of(value, &retentions)?;
            }
            "unaligned.enabled" => {
                if one_of(value, &BOOLS)? {
                    return Err("unaligned checkpoints are not supported".to_owned());
                }
            }
            "aligned-checkpoint-timeout" => {
                if !parse_duration(value)?.is_zero() {
                    return Err("unaligned checkpoints are not supported".to_owned());
                }
            }
            "incremental" => backend.incremental = one_of(value, &BOOLS)?,
            "dir" => checkpoints.checkpoint_dir = Some(value.to_owned()),
            "savepoint-dir" => checkpoints.savepoint_dir = Some(value.to_owned()),
            "data-inline-threshold" => backend.inline_max = Some(parse_size(value)?),
            _ => return Err(UNKNOWN.to_owned()),
        }
        Ok(())
    }
}

impl BackendConfig {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "state.backend.type" => {
                let kinds = [
                    ("memory", BackendKind::Memory),
                    ("filesystem", BackendKind::Filesystem),
                    ("rocksdb", BackendKind::RocksDb),
                    ("jobmanager", BackendKind::Memory),
                    ("hashmap", BackendKind::Memory),
                ];
                self.kind = one_of(value, &kinds)?;
            }
            "state.backend.memory.max-state-size" => self.max_state_bytes = Some(parse_size(value)?),
            "state.backend.rocksdb.localdir" => self.working_dir = Some(value.to_owned()),
            "state.backend.rocksdb.memory.fixed-per-slot" => self.memory_budget = Some(parse_size(value)?),
            "state.backend.rocksdb.checkpoint.transfer.thread.num" => {
                self.transfer_threads = Some(number(value)?);
            }
            _ => return Err(UNKNOWN.to_owned()),
        }
        Ok(())
    }
}

/// Where the checkpoints of a backend on the heap go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckpointStorage {
    JobManager,
    Filesystem,
}

impl CheckpointStorage {
    fn kind(self) -> BackendKind {
        match self {
            Self::JobManager => BackendKind::Memory,
            Self::Filesystem => BackendKind::Filesystem,
        }
    }
}

const UNKNOWN: &str = "there is no setting of this name";

const STORAGE: &str = "execution.checkpointing.storage";

const STORAGES: [(&str, CheckpointStorage); 2] =
    [("jobmanager", CheckpointStorage::JobManager), ("filesystem", CheckpointStorage::Filesystem)];

const BOOLS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// The current name of a setting that earlier versions of Flink named differently.
fn current_name(key: &str) -> &str {
    match key {
        "state.checkpoints.dir" => "execution.checkpointing.dir",
        "state.savepoints.dir" => "execution.checkpointing.savepoint-dir",
        "state.checkpoint-storage" => STORAGE,
        "state.checkpoints.num-retained" => "execution.checkpointing.num-retained",
        "state.storage.fs.memory-threshold" => "execution.checkpointing.data-inline-threshold",
        "state.backend" => "state.backend.type",
        "state.backend.incremental" => "execution.checkpointing.incremental",
        "execution.checkpointing.unaligned" => "execution.checkpointing.unaligned.enabled",
        "restart-strategy" => "restart-strategy.type",
        _ => key,
    }
}

/// A configuration before it is interpreted.
#[derive(Default, serde::Deserialize)]
struct Settings(BTreeMap<String, Node>);

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Node {
    Bool(bool),
    Number(i64),
    Float(f64),
    Text(String),
    Map(BTreeMap<String, Self>),
    Other(serde::de::IgnoredAny),
}

/// Stores `node` under its full key.
fn flatten(key: String, node: Node, flat: &mut BTreeMap<String, String>) -> Result<()> {
    let text = match node {
        Node::Map(map) => {
            return map.into_iter().try_for_each(|(part, node)| flatten(format!("{key}.{part}"), node, flat));
        }
        Node::Bool(value) => value.to_string(),
        Node::Number(value) => value.to_string(),
        Node::Float(value) => value.to_string(),
        Node::Text(text) => text,
        Node::Other(_) => return Err(refused(&key, "the value is no text, number or truth value")),
    };
    match flat.entry(key) {
        Entry::Occupied(entry) => Err(refused(entry.key(), "is given twice")),
        Entry::Vacant(place) => {
            place.insert(text);
            Ok(())
        }
    }
}

impl<'de> Deserialize<'de> for JobConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = Settings::deserialize(deserializer)?;
        Self::from_settings(settings).map_err(|error| D::Error::custom(error.message()))
    }
}
