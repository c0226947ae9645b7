//! The difference of two shapes, as text.

use super::{Content, Shape};

/// The kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Type,
    Number,
    Parts,
    Names,
    Encoding,
}

type Difference = (Reason, String);

/// Describes the change from `old` to `new`. `None` if they are equal.
pub(super) fn difference(old: &Shape, new: &Shape) -> Option<Difference> {
    let mut path = Vec::new();
    let (reason, what) = between(old, new, &mut path)?;
    Some((reason, if path.is_empty() { what } else { format!("in {}: {what}", path.join(".")) }))
}

/// Describes the change of the type from `old` to `new`, which are ids of codecs or schemas of keys. `None`
/// if one has no shape, or only their formats differ.
fn difference_of_texts(old: &str, new: &str) -> Option<String> {
    /// Name and version of a codec, and the shape.
    fn split(text: &str) -> Option<(&str, Shape)> {
        match Shape::parse(text) {
            Some(shape) => Some(("", shape)),
            None => text.split_once(':').and_then(|(codec, text)| Some((codec, Shape::parse(text)?))),
        }
    }
    let ((a, old), (b, new)) = (split(old)?, split(new)?);
    if a == b { difference(&old, &new).map(|(_, what)| what) } else { None }
}

/// Describes the difference of two ids of codecs or keys: that of their shapes if it is the only one, and
/// otherwise both ids.
pub(crate) fn migration(what: &str, old: &str, new: &str) -> String {
    match difference_of_texts(old, new) {
        Some(difference) => format!("restored with another {what} type: {difference}"),
        None => format!("restored with {what} {old:?}, registered with {new:?}"),
    }
}

/// [`difference`] at the place that `path` leads to.
fn between(old: &Shape, new: &Shape, path: &mut Vec<String>) -> Option<Difference> {
    if old == new {
        return None;
    }
    let mut inner = |name: &str, old: &Shape, new: &Shape| {
        path.push(name.to_owned());
        let found = between(old, new, path);
        if found.is_none() {
            path.pop();
        }
        found
    };
    match (old, new) {
        (Shape::Option(old), Shape::Option(new)) => inner("Some", old, new),
        (Shape::List(old), Shape::List(new)) => inner("element", old, new),
        (Shape::Map(old), Shape::Map(new)) => {
            inner("key", &old.0, &new.0).or_else(|| inner("value", &old.1, &new.1))
        }
        (Shape::Array(old, m), Shape::Array(new, n)) if m == n => inner("element", old, new),
        (Shape::Tuple(old), Shape::Tuple(new)) if old.len() == new.len() => parts(old, new, path),
        (Shape::Struct(old), Shape::Struct(new)) => fields(old, new, path),
        (Shape::Enum(old), Shape::Enum(new)) => variants(old, new, path),
        (Shape::Named(a, old), Shape::Named(b, new)) if a == b => inner(a, old, new),
        _ => Some((reason(old, new), format!("the type was {} and is {}", short(old), short(new)))),
    }
}

/// The reason if not only parts differ.
fn reason(old: &Shape, new: &Shape) -> Reason {
    match (old, new) {
        (Shape::Leaf(old), Shape::Leaf(new)) if old.is_number() && new.is_number() => Reason::Number,
        (Shape::Tuple(_) | Shape::Array(..), Shape::Tuple(_) | Shape::Array(..)) => Reason::Parts,
        (Shape::Named(..), _) | (_, Shape::Named(..)) => Reason::Encoding,
        _ => Reason::Type,
    }
}

fn parts(old: &[Shape], new: &[Shape], path: &mut Vec<String>) -> Option<Difference> {
    old.iter().zip(new).enumerate().find_map(|(i, (old, new))| at(&i.to_string(), old, new, path))
}

