//! The types that a program in Rust has for values of Flink, and their canonical form.

use std::sync::Arc;

use backend_api::Result;
use ciborium_ll::{Encoder, Header, simple};

use crate::input::{corrupt, unsupported};
use crate::types::Type;
use crate::value::{LocalDate, LocalTime, Value};

/// The type of values.
#[derive(Debug)]
pub(super) struct Shape {
    /// True once a value was null.
    is_null: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Leaf(&'static str),
    Bytes,
    List(Box<Shape>),
    Map(Box<(Shape, Shape)>),
    Tuple(Vec<Shape>),
    Struct(Vec<(Arc<str>, Shape)>),
    Variants(Vec<Variant>),
}

#[derive(Debug)]
struct Variant {
    name: Arc<str>,
    /// The class of a POJO.
    class: Arc<str>,
    content: Option<Shape>,
}

impl Shape {
    /// The type for values of `of`, none of which is null so far.
    pub(super) fn of(of: &Type) -> Self {
        let boxed = |of: &Type| Box::new(Self::of(of));
        let list = |types: &[Type]| types.iter().map(Self::of).collect();
        let leaf = |name| Self { is_null: false, content: Content::Leaf(name) };
        let numbers = |names: &[(&str, &'static str)]| {
            Content::Struct(names.iter().map(|(name, of)| ((*name).into(), leaf(of))).collect())
        };
        let date = || numbers(&[("year", "i32"), ("month", "u8"), ("day", "u8")]);
        let time = || numbers(&[("hour", "u8"), ("minute", "u8"), ("second", "u8"), ("nano", "u32")]);
        let part = |content| Self { is_null: false, content };
        let content = match of {
            Type::Boolean => Content::Leaf("bool"),
            Type::Byte => Content::Leaf("i8"),
            Type::Short => Content::Leaf("i16"),
            Type::Int => Content::Leaf("i32"),
            Type::Long | Type::Date => Content::Leaf("i64"),
            Type::Char => Content::Leaf("u16"),
            Type::Float => Content::Leaf("f32"),
            Type::Double => Content::Leaf("f64"),
            Type::String => Content::Leaf("string"),
            Type::Void | Type::GlobalWindow | Type::Timer(_) | Type::Opaque(_) => Content::Leaf("()"),
            Type::BigInteger => Content::Bytes,
            Type::BigDecimal => Content::Struct(vec![
                ("unscaled".into(), part(Content::Bytes)),
                ("scale".into(), leaf("i32")),
            ]),
            Type::Timestamp => numbers(&[("millis", "i64"), ("nanos", "i32")]),
            Type::Instant => numbers(&[("seconds", "i64"), ("nanos", "i32")]),
            Type::LocalDate => date(),
            Type::LocalTime => time(),
            Type::LocalDateTime => {
                Content::Struct(vec![("date".into(), part(date())), ("time".into(), part(time()))])
            }
            Type::TimeWindow => Content::Tuple(vec![leaf("i64"), leaf("i64")]),
            Type::Primitives(of) if **of == Type::Byte => Content::Bytes,
            Type::Primitives(of) | Type::Array(of) | Type::List(of) | Type::Set(of) => {
                Content::List(boxed(of))
            }
            Type::Map(of) => Content::Map(Box::new((Self::of(&of.0), Self::of(&of.1)))),
            Type::Tuple(fields) | Type::Row { fields, .. } => Content::Tuple(list(fields)),
            Type::Pojo(pojo) => {
                let fields = pojo.fields.iter().map(|(name, of)| (Arc::clone(name), Self::of(of)));
                let exact = Content::Struct(fields.collect());
                if pojo.registered.is_empty() && pojo.others.is_empty() {
                    return part(exact);
                }
                let mut variants = vec![Variant::of_class(&pojo.class, part(exact))];
                for (class, of) in pojo.registered.iter().chain(&pojo.others) {
                    if matches!(of, Type::Pojo(_)) && variants.iter().all(|variant| variant.class != *class) {
                        variants.push(Variant::of_class(class, Self::of(of)));
                    }
                }
                Content::Variants(variants)
            }
            Type::Enum(of) => {
                let constants = of.constants.iter();
                let variant = |name: &Arc<str>| Variant {
                    name: Arc::clone(name),
                    class: Arc::clone(name),
                    content: None,
                };
                Content::Variants(constants.map(variant).collect())
            }
            Type::Either(of) => Content::Variants(vec![
                Variant::of_class(&"Left".into(), Self::of(&of.0)),
                Variant::of_class(&"Right".into(), Self::of(&of.1)),
            ]),
            Type::Nullable(of, _) | Type::Ttl(of) => return Self::of(of),
        };
        part(content)
    }

    /// True if a value can be null somewhere, so that all values must be [observed](Self::observe) first.
    pub(super) fn may_be_null(of: &Type) -> bool {
        match of {
            Type::Boolean | Type::Byte | Type::Short | Type::Int | Type::Long => false,
            Type::Char | Type::Float | Type::Double | Type::Enum(_) => false,
            Type::Void | Type::TimeWindow | Type::GlobalWindow | Type::Opaque(_) => false,
            Type::Primitives(of) | Type::List(of) | Type::Set(of) | Type::Ttl(of) => Self::may_be_null(of),
            Type::Tuple(fields) => fields.iter().any(Self::may_be_null),
            _ => true,
        }
    }

    /// Notes where a value is null.
    pub(super) fn observe(&mut self, value: &Value) {
        match (&mut self.content, value) {
            (Content::Leaf("()"), _) => {}
            (_, Value::Null) => self.is_null = true,
            (Content::List(of), Value::List(values)) => values.iter().for_each(|value| of.observe(value)),
            (Content::Map(of), Value::Map(entries)) => entries.iter().for_each(|(key, value)| {
                of.0.observe(key);
                of.1.observe(value);
            }),
            (Content::Tuple(parts), Value::Tuple(values) | Value::Row(values)) => {
                parts.iter_mut().zip(values).for_each(|(part, value)| part.observe(value));
            }
            (Content::Struct(fields), Value::Pojo(pojo)) => {
                fields.iter_mut().zip(&pojo.fields).for_each(|((_, of), (_, value))| of.observe(value));
            }
            (Content::Variants(variants), value) => {
                let (class, content) = variant_of(value);
                let variant =
                    variants.iter_mut().find(|variant| class.is_some_and(|class| *variant.class == *class));
                if let Some(of) = variant.and_then(|variant| variant.content.as_mut()) {
                    of.observe(content);
                }
            }
            _ => {}
        }
    }

    /// The id of the codec that a program has for this type by default.
    pub(super) fn codec_id(&self) -> String {
        let is_plain = self.is_plain();
        let mut text = String::new();
        self.describe(is_plain, &mut text);
        format!("{}:{text}", if is_plain { "plain" } else { "postcard/1" })
    }

    fn is_plain(&self) -> bool {
        match &self.content {
            Content::Leaf(_) | Content::Bytes => true,
            Content::List(of) => of.is_plain(),
            Content::Map(of) => of.0.is_plain() && of.1.is_plain(),
            Content::Tuple(parts) => parts.len() > 1 && parts.iter().all(Self::is_plain),
            Content::Struct(_) | Content::Variants(_) => false,
        }
    }

    fn describe(&self, is_plain: bool, out: &mut String) {
        if self.is_null {
            out.push_str("option<");
        }
        match &self.content {
            Content::Leaf(name) => out.push_str(name),
            Content::Bytes => out.push_str(if is_plain { "[u8]" } else { "list<u8>" }),
            Content::List(of) => {
                out.push_str(if is_plain { "[" } else { "list<" });
                of.describe(is_plain, out);
                out.push_str(if is_plain { "]" } else { ">" });
            }
            Content::Map(of) => {
                out.push_str("map<");
                of.0.describe(is_plain, out);
                out.push(',');
                of.1.describe(is_plain, out);
                out.push('>');
            }
            Content::Tuple(parts) => {
                out.push('(');
                for (i, part) in parts.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    part.describe(is_plain, out);
                }
                out.push_str(if parts.len() == 1 { ",)" } else { ")" });
            }
            Content::Struct(fields) => {
                out.push_str("struct{");
                for (i, (name, of)) in fields.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    out.push_str(&quoted(name));
                    out.push(':');
                    of.describe(is_plain, out);
                }
                out.push('}');
            }
            Content::Variants(variants) => {
                out.push_str("enum{");
                for (i, Variant { name, content, .. }) in variants.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    out.push_str(&quoted(name));
                    if let Some(of) = content {
                        out.push('(');
                        of.describe(is_plain, out);
                        out.push(')');
                    }
                }
                out.push('}');
            }
        }
        if self.is_null {
            out.push('>');
        }
    }

    /// Appends the canonical form of a value, which must have been observed if it [may be null](Self::may_be_null).
    pub(super) fn write(&self, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        match (&self.content, value) {
            (_, Value::Null) if self.is_null || matches!(self.content, Content::Leaf("()")) => {
                push(Header::Simple(simple::NULL), out)
            }
            (Content::Leaf(_), value) => leaf(value, out),
            (Content::Bytes, Value::Bytes(bytes) | Value::BigInteger(bytes)) => {
                push(Header::Bytes(Some(bytes.len())), out)?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            (Content::List(of), Value::List(values)) => {
                push(Header::Array(Some(values.len())), out)?;
                values.iter().try_for_each(|value| of.write(value, out))
            }
            (Content::Map(of), Value::Map(entries)) => {
                push(Header::Map(Some(entries.len())), out)?;
                let entries = entries.iter().map(|(key, value)| {
                    let mut bytes = Vec::new();
                    of.0.write(key, &mut bytes)?;
                    of.1.write(value, &mut bytes)?;
                    Ok(bytes)
                });
                let mut entries = entries.collect::<Result<Vec<_>>>()?;
                entries.sort_unstable();
                entries.iter().for_each(|entry| out.extend_from_slice(entry));
                Ok(())
            }
            (Content::Tuple(parts), Value::TimeWindow { start, end }) if parts.len() == 2 => {
                push(Header::Array(Some(2)), out)?;
                integer(*start, out)?;
                integer(*end, out)
            }
            (Content::Tuple(parts), Value::Tuple(values) | Value::Row(values))
                if parts.len() == values.len() =>
            {
                push(Header::Array(Some(parts.len())), out)?;
                parts.iter().zip(values).try_for_each(|(part, value)| part.write(value, out))
            }
            (Content::Struct(fields), Value::Pojo(pojo)) if fields.len() == pojo.fields.len() => {
                push(Header::Map(Some(fields.len())), out)?;
                fields.iter().zip(&pojo.fields).try_for_each(|((name, of), (_, value))| {
                    text(name, out)?;
                    of.write(value, out)
                })
            }
            (Content::Struct(_), value) => parts(value, out),
            (Content::Variants(variants), value) => {
                let (class, content) = variant_of(value);
                let variant =
                    variants.iter().find(|variant| class.is_some_and(|class| *variant.class == *class));
                let variant = variant.ok_or_else(|| corrupt("a value has a class that its type lacks"))?;
                let Some(of) = &variant.content else { return text(&variant.name, out) };
                push(Header::Map(Some(1)), out)?;
                text(&variant.name, out)?;
                of.write(content, out)
            }
            _ => Err(corrupt("a value is not of its type")),
        }
    }
}

