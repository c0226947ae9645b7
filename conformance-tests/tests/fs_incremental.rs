//! The suite on the filesystem backend with incremental checkpoints.

mod factories;

use conformance_tests::suite;

suite!(fs_incremental, factories::Fs<true>);
