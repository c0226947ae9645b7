//! conformance-tests

pub mod storage_contract;
