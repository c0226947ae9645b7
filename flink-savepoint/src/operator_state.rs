//! Operator state: lists that are split or given to all subtasks, and broadcast maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::{Error, ErrorKind, Redistribution, Result};

use crate::header::StateMeta;
use crate::input::{Input, corrupt, unsupported};
use crate::metadata::{OperatorHandle, OperatorMeta};
use crate::stream::OpenStream;
use crate::types::{Opaque, Type};
use crate::value::{self, Value};

/// Largest version of the header.
const HEADER_VERSION: i32 = 6;

/// An operator state, as the savepoint describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStateInfo {
    /// Its name.
    pub name: String,
    /// How its elements are given to the subtasks of another parallelism.
    pub redistribution: Redistribution,
    /// Type of the keys of a broadcast map.
    pub map_key: Option<Type>,
    /// Type of the elements, or of the map's values.
    pub value: Type,
}

impl OperatorStateInfo {
    /// The first part of its types that only Java reads.
    pub fn opaque(&self) -> Option<&Opaque> {
        self.map_key.as_ref().and_then(Type::opaque).or_else(|| self.value.opaque())
    }
}

/// An element of a list, or an entry of a broadcast map.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorRow {
    /// The subtask that had it. Of a broadcast map each subtask has a copy.
    pub subtask: u32,
    /// The key of an entry.
    pub map_key: Option<Value>,
    /// The element or the entry's value.
    pub value: Value,
}

/// The operator state of all subtasks. Their streams are open.
#[derive(Debug)]
pub struct OperatorState {
    operator: String,
    states: BTreeMap<String, OperatorStateInfo>,
    parts: Vec<Arc<Part>>,
}

#[derive(Debug)]
struct Part {
    subtask: u32,
    stream: OpenStream,
    is_compressed: bool,
    states: BTreeMap<String, (OperatorStateInfo, Vec<u64>)>,
    /// Where elements begin, sorted.
    starts: Vec<u64>,
}

impl OperatorState {
    pub(crate) fn open(operator: &OperatorMeta, label: &str) -> Result<Option<Self>> {
        let mut all = Self { operator: label.to_owned(), states: BTreeMap::new(), parts: Vec::new() };
        for subtask in &operator.subtasks {
            let Some(handle) = &subtask.operator else { continue };
            let part = Part::open(handle, subtask.index)?;
            for (name, (info, _)) in &part.states {
                let known = all.states.entry(name.clone()).or_insert_with(|| info.clone());
                if known.redistribution != info.redistribution
                    || known.value.to_string() != info.value.to_string()
                {
                    let message =
                        format!("the subtasks of operator {label:?} have different types of a state");
                    return Err(part.stream.placed(corrupt(message), 0).in_state(name));
                }
            }
            all.parts.push(Arc::new(part));
        }
        Ok((!all.parts.is_empty()).then_some(all))
    }

    /// The states, by their names.
    pub fn states(&self) -> impl ExactSizeIterator<Item = &OperatorStateInfo> {
        self.states.values()
    }

    /// The state of that name.
    pub fn state(&self, name: &str) -> Option<&OperatorStateInfo> {
        self.states.get(name)
    }

    /// The elements or entries of a state, by subtask.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound). [`Unsupported`](ErrorKind::Unsupported) for types that only Java reads.
    pub fn rows(&self, state: &str) -> Result<OperatorRows> {
        let operator = &self.operator;
        let info = self.states.get(state).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("operator {operator:?} has no such operator state"))
                .in_state(state)
        })?;
        if let Some(opaque) = info.opaque() {
            let message = format!("operator {operator:?} has elements of {opaque}, which only Java reads");
            return Err(unsupported(message).in_state(state));
        }
        Ok(OperatorRows {
            parts: self.parts.clone(),
            state: state.to_owned(),
            at: (0, 0),
            entries: 0,
            bytes: None,
        })
    }
}

impl Part {
    fn open(handle: &OperatorHandle, subtask: u32) -> Result<Self> {
        let stream = handle.stream.open()?;
        let mut starts: Vec<_> =
            handle.states.iter().flat_map(|state| state.offsets.iter().copied()).collect();
        starts.sort_unstable();
        let header_len = starts.first().copied().unwrap_or(stream.len());
        if starts.last().is_some_and(|last| *last >= stream.len()) {
            return Err(stream.placed(corrupt("an element begins after the end of the stream"), 0));
        }
        let len = usize::try_from(header_len).map_err(|_| corrupt("the header is too long"))?;
        let (is_compressed, infos) = {
            let bytes = stream.read(0, len)?;
            let mut input = Input::new(&bytes);
            header(&mut input).map_err(|error| stream.placed(error, input.offset() as u64))?
        };
        let mut states = BTreeMap::new();
        for info in infos {
            let offsets = handle.states.iter().find(|state| state.name == info.name);
            let offsets = offsets.map(|state| state.offsets.clone()).unwrap_or_default();
            states.insert(info.name.clone(), (info, offsets));
        }
        Ok(Self { subtask, stream, is_compressed, states, starts })
    }

