//! The decoders on the corpora of the fuzzers, and on their seeds damaged in simple ways.

use std::path::Path;

use conformance_tests::decoders::{checkpoint_file, codecs, keys, metadata, rows};

#[path = "../../examples/access_log/log_line.rs"]
#[allow(dead_code, reason = "the example's module")]
mod log_line;
#[path = "../../examples/access_log/log_time.rs"]
#[allow(dead_code, reason = "the example's module")]
mod log_time;

/// Calls `decode` with every file of a corpus, with each cut off at several places, and with each with single bytes
/// changed.
fn check(target: &str, decode: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files: Vec<_> =
        folder.read_dir().expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    assert!(!files.is_empty(), "{target} has no corpus");
    for file in files {
        let bytes = std::fs::read(&file).expect("a file");
        decode(&bytes);
        let step = 1 + bytes.len() / 64;
        for at in (0..bytes.len()).step_by(step) {
            decode(&bytes[..at]);
            for change in [1, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                decode(&changed);
            }
        }
    }
}

#[test]
fn metadata_of_checkpoints() {
    check("metadata", metadata);
}

#[test]
fn checkpoint_files() {
    check("checkpoint_file", checkpoint_file);
}

#[test]
fn rows_of_checkpoints() {
    check("rows", rows);
}

#[test]
fn keys_in_order() {
    check("keys", keys);
}

#[test]
fn codecs_of_values() {
    check("codecs", codecs);
}

#[test]
fn lines_of_a_log() {
    check("log_line", |bytes| {
        let _ = log_line::parse(bytes);
    });
}
