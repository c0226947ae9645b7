//! The states of a script in a backend.

use std::borrow::Cow;

use backend_api::{
    AggregatingDescriptor, AggregatingState, AggregatingToken, Error, ErrorKind, ListDescriptor, ListState,
    ListToken, MapDescriptor, MapState, MapToken, ReducingDescriptor, ReducingState, ReducingToken, Result,
    StateBackend, StateDescriptor, StateKey, Timer, TimerDescriptor, TimerState, TimerToken, Ttl,
    ValueDescriptor, ValueState, ValueToken, default_codec,
};

use super::{Aggregator, Answer, Datum, Declared, Expires, Kept, Kind, Op, Timed, Type};
use crate::access::Opens;

/// A registered state.
pub(super) trait State<B: StateBackend> {
    /// Reads or writes at one key.
    fn access(&self, backend: &mut B, key: &B::Key, namespace: Option<&Datum>, op: Op) -> Result<Answer>;

    /// The keys with an entry in a namespace.
    fn keys(&self, backend: &mut B, namespace: Option<&Datum>) -> Result<Vec<B::Key>>;

    /// All pairs of key and namespace with an entry.
    fn pairs(&self, backend: &mut B) -> Result<Vec<(B::Key, Option<Datum>)>>;

    /// Clears the namespace of every key.
    fn clear_every_key(&self, backend: &mut B, namespace: Option<&Datum>) -> Result<()>;

    /// All timers.
    fn timers(&self, _: &mut B) -> Result<Vec<Timed>> {
        Err(mistyped())
    }

    /// Fires the timers up to and including this time.
    fn fire(&self, _: &mut B, _: i64) -> Result<Vec<Timed>> {
        Err(mistyped())
    }
}

/// A type of namespaces.
trait Namespace: StateKey {
    fn of(namespace: Option<&Datum>) -> Result<Self>;
    fn datum(self) -> Option<Datum>;
}

impl Namespace for () {
    fn of(namespace: Option<&Datum>) -> Result<Self> {
        namespace.map_or(Ok(()), |_| Err(mistyped()))
    }

    fn datum(self) -> Option<Datum> {
        None
    }
}

impl Namespace for Datum {
    fn of(namespace: Option<&Datum>) -> Result<Self> {
        namespace.cloned().ok_or_else(mistyped)
    }

    fn datum(self) -> Option<Datum> {
        Some(self)
    }
}

fn mistyped() -> Error {
    Error::new(ErrorKind::InvalidArgument, "a value or an operation of another type than the state's")
}

/// Registers a state.
pub(super) fn register<B: StateBackend<Key: Kept>>(
    backend: &mut B,
    name: &str,
    declared: &Declared,
) -> Result<Box<dyn State<B>>> {
    match declared.namespace {
        None => register_in::<B, ()>(backend, name, declared),
        Some(_) => register_in::<B, Datum>(backend, name, declared),
    }
}

/// Registers a state with or without a time to live.
macro_rules! registered {
    ($backend:ident, $ttl:ident, $descriptor:expr) => {
        match $ttl {
            Some(ttl) => registered($backend, $descriptor.ttl(ttl))?,
            None => registered($backend, $descriptor)?,
        }
    };
}

fn register_in<B: StateBackend<Key: Kept>, N: Namespace>(
    backend: &mut B,
    name: &str,
    declared: &Declared,
) -> Result<Box<dyn State<B>>> {
    let ttl = declared.ttl.map(Expires::ttl).transpose()?;
    Ok(match &declared.kind {
        Kind::Value(Type::Long, default) => value::<B, i64, N>(backend, name, default.as_ref(), ttl)?,
        Kind::Value(_, default) => value::<B, Datum, N>(backend, name, default.as_ref(), ttl)?,
        Kind::List(Type::Long) => {
            registered!(backend, ttl, ListDescriptor::<i64>::new(name).namespaced::<N>())
        }
        Kind::List(_) => registered!(backend, ttl, ListDescriptor::<Datum>::new(name).namespaced::<N>()),
        Kind::Map(..) => {
            registered!(backend, ttl, MapDescriptor::<Datum, Option<Datum>>::new(name).namespaced::<N>())
        }
        Kind::Reduce(_, reducer) => {
            let reducer = *reducer;
            let reduce = move |a: &Datum, b: &Datum| reducer.reduce(a, b);
            let descriptor = ReducingDescriptor::<Datum>::with_codec(name, reduce, default_codec());
            registered!(backend, ttl, descriptor.namespaced::<N>())
        }
        Kind::Timers => {
            let token = backend.register(TimerDescriptor::event_time(name).namespaced::<N>())?;
            Box::new(NamedTimers(token))
        }
        Kind::Aggregate(aggregator) => {
            registered!(backend, ttl, AggregatingDescriptor::new(name, *aggregator).namespaced::<N>())
        }
    })
}