    /// The unpacked bytes of what begins at `start`.
    fn element(&self, start: u64) -> Result<Vec<u8>> {
        let next = self.starts.partition_point(|other| *other <= start);
        let end = self.starts.get(next).copied().unwrap_or(self.stream.len());
        match self.is_compressed {
            // All elements are one compressed stream, with only one beginning.
            true => self.stream.continued_window(start, end).read_to_end(),
            false => self.stream.window(start, end, false).read_to_end(),
        }
    }
}

fn header(input: &mut Input<'_>) -> Result<(bool, Vec<OperatorStateInfo>)> {
    let version = input.i32()?;
    if version != HEADER_VERSION {
        return Err(unsupported(format!(
            "operator state has a header of version {version}, {HEADER_VERSION} can be read"
        )));
    }
    let is_compressed = input.boolean()?;
    let mut states = Vec::new();
    for is_broadcast in [false, true] {
        for _ in 0..input.u16()? {
            states.push(state(input, is_broadcast)?);
        }
    }
    Ok((is_compressed, states))
}

fn state(input: &mut Input<'_>, is_broadcast: bool) -> Result<OperatorStateInfo> {
    let mut meta = StateMeta::read(input)?;
    let redistribution = match meta.options.get("OPERATOR_STATE_DISTRIBUTION_MODE").map(String::as_str) {
        Some("SPLIT_DISTRIBUTE") if !is_broadcast => Redistribution::EvenSplit,
        Some("UNION") if !is_broadcast => Redistribution::Union,
        Some("BROADCAST") => Redistribution::Broadcast,
        other => {
            let message = format!("operator state has the distribution mode {other:?}");
            return Err(corrupt(message).in_state(&meta.name));
        }
    };
    let map_key = if is_broadcast { Some(meta.serializer("KEY_SERIALIZER")?) } else { None };
    let value = meta.serializer("VALUE_SERIALIZER")?;
    Ok(OperatorStateInfo { name: meta.name, redistribution, map_key, value })
}

/// The elements or entries of a state. See [`OperatorState::rows`].
#[derive(Debug)]
pub struct OperatorRows {
    parts: Vec<Arc<Part>>,
    state: String,
    /// The part, and the next of its offsets.
    at: (usize, usize),
    /// Entries left of a broadcast map.
    entries: usize,
    /// The unpacked bytes of a broadcast map, and those taken so far.
    bytes: Option<(Vec<u8>, usize)>,
}

impl OperatorRows {
    fn read(&mut self) -> Result<Option<OperatorRow>> {
        loop {
            let Some(part) = self.parts.get(self.at.0) else { return Ok(None) };
            let Some((info, offsets)) = part.states.get(&self.state) else {
                self.at = (self.at.0 + 1, 0);
                continue;
            };
            let placed = |error: Error, start: u64| part.stream.placed(error, start).in_state(&self.state);
            let start = match (self.bytes.take(), offsets.get(self.at.1)) {
                (Some((bytes, taken)), Some(&start)) => {
                    let mut input = Input::new(&bytes[taken..]);
                    let row = entry(info, part.subtask, &mut input).map_err(|error| placed(error, start))?;
                    let taken = taken + input.offset();
                    self.entries -= 1;
                    if self.entries > 0 {
                        self.bytes = Some((bytes, taken));
                    } else if taken < bytes.len() {
                        return Err(placed(corrupt("bytes are left over after a broadcast map"), start));
                    } else {
                        self.at.1 += 1;
                    }
                    return Ok(Some(row));
                }
                (None, Some(&start)) => start,
                (_, None) => {
                    self.at = (self.at.0 + 1, 0);
                    continue;
                }
            };
            let bytes = part.element(start)?;
            let mut input = Input::new(&bytes);
            if info.map_key.is_some() {
                self.entries = input.len(1).map_err(|error| placed(error, start))?;
                let taken = input.offset();
                match self.entries {
                    0 => self.at.1 += 1,
                    _ => self.bytes = Some((bytes, taken)),
                }
                continue;
            }
            let value = value::read(&info.value, &mut input).map_err(|error| placed(error, start))?;
            if input.left() > 0 {
                return Err(placed(corrupt("bytes are left over after an element"), start));
            }
            self.at.1 += 1;
            return Ok(Some(OperatorRow { subtask: part.subtask, map_key: None, value }));
        }
    }
}

fn entry(info: &OperatorStateInfo, subtask: u32, input: &mut Input<'_>) -> Result<OperatorRow> {
    let map_key = info.map_key.as_ref().map(|of| value::read(of, input)).transpose()?;
    Ok(OperatorRow { subtask, map_key, value: value::read(&info.value, input)? })
}

/// Ends after an error.
impl Iterator for OperatorRows {
    type Item = Result<OperatorRow>;

    fn next(&mut self) -> Option<Result<OperatorRow>> {
        let read = self.read();
        if read.is_err() {
            self.at = (self.parts.len(), 0);
        }
        read.transpose()
    }
}
