//! Snapshots of serializers: what Flink writes about a serializer, so that a later program knows what the bytes are.

use std::sync::Arc;

use backend_api::{ErrorKind, Result};

use crate::input::{Input, corrupt, unsupported};
use crate::types::{EnumType, Opaque, PojoType, Type};

/// Deepest nesting of types.
const DEPTH_MAX: usize = 64;
/// Begins the outer part of the snapshot of a composite serializer.
const OUTER_MAGIC: i32 = 911_108;
/// Begins the snapshots of its nested serializers.
const NESTED_MAGIC: i32 = 1_333_245;
/// Begins a map of names to optional keys and values.
const MAP_MAGIC: i64 = 0x0000_04F2_C69A_3D70;

/// Reads a snapshot with the version in front of it.
pub(crate) fn read(input: &mut Input<'_>) -> Result<Type> {
    let version = input.i32()?;
    if version != 2 {
        let message = format!("a snapshot of a serializer has version {version}, 2 can be read");
        return Err(unsupported(message));
    }
    let mut reader = Reader { input, depth: 0, unknown: None };
    let result = reader.versioned();
    let Reader { input, unknown, .. } = reader;
    result.map_err(|error| match unknown {
        // The length of a snapshot is written nowhere, so the end of an unknown one is a guess.
        Some(class) if error.kind() == ErrorKind::Corrupt => {
            unsupported(format!("the serializer {class} is not known, and what follows it cannot be found"))
                .in_file("", Some(input.offset() as u64))
        }
        _ => error,
    })
}

struct Reader<'r, 'b> {
    input: &'r mut Input<'b>,
    depth: usize,
    /// The first class that is not known.
    unknown: Option<String>,
}

impl Reader<'_, '_> {
    /// A class, its version and what it wrote.
    fn versioned(&mut self) -> Result<Type> {
        if self.depth == DEPTH_MAX {
            return Err(corrupt("types are nested too deep"));
        }
        self.depth += 1;
        let class = self.input.utf()?;
        let version = self.input.i32()?;
        let read = self.body(&class, version);
        self.depth -= 1;
        read
    }

    fn body(&mut self, class: &str, version: i32) -> Result<Type> {
        let Some(flink) = class.strip_prefix("org.apache.flink.") else { return self.foreign(class) };
        let name = flink.rsplit('.').next().unwrap_or(flink);
        if let Some(simple) = simple(name) {
            return Ok(simple);
        }
        match name {
            "EnumSerializer$EnumSerializerSnapshot" => self.enumeration(),
            "PojoSerializerSnapshot" => self.pojo(version),
            "KryoSerializerSnapshot" => {
                let class = self.input.utf()?;
                for _ in 0..3 {
                    self.optional_map(|_, _| Ok(()))?;
                }
                Ok(opaque("KryoSerializer", Some(class)))
            }
            "AvroSerializerSnapshot" => {
                let class = self.input.utf()?;
                match version {
                    1 => {}
                    2 => _ = self.input.utf()?,
                    _ => _ = self.input.framed()?,
                }
                Ok(opaque("AvroSerializer", Some(class)))
            }
            "GenericTypeSerializerSnapshot" | "ValueSerializer$ValueSerializerSnapshot" => {
                Ok(opaque(name, Some(self.input.utf()?)))
            }
            "RowDataSerializer$RowDataSerializerSnapshot" => self.sql_row(),
            "BinaryRowDataSerializer$BinaryRowDataSerializerSnapshot" => {
                self.sql_value("BinaryRowDataSerializer", 1)
            }
            "DecimalDataSerializer$DecimalDataSerializerSnapshot" => {
                self.sql_value("DecimalDataSerializer", 2)
            }
            "TimestampDataSerializer$TimestampDataSerializerSnapshot" => {
                self.sql_value("TimestampDataSerializer", 1)
            }
            "StringDataSerializer$StringDataSerializerSnapshot" => self.sql_value("StringDataSerializer", 0),
            _ => self.composite(name, class),
        }
    }

    fn sql_value(&mut self, name: &str, numbers: usize) -> Result<Type> {
        self.input.take(4 * numbers)?;
        Ok(opaque(name, None))
    }

