//! A deserializer without input, which records what it is asked for.

use std::fmt::{self, Display};
use std::mem::discriminant;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::node::{Content, Field, Form};
use super::{Branch, Tracer};
use crate::shape::Leaf;
use crate::shape::samples::{self, pick};

/// The position of the next part.
pub(super) struct Place<'t>(pub &'t mut Tracer);

/// The end of a pass.
#[derive(Debug)]
pub(super) struct Stopped {
    pub message: String,
    /// A field that occurred twice.
    field: Option<&'static str>,
}

impl Stopped {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), field: None }
    }
}

impl Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stopped {}

impl de::Error for Stopped {
    fn custom<M: Display>(message: M) -> Self {
        Self::new(message.to_string())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { message: format!("duplicate field {field}"), field: Some(field) }
    }
}

type Result<T> = std::result::Result<T, Stopped>;

impl Tracer {
    fn sample<T: Copy>(&mut self, samples: &[T]) -> Result<T> {
        self.given += 1;
        let place = if self.exploring { self.given } else { self.given.wrapping_mul(self.attempt) };
        pick(samples, self.attempt, place).ok_or_else(|| Stopped::new("no sample"))
    }

    fn leaf<V>(&mut self, leaf: Leaf) -> Result<()> {
        self.enter(typeid::of::<V>(), Form::Leaf(leaf)).map(drop)
    }

    fn top(&mut self) -> Option<(usize, &mut Branch)> {
        let frame = self.stack.last()?;
        let (id, branch) = (frame.id, frame.branch);
        Some((id, self.branch(id, branch)?))
    }

    /// True if the names of the node just opened should be tried.
    fn tries_names(&mut self, names: usize) -> bool {
        self.exploring && self.top().is_some_and(|(_, branch)| branch.names_are_open(names))
    }

    /// Reads a part. A type that reads nothing has no bytes.
    fn part<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<T::Value> {
        let before = self.stack.last().map(|frame| frame.part);
        let value = seed.deserialize(Place(self))?;
        if self.stack.last().map(|frame| frame.part) == before {
            let nothing = self.nothing()?;
            self.add_part(nothing)?;
        }
        Ok(value)
    }

    /// Reads the parts of the open node.
    fn parts<V: Visitor<'static>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Parts { tracer: self, left: len, part: None })
    }

    fn fields<V: Visitor<'static>>(
        &mut self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if self.tries_names(names.len()) {
            let result = visitor.visit_map(Named { tracer: self, names, again: false });
            if let Err(Stopped { field: Some(own), .. }) = &result
                && let Some(field) = self.top().and_then(|(_, branch)| branch.fields.last_mut())
            {
                (*own).clone_into(&mut field.name);
            }
            // Only one of the fields was read.
            return result.and(Err(Stopped::new("a name of a field was tried")));
        }
        let result = self.parts(names.len(), visitor);
        if let Some((_, branch)) = self.top()
            && branch.parts.len() == names.len()
        {
            branch.is_known = true;
        }
        result
    }
}

/// Opens a composite node, reads it and closes it.
fn composite<V: Visitor<'static>>(
    tracer: &mut Tracer,
    form: Form,
    visitor: V,
    read: impl FnOnce(&mut Tracer, usize, V) -> Result<V::Value>,
) -> Result<V::Value> {
    let id = tracer.enter(typeid::of::<V>(), form)?;
    let branch = tracer.open(id)?;
    let result = read(tracer, branch, visitor);
    tracer.close(result.is_ok())?;
    result
}

macro_rules! leaves {
    ($($method:ident $visit:ident $leaf:ident $samples:ident $type:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
            self.0.leaf::<V>(Leaf::$leaf)?;
            visitor.$visit(<$type>::from(self.0.sample(samples::$samples)?))
        }
    )*};
}

impl Deserializer<'static> for Place<'_> {
    type Error = Stopped;

    fn is_human_readable(&self) -> bool {
        false
    }

