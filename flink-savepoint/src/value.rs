//! Values, and how Flink's serializers write them.

use std::sync::Arc;

use backend_api::Result;

use crate::input::{Input, corrupt, unsupported};
use crate::types::{PojoType, Type};

/// A value of one of the [types](Type).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Null; also the namespace of state without namespaces.
    Null,
    /// `boolean`.
    Boolean(bool),
    /// `byte`.
    Byte(i8),
    /// `short`.
    Short(i16),
    /// `int`.
    Int(i32),
    /// `long`.
    Long(i64),
    /// `char`, a unit of UTF-16.
    Char(u16),
    /// `float`.
    Float(f32),
    /// `double`.
    Double(f64),
    /// `String`.
    String(String),
    /// A `String` with an unpaired surrogate, which no string of Rust can hold.
    Utf16(Vec<u16>),
    /// `byte[]`.
    Bytes(Vec<u8>),
    /// `BigInteger`: two's complement, the most significant byte first.
    BigInteger(Vec<u8>),
    /// `BigDecimal`: an integer as above, divided by 10 to the power of `scale`.
    BigDecimal {
        /// The integer.
        unscaled: Vec<u8>,
        /// Digits after the point.
        scale: i32,
    },
    /// `java.util.Date`, `java.sql.Date` or `java.sql.Time`: milliseconds since 1970 in UTC.
    Date(i64),
    /// `java.sql.Timestamp`.
    Timestamp {
        /// Milliseconds since 1970 in UTC.
        millis: i64,
        /// Nanoseconds of the second, those of the milliseconds too.
        nanos: i32,
    },
    /// `Instant`.
    Instant {
        /// Seconds since 1970 in UTC.
        seconds: i64,
        /// Nanoseconds of the second.
        nanos: i32,
    },
    /// `LocalDate`.
    LocalDate(LocalDate),
    /// `LocalTime`.
    LocalTime(LocalTime),
    /// `LocalDateTime`.
    LocalDateTime(LocalDate, LocalTime),
    /// The name of an enum's constant.
    Enum(Arc<str>),
    /// `TimeWindow`, as a namespace.
    TimeWindow {
        /// First millisecond.
        start: i64,
        /// First millisecond after it.
        end: i64,
    },
    /// A list, set or array.
    List(Vec<Value>),
    /// A map, in the order in which it was written.
    Map(Vec<(Value, Value)>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A row.
    Row(Vec<Value>),
    /// A POJO.
    Pojo(Box<Pojo>),
    /// `Either.Left`.
    Left(Box<Value>),
    /// `Either.Right`.
    Right(Box<Value>),
}

/// A date without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDate {
    /// Year, negative before the year 1 BC.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// A time of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Nanoseconds of the second.
    pub nano: u32,
}

/// A POJO.
#[derive(Clone, Debug, PartialEq)]
pub struct Pojo {
    /// Name of its class, which may be a subclass of the declared one.
    pub class: Arc<str>,
    /// The fields with their names, in the order in which they are written.
    pub fields: Vec<(Arc<str>, Value)>,
}

