//! The states of a backend, by number and by name.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use super::EntryExpiry;
use super::cache::AnyCache;
use super::limits::Totals;
use super::timers::TimerCache;
use backend_api::format::StateMeta;
use backend_api::row::ReadBack;
use backend_api::{Error, ErrorKind, KeySchema, Result, StateDescriptor, StateKey, StateKind};

/// Finds the end of a part at the start of a key.
type PartLen = fn(&[u8]) -> Result<usize>;

/// Finds the end of key and namespace at the start of an entry's key.
#[derive(Clone)]
pub(super) struct Prefix {
    key: PartLen,
    namespace: Namespace,
}

/// Finds the end of a namespace.
#[derive(Clone)]
enum Namespace {
    /// By type, once the state is registered.
    Typed(PartLen),
    /// By the schema in a checkpoint.
    Parsed(KeySchema),
}

impl Prefix {
    pub fn len(&self, bytes: &[u8]) -> Result<usize> {
        let key = (self.key)(bytes)?;
        let rest = bytes.get(key..).unwrap_or_default();
        let namespace = match &self.namespace {
            Namespace::Typed(len) => len(rest)?,
            Namespace::Parsed(schema) => schema.prefix_len(rest)?,
        };
        Ok(key + namespace)
    }
}

/// How rows are made from the entries of a state.
pub(super) struct RowForm {
    pub kind: StateKind,
    /// Where keys and namespaces end.
    pub prefix: Prefix,
    /// Checks that written rows can be read back. `None` if the state is not registered.
    pub read_back: Option<ReadBack>,
    /// Which entries had expired, for a registered state with a time to live.
    pub expiry: Option<EntryExpiry>,
}

/// A state with a number.
struct State {
    meta: StateMeta,
    /// `None` if the store has it from a restore and it is not registered.
    registered: Option<Registered>,
    /// The totals of its lists or maps.
    totals: Totals,
}

struct Registered {
    /// The descriptor, whose type determines the types of the state.
    descriptor: Box<dyn Any + Send + Sync>,
    /// Finds the end of a namespace.
    namespace: PartLen,
    read_back: ReadBack,
    expiry: Option<EntryExpiry>,
    cache: Option<Box<dyn AnyCache>>,
    /// The next timers, if it is a timer state.
    timers: Option<TimerCache>,
    read_at_once: usize,
}

/// Values that the first batch reads at once. Their length is not known then.
const FIRST_READ_AT_ONCE: usize = 8;

/// A registered state, and its cache if it has one.
pub(super) struct Found<'r, D> {
    pub meta: &'r StateMeta,
    pub descriptor: &'r D,
    pub cache: Option<&'r dyn AnyCache>,
    pub totals: &'r mut Totals,
    /// Number of values that a batch reads at once.
    pub read_at_once: &'r mut usize,
}

/// The states that the store holds. The index of a state is its number.
#[derive(Default)]
pub(super) struct Registry {
    states: Vec<State>,
    numbers: BTreeMap<String, u16>,
    /// Numbers of the registered states in the order of their registration.
    order: Vec<u16>,
}

impl Registry {
    /// The registry of a store with these unregistered states.
    pub fn holding(held: impl Iterator<Item = (StateMeta, Totals)>) -> Self {
        let states: Vec<_> = held.map(|(meta, totals)| State { meta, registered: None, totals }).collect();
        let numbers = states.iter().map(|state| state.meta.name.clone()).zip(0..).collect();
        Self { states, numbers, order: Vec::new() }
    }

    /// All states in the order of their numbers.
    pub fn metas(&self) -> impl Iterator<Item = &StateMeta> {
        self.states.iter().map(|state| &state.meta)
    }

    /// The registered states in the order of their registration.
    pub fn in_order(&self) -> impl Iterator<Item = &StateMeta> {
        self.order.iter().filter_map(|number| self.states.get(usize::from(*number))).map(|state| &state.meta)
    }