    leaves!(
        deserialize_char visit_char Char CHARS char,
        deserialize_u8 visit_u8 U8 NUMBERS u8,
        deserialize_u16 visit_u16 U16 NUMBERS u16,
        deserialize_u32 visit_u32 U32 NUMBERS u32,
        deserialize_u64 visit_u64 U64 NUMBERS u64,
        deserialize_u128 visit_u128 U128 NUMBERS u128,
        deserialize_i16 visit_i16 I16 NUMBERS i16,
        deserialize_i32 visit_i32 I32 WIDE_NUMBERS i32,
        deserialize_i64 visit_i64 I64 WIDE_NUMBERS i64,
        deserialize_i128 visit_i128 I128 WIDE_NUMBERS i128,
        deserialize_f32 visit_f32 F32 FLOATS f32,
        deserialize_f64 visit_f64 F64 FLOATS f64,
        deserialize_str visit_borrowed_str String TEXTS &'static str,
        deserialize_string visit_borrowed_str String TEXTS &'static str,
        deserialize_bytes visit_borrowed_bytes Bytes BYTES &'static [u8],
        deserialize_byte_buf visit_borrowed_bytes Bytes BYTES &'static [u8],
    );

    fn deserialize_bool<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        self.0.leaf::<V>(Leaf::Bool)?;
        visitor.visit_bool(self.0.sample(&[false, true])?)
    }

    fn deserialize_i8<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        self.0.leaf::<V>(Leaf::I8)?;
        visitor.visit_i8(self.0.sample(samples::NUMBERS)? as i8)
    }

    fn deserialize_unit<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        self.0.leaf::<V>(Leaf::Unit)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        composite(self.0, Form::Option, visitor, |tracer, branch, visitor| match branch {
            0 => visitor.visit_none(),
            _ => visitor.visit_some(Place(tracer)),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        composite(self.0, Form::Newtype, visitor, |tracer, _, visitor| {
            visitor.visit_newtype_struct(Place(tracer))
        })
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        composite(self.0, Form::List, visitor, |tracer, branch, visitor| {
            let left = tracer.repetitions(branch);
            visitor.visit_seq(Parts { tracer, left, part: Some(0) })
        })
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        composite(self.0, Form::Map, visitor, |tracer, branch, visitor| {
            let left = tracer.repetitions(branch);
            visitor.visit_map(Parts { tracer, left, part: Some(0) })
        })
    }

    fn deserialize_tuple<V: Visitor<'static>>(self, len: usize, visitor: V) -> Result<V::Value> {
        composite(self.0, Form::Tuple(len), visitor, |tracer, _, visitor| tracer.parts(len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        composite(self.0, Form::TupleStruct(name, len), visitor, |tracer, _, visitor| {
            tracer.parts(len, visitor)
        })
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        composite(self.0, Form::Struct(name, fields), visitor, |tracer, _, visitor| {
            tracer.fields(fields, visitor)
        })
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let tracer = self.0;
        let id = tracer.enter(typeid::of::<V>(), Form::Enum(name, variants))?;
        if tracer.exploring && tracer.nodes[id].names_are_open() {
            tracer.looked_at = Some((id, usize::MAX));
            let name = variants.get(tracer.nodes[id].tags.len()).copied().unwrap_or_default();
            return visitor.visit_enum(NamedVariant { tracer, id, name });
        }
        let branch = tracer.open(id)?;
        let result = visitor.visit_enum(Variant { tracer: &mut *tracer, id, branch });
        tracer.close(result.is_ok())?;
        result
    }

    fn deserialize_any<V: Visitor<'static>>(self, _: V) -> Result<V::Value> {
        Err(self.0.refuse("asks the bytes what they are, as `untagged`, `tag` and `flatten` do"))
    }

    fn deserialize_identifier<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }
}

impl Tracer {
    /// Number of elements for a list or map.
    fn repetitions(&mut self, branch: usize) -> usize {
        match branch {
            0 => 0,
            _ if self.exploring => 1 + self.attempt as usize % 3,
            _ => 1,
        }
    }

    /// The node of a type without bytes.
    fn nothing(&mut self) -> Result<usize> {
        let key = (typeid::of::<()>(), Form::Leaf(Leaf::Unit));
        let next = self.nodes.len();
        let id = *self.ids.entry(key).or_insert(next);
        if id == next {
            self.nodes.push(super::Node::new(key.1));
        }
        Ok(id)
    }
}

/// The parts of a composite node.
struct Parts<'t> {
    tracer: &'t mut Tracer,
    left: usize,
    /// The part that each element starts with, if the same parts repeat.
    part: Option<usize>,
}

impl Parts<'_> {
    fn next<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        if let (Some(part), Some(frame)) = (self.part, self.tracer.stack.last_mut()) {
            frame.part = part;
        }
        self.tracer.part(seed).map(Some)
    }
}

impl SeqAccess<'static> for Parts<'_> {
    type Error = Stopped;

