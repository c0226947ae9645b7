//! Size limits of entries, and of lists and maps as a whole.

mod entry_limit;
mod totals;

pub(crate) use entry_limit::EntryLimit;
pub(crate) use totals::{BUCKETS, Change, Totals};