    /// The snapshot of a serializer made of others.
    fn composite(&mut self, name: &str, class: &str) -> Result<Type> {
        let known = matches!(
            name,
            "TupleSerializerSnapshot"
                | "ScalaCaseClassSerializerSnapshot"
                | "ListSerializerSnapshot"
                | "ArrayListSerializerSnapshot"
                | "SetSerializerSnapshot"
                | "MapSerializerSnapshot"
                | "GenericArraySerializerSnapshot"
                | "RowSerializer$RowSerializerSnapshot"
                | "JavaEitherSerializerSnapshot"
                | "NullableSerializer$NullableSerializerSnapshot"
                | "TtlStateFactory$TtlSerializerSnapshot"
                | "TimerSerializerSnapshot"
        );
        if !known {
            return self.foreign(class);
        }
        if self.input.i32()? != OUTER_MAGIC {
            return Err(corrupt(format!(
                "the snapshot of {name} does not begin as one of a composite serializer"
            )));
        }
        let version = self.input.i32()?;
        let (mut has_kind, mut padding) = (false, 0);
        match name {
            "TupleSerializerSnapshot"
            | "ScalaCaseClassSerializerSnapshot"
            | "GenericArraySerializerSnapshot" => {
                self.input.utf()?;
            }
            "RowSerializer$RowSerializerSnapshot" => {
                has_kind = match version {
                    ..3 => false,
                    3 => true,
                    4.. => self.input.boolean()?,
                };
            }
            "NullableSerializer$NullableSerializerSnapshot" => {
                padding = self.input.i32()?.try_into().map_err(|_| corrupt("a padding is negative"))?;
            }
            _ => {}
        }
        let nested = self.nested()?;
        let number = nested.len();
        let wrong = || corrupt(format!("the snapshot of {name} has {number} nested serializers"));
        let one =
            |nested: Vec<Type>| <[Type; 1]>::try_from(nested).map(|[of]| Box::new(of)).map_err(|_| wrong());
        let two = |nested: Vec<Type>| {
            <[Type; 2]>::try_from(nested).map(|[a, b]| Box::new((a, b))).map_err(|_| wrong())
        };
        Ok(match name {
            // A type without bytes would allow lists of any length.
            "TupleSerializerSnapshot" | "ScalaCaseClassSerializerSnapshot" if number > 0 => {
                Type::Tuple(nested)
            }
            "RowSerializer$RowSerializerSnapshot" if number > 0 => Type::Row { fields: nested, has_kind },
            "ListSerializerSnapshot" | "ArrayListSerializerSnapshot" => Type::List(one(nested)?),
            "SetSerializerSnapshot" => Type::Set(one(nested)?),
            "GenericArraySerializerSnapshot" => Type::Array(one(nested)?),
            "NullableSerializer$NullableSerializerSnapshot" => Type::Nullable(one(nested)?, padding),
            "MapSerializerSnapshot" => Type::Map(two(nested)?),
            "JavaEitherSerializerSnapshot" => Type::Either(two(nested)?),
            "TimerSerializerSnapshot" => Type::Timer(two(nested)?),
            "TtlStateFactory$TtlSerializerSnapshot" => match <[Type; 2]>::try_from(nested) {
                Ok([Type::Long, of]) => Type::Ttl(Box::new(of)),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        })
    }

    fn nested(&mut self) -> Result<Vec<Type>> {
        if self.input.i32()? != NESTED_MAGIC {
            return Err(corrupt("snapshots of nested serializers are expected here"));
        }
        let version = self.input.i32()?;
        if version != 1 {
            return Err(unsupported(format!("snapshots of nested serializers have version {version}")));
        }
        let number = self.input.len(6)?;
        (0..number).map(|_| self.versioned()).collect()
    }

    /// The snapshot of a class that is not known. Most have no bytes, or those of a composite serializer.
    fn foreign(&mut self, class: &str) -> Result<Type> {
        self.unknown.get_or_insert_with(|| class.to_owned());
        let mut ahead = self.input.clone();
        if ahead.i32().is_ok_and(|magic| magic == OUTER_MAGIC) {
            self.skip_to_nested(None)?;
            self.nested()?;
        }
        Ok(opaque(short_name(class), None))
    }

    /// The rows of SQL. Their types are serialized by Java, and have no length.
    fn sql_row(&mut self) -> Result<Type> {
        let number = self.input.len(6)?;
        self.skip_to_nested(Some(number))?;
        let fields = self.nested()?;
        let types: Vec<_> = fields.iter().map(Type::to_string).collect();
        Ok(opaque("RowDataSerializer", Some(types.join(", "))))
    }

    /// Skips bytes of unknown length up to the snapshots of nested serializers.
    fn skip_to_nested(&mut self, number: Option<usize>) -> Result<()> {
        let mut wanted = [NESTED_MAGIC.to_be_bytes(), 1_i32.to_be_bytes()].concat();
        wanted.extend(
            number.and_then(|number| i32::try_from(number).ok()).map(i32::to_be_bytes).into_iter().flatten(),
        );
        let found = self.input.rest().windows(wanted.len()).position(|bytes| bytes == wanted);
        let skipped =
            found.ok_or_else(|| corrupt("snapshots of nested serializers are expected after this"))?;
        self.input.take(skipped).map(|_| ())
    }

    fn enumeration(&mut self) -> Result<Type> {
        let class = self.input.utf()?.into();
        let number = self.input.len(2)?;
        let constants = (0..number).map(|_| Ok(self.input.utf()?.into())).collect::<Result<_>>()?;
        Ok(Type::Enum(Arc::new(EnumType { class, constants })))
    }

    fn pojo(&mut self, version: i32) -> Result<Type> {
        if version != 2 {
            return Err(unsupported(format!("the snapshot of a POJO has version {version}, 2 can be read")));
        }
        let class: Arc<str> = self.input.utf()?.into();
        let mut pojo = PojoType { class, fields: Vec::new(), registered: Vec::new(), others: Vec::new() };
        for types in [&mut pojo.fields, &mut pojo.registered, &mut pojo.others] {
            self.optional_map(|this, name| {
                types.push((name.into(), this.versioned()?));
                Ok(())
            })?;
        }
        Ok(Type::Pojo(Arc::new(pojo)))
    }

    /// Calls `read` with each name, to read its value. A name without a value is an error.
    fn optional_map(
        &mut self,
        mut read: impl FnMut(&mut Reader<'_, '_>, String) -> Result<()>,
    ) -> Result<()> {
        if self.input.i64()? != MAP_MAGIC {
            return Err(corrupt("a map of names is expected here"));
        }
        for _ in 0..self.input.len(4)? {
            let name = self.input.utf()?;
            // A key that Java could not load has none. Its name is above.
            if self.input.boolean()? {
                self.input.framed()?;
            }
            if !self.input.boolean()? {
                return Err(corrupt(format!("there is no serializer of {name}")));
            }
            let mut value = Input::new(self.input.framed()?);
            let mut inner = Reader { input: &mut value, depth: self.depth, unknown: None };
            read(&mut inner, name)?;
        }
        Ok(())
    }
}

/// The types whose snapshots have no bytes.
fn simple(name: &str) -> Option<Type> {
    let (serializer, snapshot) = name.split_once('$')?;
    let plain = snapshot.strip_suffix("Snapshot")?;
    // `TimeWindow$Serializer$TimeWindowSerializerSnapshot` is the only form with a third name.
    let plain = plain.rsplit('$').next().unwrap_or(plain);
    let is_window = serializer == "TimeWindow" || serializer == "GlobalWindow";
    if !is_window && plain != serializer {
        return None;
    }
    let primitives = |of| Some(Type::Primitives(Box::new(of)));
    Some(match plain.strip_suffix("Serializer")? {
        "Boolean" => Type::Boolean,
        "Byte" => Type::Byte,
        "Short" => Type::Short,
        "Int" => Type::Int,
        "Long" => Type::Long,
        "Char" => Type::Char,
        "Float" => Type::Float,
        "Double" => Type::Double,
        "String" => Type::String,
        "BooleanValue" => Type::Boolean,
        "ByteValue" => Type::Byte,
        "ShortValue" => Type::Short,
        "IntValue" => Type::Int,
        "LongValue" => Type::Long,
        "CharValue" => Type::Char,
        "FloatValue" => Type::Float,
        "DoubleValue" => Type::Double,
        "BigInt" => Type::BigInteger,
        "BigDec" => Type::BigDecimal,
        "Date" | "SqlDate" | "SqlTime" => Type::Date,
        "SqlTimestamp" => Type::Timestamp,
        "Instant" => Type::Instant,
        "LocalDate" => Type::LocalDate,
        "LocalTime" => Type::LocalTime,
        "LocalDateTime" => Type::LocalDateTime,
        "Void" | "VoidNamespace" => Type::Void,
        "TimeWindow" => Type::TimeWindow,
        "GlobalWindow" => Type::GlobalWindow,
        "BooleanPrimitiveArray" => return primitives(Type::Boolean),
        "BytePrimitiveArray" => return primitives(Type::Byte),
        "ShortPrimitiveArray" => return primitives(Type::Short),
        "IntPrimitiveArray" => return primitives(Type::Int),
        "LongPrimitiveArray" => return primitives(Type::Long),
        "CharPrimitiveArray" => return primitives(Type::Char),
        "FloatPrimitiveArray" => return primitives(Type::Float),
        "DoublePrimitiveArray" => return primitives(Type::Double),
        "StringArray" => return primitives(Type::String),
        _ => return None,
    })
}

fn opaque(serializer: &str, class: Option<String>) -> Type {
    Type::Opaque(Opaque { serializer: short_name(serializer).to_owned(), class })
}

/// `LongSerializer` of `org.example.LongSerializer$LongSerializerSnapshot`.
fn short_name(class: &str) -> &str {
    let name = class.rsplit('.').next().unwrap_or(class);
    name.split('$').next().unwrap_or(name)
}
