use backend_api::{CheckpointTarget, KeyedStateHandle, Result, StateKey, Subtask};
use backend_bytes::{ByteEngine, OpenedStore, StoreSnapshots};

use crate::snapshot::manifest::FORMAT;
use crate::{RocksDbOptions, RocksDbStore, restore};

/// Opens databases for [`RocksDbBackend`](crate::RocksDbBackend).
#[derive(Debug)]
pub enum RocksDb {}

impl ByteEngine for RocksDb {
    type Store = RocksDbStore;
    type Options = RocksDbOptions;

    const FORMAT: &'static str = FORMAT;

    fn target(options: &RocksDbOptions) -> &CheckpointTarget {
        &options.target
    }

    fn entry_bytes_max(options: &RocksDbOptions) -> u64 {
        options.entry_bytes_max
    }

    fn cache_bytes(options: &RocksDbOptions) -> usize {
        options.cache_bytes()
    }

    fn open<K: StateKey>(
        options: &RocksDbOptions,
        subtask: &Subtask<K>,
        native: &[KeyedStateHandle],
    ) -> Result<OpenedStore<RocksDbStore>> {
        restore::open(options, subtask.operator(), subtask.index(), subtask.range(), native)
    }

    fn snapshots(store: &mut RocksDbStore) -> Option<&mut dyn StoreSnapshots> {
        Some(store)
    }
}
