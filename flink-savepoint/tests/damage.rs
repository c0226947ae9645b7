//! Every byte of a small savepoint changed, and every truncation: an error with its place, or values of the right types.
//! Flink's savepoints have no checksums, so a changed value can be a right one.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use backend_api::{Cancel, Error, ErrorKind, MemoryStorage, Result, Storage};
use flink_savepoint::{Savepoint, Type, Value};

/// Reads all that can be read of a savepoint. Returns the number of rows.
fn read_all(savepoint: &Savepoint) -> Result<usize> {
    let mut rows = 0;
    for operator in savepoint.operators() {
        if let Some(keyed) = operator.keyed_state()? {
            let mut all = keyed.all_rows();
            while let Some(raw) = all.next()? {
                let state = raw.state.clone();
                let decoded = raw.decode(|row| {
                    assert!(fits(&row.key, keyed.key()) && fits(&row.namespace, &state.namespace));
                    assert!(fits(&row.value, &state.value), "{:?} is no {}", row.value, state.value);
                    rows += 1;
                    Ok(())
                });
                if let Err(error) = decoded {
                    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
                }
            }
            if let Some(Ok(rows)) = keyed.states().map(|state| keyed.rows(&state.name)).next() {
                rows.for_each(|row| drop(row.map_err(|error| check(&error))));
            }
        }
        if let Some(states) = operator.operator_state()? {
            for state in states.states() {
                let Ok(of_state) = states.rows(&state.name) else { continue };
                for row in of_state {
                    assert!(fits(&row?.value, &state.value));
                    rows += 1;
                }
            }
        }
    }
    Ok(rows)
}

fn fits(value: &Value, of: &Type) -> bool {
    match (value, of) {
        (Value::Boolean(_), Type::Boolean)
        | (Value::Byte(_), Type::Byte)
        | (Value::Short(_), Type::Short)
        | (Value::Int(_), Type::Int)
        | (Value::Long(_), Type::Long)
        | (Value::Char(_), Type::Char)
        | (Value::Float(_), Type::Float)
        | (Value::Double(_), Type::Double)
        | (Value::String(_) | Value::Utf16(_), Type::String)
        | (Value::BigInteger(_), Type::BigInteger)
        | (Value::BigDecimal { .. }, Type::BigDecimal)
        | (Value::Date(_), Type::Date)
        | (Value::Timestamp { .. }, Type::Timestamp)
        | (Value::Instant { .. }, Type::Instant)
        | (Value::LocalDate(_), Type::LocalDate)
        | (Value::LocalTime(_), Type::LocalTime)
        | (Value::LocalDateTime(..), Type::LocalDateTime)
        | (Value::Enum(_), Type::Enum(_))
        | (Value::TimeWindow { .. }, Type::TimeWindow) => true,
        (Value::Bytes(_), Type::Primitives(of)) => **of == Type::Byte,
        (Value::Null, _) => true,
        (Value::List(values), Type::List(of) | Type::Primitives(of) | Type::Array(of) | Type::Set(of)) => {
            values.iter().all(|value| fits(value, of))
        }
        (Value::Map(entries), Type::Map(of)) => {
            entries.iter().all(|(key, value)| fits(key, &of.0) && fits(value, &of.1))
        }
        (Value::Tuple(values), Type::Tuple(of)) | (Value::Row(values), Type::Row { fields: of, .. }) => {
            values.len() == of.len() && values.iter().zip(of).all(|(value, of)| fits(value, of))
        }
        (Value::Pojo(_), Type::Pojo(_)) => true,
        (value, Type::Nullable(of, _) | Type::Ttl(of)) => fits(value, of),
        _ => false,
    }
}

#[track_caller]
fn check(error: &Error) {
    assert!(
        matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::NotFound),
        "{error}"
    );
    assert!(error.file().is_some(), "{error} names no file");
}

/// Reads a savepoint whose only file is this, with no more memory than a multiple of its size.
fn read(bytes: &[u8]) -> Result<usize> {
    let mut result = Ok(0);
    let info = allocation_counter::measure(|| {
        let storage = MemoryStorage::new();
        let mut file = storage.create("_metadata", &Cancel::new()).unwrap();
        file.write(bytes).unwrap();
        file.finish().unwrap();
        result = Savepoint::open(Arc::new(storage), "").and_then(|savepoint| read_all(&savepoint));
    });
    // An element of a list in the file can have one byte, and has the size of a `Value` in memory. Snappy has buffers.
    let limit = bytes.len() as u64 * 64 + (1 << 20);
    assert!(info.bytes_max < limit, "{} bytes were allocated for a file of {}", info.bytes_max, bytes.len());
    if let Err(error) = &result {
        check(error);
    }
    result
}

fn metadata(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}/_metadata", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_changed_byte_is_an_error_or_a_value() {
    for name in ["tiny", "tiny-compressed"] {
        let mut bytes = metadata(name);
        let rows = read(&bytes).unwrap();
        assert!(rows > 50, "{name}: {rows}");
        let mut errors = 0;
        for at in 0..bytes.len() {
            let change = [0x01, 0x80, 0xFF][at % 3];
            bytes[at] ^= change;
            errors += usize::from(read(&bytes).is_err());
            bytes[at] ^= change;
        }
        assert!(errors > bytes.len() / 4, "{name}: {errors}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["tiny", "tiny-compressed"] {
        let bytes = metadata(name);
        // What Java serialized at the end is not read.
        let read_to = (0..bytes.len()).rev().find(|len| read(&bytes[..*len]).is_err()).unwrap() + 1;
        assert!(bytes.len() - read_to < 1500, "{name}: {read_to} of {}", bytes.len());
        for len in 0..read_to {
            let error = read(&bytes[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }
}

/// Values of all types, but not every byte of them: that would take minutes.
#[test]
fn changed_values_of_all_types_are_errors_or_values() {
    for name in ["heap-128", "rocksdb-200"] {
        let mut bytes = metadata(name);
        for at in (0..bytes.len()).step_by(1997) {
            bytes[at] ^= 0x81;
            let _ = read(&bytes);
            bytes[at] ^= 0x81;
        }
    }
}
