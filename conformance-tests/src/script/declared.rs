//! The states of a script, and the functions that it can name.

use backend_api::{Aggregate, BoxError, Ttl};

use super::{Datum, Type};

/// A state of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Its kind, with its types.
    pub kind: Kind,
    /// The type of its namespaces, if it has any.
    pub namespace: Option<Type>,
    /// Its time to live, if it has any.
    pub ttl: Option<Expires>,
}

/// A time to live: `ttl=MS [update=write|read] [visibility=never|return]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expires {
    /// Milliseconds.
    pub millis: i64,
    /// Reads renew it.
    pub renewed_by_reads: bool,
    /// Expired contents are returned once.
    pub returns_expired: bool,
}

impl Expires {
    /// For a descriptor. If expired contents are returned, accesses to others do not remove them.
    pub(super) fn ttl(self) -> backend_api::Result<Ttl> {
        let mut ttl = Ttl::millis(self.millis)?;
        if self.renewed_by_reads {
            ttl = ttl.renewed_by_reads();
        }
        if self.returns_expired {
            ttl = ttl.returning_expired().cleaning_per_access(0);
        }
        Ok(ttl)
    }
}

/// The kind of a state, with its types.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `value TYPE [default=V]`.
    Value(Type, Option<Datum>),
    /// `list TYPE`.
    List(Type),
    /// `map KEYTYPE TYPE`.
    Map(Type, Type),
    /// `reduce TYPE FN`.
    Reduce(Type, Reducer),
    /// `agg FN`.
    Aggregate(Aggregator),
    /// Declared by `timers` instead of `state`.
    Timers,
}

impl Declared {
    /// Parses the words after the state's name. The error is a message.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let named = |at: usize| {
            let word = words.get(at).copied().unwrap_or_default();
            Type::named(word).ok_or(format!("no such type: {word:?}"))
        };
        let (kind, types) = match words.first().copied().unwrap_or_default() {
            "value" => (Kind::Value(named(1)?, None), 2),
            "list" => (Kind::List(named(1)?), 2),
            "map" => (Kind::Map(named(1)?, named(2)?), 3),
            "reduce" => {
                let function = words.get(2).copied().unwrap_or_default();
                let reducer = Reducer::named(named(1)?, function);
                (Kind::Reduce(named(1)?, reducer.ok_or(format!("no such reducer: {function:?}"))?), 3)
            }
            "agg" => {
                let function = words.get(1).copied().unwrap_or_default();
                let aggregator = Aggregator::named(function);
                (Kind::Aggregate(aggregator.ok_or(format!("no such aggregator: {function:?}"))?), 2)
            }
            other => return Err(format!("no such kind of state: {other:?}")),
        };
        Self::with_options(kind, words.get(types..).unwrap_or_default())
    }

    /// Parses the words after the name of timers. The error is a message.
    pub fn parse_timers(words: &[&str]) -> Result<Self, String> {
        Self::with_options(Kind::Timers, words)
    }

    fn with_options(mut kind: Kind, options: &[&str]) -> Result<Self, String> {
        let (mut namespace, mut ttl) = (None, None::<Expires>);
        for option in options {
            let (name, value) = option.split_once('=').ok_or(format!("not an option: {option:?}"))?;
            match (name, &mut kind) {
                ("ns", _) => {
                    namespace = Some(Type::named(value).ok_or(format!("no such type: {value:?}"))?);
                }
                ("default", Kind::Value(of, default)) => {
                    *default = Some(of.parse(value).ok_or(format!("not a {}: {value:?}", of.name()))?);
                }
                ("ttl", Kind::Timers) => return Err("timers have no time to live".to_owned()),
                ("ttl", _) => {
                    let millis = value.parse().map_err(|_| format!("not a time to live: {value:?}"))?;
                    ttl = Some(Expires { millis, renewed_by_reads: false, returns_expired: false });
                }
                _ => match (ttl.as_mut(), name, value) {
                    (Some(ttl), "update", "write") => ttl.renewed_by_reads = false,
                    (Some(ttl), "update", "read") => ttl.renewed_by_reads = true,
                    (Some(ttl), "visibility", "never") => ttl.returns_expired = false,
                    (Some(ttl), "visibility", "return") => ttl.returns_expired = true,
                    _ => return Err(format!("no such option: {option:?}")),
                },
            }
        }
        Ok(Self { kind, namespace, ttl })
    }

    /// The words that [`parse`](Self::parse) or [`parse_timers`](Self::parse_timers) reads.
    pub fn words(&self) -> String {
        let mut words = match &self.kind {
            Kind::Value(of, None) => format!("value {}", of.name()),
            Kind::Value(of, Some(default)) => format!("value {} default={default}", of.name()),
            Kind::List(of) => format!("list {}", of.name()),
            Kind::Map(key, of) => format!("map {} {}", key.name(), of.name()),
            Kind::Reduce(of, reducer) => format!("reduce {} {}", of.name(), reducer.name()),
            Kind::Aggregate(aggregator) => format!("agg {}", aggregator.name()),
            Kind::Timers => String::new(),
        };
        if let Some(namespace) = self.namespace {
            words += &format!(" ns={}", namespace.name());
        }
        if let Some(Expires { millis, renewed_by_reads, returns_expired }) = self.ttl {
            let update = if renewed_by_reads { "read" } else { "write" };
            let visibility = if returns_expired { "return" } else { "never" };
            words += &format!(" ttl={millis} update={update} visibility={visibility}");
        }
        words
    }

    /// The name of the kind, which is the prefix of its commands.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Value(..) => "value",
            Kind::List(_) => "list",
            Kind::Map(..) => "map",
            Kind::Reduce(..) => "reduce",
            Kind::Aggregate(_) => "agg",
            Kind::Timers => "timer",
        }
    }
}

