//! The state of each path: one of every kind, and counts and timers with the minute as their namespace.

use std::net::Ipv4Addr;

use state_backends::prelude::*;

use crate::log_line::Visit;
use crate::window::{Minute, Windows, closed_at, event_time, is_closed, minute_of};

/// The key: the bytes of a path. Clients may send anything, not only UTF-8.
pub type Path = Vec<u8>;

/// A client's address. An IPv4 address is a number, which needs no allocation and compares fast. Anything else stays
/// text.
type Address = (Option<u32>, Vec<u8>);

/// Number of statuses to keep for each path.
const STATUSES: usize = 5;

const HITS: &str = "hits";
const PER_MINUTE: &str = "hits-per-minute";

/// Everything known about one path.
#[derive(Clone, Debug)]
pub struct Page {
    pub path: Path,
    pub hits: u64,
    /// Number of different addresses.
    pub visitors: u64,
    pub mean_bytes: f64,
    /// The last statuses, newest at the end.
    pub statuses: Vec<u16>,
    /// Seconds since 1970.
    pub last_seen: Option<u64>,
    pub windows: Windows,
}

/// The states of one subtask.
pub struct PageStats {
    hits: ReducingToken<u64>,
    visitors: MapToken<Address, u64>,
    bytes: AggregatingToken<Mean>,
    statuses: ListToken<u16>,
    last_seen: ValueToken<u64>,
    per_minute: ReducingToken<u64, Minute>,
    /// The end of each open window.
    ends: TimerToken<Minute>,
    windows: ValueToken<Windows>,
    /// The latest minute that the log has reached.
    newest: Minute,
    /// The key of the current record. Its buffer is reused.
    path: Path,
}

impl PageStats {
    /// Registers the states. After a restore they contain the checkpoint's entries.
    pub fn register<B: StateBackend<Key = Path>>(backend: &mut B) -> Result<Self> {
        Ok(Self {
            hits: backend.register(ReducingDescriptor::new(HITS, sum))?,
            visitors: backend.register(MapDescriptor::new("visitors"))?,
            bytes: backend.register(AggregatingDescriptor::new("bytes", Mean))?,
            statuses: backend.register(ListDescriptor::new("statuses"))?,
            last_seen: backend.register(ValueDescriptor::new("last-seen"))?,
            per_minute: backend.register(ReducingDescriptor::new(PER_MINUTE, sum).namespaced())?,
            ends: backend.register(TimerDescriptor::event_time("window-ends").namespaced())?,
            windows: backend.register(ValueDescriptor::new("windows"))?,
            newest: 0,
            path: Path::new(),
        })
    }

    /// Counts a line.
    pub fn visit<B: StateBackend<Key = Path>>(&mut self, backend: &mut B, visit: &Visit<'_>) -> Result<()> {
        self.path.clear();
        self.path.extend_from_slice(visit.path);
        let key = backend.key(&self.path)?;

        backend.reducing(self.hits, key, &())?.add(1)?;
        backend.map(self.visitors, key, &())?.update(address(visit.address), increment)?;
        backend.aggregating(self.bytes, key, &())?.add(visit.bytes)?;

        remember(&mut backend.list(self.statuses, key, &())?, visit.status)?;

        let Some(time) = visit.time else { return Ok(()) };
        backend.value(self.last_seen, key, &())?.update(|seen| *seen = (*seen).max(Some(time)))?;
        let minute = minute_of(time);
        if is_closed(minute, self.newest) {
            return backend
                .value(self.windows, key, &())?
                .update(|windows| windows.get_or_insert_default().late += 1);
        }
        if open(&mut backend.reducing(self.per_minute, key, &minute)?)? {
            backend.timers(self.ends)?.add(key, &minute, closed_at(minute))?;
        }
        Ok(())
    }

    /// The log has reached `newest`: closes the windows that are over. The cost does not depend on those that are not.
    pub fn advance<B: StateBackend<Key = Path>>(&mut self, backend: &mut B, newest: Minute) -> Result<()> {
        self.newest = newest;
        while let Some(end) = backend.next_due(self.ends, event_time(newest))? {
            let key = backend.key(&end.key)?;
            let hits =
                take(&mut backend.reducing(self.per_minute, key, &end.namespace)?)?.unwrap_or_default();
            backend.value(self.windows, key, &())?.update(|windows| {
                windows.get_or_insert_default().close(hits);
            })?;
        }
        Ok(())
    }

    /// Everything known about each path of this subtask.
    pub fn pages<B: StateBackend<Key = Path>>(&self, backend: &mut B) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        backend.for_each_key(self.hits, &(), |backend, key| {
            let hits = backend.reducing(self.hits, key, &())?.get()?.unwrap_or_default();
            let visitors = count(&mut backend.map(self.visitors, key, &())?)?;
            let mean_bytes = backend.aggregating(self.bytes, key, &())?.get()?.unwrap_or_default();
            let statuses = backend.list(self.statuses, key, &())?.get()?;
            let last_seen = backend.value(self.last_seen, key, &())?.get()?;
            let windows = backend.value(self.windows, key, &())?.get()?.unwrap_or_default();
            let path = key.key().to_owned();
            pages.push(Page { path, hits, visitors, mean_bytes, statuses, last_seen, windows });
            Ok(())
        })?;
        Ok(pages)
    }
}

fn address(text: &[u8]) -> Address {
    match str::from_utf8(text).map(str::parse::<Ipv4Addr>) {
        Ok(Ok(number)) => (Some(number.into()), Vec::new()),
        _ => (None, text.to_vec()),
    }
}

/// Appends `status`, and drops the oldest if there are too many.
fn remember<N>(statuses: &mut impl ListState<u16, N>, status: u16) -> Result<()> {
    let known = statuses.get()?;
    if known.len() < STATUSES {
        return statuses.add(status);
    }
    statuses.set(known.into_iter().skip(1).chain([status]))
}

/// Counts a hit. Returns true if it is the first one in the window.
fn open<N>(window: &mut impl ReducingState<u64, N>) -> Result<bool> {
    let is_first = window.with(|hits| hits.is_none())?;
    window.add(1)?;
    Ok(is_first)
}

/// Reads the count and clears it.
fn take<N>(window: &mut impl ReducingState<u64, N>) -> Result<Option<u64>> {
    let hits = window.get()?;
    window.clear()?;
    Ok(hits)
}

/// Number of entries.
fn count(map: &mut impl MapState<Address, u64>) -> Result<u64> {
    map.keys()?.try_fold(0, |count, key| key.map(|_| count + 1))
}

fn sum(a: &u64, b: &u64) -> u64 {
    a + b
}

fn increment(count: &mut Option<u64>) {
    *count.get_or_insert(0) += 1;
}

/// The mean of sizes. The sum has 128 bits, so it cannot overflow before the count does.
struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u128, u64);
    type Output = f64;

    fn create(&self) -> (u128, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (u128, u64), bytes: u64) -> Result<(), BoxError> {
        *sum += u128::from(bytes);
        *count += 1;
        Ok(())
    }

    fn result(&self, (sum, count): &(u128, u64)) -> f64 {
        *sum as f64 / *count as f64
    }

    fn merge(&self, into: &mut (u128, u64), other: &(u128, u64)) -> Result<(), BoxError> {
        *into = (into.0 + other.0, into.1 + other.1);
        Ok(())
    }
}
