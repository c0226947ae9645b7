//! Reads what `inspect` shows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use backend_api::format::StateMeta;
use backend_api::{ErrorKind, Redistribution};

use super::{KeyedReport, LargeKey, OperatorReport, OperatorStateReport, Report, Size, StateReport};
use crate::failure::Result;
use crate::history::Past;
use crate::numbers::ratio;
use crate::progress;
use crate::rows::{Item, Keyed, Place};
use crate::source::{Operator, Source};
use crate::types::{Types, describe, type_of};

/// Number of the largest keys that are shown.
const LARGEST: usize = 5;

/// Reads all of a checkpoint.
pub fn collect(source: &Source) -> Result<Report> {
    let size = Past::of(&source.checkpoint);
    Ok(Report {
        path: source.metadata.display().to_string(),
        checkpoint: source.checkpoint.id,
        bytes: size.bytes,
        delta_bytes: size.delta_bytes,
        inline_bytes: size.inline_bytes,
        files: size.files,
        operators: source
            .operators()
            .iter()
            .map(|operator| of_operator(source, operator))
            .collect::<Result<_>>()?,
    })
}

fn of_operator(source: &Source, operator: &Operator<'_>) -> Result<OperatorReport> {
    let mut report = OperatorReport {
        id: operator.id.to_owned(),
        name: operator.name.map(str::to_owned),
        parallelism: operator.parallelism(),
        keyed: Keyed::open(source, operator)?.map(|keyed| of_keyed(&keyed)).transpose()?,
        operator_states: operator_states(operator),
        raw_keyed_bytes: 0,
        raw_operator_partitions: 0,
        raw_operator_bytes: 0,
    };
    for task in &operator.tasks {
        if let Some(raw) = &task.raw_keyed {
            report.raw_keyed_bytes += raw.file.data.length();
        }
        if let Some(raw) = &task.raw_operator {
            report.raw_operator_partitions += u64::from(raw.partitions);
            report.raw_operator_bytes += raw.file.data.length();
        }
    }
    Ok(report)
}

/// The operator states, with the elements of all subtasks. Of a broadcast map each subtask has a copy, and one counts.
fn operator_states(operator: &Operator<'_>) -> Vec<OperatorStateReport> {
    let mut states: Vec<OperatorStateReport> = Vec::new();
    let handles = operator.tasks.iter().filter_map(|task| task.operator_state.as_ref());
    for state in handles.flat_map(|handle| &handle.states) {
        match states.iter_mut().find(|known| known.name == state.name) {
            Some(known) if state.redistribution == Redistribution::Broadcast => {
                known.elements = known.elements.max(state.elements);
            }
            Some(known) => known.elements = known.elements.saturating_add(state.elements),
            None => states.push(OperatorStateReport {
                name: state.name.clone(),
                redistribution: match state.redistribution {
                    Redistribution::EvenSplit => "even-split list",
                    Redistribution::Union => "union list",
                    Redistribution::Broadcast => "broadcast map",
                }
                .to_owned(),
                value_type: state.codecs.iter().map(|codec| type_of(codec)).collect::<Vec<_>>().join(", "),
                elements: state.elements,
            }),
        }
    }
    states
}

fn of_keyed(keyed: &Keyed) -> Result<KeyedReport> {
    Ok(KeyedReport {
        format: keyed.format.clone(),
        max_parallelism: keyed.max_parallelism,
        key_type: keyed.key_schema.clone(),
        key_group_mapping: keyed.mapping.clone(),
        states: keyed.states().map(|meta| of_state(keyed, meta)).collect::<Result<_>>()?,
    })
}

