//! Descriptions of states, at the beginning of a stream.

use std::collections::BTreeMap;

use backend_api::{Error, Result, TimeDomain};

use crate::input::{Input, corrupt, unsupported};
use crate::snapshot;
use crate::types::{Opaque, Type};

/// Version of the header that canonical savepoints have.
const HEADER_VERSION: i32 = 6;

/// What a keyed state holds under a key and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateKind {
    /// One value.
    Value,
    /// A list.
    List,
    /// A map.
    Map,
    /// One value, the reduction of what was added.
    Reducing,
    /// One accumulator.
    Aggregating,
    /// Timers.
    Timer,
    /// What this crate does not know, such as state of Flink's asynchronous API.
    Unknown,
}

impl std::fmt::Display for StateKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::Timer => "timer",
            Self::Unknown => "unknown",
        })
    }
}

/// A keyed state, as the savepoint describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Type of its namespaces, [`Type::Void`] for most.
    pub namespace: Type,
    /// Type of the keys of a map.
    pub map_key: Option<Type>,
    /// Type of its values, accumulators, elements or values of entries. [`Type::Void`] for timers.
    pub value: Type,
    /// True if each value has the time of its last access.
    pub has_ttl: bool,
}

impl StateInfo {
    /// What the timers fire by. `None` for other states, and for a name that Flink does not give to timers.
    pub fn time_domain(&self) -> Option<TimeDomain> {
        match self.name.strip_prefix("_timer_state/")?.split_once('_')?.0 {
            "event" => Some(TimeDomain::Event),
            "processing" => Some(TimeDomain::Processing),
            _ => None,
        }
    }

    /// The name of a timer service, without what Flink puts before it.
    pub fn timer_service(&self) -> Option<&str> {
        self.name.strip_prefix("_timer_state/")?.split_once('_').map(|(_, service)| service)
    }

    /// The first part of its types that only Java reads.
    pub fn opaque(&self) -> Option<&Opaque> {
        let map_key = self.map_key.as_ref().and_then(Type::opaque);
        self.namespace.opaque().or(map_key).or_else(|| self.value.opaque())
    }
}

/// Whether key groups are compressed, the type of the keys, and the states.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(bool, Type, Vec<StateInfo>)> {
    let version = input.i32()?;
    if version != HEADER_VERSION {
        return Err(unsupported(format!(
            "keyed state has a header of version {version}, {HEADER_VERSION} can be read"
        )));
    }
    let is_compressed = input.boolean()?;
    let key = snapshot::read(input)?;
    let number = input.u16()?;
    let states = (0..number).map(|_| state(input)).collect::<Result<_>>()?;
    if input.left() > 0 {
        return Err(corrupt("bytes are left over after the descriptions of the states"));
    }
    Ok((is_compressed, key, states))
}

/// The description of a state: its name, kind, options and serializers.
pub(crate) struct StateMeta {
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) serializers: BTreeMap<String, Type>,
}

impl StateMeta {
    pub(crate) fn read(input: &mut Input<'_>) -> Result<Self> {
        let name = input.utf()?;
        let rest = |input: &mut Input<'_>| {
            let kind = input.i32()?;
            let mut options = BTreeMap::new();
            for _ in 0..input.len(4)? {
                options.insert(input.utf()?, input.utf()?);
            }
            let mut serializers = BTreeMap::new();
            for _ in 0..input.len(8)? {
                serializers.insert(input.utf()?, snapshot::read(input)?);
            }
            Ok(Self { name: name.clone(), kind, options, serializers })
        };
        rest(input).map_err(|error: Error| error.in_state(&name))
    }

    pub(crate) fn serializer(&mut self, name: &str) -> Result<Type> {
        let found = self.serializers.remove(name);
        found.ok_or_else(|| corrupt(format!("the state has no {name}")).in_state(&self.name))
    }
}

fn state(input: &mut Input<'_>) -> Result<StateInfo> {
    let mut meta = StateMeta::read(input)?;
    let kind = match (meta.kind, meta.options.get("KEYED_STATE_TYPE").map(String::as_str)) {
        (3, _) => StateKind::Timer,
        (0, Some("VALUE")) => StateKind::Value,
        (0, Some("LIST")) => StateKind::List,
        (0, Some("MAP")) => StateKind::Map,
        (0, Some("REDUCING")) => StateKind::Reducing,
        (0, Some("AGGREGATING")) => StateKind::Aggregating,
        (0 | 4, _) => StateKind::Unknown,
        (other, _) => {
            return Err(corrupt(format!("a keyed state is of kind {other}")).in_state(&meta.name));
        }
    };
    let value = meta.serializer("VALUE_SERIALIZER")?;
    let mut info = StateInfo {
        kind,
        namespace: Type::Void,
        map_key: None,
        value: Type::Void,
        has_ttl: false,
        name: meta.name.clone(),
    };
    if kind != StateKind::Timer {
        info.namespace = meta.serializer("NAMESPACE_SERIALIZER")?;
    }
    let value = match (kind, value) {
        (StateKind::Map, Type::Map(of)) => {
            info.map_key = Some(of.0);
            of.1
        }
        (StateKind::List, Type::List(of)) => *of,
        (StateKind::Timer, Type::Timer(of)) => {
            info.namespace = of.1;
            Type::Void
        }
        (StateKind::Map | StateKind::List | StateKind::Timer, of) if of.opaque().is_none() => {
            let message = format!("a {kind} state has values of the type {of}");
            return Err(corrupt(message).in_state(&meta.name));
        }
        (_, of) => of,
    };
    info.value = match value {
        Type::Ttl(of) => {
            info.has_ttl = true;
            *of
        }
        of => of,
    };
    Ok(info)
}