fn value<B: StateBackend, V: Kept, N: Namespace>(
    backend: &mut B,
    name: &str,
    default: Option<&Datum>,
    ttl: Option<Ttl>,
) -> Result<Box<dyn State<B>>> {
    let mut descriptor = ValueDescriptor::<V>::new(name);
    if let Some(default) = default {
        descriptor = descriptor.default_value(V::of(default).ok_or_else(mistyped)?);
    }
    Ok(registered!(backend, ttl, descriptor.namespaced::<N>()))
}

fn registered<B: StateBackend, D: StateDescriptor>(
    backend: &mut B,
    descriptor: D,
) -> Result<Box<dyn State<B>>>
where
    Named<D::Token>: State<B> + 'static,
{
    Ok(Box::new(Named(backend.register(descriptor)?)))
}

struct Named<T>(T);

struct NamedTimers<N>(TimerToken<N>);

impl<B: StateBackend<Key: Kept>, N: Namespace> State<B> for NamedTimers<N> {
    fn access(&self, backend: &mut B, key: &B::Key, namespace: Option<&Datum>, op: Op) -> Result<Answer> {
        let (namespace, subtask) = (N::of(namespace)?, backend.subtask().clone());
        let key = subtask.key(key)?;
        let mut view = backend.timers(self.0)?;
        match op {
            Op::AddTimer(time) => view.add(key, &namespace, time)?,
            Op::RemoveTimer(time) => view.remove(key, &namespace, time)?,
            _ => return Err(mistyped()),
        };
        Ok(Answer::Done)
    }

    fn keys(&self, backend: &mut B, namespace: Option<&Datum>) -> Result<Vec<B::Key>> {
        backend.keys(self.0, &N::of(namespace)?)?.collect()
    }

    fn pairs(&self, backend: &mut B) -> Result<Vec<(B::Key, Option<Datum>)>> {
        let pairs = backend.keys_and_namespaces(self.0)?;
        pairs.map(|pair| pair.map(|(key, namespace)| (key, namespace.datum()))).collect()
    }

    fn clear_every_key(&self, _: &mut B, _: Option<&Datum>) -> Result<()> {
        Err(mistyped())
    }

    fn timers(&self, backend: &mut B) -> Result<Vec<Timed>> {
        backend.timers(self.0)?.iter()?.map(|timer| timer.map(timed)).collect()
    }

    fn fire(&self, backend: &mut B, to: i64) -> Result<Vec<Timed>> {
        backend.timers(self.0)?.advance(to).map(|timer| timer.map(timed)).collect()
    }
}

fn timed<K: Kept, N: Namespace>(Timer { at, key, namespace }: Timer<K, N>) -> Timed {
    (at, key.datum(), namespace.datum())
}