/// Reads a value.
pub(crate) fn read(of: &Type, input: &mut Input<'_>) -> Result<Value> {
    Ok(match of {
        Type::Boolean => Value::Boolean(input.boolean()?),
        Type::Byte => Value::Byte(input.i8()?),
        Type::Short => Value::Short(input.i16()?),
        Type::Int => Value::Int(input.i32()?),
        Type::Long => Value::Long(input.i64()?),
        Type::Char => Value::Char(input.u16()?),
        Type::Float => Value::Float(f32::from_bits(input.u32()?)),
        Type::Double => Value::Double(f64::from_bits(input.u64()?)),
        Type::String => string(input)?,
        Type::BigInteger => big_integer(input)?.map_or(Value::Null, Value::BigInteger),
        Type::BigDecimal => match big_integer(input)? {
            Some(unscaled) => Value::BigDecimal { unscaled, scale: input.i32()? },
            None => Value::Null,
        },
        Type::Date => {
            Some(input.i64()?).filter(|millis| *millis != i64::MIN).map_or(Value::Null, Value::Date)
        }
        Type::Timestamp => match (input.i64()?, input.i32()?) {
            (i64::MIN, _) => Value::Null,
            (millis, nanos) => Value::Timestamp { millis, nanos },
        },
        Type::Instant => match (input.i64()?, input.i32()?) {
            (i64::MIN, i32::MIN) => Value::Null,
            (seconds, nanos) => Value::Instant { seconds, nanos },
        },
        Type::LocalDate => local_date(input)?.map_or(Value::Null, Value::LocalDate),
        Type::LocalTime => local_time(input)?.map_or(Value::Null, Value::LocalTime),
        Type::LocalDateTime => {
            let (date, time) = (local_date(input)?, local_time(input)?);
            date.zip(time).map_or(Value::Null, |(date, time)| Value::LocalDateTime(date, time))
        }
        Type::Void | Type::GlobalWindow => {
            input.u8()?;
            Value::Null
        }
        Type::TimeWindow => Value::TimeWindow { start: input.i64()?, end: input.i64()? },
        Type::Primitives(of) if **of == Type::Byte => Value::Bytes(input.framed()?.to_vec()),
        Type::Primitives(of) | Type::List(of) | Type::Set(of) => {
            // Each type has at least one byte.
            let len = input.len(1)?;
            Value::List((0..len).map(|_| read(of, input)).collect::<Result<_>>()?)
        }
        Type::Array(of) => {
            let len = input.len(1)?;
            let elements = (0..len).map(|_| if input.boolean()? { read(of, input) } else { Ok(Value::Null) });
            Value::List(elements.collect::<Result<_>>()?)
        }
        Type::Map(of) => {
            let len = input.len(2)?;
            let entries = (0..len).map(|_| {
                let key = read(&of.0, input)?;
                Ok((key, nullable(&of.1, input)?))
            });
            Value::Map(entries.collect::<Result<_>>()?)
        }
        Type::Tuple(fields) => Value::Tuple(fields.iter().map(|of| read(of, input)).collect::<Result<_>>()?),
        Type::Row { fields, has_kind } => Value::Row(row(fields, *has_kind, input)?),
        Type::Pojo(of) => pojo(of, input)?,
        Type::Enum(of) => {
            let ordinal = input.i32()?;
            let constant = usize::try_from(ordinal).ok().and_then(|ordinal| of.constants.get(ordinal));
            let constant =
                constant.ok_or_else(|| corrupt(format!("{} has no constant {ordinal}", of.class)))?;
            Value::Enum(Arc::clone(constant))
        }
        Type::Either(of) => match input.boolean()? {
            true => Value::Left(Box::new(read(&of.0, input)?)),
            false => Value::Right(Box::new(read(&of.1, input)?)),
        },
        Type::Nullable(of, padding) => {
            if !input.boolean()? {
                return read(of, input);
            }
            input.take(*padding)?;
            Value::Null
        }
        // Read by its state, which has a place for the time.
        Type::Ttl(of) => {
            input.i64()?;
            read(of, input)?
        }
        Type::Timer(_) => return Err(corrupt("a timer is no value")),
        Type::Opaque(opaque) => return Err(unsupported(format!("values of {opaque} are read by Java only"))),
    })
}

/// A byte that says whether the value is null, and the value unless it is.
pub(crate) fn nullable(of: &Type, input: &mut Input<'_>) -> Result<Value> {
    if input.boolean()? { Ok(Value::Null) } else { read(of, input) }
}

fn string(input: &mut Input<'_>) -> Result<Value> {
    let Some(len) = input.varint()?.checked_sub(1) else { return Ok(Value::Null) };
    let len = len as usize;
    if len > input.left() {
        return Err(corrupt(format!("a string has {len} characters, and {} bytes are left", input.left())));
    }
    // Most strings are ASCII, and have a byte for each character.
    let ahead = input.rest().get(..len).unwrap_or_default();
    if ahead.is_ascii()
        && let Ok(text) = std::str::from_utf8(ahead)
    {
        input.take(len)?;
        return Ok(Value::String(text.to_owned()));
    }
    let units = (0..len)
        .map(|_| u16::try_from(input.varint()?).map_err(|_| corrupt("a character has more than 16 bits")));
    let units = units.collect::<Result<Vec<_>>>()?;
    Ok(String::from_utf16(&units).map_or(Value::Utf16(units), Value::String))
}

