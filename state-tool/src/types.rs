//! The types of a state, from what its files say of them.

use backend_api::format::{CANONICAL, StateMeta};
use backend_api::{
    Datum, Error, ErrorKind, KeySchema, NATIVE_MAPPING, OperatorStateMeta, Redistribution, Result, StateKind,
    StateShape, default_codec, native_group,
};

use crate::values::ValueReader;

/// The types of a state, as far as they are needed to take its rows apart and to print them.
#[derive(Debug)]
pub struct Types {
    /// What its rows consist of.
    pub shape: StateShape,
    /// Keys.
    pub key: KeySchema,
    /// Namespaces.
    pub namespace: KeySchema,
    /// Keys of a map.
    pub map_key: Option<KeySchema>,
    /// Values, elements or values of a map.
    pub value: ValueReader,
    /// What the values are.
    pub value_type: String,
    /// Number of key groups, if the mapping to them is known.
    groups: Option<u16>,
    has_namespaces: bool,
}

impl Types {
    /// The types of a keyed state.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if the schema of a key does not tell what it consists of.
    pub fn of(key_schema: &str, meta: &StateMeta) -> Result<Self> {
        let parse = |text: &str| KeySchema::parse(text).map_err(|error| error.in_state(&meta.name));
        let codec = |index: usize| {
            meta.codecs.get(index).map(String::as_str).ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, "the file names too few codecs").in_state(&meta.name)
            })
        };
        let shape = meta.kind.shape();
        let nothing = default_codec::<()>().id();
        let (map_key, value) = match shape {
            StateShape::Map => (Some(parse(codec(0)?)?), codec(1)?),
            StateShape::Single | StateShape::List => (None, codec(0)?),
            StateShape::Timer => (None, &*nothing),
        };
        Ok(Self {
            shape,
            key: parse(key_schema)?,
            namespace: parse(&meta.namespace_schema)?,
            map_key,
            value: ValueReader::of(value, meta.is_canonical()),
            value_type: type_of(value).to_owned(),
            groups: None,
            has_namespaces: meta.namespace_schema != "()",
        })
    }

    /// True unless the namespaces are `()`.
    pub fn has_namespaces(&self) -> bool {
        self.has_namespaces
    }

    /// True if the items of a key follow one another within a key group.
    pub fn are_by_key(&self) -> bool {
        !self.has_namespaces && self.shape != StateShape::Timer
    }

    /// Enables [`check_group`](Self::check_group), if the mapping of keys to groups is the native one.
    pub fn with_groups(mut self, mapping: &str, max_parallelism: u16) -> Self {
        self.groups = (mapping == NATIVE_MAPPING).then_some(max_parallelism);
        self
    }

    /// Checks that values can be decoded.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a codec that does not tell what its values consist of.
    pub fn check_known(&self) -> Result<()> {
        if self.value.is_known() {
            return Ok(());
        }
        let message = format!("values of the codec {:?} are known to the program only", self.value_type);
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// The key group of an encoded key by the native mapping.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it does not decode.
    pub fn native_group(&self, key: &[u8], max_parallelism: u16) -> Result<u16> {
        Ok(native_group(self.key.stable_hash(key)?, max_parallelism))
    }

    /// Checks that an encoded key belongs to `group`, if the mapping is known.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) for another group, or a key that does not decode.
    pub fn check_group(&self, key: &[u8], group: u16) -> Result<()> {
        let hash = self.key.stable_hash(key)?;
        match self.groups.map(|groups| native_group(hash, groups)) {
            Some(other) if other != group => {
                let message = format!("a row of key group {other} is in the section of key group {group}");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
            _ => Ok(()),
        }
    }
}

/// The types of an operator state.
#[derive(Debug)]
pub struct OperatorTypes {
    /// Keys of a broadcast map.
    pub key: Option<KeySchema>,
    /// Elements, or values of a broadcast map.
    pub value: ValueReader,
    /// What these are.
    pub value_type: String,
}

impl OperatorTypes {
    /// The types of a state.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if the schema of the keys does not tell what they consist of.
    pub fn of(state: &OperatorStateMeta) -> Result<Self> {
        let mut codecs = state.codecs.iter();
        let mut next =
            || codecs.next().ok_or_else(|| Error::new(ErrorKind::Corrupt, "the handle names too few codecs"));
        let mut of = || {
            let key = match state.redistribution {
                Redistribution::Broadcast => Some(KeySchema::parse(next()?)?),
                Redistribution::EvenSplit | Redistribution::Union => None,
            };
            let codec = next()?;
            let value = ValueReader::of(codec, state.options.contains_key(CANONICAL));
            Ok(Self { key, value, value_type: type_of(codec).to_owned() })
        };
        of().map_err(|error: Error| error.in_state(&state.name))
    }

    /// The key, if it is a broadcast map, and the value of a row.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it begins with no key.
    pub fn split<'r>(&self, row: &'r [u8]) -> Result<(Option<&'r [u8]>, &'r [u8])> {
        match &self.key {
            None => Ok((None, row)),
            Some(schema) => schema.split(row).map(|(key, value)| (Some(key), value)),
        }
    }
}

