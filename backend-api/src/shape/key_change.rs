//! Why keys of another type are refused.

use super::Shape;
use super::difference::{Reason, difference};
use crate::{Error, ErrorKind, Result};

/// What keys are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// The keys of a backend.
    Key,
    /// The namespaces of a state.
    Namespace,
    /// The keys of a map state.
    MapKey,
    /// The keys of a broadcast map.
    BroadcastKey,
}

impl KeyRole {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Namespace => "namespaces",
            Self::MapKey | Self::BroadcastKey => "map keys",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Key => "keep the old type of keys, or start without this state under a new operator id",
            Self::Namespace => "keep the old type of namespaces, or register a state of another name",
            Self::MapKey => "keep the old type of map keys, or register a state of another name",
            Self::BroadcastKey => "keep the old type of map keys, or give the map a version and a migration",
        }
    }
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Type => "another type",
            Self::Number => "a number of another width or sign",
            Self::Parts => "more, fewer or reordered parts",
            Self::Names => "fields or variants of other names",
            Self::Encoding => "another encoding",
        }
    }
}

/// Checks that keys with the schema `old` have the type with the schema `new`. Places and order of rows depend on keys, so
/// they are never converted.
///
/// # Errors
/// [`Migration`](ErrorKind::Migration) with the place of the change, one of five reasons, and a remedy. The reasons: another
/// type; a number of another width or sign; more, fewer or reordered parts; fields or variants of other names; another
/// encoding, which includes the name of a key type and schemas that do not describe themselves.
pub fn check_key_type(role: KeyRole, old: &str, new: &str) -> Result<()> {
    if old == new {
        return Ok(());
    }
    let shapes = Shape::parse(old).zip(Shape::parse(new));
    let (reason, what) = shapes.and_then(|(old, new)| difference(&old, &new)).unwrap_or_else(|| {
        let what = format!("the schema was {old:?} and is {new:?}");
        (Reason::Encoding, what)
    });
    let (name, reason, remedy) = (role.name(), reason.text(), role.remedy());
    let message = format!("restored with other {name} ({reason}): {what}; {remedy}");
    Err(Error::new(ErrorKind::Migration, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, reason: &str, what: &str) {
        let error = check_key_type(KeyRole::Key, old, new).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration);
        let expected = format!("restored with other keys ({reason}): {what}; keep the old type of keys");
        assert!(error.message().starts_with(&expected), "{error}");
    }

    #[test]
    fn five_reasons_are_told_apart() {
        check_key_type(KeyRole::Key, "(u8,string)", "(u8,string)").unwrap();
        check("(u8,string)", "(u8,bytes)", "another type", "in 1: the type was string and is bytes");
        check("u8", "option<u8>", "another type", "the type was u8 and is option<u8>");
        let number = "a number of another width or sign";
        check("u32", "u64", number, "the type was u32 and is u64");
        check("(u8,f64)", "(u8,i64)", number, "in 1: the type was f64 and is i64");
        let parts = "more, fewer or reordered parts";
        check("(u8,u16)", "(u8,u16,u8)", parts, "the type was (u8,u16) and is (u8,u16,u8)");
        check("[u8;3]", "[u8;4]", parts, "the type was [u8;3] and is [u8;4]");
        check(
            "k:struct{a:u8,b:u8}",
            "k:struct{b:u8,a:u8}",
            parts,
            r#"in k: the fields were ["a", "b"] and are ["b", "a"]: another order"#,
        );
        let names = "fields or variants of other names";
        check(
            "k:struct{a:u8}",
            "k:struct{b:u8}",
            names,
            r#"in k: the field "a" was removed and "b" was added"#,
        );
        check("k:enum{A}", "k:enum{A,B}", names, r#"in k: the variant "B" was added"#);
        let encoding = "another encoding";
        check("a:u8", "b:u8", encoding, "the type was a:u8 and is b:u8");
        check("u8", "a:u8", encoding, "the type was u8 and is a:u8");
        check("my-key/1", "my-key/2", encoding, r#"the schema was "my-key/1" and is "my-key/2""#);
    }
}
