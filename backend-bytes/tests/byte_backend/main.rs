//! `ByteBackend` over stores of bytes: what the views do, snapshots, restores, and stores that fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod batches;
mod cached;
mod errors;
mod faults;
mod kinds;
mod restore;
mod snapshots;
mod support;
mod totals;