/// What a state's values are called: the codec's part of an id says how they are encoded, the rest what they are.
pub fn type_of(codec: &str) -> &str {
    codec.split_once(':').map_or(codec, |(_, shape)| shape)
}

/// The types of a state for people, such as `map<string, u64>`.
pub fn describe(meta: &StateMeta) -> String {
    let types: Vec<_> = meta.codecs.iter().map(|codec| type_of(codec)).collect();
    match meta.kind {
        StateKind::List => format!("list<{}>", types.join(", ")),
        StateKind::Map => format!("map<{}>", types.join(", ")),
        StateKind::Value | StateKind::Reducing | StateKind::Aggregating => types.join(", "),
        StateKind::Timer => meta.time_domain().map(|domain| domain.to_string()).unwrap_or_default(),
    }
}

/// An encoded key: a number, a bool or a text, and for all else the text that [`KeySchema::print`] gives.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if it is no key of the schema.
pub fn read_key(schema: &KeySchema, key: &[u8]) -> Result<Datum> {
    let text = schema.print(key)?;
    Ok(match &*text {
        "()" => Datum::Null,
        "true" => Datum::Bool(true),
        "false" => Datum::Bool(false),
        _ => {
            let integer = text.parse().map(Datum::Integer).or_else(|_| text.parse().map(Datum::Large));
            let string = || serde_json::from_str(&text).map(Datum::Text);
            integer.or_else(|_| string()).unwrap_or(Datum::Text(text))
        }
    })
}

/// True if `text` is a key as [`read_key`] gives it, with or without the quotes of a string or of bytes.
pub fn same_key(key: &Datum, text: &str) -> bool {
    let printed = plain(key);
    let bytes = printed.strip_prefix("b\"").and_then(|rest| rest.strip_suffix('"'));
    printed == text || bytes == Some(text) || key.to_string() == text
}

/// A value as it stands in a cell of a table: a text without quotes, nothing for `()` and `None`, and JSON for all else.
pub fn plain(value: &Datum) -> String {
    match value {
        Datum::Text(text) => text.clone(),
        Datum::Null => String::new(),
        other => serde_json::to_string(other).unwrap_or_else(|_| other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use backend_api::StateKey;

    use super::*;

    fn read<K: StateKey>(key: &K) -> Datum {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        read_key(&KeySchema::parse(&K::schema()).unwrap(), &bytes).unwrap()
    }

    #[test]
    fn keys_are_numbers_texts_and_what_is_printed_of_others() {
        for number in [i128::MIN, -1, 0, i128::MAX] {
            assert_eq!(read(&number), Datum::Integer(number));
        }
        assert_eq!(read(&u64::MAX), Datum::Integer(u64::MAX.into()));
        assert_eq!(read(&u128::MAX), Datum::Large(u128::MAX));
        for text in ["", "12", "true", "()", "a \"b\"\\\n", "\u{e4}"] {
            assert_eq!(read(&text.to_owned()), Datum::Text(text.to_owned()));
        }
        assert_eq!((read(&true), read(&())), (Datum::Bool(true), Datum::Null));
        assert_eq!(read(&(7_u32, "a".to_owned())), Datum::Text("(7, \"a\")".to_owned()));
    }

    #[test]
    fn a_key_is_found_with_and_without_quotes() {
        let key = read(&"/index.html".to_owned());
        assert!(same_key(&key, "/index.html") && same_key(&key, "\"/index.html\""));
        let key = read(&b"/index.html".to_vec());
        assert!(same_key(&key, "/index.html") && same_key(&key, "b\"/index.html\""));
        assert!(!same_key(&key, "/index") && same_key(&read(&7_u8), "7"));
    }
}
