//! The suite on our own backends, in one program: they share much of their code, and so the time to compile it.

#[cfg(feature = "rocksdb")]
use conformance_tests::family::RocksDb;
use conformance_tests::family::{Bytes, Fs, Memory, TINY};
use conformance_tests::suite;

suite!(memory, Memory);
suite!(fs, Fs<false>);
suite!(fs_incremental, Fs<true>);
suite!(bytes, Bytes<0>);
suite!(bytes_hardly_cached, Bytes<TINY>);

#[cfg(feature = "rocksdb")]
suite!(rocksdb_uncached, RocksDb<false, 0>);
#[cfg(feature = "rocksdb")]
suite!(rocksdb, RocksDb<true, { 4 << 20 }>);
#[cfg(feature = "rocksdb")]
suite!(rocksdb_hardly_cached, RocksDb<true, TINY>);
