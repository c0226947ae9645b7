//! The model: ordered maps, cloned at every snapshot.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{Aggregate, Error, ErrorKind, JavaHash, Result, flink_group, subtask_of_group};

use crate::script::{Aggregator, Answer, Datum, Declared, Kind, Machine, Op, Reducer, Timed};

/// The content of a state at one key and namespace. Never empty.
#[derive(Clone, Debug)]
enum Content {
    Value(Datum),
    List(Vec<Datum>),
    Map(BTreeMap<Datum, Option<Datum>>),
    Folded(Datum),
    Accumulated((i64, i64)),
    Timers(BTreeSet<i64>),
}

type Place = (Datum, Option<Datum>);
type State = BTreeMap<Place, Content>;
type States = BTreeMap<String, State>;

/// The plain model of a parallel operator.
#[derive(Debug)]
pub struct Model {
    max_parallelism: u16,
    parallelism: u16,
    declared: BTreeMap<String, Declared>,
    states: States,
    running: BTreeMap<String, States>,
    snapshots: BTreeMap<String, States>,
}

impl Model {
    /// An operator with this many key groups.
    pub fn new(max_parallelism: u16) -> Self {
        let (declared, states) = Default::default();
        let (running, snapshots) = Default::default();
        Self { max_parallelism, parallelism: 1, declared, states, running, snapshots }
    }

    fn merge(&mut self, name: &str, key: &Datum, target: Option<&Datum>, sources: &[Datum]) -> Result<()> {
        let declared = self.declared[name].clone();
        let state = self.states.entry(name.to_owned()).or_default();
        let mut merged: Option<Content> = None;
        for source in sources.iter().filter(|source| Some(*source) != target) {
            if let Some(content) = state.remove(&(key.clone(), Some(source.clone()))) {
                merged = Some(match merged {
                    None => content,
                    Some(before) => join(&declared.kind, before, content)?,
                });
            }
        }
        if let Some(merged) = merged {
            let place = (key.clone(), target.cloned());
            let all = match state.remove(&place) {
                None => merged,
                Some(before) => join(&declared.kind, before, merged)?,
            };
            state.insert(place, all);
        }
        Ok(())
    }
}

/// The merge of two contents of one state.
fn join(kind: &Kind, a: Content, b: Content) -> Result<Content> {
    Ok(match (kind, a, b) {
        (Kind::List(_), Content::List(a), Content::List(b)) => Content::List([a, b].concat()),
        (Kind::Reduce(_, reducer), Content::Folded(a), Content::Folded(b)) => {
            Content::Folded(reduce(*reducer, &a, &b)?)
        }
        (Kind::Aggregate(_), Content::Accumulated(a), Content::Accumulated(b)) => {
            Content::Accumulated((a.0.wrapping_add(b.0), a.1 + b.1))
        }
        _ => return Err(mistyped()),
    })
}

fn reduce(reducer: Reducer, a: &Datum, b: &Datum) -> Result<Datum> {
    reducer.reduce(a, b).map_err(|_| mistyped())
}

fn mistyped() -> Error {
    Error::new(ErrorKind::InvalidArgument, "a value or an operation of another type than the state's")
}

/// The result of a read.
fn read(kind: &Kind, content: Option<&Content>, op: &Op) -> Result<Answer> {
    Ok(match (kind, content, op) {
        (Kind::Value(_, default), None, Op::Get) => Answer::Value(default.clone()),
        (Kind::Value(..), Some(Content::Value(value)), Op::Get) => Answer::Value(Some(value.clone())),
        (Kind::List(_), None, Op::Get) => Answer::List(Vec::new()),
        (Kind::List(_), Some(Content::List(list)), Op::Get) => Answer::List(list.clone()),
        (Kind::Reduce(..) | Kind::Aggregate(_), None, Op::Get) => Answer::Value(None),
        (Kind::Reduce(..), Some(Content::Folded(value)), Op::Get) => Answer::Value(Some(value.clone())),
        (Kind::Aggregate(Aggregator::Count), Some(Content::Accumulated((_, count))), Op::Get) => {
            Answer::Value(Some(Datum::Long(*count)))
        }
        (Kind::Aggregate(Aggregator::Average), Some(Content::Accumulated((sum, count))), Op::Get) => {
            Answer::Value(Some(Datum::double(*sum as f64 / *count as f64)))
        }
        (Kind::Map(..), None, _) => read_map(&BTreeMap::new(), op)?,
        (Kind::Map(..), Some(Content::Map(map)), _) => read_map(map, op)?,
        _ => return Err(mistyped()),
    })
}

