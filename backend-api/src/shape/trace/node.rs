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
    /// What it may consist of: of an option nothing or a value, of an enum each variant.
    pub branches: Vec<Branch>,
    /// What the names of an enum's variants stand for, as far as they were tried.
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
    /// A variant that refuses to be read.
    pub is_unreadable: bool,
    /// Of a variant.
    pub content: Option<Content>,
    /// What the variant's index stands for.
    pub tag: Option<String>,
    /// What the names of the fields stand for, as far as they were tried.
    pub fields: Vec<Field>,
    /// Depth of the smallest value; the highest number if none is known.
    pub rank: usize,
    /// How often values of it were made.
    pub taken: usize,
}

/// What a variant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Unit,
    Newtype,
    Tuple(usize),
    Struct(&'static [&'static str]),
}

/// What the name of a field stands for.
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

    /// True if all is known of a branch.
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

    /// The variants that there are. One with `#[serde(other)]` stands for all higher indexes, too.
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
