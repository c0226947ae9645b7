//! Converts the graph of a type into its shape, and into names that its `Serialize` must agree with.

use super::node::{Branch, Content, Form, Node};
use super::{Shape, Tracer};
use crate::shape;

/// Most shapes that one shape may consist of.
const SHAPES_MAX: usize = 8192;

/// The structs and enums that a type reads, by name. What it writes must have the same form, which the bytes
/// do not show.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Name and number of fields.
    structs: Vec<(&'static str, usize)>,
    enums: Vec<(&'static str, Vec<Variant>)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Variant {
    /// Its name and its aliases.
    names: Vec<String>,
    len: usize,
}

impl Names {
    /// Checks that a struct with this name and number of fields is read.
    ///
    /// # Errors
    /// The reason.
    pub fn check_struct(&self, name: &str, len: usize) -> Result<(), String> {
        let mut read =
            self.structs.iter().filter(|(known, _)| *known == name).map(|(_, len)| *len).peekable();
        match read.peek().copied() {
            Some(expected) if !read.any(|known| known == len) => {
                Err(format!("{name} writes {len} fields and reads {expected}"))
            }
            // Hand-written code may read one with another name.
            _ => Ok(()),
        }
    }

    /// Checks that a variant with this index, name and number of fields is read.
    ///
    /// # Errors
    /// The reason.
    pub fn check_variant(&self, name: &str, index: u32, variant: &str, len: usize) -> Result<(), String> {
        let mut reason = Ok(());
        for (_, variants) in self.enums.iter().filter(|(known, _)| *known == name) {
            match usize::try_from(index).ok().and_then(|index| variants.get(index)) {
                Some(read) if !read.names.iter().any(|known| known == variant) => {
                    let others = read.names.join(" or ");
                    reason = Err(format!(
                        "{name} writes the variant {variant} as number {index} and reads that as {others}"
                    ));
                }
                Some(read) if read.len != len => {
                    let expected = read.len;
                    reason = Err(format!("{name}::{variant} writes {len} fields and reads {expected}"));
                }
                Some(_) => return Ok(()),
                None => {
                    reason = Err(format!(
                        "{name} writes the variant {variant} as number {index} and does not read it"
                    ));
                }
            }
        }
        reason
    }
}

impl Tracer {
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        for node in &self.nodes {
            match (node.form, node.branches.first()) {
                (Form::Struct(name, _) | Form::TupleStruct(name, _), Some(fields)) => {
                    names.structs.push((name, fields.parts.len()));
                }
                (Form::Enum(name, _), _) => {
                    let variant = |(i, branch): (usize, &Branch)| Variant {
                        names: variant_names(node, i, branch),
                        len: branch.parts.len(),
                    };
                    names.enums.push((name, node.variants().enumerate().map(variant).collect()));
                }
                _ => {}
            }
        }
        names
    }

    /// The shape of the root.
    pub(super) fn shape(&self) -> Result<Shape, String> {
        let mut around = Vec::new();
        let root = self.root.ok_or("reads nothing")?;
        self.shape_of(root, &mut around, &mut SHAPES_MAX.clone())
    }

    fn shape_of(&self, id: usize, around: &mut Vec<usize>, left: &mut usize) -> Result<Shape, String> {
        *left = left.checked_sub(1).ok_or("consists of too many parts")?;
        let Some(node) = self.nodes.get(id) else { return Err("reads nothing".to_owned()) };
        if let Some(at) = around.iter().position(|known| *known == id) {
            let composite = |id: &&usize| self.nodes[**id].form != Form::Newtype;
            let levels = around[at..].iter().filter(composite).count();
            // Newtypes are not part of a shape, so the reference skips them.
            return match levels.checked_sub(1) {
                Some(levels) => Ok(Shape::Up(levels)),
                None => Err("contains itself without an end".to_owned()),
            };
        }
        around.push(id);
        let first = |this: &Self, part: usize, around: &mut Vec<usize>, left: &mut usize| {
            let parts = node.branches.last().map_or(&[][..], |branch| &branch.parts);
            match parts.get(part) {
                Some(part) => this.shape_of(*part, around, left),
                None => Err("reads nothing".to_owned()),
            }
        };
        let shape = match node.form {
            Form::Leaf(leaf) => Shape::Leaf(leaf),
            Form::Newtype => first(self, 0, around, left)?,
            Form::Option => Shape::Option(Box::new(first(self, 0, around, left)?)),
            Form::List => Shape::List(Box::new(first(self, 0, around, left)?)),
            Form::Map => Shape::Map(Box::new((first(self, 0, around, left)?, first(self, 1, around, left)?))),
            Form::Tuple(_) | Form::TupleStruct(..) => {
                let parts = node.branches.first().map_or(&[][..], |branch| &branch.parts);
                tuple(self.shapes_of(parts, around, left)?)
            }
            Form::Struct(_, names) => match node.branches.first() {
                Some(branch) => Shape::Struct(self.named_shapes(names, branch, around, left)?),
                None => Shape::Struct(Vec::new()),
            },
            Form::Enum(..) => {
                let mut variants = Vec::new();
                for (i, branch) in node.variants().enumerate() {
                    let content = match branch.content {
                        Some(Content::Newtype) => match &branch.parts[..] {
                            [part] => shape::Content::Newtype(self.shape_of(*part, around, left)?),
                            _ => return Err("reads nothing".to_owned()),
                        },
                        Some(Content::Tuple(_)) => {
                            shape::Content::Tuple(self.shapes_of(&branch.parts, around, left)?)
                        }
                        Some(Content::Struct(names)) => {
                            shape::Content::Struct(self.named_shapes(names, branch, around, left)?)
                        }
                        Some(Content::Unit) | None => shape::Content::Unit,
                    };
                    variants.push((variant_names(node, i, branch).join("|"), content));
                }
                Shape::Enum(variants)
            }
        };
        around.pop();
        Ok(shape)
    }

    fn shapes_of(
        &self,
        parts: &[usize],
        around: &mut Vec<usize>,
        left: &mut usize,
    ) -> Result<Vec<Shape>, String> {
        // An array may be long.
        if let [first, rest @ ..] = parts
            && rest.iter().all(|part| part == first)
        {
            let shape = self.shape_of(*first, around, left)?;
            return Ok(vec![shape; parts.len()]);
        }
        parts.iter().map(|part| self.shape_of(*part, around, left)).collect()
    }

    fn named_shapes(
        &self,
        names: &[&str],
        branch: &Branch,
        around: &mut Vec<usize>,
        left: &mut usize,
    ) -> Result<Vec<(String, Shape)>, String> {
        let mut own: Vec<&str> = names.to_vec();
        if branch.parts.len() < names.len() {
            own = branch.fields.iter().map(|field| &*field.name).collect();
            own.dedup();
            if own.len() != branch.parts.len() {
                return Err("does not read the fields that it names".to_owned());
            }
        }
        let shapes = self.shapes_of(&branch.parts, around, left)?;
        Ok(own.into_iter().map(str::to_owned).zip(shapes).collect())
    }
}

fn tuple(parts: Vec<Shape>) -> Shape {
    match &parts[..] {
        [first, rest @ ..] if rest.iter().all(|part| part == first) => {
            Shape::Array(Box::new(first.clone()), parts.len())
        }
        _ => Shape::Tuple(parts),
    }
}

/// Name and aliases of the variant with that index.
fn variant_names(node: &Node, index: usize, branch: &Branch) -> Vec<String> {
    let Form::Enum(_, names) = node.form else { return Vec::new() };
    if node.tags.is_empty() {
        return names.get(index).map(|name| (*name).to_owned()).into_iter().collect();
    }
    let same = |(_, tag): &(&&str, &Option<String>)| **tag == branch.tag;
    names.iter().zip(&node.tags).filter(same).map(|(name, _)| (*name).to_owned()).collect()
}
