//! Savepoints that Flink wrote, and the JSON that Flink's own views gave of their values.

use std::path::PathBuf;
use std::sync::Arc;

use flink_savepoint::{Place, Pojo, Row, Savepoint, Value};
use serde_json::{Value as Json, json};
use storage_local::LocalStorage;

pub fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub fn open(name: &str) -> backend_api::Result<Savepoint> {
    Savepoint::open(Arc::new(LocalStorage::open(folder(name)).unwrap()), "")
}

/// What the Java side says.
#[allow(dead_code, reason = "not all tests use it")]
pub fn expected(name: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(folder(name).join("expected.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number of digits that a big integer has is not known to this crate, so tests convert it.
#[allow(dead_code, reason = "not all tests use it")]
fn decimal(bytes: &[u8]) -> String {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            *byte = !*byte;
            if carry {
                (*byte, carry) = byte.overflowing_add(1);
            }
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut magnitude {
            let part = rest << 8 | u32::from(*byte);
            *byte = (part / 10) as u8;
            rest = part % 10;
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    if digits.is_empty() {
        return "0".to_owned();
    }
    if negative {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

#[allow(dead_code, reason = "not all tests use it")]
pub fn to_json(value: &Value) -> Json {
    let list = |values: &[Value]| values.iter().map(to_json).collect::<Vec<_>>();
    let date =
        |date: &flink_savepoint::LocalDate| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let time = |time: &flink_savepoint::LocalTime| json!([time.hour, time.minute, time.second, time.nano]);
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!({ "boolean": value }),
        Value::Byte(value) => json!({ "byte": value }),
        Value::Short(value) => json!({ "short": value }),
        Value::Int(value) => json!({ "int": value }),
        Value::Long(value) => json!({ "long": value }),
        Value::Char(value) => json!({ "char": value }),
        Value::Float(value) => json!({ "float": value.to_bits() as i32 }),
        Value::Double(value) => json!({ "double": value.to_bits() as i64 }),
        Value::String(value) => json!({ "string": value }),
        Value::Utf16(value) => json!({ "utf16": value }),
        Value::Bytes(value) => {
            json!({ "bytes": value.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
        Value::BigInteger(value) => json!({ "bigInteger": decimal(value) }),
        Value::BigDecimal { unscaled, scale } => json!({ "bigDecimal": [decimal(unscaled), scale] }),
        Value::Date(value) => json!({ "date": value }),
        Value::Timestamp { millis, nanos } => json!({ "timestamp": [millis, nanos] }),
        Value::Instant { seconds, nanos } => json!({ "instant": [seconds, nanos] }),
        Value::LocalDate(value) => json!({ "localDate": date(value) }),
        Value::LocalTime(value) => json!({ "localTime": time(value) }),
        Value::LocalDateTime(day, at) => json!({ "localDateTime": [date(day), time(at)] }),
        Value::Enum(value) => json!({ "enum": &**value }),
        Value::TimeWindow { start, end } => json!({ "window": [start, end] }),
        Value::List(values) => json!({ "list": list(values) }),
        Value::Tuple(values) => json!({ "tuple": list(values) }),
        Value::Row(values) => json!({ "row": list(values) }),
        Value::Map(entries) => {
            let mut entries: Vec<_> =
                entries.iter().map(|(key, value)| json!([to_json(key), to_json(value)])).collect();
            entries.sort_by_key(Json::to_string);
            json!({ "map": entries })
        }
        Value::Pojo(pojo) => {
            let Pojo { class, fields } = &**pojo;
            let mut object = serde_json::Map::new();
            object.insert("class".to_owned(), json!(&**class));
            object.extend(fields.iter().map(|(name, value)| (name.to_string(), to_json(value))));
            json!({ "pojo": object })
        }
        other => panic!("{other:?} is not among the fixtures"),
    }
}

/// A line as the Java side writes it.
#[allow(dead_code, reason = "not all tests use it")]
pub fn line(operator: &str, state: &str, kind: &str, row: &Row) -> Json {
    let mut line = json!({
        "operator": operator,
        "state": state,
        "kind": kind,
        "keyGroup": row.key_group,
        "key": to_json(&row.key),
        "namespace": to_json(&row.namespace),
    });
    match &row.place {
        Place::Single => {}
        Place::Element(index) => line["index"] = json!(index),
        Place::Entry(key) => line["mapKey"] = to_json(key),
        Place::Timer(time) => {
            line["time"] = json!(time);
            return line;
        }
    }
    line["value"] = to_json(&row.value);
    if let Some(time) = row.last_access {
        line["lastAccess"] = json!(time);
    }
    line
}