    /// The states that are not registered, each once.
    pub fn unregistered(&self) -> impl Iterator<Item = &StateMeta> {
        let mut seen = BTreeSet::new();
        let states = self.states.iter().filter(|state| state.registered.is_none());
        states.map(|state| &state.meta).filter(move |meta| !meta.is_dropped() && seen.insert(&*meta.name))
    }

    /// Drops an unregistered state whose entries were removed from the store. Its number stays taken.
    pub fn drop_held(&mut self, number: u16) {
        let Some(state) = self.states.get_mut(usize::from(number)) else { return };
        self.numbers.remove(&state.meta.name);
        state.meta = StateMeta::dropped(number, state.meta.kind);
    }

    /// Which entries of a registered state have expired. `None` without a time to live.
    pub fn expiry(&self, number: u16) -> Option<&EntryExpiry> {
        self.states.get(usize::from(number))?.registered.as_ref()?.expiry.as_ref()
    }

    /// How rows are made from the entries of all states, with keys of type `K`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for an unregistered state whose namespace has a user type that
    /// cannot be parsed by its schema.
    pub fn rows<K: StateKey>(&self) -> Result<Vec<RowForm>> {
        let row = |State { meta, registered, .. }: &State| -> Result<_> {
            let namespace = match registered {
                Some(registered) => Namespace::Typed(registered.namespace),
                None => Namespace::Parsed(KeySchema::parse(&meta.namespace_schema)?),
            };
            let prefix = Prefix { key: part_len::<K>, namespace };
            let read_back = registered.as_ref().map(|registered| registered.read_back.clone());
            let expiry = registered.as_ref().and_then(|registered| registered.expiry.as_ref());
            Ok(RowForm { kind: meta.kind, prefix, read_back, expiry: expiry.map(EntryExpiry::frozen) })
        };
        self.states.iter().map(|state| row(state).map_err(|error| error.in_state(&state.meta.name))).collect()
    }

    /// A registered state, if its descriptor is a `D`.
    #[inline]
    pub fn get<D: 'static>(&mut self, number: usize) -> Option<Found<'_, D>> {
        let State { meta, registered, totals } = self.states.get_mut(number)?;
        let Registered { descriptor, cache, read_at_once, .. } = registered.as_mut()?;
        let descriptor = descriptor.downcast_ref()?;
        Some(Found { meta, descriptor, cache: cache.as_deref(), totals, read_at_once })
    }

