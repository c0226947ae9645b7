//! The backends by name, for the command-line programs.

#[cfg(feature = "rocksdb")]
use super::RocksDb;
use super::{Bytes, Fs, Memory, TINY};
use crate::script::{Machine, Type, operator};
use crate::{Capabilities, Case, Factory, Setup, all_cases};

/// The machine for a script, or the reason why there is none.
pub type Opened = Result<Box<dyn Machine>, String>;

/// The backends of the programs. A static, because each program would compile a constant again.
pub static FAMILY: &[Member] = &[
    member::<Memory>("memory"),
    member::<Fs<false>>("fs"),
    member::<Fs<true>>("fs-incremental"),
    member::<Bytes<0>>("bytes"),
    member::<Bytes<TINY>>("bytes-cached"),
    #[cfg(feature = "rocksdb")]
    member::<RocksDb<false, 0>>("rocksdb-uncached"),
    #[cfg(feature = "rocksdb")]
    member::<RocksDb<true, { 4 << 20 }>>("rocksdb"),
    #[cfg(feature = "rocksdb")]
    member::<RocksDb<true, TINY>>("rocksdb-hardly-cached"),
];

/// A backend by name, with its types erased.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The name on the command line.
    pub name: &'static str,
    /// All cases of the suite for it.
    pub cases: fn() -> Vec<Case>,
    /// Opens an operator of it for a script.
    pub operator: fn(Setup, Type, u16) -> Opened,
    /// Its settings.
    pub capabilities: fn() -> Capabilities,
}

const fn member<F: Factory>(name: &'static str) -> Member {
    Member { name, cases: all_cases::<F>, operator: operator::<F>, capabilities: || F::new().capabilities() }
}