/// Small numbers that are frequent have no bytes of their own.
fn big_integer(input: &mut Input<'_>) -> Result<Option<Vec<u8>>> {
    let len = input.i32()?;
    Ok(Some(match len {
        0 => return Ok(None),
        1 => vec![0],
        2 => vec![1],
        3 => vec![10],
        len => {
            let len =
                usize::try_from(len - 4).map_err(|_| corrupt("the length of a big integer is negative"))?;
            input.take(len)?.to_vec()
        }
    }))
}

fn local_date(input: &mut Input<'_>) -> Result<Option<LocalDate>> {
    let (year, month, day) = (input.i32()?, input.u8()?, input.u8()?);
    if year == i32::MIN {
        return Ok(None);
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(corrupt(format!("a date has month {month} and day {day}")));
    }
    Ok(Some(LocalDate { year, month, day }))
}

fn local_time(input: &mut Input<'_>) -> Result<Option<LocalTime>> {
    let (hour, minute, second, nano) = (input.u8()?, input.u8()?, input.u8()?, input.u32()?);
    if hour == 0x80 {
        return Ok(None);
    }
    if hour > 23 || minute > 59 || second > 59 || nano > 999_999_999 {
        return Err(corrupt(format!("a time is {hour}:{minute}:{second} and {nano} ns")));
    }
    Ok(Some(LocalTime { hour, minute, second, nano }))
}

/// A mask, the first bit highest: two bits of the row's kind, then a bit for each field that is null.
fn row(fields: &[Type], has_kind: bool, input: &mut Input<'_>) -> Result<Vec<Value>> {
    let before = if has_kind { 2 } else { 0 };
    let mask = input.take((before + fields.len()).div_ceil(8))?;
    let is_null = |i: usize| mask.get(i / 8).is_some_and(|byte| byte & (0x80 >> (i % 8)) != 0);
    let fields = fields.iter().enumerate();
    fields.map(|(i, of)| if is_null(before + i) { Ok(Value::Null) } else { read(of, input) }).collect()
}

fn pojo(of: &PojoType, input: &mut Input<'_>) -> Result<Value> {
    const NULL: u8 = 1;
    const EXACT: u8 = 2;
    const SUBCLASS: u8 = 4;
    const TAGGED: u8 = 8;
    let subclass = |found: Option<&(Arc<str>, Type)>, named: String, input: &mut Input<'_>| match found {
        Some((_, Type::Opaque(opaque))) => {
            Err(unsupported(format!("values of {opaque} are read by Java only")))
        }
        Some((class, of)) => Ok(match read(of, input)? {
            Value::Pojo(pojo) => Value::Pojo(Box::new(Pojo { class: Arc::clone(class), ..*pojo })),
            other => other,
        }),
        None => {
            Err(unsupported(format!("the savepoint does not describe {named}, a subclass of {}", of.class)))
        }
    };
    match input.u8()? {
        NULL => Ok(Value::Null),
        EXACT => {
            let fields = of.fields.iter().map(|(name, of)| Ok((Arc::clone(name), nullable(of, input)?)));
            let fields = fields.collect::<Result<_>>()?;
            Ok(Value::Pojo(Box::new(Pojo { class: Arc::clone(&of.class), fields })))
        }
        SUBCLASS => {
            let class = input.utf()?;
            let found = of.others.iter().find(|(name, _)| **name == *class);
            subclass(found, class, input)
        }
        TAGGED => {
            let tag = input.u8()?;
            subclass(of.registered.get(usize::from(tag)), format!("the class with the tag {tag}"), input)
        }
        other => Err(corrupt(format!("a POJO has the flags {other}"))),
    }
}