fn read_map(map: &BTreeMap<Datum, Option<Datum>>, op: &Op) -> Result<Answer> {
    let entry = |(key, value): (&Datum, &Option<Datum>)| (key.clone(), value.clone());
    Ok(match op {
        Op::Get => Answer::Map(map.iter().map(entry).collect()),
        Op::GetEntry(key) => Answer::Value(map.get(key).cloned().flatten()),
        Op::Contains(key) => Answer::Flag(map.contains_key(key)),
        Op::IsEmpty => Answer::Flag(map.is_empty()),
        Op::Keys => Answer::Keys(map.keys().cloned().collect()),
        Op::Values => Answer::Values(map.values().cloned().collect()),
        Op::Range(from, to) if from < to => Answer::Sorted(map.range(from..to).map(entry).collect()),
        Op::Range(..) => Answer::Sorted(Vec::new()),
        _ => return Err(mistyped()),
    })
}

/// The content after a write, or `None` if it is empty.
fn written(kind: &Kind, before: Option<Content>, op: Op) -> Result<Option<Content>> {
    Ok(match (kind, before, op) {
        (_, _, Op::Clear) => None,
        (Kind::Value(..), _, Op::Set(value)) => Some(Content::Value(value)),
        (Kind::List(_), before, Op::Add(element)) => added(before, vec![element]),
        (Kind::List(_), before, Op::AddAll(elements)) => added(before, elements),
        (Kind::List(_), _, Op::SetAll(elements)) => added(None, elements),
        (Kind::Reduce(..), None, Op::Add(value)) => Some(Content::Folded(value)),
        (Kind::Reduce(_, reducer), Some(Content::Folded(before)), Op::Add(value)) => {
            Some(Content::Folded(reduce(*reducer, &before, &value)?))
        }
        (Kind::Aggregate(aggregator), before, Op::Add(Datum::Long(value))) => {
            let mut accumulator = match before {
                Some(Content::Accumulated(accumulator)) => accumulator,
                _ => aggregator.create(),
            };
            aggregator.add(&mut accumulator, value).map_err(|_| mistyped())?;
            Some(Content::Accumulated(accumulator))
        }
        (Kind::Timers, before, op) => {
            let mut times = match before {
                Some(Content::Timers(times)) => times,
                _ => BTreeSet::new(),
            };
            match op {
                Op::AddTimer(time) => _ = times.insert(time),
                Op::RemoveTimer(time) => _ = times.remove(&time),
                _ => return Err(mistyped()),
            }
            (!times.is_empty()).then_some(Content::Timers(times))
        }
        (Kind::Map(..), before, op) => {
            let mut map = match before {
                Some(Content::Map(map)) => map,
                _ => BTreeMap::new(),
            };
            match op {
                Op::Put(key, value) => map.extend([(key, value)]),
                Op::PutAll(entries) => map.extend(entries),
                Op::Remove(key) => {
                    map.remove(&key);
                }
                _ => return Err(mistyped()),
            }
            (!map.is_empty()).then_some(Content::Map(map))
        }
        _ => return Err(mistyped()),
    })
}

fn added(before: Option<Content>, elements: Vec<Datum>) -> Option<Content> {
    let mut list = match before {
        Some(Content::List(list)) => list,
        _ => Vec::new(),
    };
    list.extend(elements);
    (!list.is_empty()).then_some(Content::List(list))
}