impl Variant {
    /// Named as the class, without what stands before it.
    fn of_class(class: &Arc<str>, content: Shape) -> Self {
        let name = class.rsplit(['.', '$']).next().unwrap_or(class).into();
        Self { name, class: Arc::clone(class), content: Some(content) }
    }
}

/// Which variant a value is, and what it contains.
fn variant_of(value: &Value) -> (Option<&str>, &Value) {
    match value {
        Value::Pojo(pojo) => (Some(&pojo.class), value),
        Value::Enum(name) => (Some(name), value),
        Value::Left(value) => (Some("Left"), value),
        Value::Right(value) => (Some("Right"), value),
        _ => (None, value),
    }
}

/// A value of which the type has no parts.
fn leaf(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Boolean(value) => push(Header::Simple(if *value { simple::TRUE } else { simple::FALSE }), out),
        Value::Byte(value) => integer((*value).into(), out),
        Value::Short(value) => integer((*value).into(), out),
        Value::Int(value) => integer((*value).into(), out),
        Value::Long(value) | Value::Date(value) => integer(*value, out),
        Value::Char(value) => integer((*value).into(), out),
        Value::Float(value) => push(Header::Float((*value).into()), out),
        Value::Double(value) => push(Header::Float(*value), out),
        Value::String(value) => text(value, out),
        Value::Utf16(units) => text(&escaped(units), out),
        _ => Err(unsupported("a value is null where its type has no null")),
    }
}

