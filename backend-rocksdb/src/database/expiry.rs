//! Removing expired entries in compactions.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, PoisonError, RwLock};

use backend_bytes::{EntryExpiry, EntryKey};
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

const NAME: &CStr = c"expiry";

/// Which entries of each state have expired. Clones share it. RocksDB makes a filter of it for each compaction.
#[derive(Clone, Default)]
pub(crate) struct Expiries(Arc<RwLock<BTreeMap<u16, EntryExpiry>>>);

impl Expiries {
    /// Sets which entries of a state have expired.
    pub fn set(&self, state: u16, expiry: Option<&EntryExpiry>) {
        let mut states = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match expiry {
            Some(expiry) => _ = states.insert(state, expiry.clone()),
            None => _ = states.remove(&state),
        }
    }
}

impl CompactionFilterFactory for Expiries {
    type Filter = ExpiryFilter;

    fn create(&mut self, _: CompactionFilterContext) -> ExpiryFilter {
        ExpiryFilter(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// Removes the expired entries of one compaction. Older forms of an entry are removed with it.
pub(crate) struct ExpiryFilter(BTreeMap<u16, EntryExpiry>);

impl CompactionFilter for ExpiryFilter {
    fn filter(&mut self, _: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        let expiry = EntryKey::state_of(key).and_then(|state| self.0.get(&state));
        if expiry.is_some_and(|expiry| expiry.has_expired(value)) {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}
