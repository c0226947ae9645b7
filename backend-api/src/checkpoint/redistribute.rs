//! Redistribution of operator state from old to new subtasks.

use std::collections::BTreeMap;
use std::fmt;

use super::{OperatorStateHandle, OperatorStateMeta, RawOperatorHandle, Redistribution};
use crate::{Error, ErrorKind, Result, StateFile};

impl fmt::Display for Redistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EvenSplit => "even-split",
            Self::Union => "union",
            Self::Broadcast => "broadcast",
        })
    }
}

/// A run of elements of one state in one old subtask's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStatePart {
    /// The description of the state in its handle.
    pub meta: OperatorStateMeta,
    /// Index of the state in the file.
    pub state: u16,
    /// Number of elements before the run.
    pub skip: u64,
    /// Length of the run.
    pub take: u64,
    /// The file.
    pub file: StateFile,
}

/// A run of partitions of the raw operator state of one old subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPartitions {
    /// Number of partitions before the run.
    pub skip: u64,
    /// Length of the run.
    pub take: u64,
    /// The file.
    pub file: StateFile,
}

/// An old and a new parallelism, and one of the new subtasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescale {
    /// Number of subtasks that wrote the state.
    pub from: u16,
    /// Number of subtasks that restore it.
    pub to: u16,
    /// The subtask that restores its share, from 0.
    pub index: u16,
}

impl Rescale {
    fn check(self, reported: usize) -> Result<()> {
        let Self { from, to, index } = self;
        let message = if index >= to {
            format!("there is no subtask {index} of {to}")
        } else if reported != usize::from(from) {
            format!("{reported} subtasks have reported state, the parallelism was {from}")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// First element and number of elements of this subtask, if distribution starts at subtask `start`.
    fn share(self, elements: u64, start: u64) -> (u64, u64) {
        let to = u64::from(self.to);
        let (base, more) = (elements / to, elements % to);
        let turn = (u64::from(self.index) + to - start) % to;
        (turn * base + turn.min(more), base + u64::from(turn < more))
    }
}

/// The share of a new subtask in the operator state of `old`: one handle or none per old subtask, in their
/// order.
///
/// The rules are those of Flink's `RoundRobinOperatorStateRepartitioner`, with the states in the order of
/// their names. If a list does not split evenly, the subtasks that get one more element are counted from a
/// start that advances from state to state. A state without elements is an empty part, so that its name is
/// known.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a new parallelism of 0, an index out of range, or a
/// number of handles other than the old parallelism. [`IllegalState`](ErrorKind::IllegalState) if two
/// subtasks have a state of one name with different redistributions.
pub fn redistribute(
    old: &[Option<&OperatorStateHandle>],
    rescale: Rescale,
) -> Result<Vec<OperatorStatePart>> {
    rescale.check(old.len())?;
    let index = usize::from(rescale.index);
    let is_rescaled = rescale.from != rescale.to;
    let mut parts = Vec::new();
    let mut start = 0;
    for lists in by_name(old)?.values() {
        let Some(redistribution) = lists.first().map(|list| list.meta.redistribution) else { continue };
        let own = lists.iter().find(|list| list.subtask == index && !is_rescaled);
        match redistribution {
            Redistribution::EvenSplit if is_rescaled => {
                let lengths: Vec<u64> = lists.iter().map(|list| list.meta.elements).collect();
                let elements = sum(&lengths);
                let (first, count) = rescale.share(elements, start);
                start = (start + elements % u64::from(rescale.to)) % u64::from(rescale.to);
                let runs = runs(&lengths, first, count);
                let runs =
                    runs.iter().filter_map(|&(list, skip, take)| Some(lists.get(list)?.part(skip, take)));
                let before = parts.len();
                parts.extend(runs);
                if parts.len() == before {
                    parts.extend(lists.first().map(|list| list.part(0, 0)));
                }
            }
            Redistribution::EvenSplit => {
                parts.push(own.map_or_else(|| lists[0].part(0, 0), List::whole));
            }
            Redistribution::Union => parts.extend(lists.iter().map(List::whole)),
            Redistribution::Broadcast => {
                parts.push(own.unwrap_or(&lists[index % lists.len()]).whole());
            }
        }
    }
    Ok(parts)
}

/// The share of a new subtask in the partitions of raw operator state, which are redistributed like an
/// even-split list.
///
/// # Errors
/// Same as [`redistribute`], without the last.
pub fn redistribute_raw(old: &[Option<&RawOperatorHandle>], rescale: Rescale) -> Result<Vec<RawPartitions>> {
    rescale.check(old.len())?;
    let own = |index: u16| old.get(usize::from(index)).copied().flatten();
    if rescale.from == rescale.to {
        let whole = |handle: &RawOperatorHandle| RawPartitions {
            skip: 0,
            take: handle.partitions.into(),
            file: handle.file.clone(),
        };
        return Ok(own(rescale.index).map(whole).into_iter().collect());
    }
    let handles: Vec<_> = old.iter().flatten().collect();
    let lengths: Vec<u64> = handles.iter().map(|handle| handle.partitions.into()).collect();
    let (first, count) = rescale.share(sum(&lengths), 0);
    let part = |(handle, skip, take): (usize, u64, u64)| {
        let file = handles.get(handle)?.file.clone();
        Some(RawPartitions { skip, take, file })
    };
    Ok(runs(&lengths, first, count).into_iter().filter_map(part).collect())
}

fn sum(lengths: &[u64]) -> u64 {
    lengths.iter().fold(0, |sum, length| sum.saturating_add(*length))
}

/// One state of one old subtask.
struct List<'h> {
    subtask: usize,
    state: u16,
    meta: &'h OperatorStateMeta,
    file: &'h StateFile,
}

impl List<'_> {
    fn whole(&self) -> OperatorStatePart {
        self.part(0, self.meta.elements)
    }

    fn part(&self, skip: u64, take: u64) -> OperatorStatePart {
        OperatorStatePart { meta: self.meta.clone(), state: self.state, skip, take, file: self.file.clone() }
    }
}

fn by_name<'h>(old: &[Option<&'h OperatorStateHandle>]) -> Result<BTreeMap<&'h str, Vec<List<'h>>>> {
    let mut states: BTreeMap<&str, Vec<List<'_>>> = BTreeMap::new();
    for (subtask, handle) in old.iter().enumerate().filter_map(|(i, handle)| Some((i, (*handle)?))) {
        for (state, meta) in (0..).zip(&handle.states) {
            let lists = states.entry(&meta.name).or_default();
            if let Some(first) = lists.first().map(|list| list.meta.redistribution)
                && first != meta.redistribution
            {
                let message =
                    format!("one subtask has it as {first} state, another as {}", meta.redistribution);
                return Err(Error::new(ErrorKind::IllegalState, message).in_state(&meta.name));
            }
            lists.push(List { subtask, state, meta, file: &handle.file });
        }
    }
    Ok(states)
}

/// The positions of `count` elements from `first` on in concatenated lists of these lengths: (list, skip,
/// take).
fn runs(lengths: &[u64], first: u64, count: u64) -> Vec<(usize, u64, u64)> {
    let (mut skip, mut left) = (first, count);
    let mut runs = Vec::new();
    for (list, &length) in lengths.iter().enumerate() {
        if skip < length && left > 0 {
            let take = left.min(length - skip);
            runs.push((list, skip, take));
            left -= take;
        }
        skip = skip.saturating_sub(length);
    }
    runs
}
