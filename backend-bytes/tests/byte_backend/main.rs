//! `ByteBackend` over byte stores: views, snapshots, restores, and failing stores.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod batches;
mod cached;
mod errors;
mod expiry;
mod faults;
mod kinds;
mod restore;
mod snapshots;
mod support;
mod totals;