    fn next_element_seed<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl MapAccess<'static> for Parts<'_> {
    type Error = Stopped;

    fn next_key_seed<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<T::Value> {
        self.tracer.part(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The fields of a struct by name, to find aliases. A repeated field is refused, and the error contains its
/// own name.
struct Named<'t> {
    tracer: &'t mut Tracer,
    names: &'static [&'static str],
    again: bool,
}

impl<'t> MapAccess<'static> for Named<'t> {
    type Error = Stopped;

    fn next_key_seed<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((_, branch)) = self.tracer.top() else { return Ok(None) };
        let at = branch.fields.len() - usize::from(self.again);
        let name = self.names.get(at).copied().unwrap_or_default();
        let name: de::value::StrDeserializer<'_, Stopped> = name.into_deserializer();
        let key = seed.deserialize(name)?;
        if !self.again {
            let tag = tag(&key);
            let known = branch.fields.iter().find(|field| field.tag == tag);
            let own = known.map_or(self.names.get(at).copied().unwrap_or_default(), |field| &field.name);
            let field = Field { name: own.to_owned(), tag };
            branch.fields.push(field);
            let mut tags: Vec<_> = branch.fields.iter().map(|field| &field.tag).collect();
            tags.dedup();
            let part = tags.len() - 1;
            self.tracer.progress += 1;
            if let Some(frame) = self.tracer.stack.last_mut() {
                frame.part = part;
            }
        }
        self.again = true;
        Ok(Some(key))
    }

    fn next_value_seed<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<T::Value> {
        self.tracer.part(seed)
    }
}

/// The value that identifies a variant.
fn tag<T>(value: &T) -> String {
    format!("{:?}", discriminant(value))
}

/// A variant by one of its names, to find aliases.
struct NamedVariant<'t> {
    tracer: &'t mut Tracer,
    id: usize,
    name: &'static str,
}

impl<'t> EnumAccess<'static> for NamedVariant<'t> {
    type Error = Stopped;
    type Variant = Variant<'t>;

    fn variant_seed<T: DeserializeSeed<'static>>(self, seed: T) -> Result<(T::Value, Variant<'t>)> {
        let name: de::value::StrDeserializer<'_, Stopped> = self.name.into_deserializer();
        let tag = seed.deserialize(name).ok().map(|value| tag(&value));
        self.tracer.progress += 1;
        self.tracer.nodes[self.id].tags.push(tag);
        Err(Stopped::new("a name of a variant was tried"))
    }
}

/// A variant by its index.
struct Variant<'t> {
    tracer: &'t mut Tracer,
    id: usize,
    branch: usize,
}

impl<'t> EnumAccess<'static> for Variant<'t> {
    type Error = Stopped;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'static>>(self, seed: T) -> Result<(T::Value, Self)> {
        let index = self.branch as u32;
        let index: de::value::U32Deserializer<Stopped> = index.into_deserializer();
        let result = seed.deserialize(index);
        if let Some(branch) = self.tracer.branch(self.id, self.branch)
            && branch.tag.is_none()
            && !branch.is_absent
        {
            match &result {
                Ok(value) => branch.tag = Some(tag(value)),
                Err(_) => (branch.is_absent, branch.is_known) = (true, true),
            }
            self.tracer.progress += 1;
        }
        Ok((result?, self))
    }
}

impl Variant<'_> {
    /// Records the variant's content, which is the same each time.
    fn holds(&mut self, content: Content, expected: Option<usize>) -> Result<()> {
        let Some(branch) = self.tracer.branch(self.id, self.branch) else { return Ok(()) };
        match branch.content {
            None => {
                (branch.content, branch.expected) = (Some(content), expected);
                branch.is_known = expected == Some(0) || content == Content::Struct(&[]);
                self.tracer.progress += 1;
                Ok(())
            }
            Some(known) if known == content => Ok(()),
            Some(_) => Err(self.tracer.refuse("reads a variant in two ways")),
        }
    }
}

impl VariantAccess<'static> for Variant<'_> {
    type Error = Stopped;

    fn unit_variant(mut self) -> Result<()> {
        self.holds(Content::Unit, Some(0))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'static>>(mut self, seed: T) -> Result<T::Value> {
        self.holds(Content::Newtype, Some(1))?;
        self.tracer.part(seed)
    }

    fn tuple_variant<V: Visitor<'static>>(mut self, len: usize, visitor: V) -> Result<V::Value> {
        self.holds(Content::Tuple(len), Some(len))?;
        self.tracer.parts(len, visitor)
    }

    fn struct_variant<V: Visitor<'static>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.holds(Content::Struct(fields), None)?;
        self.tracer.fields(fields, visitor)
    }
}
