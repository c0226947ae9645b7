//! The values of a script, and their notation.

use backend_api::{StateValue, serde_key};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type of a script's keys, namespaces and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `long`: 64 bits.
    Long,
    /// `int`: 32 bits.
    Int,
    /// `string`.
    Text,
    /// `double`.
    Double,
    /// `bool`.
    Bool,
}

impl Type {
    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "long" => Self::Long,
            "int" => Self::Int,
            "string" => Self::Text,
            "double" => Self::Double,
            "bool" => Self::Bool,
            _ => return None,
        })
    }

    /// The name of the type in a script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Int => "int",
            Self::Text => "string",
            Self::Double => "double",
            Self::Bool => "bool",
        }
    }

    /// The value of `word`, or `None` if it is not of this type.
    pub fn parse(self, word: &str) -> Option<Datum> {
        Some(match self {
            Self::Long => Datum::Long(word.parse().ok()?),
            Self::Int => Datum::Int(word.parse().ok()?),
            Self::Text => Datum::Text(unescape(word)?),
            Self::Double => Datum::Double(match word.strip_prefix("f64:") {
                Some(bits) => u64::from_str_radix(bits, 16).ok()?,
                None => word.parse::<f64>().ok()?.to_bits(),
            }),
            Self::Bool => Datum::Bool(word == "true"),
        })
    }
}

/// A value of a script. Also the type of namespaces and map keys, and of values without their own type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Datum {
    /// A `long`.
    Long(i64),
    /// An `int`.
    Int(i32),
    /// A `string`.
    Text(String),
    /// The bits of a `double`.
    Double(u64),
    /// A `bool`.
    Bool(bool),
}

serde_key!(Datum = "conformance-tests.datum");

impl Datum {
    /// A `double`.
    pub fn double(number: f64) -> Self {
        Self::Double(number.to_bits())
    }
}

impl std::fmt::Display for Datum {
    /// The notation of the oracle and of scripts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Long(number) => number.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&escape(text)),
            Self::Double(bits) => write!(f, "f64:{bits:016x}"),
            Self::Bool(flag) => flag.fmt(f),
        }
    }
}

/// A type in which a backend keeps values of a script.
pub trait Kept: StateValue + Serialize + DeserializeOwned {
    /// The value in this type, or `None` for other types.
    fn of(datum: &Datum) -> Option<Self>;

    /// The value for the script.
    fn datum(&self) -> Datum;
}

macro_rules! kept {
    ($($type:ty: $variant:ident),+) => {$(
        impl Kept for $type {
            fn of(datum: &Datum) -> Option<Self> {
                match datum {
                    Datum::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }

            fn datum(&self) -> Datum {
                Datum::$variant(self.clone())
            }
        }
    )+};
}

kept!(i64: Long, i32: Int, String: Text);

impl Kept for Datum {
    fn of(datum: &Datum) -> Option<Self> {
        Some(datum.clone())
    }

    fn datum(&self) -> Datum {
        self.clone()
    }
}

/// A string as one word: `%XX` for control characters, spaces, DEL and characters of the syntax, `""` for the
/// empty string, and `%7E` for "~", since a single "~" is null.
pub fn escape(text: &str) -> String {
    match text {
        "" => "\"\"".to_owned(),
        "~" => "%7E".to_owned(),
        _ => {
            let mut word = String::new();
            for c in text.chars() {
                if c <= ' ' || c == '\u{7f}' || "%,=@:[]{}!#\"".contains(c) {
                    word += &format!("%{:02X}", u32::from(c));
                } else {
                    word.push(c);
                }
            }
            word
        }
    }
}

fn unescape(word: &str) -> Option<String> {
    if word == "\"\"" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
