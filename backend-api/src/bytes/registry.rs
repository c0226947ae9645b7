//! The registered states.

use std::any::Any;
use std::collections::BTreeMap;

use crate::format::StateMeta;
use crate::{Error, ErrorKind, Result, StateDescriptor, StateKey};

/// Where the key and the namespace end that bytes begin with.
pub(super) type PrefixLen = fn(&[u8]) -> Result<usize>;

/// A registered state.
pub(super) struct Registered {
    pub meta: StateMeta,
    /// The descriptor, by which the state's types are known again.
    pub descriptor: Box<dyn Any + Send + Sync>,
    pub prefix_len: PrefixLen,
}

/// The registered states, by number and by name.
#[derive(Default)]
pub(super) struct Registry {
    states: Vec<Registered>,
    numbers: BTreeMap<String, u16>,
}

impl Registry {
    /// All states; the index is the number.
    pub fn states(&self) -> &[Registered] {
        &self.states
    }

    /// Number and state of that name.
    pub fn named(&self, name: &str) -> Option<(u16, &Registered)> {
        let number = *self.numbers.get(name)?;
        Some((number, self.states.get(usize::from(number))?))
    }

    /// The number of a state that is registered as `descriptor` says, if the name is registered at all.
    pub fn known<D: StateDescriptor + 'static>(&self, meta: &StateMeta) -> Result<Option<u16>> {
        if meta.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "the name of a state is empty"));
        }
        let Some((number, state)) = self.named(&meta.name) else { return Ok(None) };
        if state.meta.kind != meta.kind {
            let message = format!("registered as {} state, now as {}", state.meta.kind, meta.kind);
            return Err(Error::new(ErrorKind::IncompatibleKind, message).in_state(&meta.name));
        }
        if !state.descriptor.is::<D>() || state.meta != *meta {
            let message = "the name is registered with other types, or another codec";
            return Err(Error::new(ErrorKind::IllegalState, message).in_state(&meta.name));
        }
        Ok(Some(number))
    }

    /// The number that the next state gets.
    pub fn next_number(&self) -> Result<u16> {
        u16::try_from(self.states.len()).map_err(|_| {
            let message = format!("there are {} states already", self.states.len());
            Error::new(ErrorKind::Size, message)
        })
    }

    /// Adds a state, of which the name is not registered.
    pub fn add<D: StateDescriptor + Send + Sync + 'static, K: StateKey, N: StateKey>(
        &mut self,
        number: u16,
        meta: StateMeta,
        descriptor: D,
    ) {
        self.numbers.insert(meta.name.clone(), number);
        let descriptor = Box::new(descriptor);
        self.states.push(Registered { meta, descriptor, prefix_len: prefix_len::<K, N> });
    }
}

fn prefix_len<K: StateKey, N: StateKey>(bytes: &[u8]) -> Result<usize> {
    let mut rest = bytes;
    K::decode(&mut rest)?;
    N::decode(&mut rest)?;
    Ok(bytes.len() - rest.len())
}
