//! What a type reads: a graph, since types may contain themselves.

use std::collections::BTreeSet;

use crate::shape::Leaf;

/// What a type has asked a deserializer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Leaf(Leaf),
    Option,
    List,
    Map,
    Newtype,
    Tuple(usize),
    TupleStruct(&'static str, usize),
    /// Name and fields. Aliases stand among the fields, so there may be fewer than names.
    Struct(&'static str, &'static [&'static str]),
    /// Name and variants; aliases as above.
    Enum(&'static str, &'static [&'static str]),
}

/// The type that a deserializer asks for.
#[derive(Debug)]
pub(super) struct Node {
    pub form: Form,
    /// The alternatives: of an option, none and some; of an enum, its variants.
    pub branches: Vec<Branch>,
    /// The variants that the tried names of an enum select, by their tags.
    pub tags: Vec<Option<String>>,
}

/// One alternative of a type, such as a variant.
#[derive(Debug, Default)]
pub(super) struct Branch {
    /// Nodes of the known parts.
    pub parts: Vec<usize>,
    /// The number of parts, if the type declares it.
    pub expected: Option<usize>,
    /// True if all parts are known.
    pub is_known: bool,
    /// A variant index that does not exist.
    pub is_absent: bool,
    /// A variant that cannot be deserialized.
    pub is_unreadable: bool,
    /// The content, for a variant.
    pub content: Option<Content>,
    /// The tag of the variant that the index selects.
    pub tag: Option<String>,
    /// The fields that the tried names select.
    pub fields: Vec<Field>,
    /// Depth of the smallest value, or `usize::MAX` if none is known.
    pub rank: usize,
    /// Number of values that were made of it.
    pub taken: usize,
}

/// The content of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Unit,
    Newtype,
    Tuple(usize),
    Struct(&'static [&'static str]),
}

/// A field that a name selects.
#[derive(Debug)]
pub(super) struct Field {
    pub tag: String,
    /// The field's own name.
    pub name: String,
}

impl Node {
    pub fn new(form: Form) -> Self {
        let empty = || Branch { expected: Some(0), is_known: true, ..Branch::unknown(None) };
        let branches = match form {
            Form::Leaf(_) => Vec::new(),
            Form::Option | Form::List => vec![empty(), Branch::unknown(Some(1))],
            Form::Map => vec![empty(), Branch::unknown(Some(2))],
            Form::Newtype => vec![Branch::unknown(Some(1))],
            Form::Tuple(0) | Form::TupleStruct(_, 0) => vec![empty()],
            Form::Tuple(len) | Form::TupleStruct(_, len) => vec![Branch::unknown(Some(len))],
            Form::Struct(_, fields) => vec![Branch::of_fields(fields)],
            Form::Enum(_, variants) => variants.iter().map(|_| Branch::unknown(None)).collect(),
        };
        Self { form, branches, tags: Vec::new() }
    }

    /// Depth of the smallest value.
    pub fn rank(&self) -> usize {
        match self.form {
            Form::Leaf(_) => 0,
            _ => self.branches.iter().map(|branch| branch.rank).min().unwrap_or(usize::MAX),
        }
    }

    /// True if a branch is completely known.
    pub fn is_known(&self, branch: usize) -> bool {
        let branch = &self.branches[branch];
        let names = match (self.form, branch.content) {
            (Form::Struct(_, names), _) | (_, Some(Content::Struct(names))) => names.len(),
            _ => 0,
        };
        branch.is_known && !branch.names_are_open(names)
    }

    /// True if the names of the variants must be tried, because there are fewer variants than names.
    pub fn names_are_open(&self) -> bool {
        let Form::Enum(_, names) = self.form else { return false };
        self.tags.len() < names.len()
            && self.branches.iter().all(|branch| branch.is_known)
            && self.variants().count() < names.len()
    }

    /// The variants that exist. One with `#[serde(other)]` also has all higher indexes.
    pub fn variants(&self) -> impl Iterator<Item = &Branch> {
        let tags: BTreeSet<_> = self.branches.iter().filter_map(|branch| branch.tag.as_ref()).collect();
        let mut seen = BTreeSet::new();
        let mut repeats = move |branch: &Branch| tags.len() > 1 && !seen.insert(branch.tag.clone());
        self.branches.iter().filter(move |branch| !branch.is_absent && !repeats(branch))
    }
}

impl Branch {
    fn unknown(expected: Option<usize>) -> Self {
        Self { expected, rank: usize::MAX, ..Self::default() }
    }

    fn of_fields(fields: &[&str]) -> Self {
        Self { is_known: fields.is_empty(), ..Self::unknown(None) }
    }

    /// True if the names of the fields must be tried, because there are fewer fields than names.
    pub fn names_are_open(&self, names: usize) -> bool {
        self.is_known && self.parts.len() < names && self.fields.len() < names
    }
}
