//! Checks that a type reads all values of a shape, with samples of all branches.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::{DeserializeOwned, Error as _};

use super::error::{ReadError, Reason};
use super::reader::Reader;
use super::source::{Integer, Result, Source};
use crate::shape::samples::{BYTES, CHARS, FLOATS, NUMBERS, TEXTS, pick};
use crate::shape::{Content, Leaf, Shape};

/// Most attempts with different samples for a type that refuses some.
const ATTEMPTS: u32 = 48;

/// Checks that `T` reads values of `shape`, whatever branches they have.
///
/// # Errors
/// The place and the reason. A type that refuses all samples with an error of its own passes. It refuses values when
/// they are read.
pub(super) fn check<T: DeserializeOwned>(shape: &Shape) -> Result<()> {
    let mut probe = Probe::default();
    loop {
        let before = probe.taken.clone();
        for attempt in 0..ATTEMPTS {
            (probe.attempt, probe.given) = (attempt, 0);
            probe.taken.clone_from(&before);
            let read =
                catch_unwind(AssertUnwindSafe(|| T::deserialize(Reader::new(&mut probe, shape)).map(drop)));
            match read.unwrap_or_else(|_| Err(ReadError::custom("its Deserialize panicked"))) {
                Ok(()) => break,
                Err(error) if error.reason == Reason::Refused => {}
                Err(error) => return Err(error),
            }
        }
        if probe.taken == before {
            return Ok(());
        }
    }
}

/// Gives samples instead of bytes.
#[derive(Default)]
struct Probe {
    /// The branches that were read: the address of a shape, and the number of the branch.
    taken: BTreeSet<(usize, usize)>,
    attempt: u32,
    /// Samples given out in this pass.
    given: u32,
}

impl Probe {
    fn sample<T: Copy>(&mut self, samples: &[T]) -> Result<T> {
        self.given += 1;
        pick(samples, self.attempt, self.given).ok_or_else(|| ReadError::corrupt("no sample"))
    }

    /// A branch that was not read before, or the one whose values are the smallest.
    fn choose(&mut self, shape: &Shape, branches: usize, smallest: usize) -> usize {
        let site = std::ptr::from_ref(shape) as usize;
        let new = (0..branches).find(|branch| self.taken.insert((site, *branch)));
        new.unwrap_or(smallest)
    }
}

impl Source for Probe {
    fn integer(&mut self, leaf: Leaf) -> Result<Integer> {
        let number = self.sample(NUMBERS)?;
        Ok(match leaf {
            Leaf::I8 | Leaf::I16 | Leaf::I32 | Leaf::I64 | Leaf::I128 => Integer::Signed(number.into()),
            _ => Integer::Unsigned(number.into()),
        })
    }

    fn float(&mut self, _: Leaf) -> Result<f64> {
        self.sample(FLOATS).map(f64::from)
    }

    fn bool(&mut self) -> Result<bool> {
        self.sample(&[false, true])
    }

    fn char(&mut self) -> Result<char> {
        self.sample(CHARS)
    }

    fn text(&mut self) -> Result<&str> {
        self.sample(TEXTS)
    }

    fn bytes(&mut self) -> Result<&[u8]> {
        self.sample(BYTES)
    }

    fn is_some(&mut self, option: &Shape) -> Result<bool> {
        Ok(self.choose(option, 2, 0) == 1)
    }

    fn len(&mut self, list: &Shape) -> Result<usize> {
        Ok(self.choose(list, 2, 0))
    }

    fn variant(&mut self, variants: &Shape) -> Result<usize> {
        let Shape::Enum(contents) = variants else { return Ok(0) };
        let smallest = contents.iter().enumerate().min_by_key(|(_, (_, content))| height_of(content));
        Ok(self.choose(variants, contents.len(), smallest.map_or(0, |(index, _)| index)))
    }

    fn left(&self) -> usize {
        0
    }

    fn free(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How deep the smallest value of a shape is; the most if it contains one of the shapes around it.
fn height(shape: &Shape) -> usize {
    match shape {
        Shape::Leaf(_) | Shape::Option(_) | Shape::List(_) | Shape::Map(_) => 0,
        Shape::Up(_) => usize::MAX,
        Shape::Named(_, shape) => height(shape),
        Shape::Array(_, 0) => 0,
        Shape::Array(element, _) => height(element).saturating_add(1),
        Shape::Tuple(parts) => highest(parts.iter()),
        Shape::Struct(fields) => highest(fields.iter().map(|(_, shape)| shape)),
        Shape::Enum(variants) => {
            let least = variants.iter().map(|(_, content)| height_of(content)).min();
            least.unwrap_or(0).saturating_add(1)
        }
    }
}

fn height_of(content: &Content) -> usize {
    match content {
        Content::Unit => 0,
        Content::Newtype(shape) => height(shape).saturating_add(1),
        Content::Tuple(parts) => highest(parts.iter()),
        Content::Struct(fields) => highest(fields.iter().map(|(_, shape)| shape)),
    }
}

fn highest<'s>(shapes: impl Iterator<Item = &'s Shape>) -> usize {
    shapes.map(height).max().unwrap_or(0).saturating_add(1)
}