    /// Metadata and cache of registered timers, if their descriptor is a `D`.
    pub fn timers<D: 'static>(&mut self, number: usize) -> Option<(&StateMeta, &mut TimerCache)> {
        let State { meta, registered, .. } = self.states.get_mut(number)?;
        let Registered { descriptor, timers, .. } = registered.as_mut()?;
        timers.as_mut().filter(|_| descriptor.is::<D>()).map(|timers| (&*meta, timers))
    }

    /// Metadata and caches of all registered timers.
    pub fn all_timers(&mut self) -> impl Iterator<Item = (&StateMeta, &mut TimerCache)> {
        self.states.iter_mut().filter_map(|State { meta, registered, .. }| {
            Some((&*meta, registered.as_mut()?.timers.as_mut()?))
        })
    }

    /// Bytes of memory that a registered state takes.
    pub fn bytes(&self, number: u16) -> usize {
        let state = self.states.get(usize::from(number)).and_then(|state| state.registered.as_ref());
        state.map_or(0, |state| {
            let cache = state.cache.as_ref().map_or(0, |cache| cache.bytes());
            cache + state.timers.as_ref().map_or(0, TimerCache::bytes)
        })
    }

    /// The bounds of the totals of each state, by number.
    pub fn bounds(&self) -> impl Iterator<Item = Vec<u64>> {
        self.states.iter().map(|state| state.totals.bounds())
    }

    /// The totals of a state in the store, or those of a new one.
    pub fn totals_of(&self, number: Option<u16>, limit: u64) -> Totals {
        let state = number.and_then(|number| self.states.get(usize::from(number)));
        Totals::with_bounds(limit, &state.map_or_else(Vec::new, |state| state.totals.bounds()))
    }

    /// The cache of a state, if it has one.
    pub fn cache(&self, number: u16) -> Option<&dyn AnyCache> {
        self.states.get(usize::from(number))?.registered.as_ref()?.cache.as_deref()
    }

    /// Drops all caches.
    pub fn drop_caches(&mut self) {
        for registered in self.states.iter_mut().filter_map(|state| state.registered.as_mut()) {
            registered.cache = None;
            registered.timers = None;
        }
    }

    /// All caches.
    pub fn caches(&self) -> impl Iterator<Item = &dyn AnyCache> {
        self.states.iter().filter_map(|state| state.registered.as_ref()?.cache.as_deref())
    }

    /// The meta of a registered state, by its number.
    pub fn meta(&self, number: usize) -> Option<&StateMeta> {
        let state = self.states.get(number)?;
        state.registered.as_ref().map(|_| &state.meta)
    }

    /// Number and meta of a registered state.
    pub fn registered(&self, name: &str) -> Option<(u16, &StateMeta)> {
        let number = *self.numbers.get(name)?;
        self.meta(number.into()).map(|meta| (number, meta))
    }

    /// The number of a state that is registered with this metadata, if the name is registered.
    pub fn known<D: StateDescriptor + 'static>(&self, meta: &StateMeta) -> Result<Option<u16>> {
        meta.check_name()?;
        let Some((number, known)) = self.registered(&meta.name) else { return Ok(None) };
        let registered = self.states.get(usize::from(number)).and_then(|state| state.registered.as_ref());
        known.check_again(meta, registered.is_some_and(|registered| registered.descriptor.is::<D>()))?;
        Ok(Some(number))
    }

    /// Number and meta of each part of an unregistered state in the store. There are several if they were written with
    /// different codecs or versions.
    pub fn held<'r>(&'r self, name: &'r str) -> impl Iterator<Item = (u16, &'r StateMeta)> {
        let parts = (0..).zip(&self.states).filter(|(_, state)| state.registered.is_none());
        parts.map(|(number, state)| (number, &state.meta)).filter(move |(_, meta)| meta.name == name)
    }

    /// The number of the next new state.
    pub fn next_number(&self) -> Result<u16> {
        u16::try_from(self.states.len()).map_err(|_| {
            let message = format!("a backend cannot have more than {} states", self.states.len());
            Error::new(ErrorKind::Size, message)
        })
    }

    /// Adds a state: a new one with the next number, or one that the store has.
    pub fn add<D: StateDescriptor + Send + Sync + 'static, K: StateKey, N: StateKey>(
        &mut self,
        number: u16,
        meta: StateMeta,
        descriptor: D,
        (cache, timers): (Option<Box<dyn AnyCache>>, Option<TimerCache>),
        totals: Totals,
    ) {
        self.numbers.insert(meta.name.clone(), number);
        self.order.push(number);
        let read_back = descriptor.read_back::<K>();
        let expiry = descriptor.expiry().map(|expiry| EntryExpiry::new(meta.kind, expiry));
        let descriptor = Box::new(descriptor);
        let read_at_once = FIRST_READ_AT_ONCE;
        let registered = Some(Registered {
            descriptor,
            namespace: part_len::<N>,
            read_back,
            expiry,
            cache,
            timers,
            read_at_once,
        });
        match self.states.get_mut(usize::from(number)) {
            Some(state) => *state = State { meta, registered, totals },
            None => self.states.push(State { meta, registered, totals }),
        }
    }
}

fn part_len<P: StateKey>(bytes: &[u8]) -> Result<usize> {
    let mut rest = bytes;
    P::decode(&mut rest)?;
    Ok(bytes.len() - rest.len())
}
