//! Rows of keyed state.

use std::collections::VecDeque;
use std::sync::Arc;

use backend_api::{Error, Result};

use crate::header::{StateInfo, StateKind};
use crate::input::{Input, corrupt};
use crate::part::Part;
use crate::stream::Window;
use crate::types::Type;
use crate::value::{self, Value};

/// Stands for the end of a key group instead of a state.
const END: u16 = 0xFFFF;
/// The highest bit of a row's first byte says that no row of its state follows.
const LAST: u8 = 0x80;

/// A value, an element of a list, an entry of a map or a timer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Key group of the key.
    pub key_group: u16,
    /// The key.
    pub key: Value,
    /// The namespace, [`Value::Null`] for most states.
    pub namespace: Value,
    /// Where it is under key and namespace.
    pub place: Place,
    /// The value. [`Value::Null`] for a timer.
    pub value: Value,
    /// For state with a time to live: when it was last accessed, in milliseconds of the clock of Flink's job.
    pub last_access: Option<i64>,
}

/// Where a row is under its key and namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// It is all that is there.
    Single,
    /// The element of a list with this index.
    Element(u64),
    /// The entry of a map with this key.
    Entry(Value),
    /// The timer with this time in milliseconds.
    Timer(i64),
}

/// A row as bytes.
#[derive(Clone, Copy, Debug)]
pub struct RawRow<'r> {
    /// Its state.
    pub state: &'r StateInfo,
    /// Type of its key.
    pub key_type: &'r Type,
    /// The key group.
    pub key_group: u16,
    /// Key, namespace and key of a map's entry, in Flink's layout and after the key group.
    pub key: &'r [u8],
    /// The value: all elements of a list, one entry of a map.
    pub value: &'r [u8],
}

/// The rows of all states as bytes. See [`KeyedState::all_rows`](crate::KeyedState::all_rows).
#[derive(Debug)]
pub struct AllRows {
    parts: Vec<Arc<Part>>,
    /// The part, and how many of its key groups have been begun.
    at: (usize, usize),
    group: Option<Group>,
}

/// A key group being read.
#[derive(Debug)]
struct Group {
    part: Arc<Part>,
    number: u16,
    /// Bytes of a key group's number.
    prefix: usize,
    window: Window,
    /// The state of the next row.
    state: u16,
    /// Where the last row began.
    row_at: u64,
}

/// A row that has been taken from the window.
#[derive(Clone, Copy)]
struct Taken {
    state: u16,
    at: usize,
    key_len: usize,
    value_len: usize,
}

impl AllRows {
    pub(crate) fn new(parts: Vec<Arc<Part>>) -> Self {
        Self { parts, at: (0, 0), group: None }
    }

    /// The next row. `None` after the last one, and after an error.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](backend_api::ErrorKind::Corrupt) or [`Io`](backend_api::ErrorKind::Io), with file and offset.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a row borrows from this")]
    pub fn next(&mut self) -> Result<Option<RawRow<'_>>> {
        match self.take() {
            Ok(Some(taken)) => Ok(self.group.as_ref().map(|group| group.row(taken))),
            Ok(None) => Ok(None),
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    #[inline]
    fn take(&mut self) -> Result<Option<Taken>> {
        loop {
            if let Some(group) = &mut self.group {
                if let Some(taken) = group.take()? {
                    return Ok(Some(taken));
                }
                self.group = None;
            }
            let Some(part) = self.parts.get(self.at.0) else { return Ok(None) };
            match part.groups.get(self.at.1) {
                Some(&(number, start, end)) => {
                    self.at.1 += 1;
                    self.group = Some(Group::open(part, number, start, end)?);
                }
                None => self.at = (self.at.0 + 1, 0),
            }
        }
    }

    /// Leaves out all further rows.
    fn end(&mut self) {
        self.at = (self.parts.len(), 0);
        self.group = None;
    }

    /// Names state, key group, file and the place of the last row.
    #[cold]
    pub(crate) fn placed(&self, error: Error, state: &str) -> Error {
        let error = error.in_state(state);
        match &self.group {
            Some(group) => group.window.placed_at(error.in_group(group.number), group.row_at),
            None => error,
        }
    }
}

impl Group {
    fn open(part: &Arc<Part>, number: u16, start: u64, end: u64) -> Result<Self> {
        let window = part.stream.window(start, end, part.is_compressed);
        let prefix = if part.max_parallelism <= 128 { 1 } else { 2 };
        let mut group = Self { part: Arc::clone(part), number, prefix, window, state: END, row_at: 0 };
        group.window.fill(2)?;
        group.state = group.state_at(0)?;
        group.window.take(2);
        Ok(group)
    }

    /// The number of a state that stands here in the window.
    fn state_at(&self, at: usize) -> Result<u16> {
        let bytes = self.window.available();
        let state = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        if state != END && usize::from(state) >= self.part.states.len() {
            let message = format!("a row is of state {state}, there are {}", self.part.states.len());
            return Err(self.placed(corrupt(message)));
        }
        Ok(state)
    }

    #[cold]
    fn placed(&self, error: Error) -> Error {
        self.window.placed(error.in_group(self.number))
    }