impl Op {
    fn reads(&self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::GetEntry(_)
                | Self::Contains(_)
                | Self::IsEmpty
                | Self::Keys
                | Self::Values
                | Self::Range(..)
        )
    }
}

impl Machine for Model {
    fn start(&mut self, parallelism: u16, from: Option<&str>) -> Result<()> {
        self.running.clear();
        self.parallelism = parallelism;
        self.states = from.map(|snapshot| self.snapshots[snapshot].clone()).unwrap_or_default();
        Ok(())
    }

    /// The model has no times to live.
    fn advance_to(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn declare(&mut self, state: &str, declared: Declared) {
        self.declared.insert(state.to_owned(), declared);
    }

    fn place(&self, key: &Datum) -> Result<(u16, u16)> {
        let hash = match key {
            Datum::Long(number) => number.java_hash(),
            Datum::Int(number) => number.java_hash(),
            Datum::Text(text) => text.java_hash(),
            Datum::Double(_) | Datum::Bool(_) => return Err(mistyped()),
        };
        let group = flink_group(hash, self.max_parallelism);
        Ok((group, subtask_of_group(self.max_parallelism, self.parallelism, group)?))
    }

    fn access(&mut self, state: &str, key: &Datum, namespace: Option<&Datum>, op: Op) -> Result<Answer> {
        if let Op::Merge(sources) = &op {
            self.merge(state, key, namespace, sources)?;
            return Ok(Answer::Done);
        }
        let Declared { kind, ttl, .. } = &self.declared[state];
        if ttl.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "the model has no times to live"));
        }
        let content = self.states.entry(state.to_owned()).or_default();
        let place = (key.clone(), namespace.cloned());
        if op.reads() {
            return read(kind, content.get(&place), &op);
        }
        if let Some(after) = written(kind, content.remove(&place), op)? {
            content.insert(place, after);
        }
        Ok(Answer::Done)
    }

    fn keys(&mut self, state: &str, namespace: Option<&Datum>) -> Result<Vec<Datum>> {
        let places = self.pairs(state)?.into_iter();
        Ok(places.filter(|(_, of)| of.as_ref() == namespace).map(|(key, _)| key).collect())
    }

    fn pairs(&mut self, state: &str) -> Result<Vec<Place>> {
        Ok(self.states.get(state).map(|state| state.keys().cloned().collect()).unwrap_or_default())
    }

    fn clear_every_key(&mut self, state: &str, namespace: Option<&Datum>) -> Result<()> {
        if let Some(state) = self.states.get_mut(state) {
            state.retain(|(_, of), _| of.as_ref() != namespace);
        }
        Ok(())
    }

    fn timers(&mut self, state: &str) -> Result<Vec<Timed>> {
        let mut timers = Vec::new();
        for ((key, namespace), content) in self.states.get(state).into_iter().flatten() {
            let Content::Timers(times) = content else { return Err(mistyped()) };
            timers.extend(times.iter().map(|time| (*time, key.clone(), namespace.clone())));
        }
        Ok(timers)
    }

    fn fire(&mut self, state: &str, to: i64) -> Result<Vec<Timed>> {
        let mut due = self.timers(state)?;
        due.retain(|(time, ..)| *time <= to);
        for (time, key, namespace) in &due {
            self.access(state, key, namespace.as_ref(), Op::RemoveTimer(*time))?;
        }
        Ok(due)
    }

    fn begin(&mut self, snapshot: &str, _: u64) -> Result<()> {
        self.running.insert(snapshot.to_owned(), self.states.clone());
        Ok(())
    }

    fn end(&mut self, snapshot: &str) -> Result<()> {
        let states = self.running.remove(snapshot).unwrap_or_default();
        self.snapshots.insert(snapshot.to_owned(), states);
        Ok(())
    }

    fn cancel(&mut self, snapshot: &str) {
        self.running.remove(snapshot);
    }

    fn complete(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn aborted(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}