/// A function of a reducing state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reducer {
    /// The sum; of longs it wraps.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Concatenation.
    Concat,
}

impl Reducer {
    /// The function of that name over values of that type.
    pub fn named(of: Type, name: &str) -> Option<Self> {
        Some(match (of, name) {
            (Type::Long | Type::Double, "sum") => Self::Sum,
            (Type::Long, "min") => Self::Min,
            (Type::Long, "max") => Self::Max,
            (Type::Text, "concat") => Self::Concat,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Concat => "concat",
        }
    }

    /// Combines two values.
    ///
    /// # Errors
    /// If the function does not support their types.
    pub fn reduce(self, accumulated: &Datum, new: &Datum) -> Result<Datum, BoxError> {
        Ok(match (self, accumulated, new) {
            (Self::Sum, Datum::Long(a), Datum::Long(b)) => Datum::Long(a.wrapping_add(*b)),
            (Self::Sum, Datum::Double(a), Datum::Double(b)) => {
                Datum::double(f64::from_bits(*a) + f64::from_bits(*b))
            }
            (Self::Min, Datum::Long(a), Datum::Long(b)) => Datum::Long(*a.min(b)),
            (Self::Max, Datum::Long(a), Datum::Long(b)) => Datum::Long(*a.max(b)),
            (Self::Concat, Datum::Text(a), Datum::Text(b)) => Datum::Text(format!("{a}{b}")),
            _ => return Err("a reducer of other types".into()),
        })
    }
}

/// A function of an aggregating state, over longs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregator {
    /// The mean, a double.
    Average,
    /// The number of inputs.
    Count,
}

impl Aggregator {
    fn named(name: &str) -> Option<Self> {
        match name {
            "avg" => Some(Self::Average),
            "count" => Some(Self::Count),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Average => "avg",
            Self::Count => "count",
        }
    }
}

impl Aggregate for Aggregator {
    type Input = i64;
    /// Sum and number of the inputs.
    type Accumulator = (i64, i64);
    type Output = Datum;

    fn create(&self) -> (i64, i64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (i64, i64), input: i64) -> Result<(), BoxError> {
        *sum = sum.wrapping_add(input);
        *count += 1;
        Ok(())
    }

    fn result(&self, (sum, count): &(i64, i64)) -> Datum {
        match self {
            Self::Average => Datum::double(*sum as f64 / *count as f64),
            Self::Count => Datum::Long(*count),
        }
    }

    fn merge(&self, into: &mut (i64, i64), other: &(i64, i64)) -> Result<(), BoxError> {
        *into = (into.0.wrapping_add(other.0), into.1 + other.1);
        Ok(())
    }
}