/// The operations on the view of a token.
trait Does<B: StateBackend>: Opens<B> {
    fn does(view: Self::View<'_>, op: Op) -> Result<Answer>;
}

impl<B: StateBackend, T: Does<B>> State<B> for Named<T>
where
    T::Namespace: Namespace,
{
    fn access(&self, backend: &mut B, key: &B::Key, namespace: Option<&Datum>, op: Op) -> Result<Answer> {
        let namespace = T::Namespace::of(namespace)?;
        let key = backend.subtask().key(key)?;
        T::does(self.0.open(backend, key, &namespace)?, op)
    }

    fn keys(&self, backend: &mut B, namespace: Option<&Datum>) -> Result<Vec<B::Key>> {
        backend.keys(self.0, &T::Namespace::of(namespace)?)?.collect()
    }

    fn pairs(&self, backend: &mut B) -> Result<Vec<(B::Key, Option<Datum>)>> {
        let pairs = backend.keys_and_namespaces(self.0)?;
        pairs.map(|pair| pair.map(|(key, namespace)| (key, namespace.datum()))).collect()
    }

    fn clear_every_key(&self, backend: &mut B, namespace: Option<&Datum>) -> Result<()> {
        let namespace = T::Namespace::of(namespace)?;
        backend.for_each_key(self.0, &namespace, |backend, key| {
            T::does(self.0.open(backend, key, &namespace)?, Op::Clear).map(|_| ())
        })
    }
}

fn kept<V: Kept>(datum: &Datum) -> Result<V> {
    V::of(datum).ok_or_else(mistyped)
}

fn all_kept<V: Kept>(data: &[Datum]) -> Result<Vec<V>> {
    data.iter().map(kept).collect()
}

fn sources<N: Namespace>(sources: &[Datum]) -> Result<Vec<N>> {
    sources.iter().map(|source| N::of(Some(source))).collect()
}

impl<B: StateBackend, V: Kept, N: Namespace> Does<B> for ValueToken<V, N> {
    fn does(mut view: Self::View<'_>, op: Op) -> Result<Answer> {
        match op {
            Op::Get => return Ok(Answer::Value(view.with(|value| value.map(Kept::datum))?)),
            Op::Set(datum) => view.set(kept(&datum)?)?,
            Op::Clear => view.clear()?,
            _ => return Err(mistyped()),
        }
        Ok(Answer::Done)
    }
}

impl<B: StateBackend, T: Kept, N: Namespace> Does<B> for ListToken<T, N> {
    fn does(mut view: Self::View<'_>, op: Op) -> Result<Answer> {
        match op {
            Op::Get => {
                let elements = view.iter()?.map(|element| Ok(element?.datum()));
                return Ok(Answer::List(elements.collect::<Result<_>>()?));
            }
            Op::Add(datum) => view.add(kept(&datum)?)?,
            Op::AddAll(data) => view.add_all(all_kept::<T>(&data)?)?,
            Op::SetAll(data) => view.set(all_kept::<T>(&data)?)?,
            Op::Merge(from) => view.merge_from(&sources::<N>(&from)?)?,
            Op::Clear => view.clear()?,
            _ => return Err(mistyped()),
        }
        Ok(Answer::Done)
    }
}

/// The entries of a map's iterator.
fn entries<'a>(
    entries: impl Iterator<Item = Result<(Cow<'a, Datum>, Cow<'a, Option<Datum>>)>>,
) -> Result<Vec<(Datum, Option<Datum>)>> {
    entries.map(|entry| entry.map(|(key, value)| (key.into_owned(), value.into_owned()))).collect()
}

impl<B: StateBackend, N: Namespace> Does<B> for MapToken<Datum, Option<Datum>, N> {
    fn does(mut view: Self::View<'_>, op: Op) -> Result<Answer> {
        match op {
            Op::Get => return Ok(Answer::Map(entries(view.iter()?)?)),
            Op::GetEntry(key) => return Ok(Answer::Value(view.get(&key)?.flatten())),
            Op::Contains(key) => return Ok(Answer::Flag(view.contains(&key)?)),
            Op::IsEmpty => return Ok(Answer::Flag(view.is_empty()?)),
            Op::Keys => {
                let keys = view.keys()?.map(|key| key.map(Cow::into_owned));
                return Ok(Answer::Keys(keys.collect::<Result<_>>()?));
            }
            Op::Values => {
                let values = view.values()?.map(|value| value.map(Cow::into_owned));
                return Ok(Answer::Values(values.collect::<Result<_>>()?));
            }
            Op::Range(from, to) => return Ok(Answer::Sorted(entries(view.range(from..to)?)?)),
            Op::Put(key, value) => view.put(key, value)?,
            Op::PutAll(all) => view.put_all(all)?,
            Op::Remove(key) => view.remove(&key)?,
            Op::Clear => view.clear()?,
            _ => return Err(mistyped()),
        }
        Ok(Answer::Done)
    }
}

impl<B: StateBackend, N: Namespace> Does<B> for ReducingToken<Datum, N> {
    fn does(mut view: Self::View<'_>, op: Op) -> Result<Answer> {
        match op {
            Op::Get => return Ok(Answer::Value(view.get()?)),
            Op::Add(datum) => view.add(datum)?,
            Op::Merge(from) => view.merge_from(&sources::<N>(&from)?)?,
            Op::Clear => view.clear()?,
            _ => return Err(mistyped()),
        }
        Ok(Answer::Done)
    }
}

impl<B: StateBackend, N: Namespace> Does<B> for AggregatingToken<Aggregator, N> {
    fn does(mut view: Self::View<'_>, op: Op) -> Result<Answer> {
        match op {
            Op::Get => return Ok(Answer::Value(view.get()?)),
            Op::Add(datum) => view.add(kept(&datum)?)?,
            Op::Merge(from) => view.merge_from(&sources::<N>(&from)?)?,
            Op::Clear => view.clear()?,
            _ => return Err(mistyped()),
        }
        Ok(Answer::Done)
    }
}
