//! `ByteBackend` over stores of bytes: what the views do, snapshots, restores, and stores that fail.

mod faults;
mod kinds;
mod restore;
mod snapshots;
mod support;
