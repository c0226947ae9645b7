//! The suite on the filesystem backend with full checkpoints.

mod factories;

use conformance_tests::suite;

suite!(fs, factories::Fs<false>);