fn of_state(keyed: &Keyed, meta: &StateMeta) -> Result<StateReport> {
    let mut report = StateReport {
        name: meta.name.clone(),
        kind: meta.kind.to_string(),
        value_type: describe(meta),
        codecs: meta.codecs.clone(),
        namespace_type: meta.namespace_schema.clone(),
        rows: 0,
        bytes: 0,
        bytes_per_row: 0.0,
        skew: 0.0,
        key_groups: Vec::new(),
        largest_keys: Vec::new(),
        unread: None,
    };
    match keyed.types(meta) {
        Ok(types) => scan(keyed, meta, &types, &mut report)?,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            report.unread = Some(error.message().to_owned());
            let sizes = (0..keyed.max_parallelism).map(|group| keyed.stored(meta, group));
            report.key_groups = sizes.map(|(rows, bytes)| Size { rows, bytes }).collect();
        }
        Err(error) => return Err(error.into()),
    }
    report.rows = report.key_groups.iter().map(|size| size.rows).sum();
    report.bytes = report.key_groups.iter().map(|size| size.bytes).sum();
    report.bytes_per_row = ratio(report.bytes, report.rows);
    let largest = report.key_groups.iter().map(|size| size.bytes).max().unwrap_or(0);
    report.skew = ratio(largest, report.bytes) * report.key_groups.len() as f64;
    Ok(report)
}

fn scan(keyed: &Keyed, meta: &StateMeta, types: &Types, report: &mut StateReport) -> Result<()> {
    let bar = progress::bar(keyed.stored_bytes(meta));
    let mut largest = Largest::default();
    for group in 0..keyed.max_parallelism {
        let (mut size, mut keys) = (Size::default(), Keys::new(types.are_by_key()));
        keyed.scan(meta, types, group, |item| {
            let bytes = bytes_of(&item);
            size.rows += 1;
            size.bytes += bytes;
            keys.add(item.key, bytes, &mut largest);
            Ok(())
        })?;
        keys.finish(&mut largest);
        report.key_groups.push(size);
        bar.inc(keyed.stored(meta, group).1);
    }
    bar.finish_and_clear();
    for Ranked { bytes, key: Reverse(key), rows } in largest.into_descending() {
        report.largest_keys.push(LargeKey { key: types.key.print(&key)?, rows, bytes });
    }
    Ok(())
}

/// Bytes of an item: key, namespace, key of an entry or time of a timer, value.
fn bytes_of(item: &Item<'_>) -> u64 {
    let entry = match item.place {
        Place::Entry(key) => key.len(),
        Place::Timer(at) => size_of_val(&at),
        Place::Single | Place::Element(_) => 0,
    };
    (item.key.len() + item.namespace.len() + entry + item.value.len()) as u64
}

/// The sizes of the keys of one key group. If the items of a key follow one another, only one key is remembered.
struct Keys {
    last: Option<(Vec<u8>, Size)>,
    all: Option<HashMap<Vec<u8>, Size>>,
}

impl Keys {
    fn new(are_by_key: bool) -> Self {
        Self { last: None, all: (!are_by_key).then(HashMap::new) }
    }

    fn add(&mut self, key: &[u8], bytes: u64, largest: &mut Largest) {
        let grow = |size: &mut Size| *size = Size { rows: size.rows + 1, bytes: size.bytes + bytes };
        if let Some(all) = &mut self.all {
            match all.get_mut(key) {
                Some(size) => grow(size),
                None => _ = all.insert(key.to_vec(), Size { rows: 1, bytes }),
            }
            return;
        }
        match &mut self.last {
            Some((last, size)) if last == key => grow(size),
            last => {
                if let Some((key, size)) = last.replace((key.to_vec(), Size { rows: 1, bytes })) {
                    largest.add(key, size);
                }
            }
        }
    }

    fn finish(self, largest: &mut Largest) {
        let all = self.all.into_iter().flatten().chain(self.last);
        all.for_each(|(key, size)| largest.add(key, size));
    }
}

/// The largest keys so far. The smallest of them is on top.
#[derive(Default)]
struct Largest(BinaryHeap<Reverse<Ranked>>);

/// A key by its size. Of two keys of one size the first counts as larger.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    bytes: u64,
    key: Reverse<Vec<u8>>,
    rows: u64,
}

impl Largest {
    fn add(&mut self, key: Vec<u8>, size: Size) {
        self.0.push(Reverse(Ranked { bytes: size.bytes, key: Reverse(key), rows: size.rows }));
        if self.0.len() > LARGEST {
            self.0.pop();
        }
    }

    fn into_descending(self) -> impl Iterator<Item = Ranked> {
        self.0.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked)
    }
}
