//! The suite on the backends of the family, in one program: they share much of their code, and so the compile time.

use std::process::ExitCode;

use conformance_tests::all_cases;
#[cfg(feature = "rocksdb")]
use conformance_tests::family::RocksDb;
use conformance_tests::family::{Bytes, Fs, Memory, TINY};

fn main() -> ExitCode {
    conformance_tests::run_tests([
        ("memory", all_cases::<Memory>()),
        ("fs", all_cases::<Fs<false>>()),
        ("fs_incremental", all_cases::<Fs<true>>()),
        ("bytes", all_cases::<Bytes<0>>()),
        ("bytes_hardly_cached", all_cases::<Bytes<TINY>>()),
        #[cfg(feature = "rocksdb")]
        ("rocksdb_uncached", all_cases::<RocksDb<false, 0>>()),
        #[cfg(feature = "rocksdb")]
        ("rocksdb", all_cases::<RocksDb<true, { 4 << 20 }>>()),
        #[cfg(feature = "rocksdb")]
        ("rocksdb_hardly_cached", all_cases::<RocksDb<true, TINY>>()),
    ])
}
