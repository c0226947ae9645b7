//! The storage in memory does what a storage must.

use std::sync::Arc;

use backend_api::MemoryStorage;

conformance_tests::storage_contract!((Arc::new(MemoryStorage::new()), ()));
