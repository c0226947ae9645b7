//! Keys, namespaces and keys of maps, as a program in Rust encodes them.

use backend_api::{Result, StateKey};

use super::shape::{escaped, quoted};
use crate::input::unsupported;
use crate::types::Type;
use crate::value::Value;

/// The schema of keys of this type.
pub(super) fn schema(of: &Type) -> Result<String> {
    Ok(match of {
        Type::Pojo(pojo) => {
            let fields = pojo.fields.iter().map(|(name, of)| Ok(format!("{}:{}", quoted(name), schema(of)?)));
            let fields = fields.collect::<Result<Vec<_>>>()?;
            format!("{}:struct{{{}}}", type_name(&pojo.class), fields.join(","))
        }
        Type::Enum(of) => {
            let constants: Vec<_> = of.constants.iter().map(|name| quoted(name)).collect();
            format!("{}:enum{{{}}}", type_name(&of.class), constants.join(","))
        }
        Type::Tuple(fields) => {
            let fields = fields.iter().map(schema).collect::<Result<Vec<_>>>()?;
            let end = if fields.len() == 1 { ",)" } else { ")" };
            format!("({}{end}", fields.join(","))
        }
        Type::Boolean => "bool".to_owned(),
        Type::Byte => "i8".to_owned(),
        Type::Short => "i16".to_owned(),
        Type::Int => "i32".to_owned(),
        Type::Long | Type::Date => "i64".to_owned(),
        Type::Char => "u16".to_owned(),
        Type::Float => "f32".to_owned(),
        Type::Double => "f64".to_owned(),
        Type::String => "string".to_owned(),
        Type::Void | Type::GlobalWindow => "()".to_owned(),
        Type::TimeWindow => <(i64, i64)>::schema(),
        Type::Primitives(of) if **of == Type::Byte => "bytes".to_owned(),
        other => return Err(unsupported(format!("keys of the type {other} have no counterpart"))),
    })
}

/// `Address` of `org.example.Shop$Address`.
fn type_name(class: &str) -> String {
    quoted(class.rsplit(['.', '$']).next().unwrap_or(class))
}

/// Appends the encoding of a key.
pub(super) fn encode(of: &Type, key: &Value, out: &mut Vec<u8>) -> Result<()> {
    match key {
        Value::Boolean(key) => key.encode(out),
        Value::Byte(key) => key.encode(out),
        Value::Short(key) => key.encode(out),
        Value::Int(key) => key.encode(out),
        Value::Long(key) | Value::Date(key) => key.encode(out),
        Value::Char(key) => key.encode(out),
        Value::Float(key) => ordered(key.to_bits().into(), 32, out),
        Value::Double(key) => ordered(key.to_bits(), 64, out),
        Value::String(key) => key.encode(out),
        Value::Utf16(units) => escaped(units).encode(out),
        Value::Bytes(key) => key.encode(out),
        Value::TimeWindow { start, end } => (*start, *end).encode(out),
        Value::Null if matches!(of, Type::Void | Type::GlobalWindow) => {}
        Value::Null => return Err(unsupported("a key is null or has a null")),
        Value::Tuple(values) => match of {
            Type::Tuple(fields) => {
                fields.iter().zip(values).try_for_each(|(of, value)| encode(of, value, out))?;
            }
            _ => return Err(foreign()),
        },
        Value::Pojo(pojo) => match of {
            Type::Pojo(of) if of.class == pojo.class => {
                let fields = of.fields.iter().zip(&pojo.fields);
                fields.into_iter().try_for_each(|((_, of), (_, value))| encode(of, value, out))?;
            }
            _ => return Err(unsupported("a key is of a subclass")),
        },
        Value::Enum(name) => {
            let index = match of {
                Type::Enum(of) => of.constants.iter().position(|constant| constant == name),
                _ => None,
            };
            // As the order-keeping format numbers variants.
            match index.and_then(|index| u32::try_from(index).ok()) {
                Some(index @ 0..255) => out.push(index as u8),
                Some(index) => {
                    out.push(255);
                    index.encode(out);
                }
                None => return Err(foreign()),
            }
        }
        _ => return Err(foreign()),
    }
    Ok(())
}

#[cold]
fn foreign() -> backend_api::Error {
    unsupported("a key has a type without a counterpart")
}

/// A floating-point number of that width: the bits inverted if negative, else the sign bit flipped.
fn ordered(bits: u64, width: u32, out: &mut Vec<u8>) {
    let sign = 1 << (width - 1);
    let ordered = if bits & sign == 0 { bits | sign } else { !bits };
    out.extend_from_slice(&ordered.to_be_bytes()[8 - width as usize / 8..]);
}
