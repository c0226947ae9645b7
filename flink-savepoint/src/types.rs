//! Types, as the snapshots of Flink's serializers describe them.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

/// What a serializer writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// `boolean`.
    Boolean,
    /// `byte`.
    Byte,
    /// `short`.
    Short,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `char`, a unit of UTF-16.
    Char,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `String`, which may be null.
    String,
    /// `BigInteger`.
    BigInteger,
    /// `BigDecimal`.
    BigDecimal,
    /// `java.util.Date`, `java.sql.Date` and `java.sql.Time`.
    Date,
    /// `java.sql.Timestamp`.
    Timestamp,
    /// `Instant`.
    Instant,
    /// `LocalDate`.
    LocalDate,
    /// `LocalTime`.
    LocalTime,
    /// `LocalDateTime`.
    LocalDateTime,
    /// `Void` and the namespace of state without namespaces.
    Void,
    /// `TimeWindow`, as a namespace of windows.
    TimeWindow,
    /// `GlobalWindow`.
    GlobalWindow,
    /// An array of a primitive type.
    Primitives(Box<Type>),
    /// An array of objects, which may be null.
    Array(Box<Type>),
    /// `List`.
    List(Box<Type>),
    /// `Set`.
    Set(Box<Type>),
    /// `Map` with values that may be null.
    Map(Box<(Type, Type)>),
    /// A tuple of Flink, or a Scala case class.
    Tuple(Vec<Type>),
    /// `org.apache.flink.types.Row`, with fields that may be null.
    Row {
        /// Its fields.
        fields: Vec<Type>,
        /// True if the row's kind is written before them.
        has_kind: bool,
    },
    /// A POJO, with fields that may be null.
    Pojo(Arc<PojoType>),
    /// An enum.
    Enum(Arc<EnumType>),
    /// `Either`.
    Either(Box<(Type, Type)>),
    /// A type whose serializer was wrapped so that it takes null.
    Nullable(Box<Type>, usize),
    /// A value with the time of its last access, for state with a time to live.
    Ttl(Box<Type>),
    /// A timer.
    Timer(Box<(Type, Type)>),
    /// What only Java reads.
    Opaque(Opaque),
}

/// A POJO: a Java class with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PojoType {
    /// Name of the class.
    pub class: Arc<str>,
    /// The fields, in the order in which they are written. Those that the class has lost since are among them.
    pub fields: Vec<(Arc<str>, Type)>,
    /// Subclasses that were registered, by their tags.
    pub registered: Vec<(Arc<str>, Type)>,
    /// Subclasses that were seen.
    pub others: Vec<(Arc<str>, Type)>,
}

/// An enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumType {
    /// Name of the class.
    pub class: Arc<str>,
    /// The constants, by their ordinals.
    pub constants: Vec<Arc<str>>,
}

/// A type that only Java reads, such as one that goes through Kryo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// Name of the class that describes the serializer, without its package.
    pub serializer: String,
    /// The type, as far as the description names it.
    pub class: Option<String>,
}

impl Type {
    /// The first part of this type that only Java reads.
    pub fn opaque(&self) -> Option<&Opaque> {
        match self {
            Self::Opaque(opaque) => Some(opaque),
            Self::Primitives(of) | Self::Array(of) | Self::List(of) | Self::Set(of) => of.opaque(),
            Self::Nullable(of, _) | Self::Ttl(of) => of.opaque(),
            Self::Map(of) | Self::Either(of) | Self::Timer(of) => of.0.opaque().or_else(|| of.1.opaque()),
            Self::Tuple(fields) | Self::Row { fields, .. } => fields.iter().find_map(Self::opaque),
            // A subclass that only Java reads concerns only its values.
            Self::Pojo(pojo) => pojo.fields.iter().find_map(|(_, of)| of.opaque()),
            _ => None,
        }
    }

    /// True if the serializer's `getLength` is -1: values have different lengths.
    pub(crate) fn is_variable(&self) -> bool {
        match self {
            Self::String | Self::BigInteger | Self::BigDecimal => true,
            Self::Primitives(_) | Self::Array(_) | Self::List(_) | Self::Set(_) | Self::Map(_) => true,
            Self::Row { .. } | Self::Pojo(_) | Self::Either(_) | Self::Opaque(_) => true,
            // Flink sums up the lengths of a tuple's fields, and takes those of length 0 for variable.
            Self::Tuple(fields) => fields.iter().any(|field| {
                field.is_variable() || matches!(field, Self::Void | Self::TimeWindow | Self::GlobalWindow)
            }),
            Self::Nullable(of, padding) => *padding == 0 || of.is_variable(),
            Self::Ttl(of) => of.is_variable(),
            _ => false,
        }
    }
}

/// Such as `map<string, tuple<long, double>>`; a POJO by its class.
impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |f: &mut Formatter<'_>, name: &str, types: &[Self]| {
            write!(f, "{name}<")?;
            for (i, of) in types.iter().enumerate() {
                write!(f, "{}{of}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str(">")
        };
        let name = match self {
            Self::Boolean => "boolean",
            Self::Byte => "byte",
            Self::Short => "short",
            Self::Int => "int",
            Self::Long => "long",
            Self::Char => "char",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::BigInteger => "bigInteger",
            Self::BigDecimal => "bigDecimal",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Instant => "instant",
            Self::LocalDate => "localDate",
            Self::LocalTime => "localTime",
            Self::LocalDateTime => "localDateTime",
            Self::Void => "void",
            Self::TimeWindow => "timeWindow",
            Self::GlobalWindow => "globalWindow",
            Self::Primitives(of) => return write!(f, "{of}[]"),
            Self::Array(of) => return write!(f, "{of}[]"),
            Self::List(of) => return write!(f, "list<{of}>"),
            Self::Set(of) => return write!(f, "set<{of}>"),
            Self::Map(of) => return write!(f, "map<{}, {}>", of.0, of.1),
            Self::Either(of) => return write!(f, "either<{}, {}>", of.0, of.1),
            Self::Timer(of) => return write!(f, "timer<{}, {}>", of.0, of.1),
            Self::Tuple(fields) => return list(f, "tuple", fields),
            Self::Row { fields, .. } => return list(f, "row", fields),
            Self::Pojo(pojo) => &pojo.class,
            Self::Enum(of) => &of.class,
            Self::Nullable(of, _) => return write!(f, "{of}?"),
            Self::Ttl(of) => return write!(f, "ttl<{of}>"),
            Self::Opaque(opaque) => return opaque.fmt(f),
        };
        f.write_str(name)
    }
}

/// Such as `KryoSerializer(java.util.UUID)`.
impl Display for Opaque {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.class {
            Some(class) => write!(f, "{}({class})", self.serializer),
            None => f.write_str(&self.serializer),
        }
    }
}