    #[inline]
    fn take(&mut self) -> Result<Option<Taken>> {
        if self.state == END {
            if self.window.is_at_end()? {
                return Ok(None);
            }
            return Err(self.placed(corrupt("bytes are left over after a key group")));
        }
        let key_len = self.length(0)?;
        let value_at = 4 + key_len;
        let value_len = self.length(value_at)?;
        let len = value_at + 4 + value_len;
        self.window.fill(len)?;
        if key_len < self.prefix {
            return Err(self.placed(corrupt(format!("a row has a key of {key_len} bytes"))));
        }
        let bytes = self.window.available();
        let (first, second) = (bytes[4], bytes[5]);
        let high = u16::from(first & !LAST);
        let group = if self.prefix == 1 { high } else { high << 8 | u16::from(second) };
        if group != self.number {
            return Err(self.placed(corrupt(format!("a row of key group {group} is in another one"))));
        }
        let state = self.state;
        let mut taken = len;
        if first & LAST != 0 {
            taken += 2;
            self.window.fill(taken)?;
            self.state = self.state_at(len)?;
        }
        self.row_at = self.window.passed();
        let at = self.window.take(taken);
        Ok(Some(Taken { state, at, key_len, value_len }))
    }

    /// The length that stands `at` bytes after the next.
    #[inline]
    fn length(&mut self, at: usize) -> Result<usize> {
        self.window.fill(at + 4)?;
        let bytes = self.window.available().get(at..).and_then(<[u8]>::first_chunk);
        let len = bytes.map_or(-1, |bytes| i32::from_be_bytes(*bytes));
        usize::try_from(len).map_err(|_| self.placed(corrupt("a length is negative")))
    }

    #[inline]
    fn row(&self, taken: Taken) -> RawRow<'_> {
        let Taken { state, at, key_len, value_len } = taken;
        RawRow {
            state: &self.part.states[usize::from(state)],
            key_type: &self.part.key,
            key_group: self.number,
            key: self.window.taken(at + 4 + self.prefix, key_len - self.prefix),
            value: self.window.taken(at + 8 + key_len, value_len),
        }
    }
}

impl RawRow<'_> {
    /// Decodes the row, and calls `visit` with each value, element, entry or timer.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](backend_api::ErrorKind::Corrupt). [`Unsupported`](backend_api::ErrorKind::Unsupported) for what only Java
    /// reads.
    pub fn decode(&self, mut visit: impl FnMut(Row) -> Result<()>) -> Result<()> {
        let mut input = Input::new(self.key);
        let time = match self.state.kind {
            // The bit is flipped so that bytes sort as numbers.
            StateKind::Timer => Some(input.i64()? ^ i64::MIN),
            _ => None,
        };
        let has_lengths = time.is_none() && self.key_type.is_variable() && self.state.namespace.is_variable();
        let key = part(self.key_type, &mut input, has_lengths)?;
        let namespace = part(&self.state.namespace, &mut input, has_lengths)?;
        let mut row = Row {
            key_group: self.key_group,
            key,
            namespace,
            place: Place::Single,
            value: Value::Null,
            last_access: None,
        };
        if let Some(map_key) = &self.state.map_key {
            row.place = Place::Entry(value::read(map_key, &mut input)?);
        }
        nothing_left(&input, "key")?;
        let mut input = Input::new(self.value);
        match self.state.kind {
            StateKind::Timer => row.place = Place::Timer(time.unwrap_or_default()),
            StateKind::List => return self.elements(row, input, visit),
            // After the flag of a null, Flink's heap writes what the serializer makes of a null, and RocksDB nothing.
            StateKind::Map if input.boolean()? => return visit(row),
            _ => self.value(&mut row, &mut input)?,
        }
        nothing_left(&input, "value")?;
        visit(row)
    }

    fn value(&self, row: &mut Row, input: &mut Input<'_>) -> Result<()> {
        row.last_access = if self.state.has_ttl { Some(input.i64()?) } else { None };
        row.value = value::read(&self.state.value, input)?;
        Ok(())
    }

    fn elements(
        &self,
        mut row: Row,
        mut input: Input<'_>,
        mut visit: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        for index in 0.. {
            row.place = Place::Element(index);
            self.value(&mut row, &mut input)?;
            if input.left() == 0 {
                return visit(row);
            }
            visit(row.clone())?;
            if input.u8()? != b',' {
                return Err(corrupt("the elements of a list are not separated by a comma"));
            }
        }
        Ok(())
    }
}

/// A key or namespace, and its length after it if the bytes of both vary.
fn part(of: &Type, input: &mut Input<'_>, has_length: bool) -> Result<Value> {
    let start = input.offset();
    let value = value::read(of, input)?;
    if has_length {
        let mut len = input.offset() - start;
        // The lowest byte first, and as few as possible.
        loop {
            if usize::from(input.u8()?) != len & 0xFF {
                return Err(corrupt("a key or namespace has another length"));
            }
            len >>= 8;
            if len == 0 {
                break;
            }
        }
    }
    Ok(value)
}

fn nothing_left(input: &Input<'_>, what: &str) -> Result<()> {
    match input.left() {
        0 => Ok(()),
        left => Err(corrupt(format!("{left} bytes are left over after a {what}"))),
    }
}

/// The rows of a state. See [`KeyedState::rows`](crate::KeyedState::rows).
#[derive(Debug)]
pub struct Rows {
    all: AllRows,
    state: String,
    /// Elements of the list that was read last.
    elements: VecDeque<Row>,
}

impl Rows {
    pub(crate) fn new(all: AllRows, state: String) -> Self {
        Self { all, state, elements: VecDeque::new() }
    }
}

/// A row that cannot be decoded is an error, and the next row comes after it. An error of the stream is the last.
impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        while self.elements.is_empty() {
            let elements = &mut self.elements;
            let decoded = match self.all.next() {
                Ok(Some(row)) if row.state.name != self.state => continue,
                Ok(Some(row)) => row.decode(|row| {
                    elements.push_back(row);
                    Ok(())
                }),
                Ok(None) => return None,
                Err(error) => return Some(Err(error.in_state(&self.state))),
            };
            if let Err(error) = decoded {
                elements.clear();
                return Some(Err(self.all.placed(error, &self.state)));
            }
        }
        self.elements.pop_front().map(Ok)
    }
}
