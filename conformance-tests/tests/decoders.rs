//! The decoders on the corpora of the fuzzers, and on simple damages of the seeds.

use std::path::Path;

use conformance_tests::decoders::{checkpoint_file, codecs, keys, metadata, rows};
use conformance_tests::family::Fs;
use conformance_tests::kinds::{Content, Kinds};
use conformance_tests::{Setup, World, checkpoint_of};

#[path = "../../examples/access_log/log_line.rs"]
#[allow(dead_code, reason = "the example's module")]
mod log_line;
#[path = "../../examples/access_log/log_time.rs"]
#[allow(dead_code, reason = "the example's module")]
mod log_time;

/// Calls `decode` with every file of a corpus, with truncations of each, and with single changed bytes.
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

/// Writes the seeds that are not written by hand: `cargo test -p conformance-tests --test decoders --
/// --ignored`.
#[test]
#[ignore = "it writes files into fuzz/seeds"]
fn seeds_of_checkpoints() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(seeds.join(target)).expect("a folder");
        std::fs::write(seeds.join(target).join(name), bytes).expect("a file");
    };
    for (compression, name) in [(false, "plain"), (true, "compressed")] {
        let setup = Setup { compression: Some(compression), ..Setup::default() };
        let world = World::<Fs<true>>::in_files(setup).expect("the backend has files");
        let mut backend = world.open::<i32>();
        let kinds = Kinds::register(&mut backend).expect("new states");
        let mut content = Content::default();
        for round in 0..3 {
            kinds.change(&mut backend, &mut content, round);
            let handle = world.checkpoint(&mut backend);
            let file = handle.files.last().expect("a file");
            write("checkpoint_file", &format!("{name}_{round}"), &world.bytes(file));
            let sealed = checkpoint_of([handle]).encode().expect("a checkpoint");
            write("metadata", &format!("{name}_{round}_sealed"), &sealed);
            // Between the header of the container and its checksum.
            write("metadata", &format!("{name}_{round}"), &sealed[20..sealed.len() - 4]);
        }
    }
}