fn fields(old: &[(String, Shape)], new: &[(String, Shape)], path: &mut Vec<String>) -> Option<Difference> {
    let names = |fields: &[(String, Shape)]| fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    lists("field", &names(old), &names(new))
        .or_else(|| old.iter().zip(new).find_map(|((name, old), (_, new))| at(name, old, new, path)))
}

fn variants(
    old: &[(String, Content)],
    new: &[(String, Content)],
    path: &mut Vec<String>,
) -> Option<Difference> {
    let names = |list: &[(String, Content)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    lists("variant", &names(old), &names(new)).or_else(|| {
        old.iter().zip(new).find_map(|((name, old), (_, new))| {
            path.push(name.clone());
            let found = match (old, new) {
                (Content::Newtype(old), Content::Newtype(new)) => between(old, new, path),
                (Content::Tuple(old), Content::Tuple(new)) if old.len() == new.len() => parts(old, new, path),
                (Content::Struct(old), Content::Struct(new)) => fields(old, new, path),
                (old, new) if old == new => None,
                _ => Some((Reason::Type, "the variant holds something else".to_owned())),
            };
            if found.is_none() {
                path.pop();
            }
            found
        })
    })
}

fn at(name: &str, old: &Shape, new: &Shape, path: &mut Vec<String>) -> Option<Difference> {
    path.push(name.to_owned());
    let found = between(old, new, path);
    if found.is_none() {
        path.pop();
    }
    found
}

/// The difference of two lists of names.
fn lists(what: &str, old: &[String], new: &[String]) -> Option<Difference> {
    if old == new {
        return None;
    }
    let missing = |from: &[String], names: &[String]| {
        let names = names.iter().filter(|name| !from.contains(name)).map(|name| format!("{name:?}"));
        names.collect::<Vec<_>>().join(", ")
    };
    let (added, removed) = (missing(old, new), missing(new, old));
    Some(match (&*added, &*removed) {
        ("", "") => (Reason::Parts, format!("the {what}s were {old:?} and are {new:?}: another order")),
        (added, "") => (Reason::Names, format!("the {what} {added} was added")),
        ("", removed) => (Reason::Names, format!("the {what} {removed} was removed")),
        (added, removed) => {
            (Reason::Names, format!("the {what} {removed} was removed and {added} was added"))
        }
    })
}

/// The text of a shape, truncated if it is long.
pub(crate) fn short(shape: &Shape) -> String {
    let mut text = shape.to_string();
    if let Some((end, _)) = text.char_indices().nth(60) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, expected: &str) {
        let shape = |text| Shape::parse(text).unwrap();
        let found = difference(&shape(old), &shape(new));
        assert_eq!(found.map_or(String::new(), |(_, what)| what), expected);
    }

    #[test]
    fn differences_are_described_with_their_place() {
        check("struct{a:u8}", "struct{a:u8}", "");
        check("u8", "u16", "the type was u8 and is u16");
        check(
            "struct{a:u8,b:u8}",
            "struct{b:u8,a:u8}",
            r#"the fields were ["a", "b"] and are ["b", "a"]: another order"#,
        );
        check("struct{a:u8}", "struct{a:u8,b:u8}", r#"the field "b" was added"#);
        check("struct{a:u8,b:u8}", "struct{b:u8}", r#"the field "a" was removed"#);
        check("struct{a:u8}", "struct{b:u8}", r#"the field "a" was removed and "b" was added"#);
        check(
            "list<struct{x:u8,y:option<(u8,string)>}>",
            "list<struct{x:u8,y:option<(u8,bytes)>}>",
            "in element.y.Some.1: the type was string and is bytes",
        );
        check("enum{A,B}", "enum{A,C,B}", r#"the variant "C" was added"#);
        check("enum{A,B(u8)}", "enum{A,B(u16)}", "in B: the type was u8 and is u16");
        check("enum{A,B(u8)}", "enum{A,B}", "in B: the variant holds something else");
        check("map<u8,[u8;3]>", "map<u8,[u8;4]>", "in value: the type was [u8;3] and is [u8;4]");
    }
}
