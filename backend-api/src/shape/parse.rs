//! Parses the texts of shapes.

use super::{Content, DEPTH_MAX, Leaf, Shape};

impl Shape {
    /// Parses the text of a shape.
    pub fn parse(input: &str) -> Option<Self> {
        text(input).filter(|shape| shape.refers_upwards(0))
    }

    /// Parses the schema of a plain type, in which `[A]` is a list, and `usize` and `isize` are numbers of 64 bits.
    pub fn parse_plain(input: &str) -> Option<Self> {
        whole(Parser { rest: input, depth: 0, plain: true }).filter(|shape| shape.refers_upwards(0))
    }

    /// True if each `Up` refers to a composite shape.
    fn refers_upwards(&self, around: usize) -> bool {
        let fields =
            |fields: &[(String, Self)]| fields.iter().all(|(_, shape)| shape.refers_upwards(around + 1));
        let parts = |parts: &[Self]| parts.iter().all(|shape| shape.refers_upwards(around + 1));
        match self {
            Self::Leaf(_) => true,
            Self::Up(levels) => *levels < around,
            Self::Named(_, shape) => shape.refers_upwards(around),
            Self::Option(shape) | Self::List(shape) | Self::Array(shape, _) => {
                shape.refers_upwards(around + 1)
            }
            Self::Map(entry) => entry.0.refers_upwards(around + 1) && entry.1.refers_upwards(around + 1),
            Self::Tuple(shapes) => parts(shapes),
            Self::Struct(named) => fields(named),
            Self::Enum(variants) => variants.iter().all(|(_, content)| match content {
                Content::Unit => true,
                Content::Newtype(shape) => shape.refers_upwards(around + 1),
                Content::Tuple(shapes) => parts(shapes),
                Content::Struct(named) => fields(named),
            }),
        }
    }
}

/// [`Shape::parse`] without a check of references.
pub(super) fn text(text: &str) -> Option<Shape> {
    whole(Parser { rest: text, depth: 0, plain: false })
}

fn whole(mut parser: Parser<'_>) -> Option<Shape> {
    let shape = parser.shape()?;
    parser.rest.is_empty().then_some(shape)
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
    /// True for the schema of a plain type.
    plain: bool,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.eat(token).then_some(())
    }

    fn shape(&mut self) -> Option<Shape> {
        self.depth += 1;
        let shape = if self.depth > DEPTH_MAX { None } else { self.one() };
        self.depth -= 1;
        shape
    }

    fn one(&mut self) -> Option<Shape> {
        if self.eat("()") {
            return Some(Shape::Leaf(Leaf::Unit));
        }
        if self.eat("(") {
            return self.parts().map(Shape::Tuple);
        }
        if self.eat("[") {
            let element = Box::new(self.shape()?);
            if self.plain && self.eat("]") {
                return Some(Shape::List(element));
            }
            self.expect(";")?;
            let len = self.number()?;
            self.expect("]")?;
            return Some(Shape::Array(element, len));
        }
        if self.eat("^") {
            return self.number().map(Shape::Up);
        }
        let quoted = self.rest.starts_with('"');
        let name = self.name()?;
        if self.eat(":") {
            return Some(Shape::Named(name, Box::new(self.shape()?)));
        }
        match &*name {
            _ if quoted => None,
            "option" => self.in_angles().map(|shape| Shape::Option(Box::new(shape))),
            "list" => self.in_angles().map(|shape| Shape::List(Box::new(shape))),
            "map" => {
                self.expect("<")?;
                let key = self.shape()?;
                self.expect(",")?;
                let value = self.shape()?;
                self.expect(">")?;
                Some(Shape::Map(Box::new((key, value))))
            }
            "struct" => {
                self.expect("{")?;
                self.fields().map(Shape::Struct)
            }
            "enum" => {
                self.expect("{")?;
                self.until("}", |this| Some((this.name()?, this.content()?))).map(Shape::Enum)
            }
            "usize" if self.plain => Some(Shape::Leaf(Leaf::U64)),
            "isize" if self.plain => Some(Shape::Leaf(Leaf::I64)),
            leaf => Leaf::ALL.iter().find(|known| known.text() == leaf).map(|leaf| Shape::Leaf(*leaf)),
        }
    }

    fn in_angles(&mut self) -> Option<Shape> {
        self.expect("<")?;
        let shape = self.shape()?;
        self.expect(">")?;
        Some(shape)
    }

    fn content(&mut self) -> Option<Content> {
        if self.eat("{") {
            return self.fields().map(Content::Struct);
        }
        if !self.eat("(") {
            return Some(Content::Unit);
        }
        if self.eat(",)") {
            return Some(Content::Tuple(Vec::new()));
        }
        let first = self.shape()?;
        if self.eat(")") {
            return Some(Content::Newtype(first));
        }
        self.expect(",")?;
        self.rest_of_parts(first).map(Content::Tuple)
    }

    /// The parts of a tuple, after its parenthesis.
    fn parts(&mut self) -> Option<Vec<Shape>> {
        if self.eat(",)") {
            return Some(Vec::new());
        }
        let first = self.shape()?;
        self.expect(",")?;
        self.rest_of_parts(first)
    }

    fn rest_of_parts(&mut self, first: Shape) -> Option<Vec<Shape>> {
        let mut parts = vec![first];
        parts.extend(self.until(")", Self::shape)?);
        Some(parts)
    }

    fn fields(&mut self) -> Option<Vec<(String, Shape)>> {
        self.until("}", |this| {
            let name = this.name()?;
            this.expect(":")?;
            Some((name, this.shape()?))
        })
    }

    /// Items separated by commas, up to `end`.
    fn until<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        Some(items)
    }

    fn number(&mut self) -> Option<usize> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.parse().ok()
    }

    fn name(&mut self) -> Option<String> {
        if !self.eat("\"") {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let end = self.rest.find(|c| !inner(c)).unwrap_or(self.rest.len());
            let (name, rest) = self.rest.split_at(end);
            self.rest = rest;
            return super::is_plain(name).then(|| name.to_owned());
        }
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..)?;
                    return Some(name);
                }
                '\\' => name.push(chars.next()?.1),
                c => name.push(c),
            }
        }
        None
    }
}