/// A value that is a struct of numbers.
fn parts(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let fields = |fields: &[(&str, i64)], out: &mut Vec<u8>| {
        push(Header::Map(Some(fields.len())), out)?;
        fields.iter().try_for_each(|(name, value)| {
            text(name, out)?;
            integer(*value, out)
        })
    };
    let date = |date: &LocalDate, out: &mut Vec<u8>| {
        fields(&[("year", date.year.into()), ("month", date.month.into()), ("day", date.day.into())], out)
    };
    let time = |time: &LocalTime, out: &mut Vec<u8>| {
        let LocalTime { hour, minute, second, nano } = *time;
        let numbers = [
            ("hour", hour.into()),
            ("minute", minute.into()),
            ("second", second.into()),
            ("nano", nano.into()),
        ];
        fields(&numbers, out)
    };
    match value {
        Value::BigDecimal { unscaled, scale } => {
            push(Header::Map(Some(2)), out)?;
            text("unscaled", out)?;
            push(Header::Bytes(Some(unscaled.len())), out)?;
            out.extend_from_slice(unscaled);
            text("scale", out)?;
            integer((*scale).into(), out)
        }
        Value::Timestamp { millis, nanos } => fields(&[("millis", *millis), ("nanos", (*nanos).into())], out),
        Value::Instant { seconds, nanos } => {
            fields(&[("seconds", *seconds), ("nanos", (*nanos).into())], out)
        }
        Value::LocalDate(value) => date(value, out),
        Value::LocalTime(value) => time(value, out),
        Value::LocalDateTime(day, at) => {
            push(Header::Map(Some(2)), out)?;
            text("date", out)?;
            date(day, out)?;
            text("time", out)?;
            time(at, out)
        }
        _ => Err(corrupt("a value is not of its type")),
    }
}

/// A string with its unpaired surrogates written as `\ud83d`.
pub(super) fn escaped(units: &[u16]) -> String {
    let mut out = String::new();
    for unit in char::decode_utf16(units.iter().copied()) {
        match unit {
            Ok(unit) => out.push(unit),
            Err(unpaired) => out.push_str(&format!("\\u{:04x}", unpaired.unpaired_surrogate())),
        }
    }
    out
}

/// A name in a shape.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if is_plain {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

fn push(header: Header, out: &mut Vec<u8>) -> Result<()> {
    Encoder::from(out).push(header).map_err(|_| corrupt("no memory"))
}

fn text(text: &str, out: &mut Vec<u8>) -> Result<()> {
    push(Header::Text(Some(text.len())), out)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

pub(super) fn integer(number: i64, out: &mut Vec<u8>) -> Result<()> {
    push(
        match u64::try_from(number) {
            Ok(number) => Header::Positive(number),
            Err(_) => Header::Negative(!number as u64),
        },
        out,
    )
}

/// Begins a value with the time of its last write.
pub(super) fn stamp(at: i64, out: &mut Vec<u8>) -> Result<()> {
    push(Header::Map(Some(2)), out)?;
    text("at", out)?;
    integer(at, out)?;
    text("value", out)
}
