//! A savepoint of Flink with all its state within the metadata.
#![no_main]

use std::sync::Arc;

use backend_api::{Cancel, MemoryStorage, Result, Storage};
use flink_savepoint::Savepoint;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Any error is right, and a panic is not.
    let _ = read(bytes);
});

fn read(bytes: &[u8]) -> Result<()> {
    let storage = MemoryStorage::new();
    let mut file = storage.create("_metadata", &Cancel::new())?;
    file.write(bytes)?;
    file.finish()?;
    let savepoint = Savepoint::open(Arc::new(storage), "")?;
    for operator in savepoint.operators() {
        if let Ok(Some(keyed)) = operator.keyed_state() {
            let mut rows = keyed.all_rows();
            while let Ok(Some(row)) = rows.next() {
                // A row that cannot be decoded says nothing about the next one.
                let _ = row.decode(|_| Ok(()));
            }
        }
        if let Ok(Some(states)) = operator.operator_state() {
            for state in states.states() {
                states.rows(&state.name).into_iter().flatten().for_each(drop);
            }
        }
    }
    Ok(())
}
