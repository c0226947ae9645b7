//! How large entries, and lists and maps as a whole, may become.

mod entry_limit;
mod totals;

pub(crate) use entry_limit::EntryLimit;
pub(crate) use totals::{BUCKETS, Change, Totals};
