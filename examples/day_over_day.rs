//! Compares the visits of each page today with those of yesterday up to the same hour.
//!
//! The history of a page is a map from minutes to visits. Maps are sorted, so the visits of a part of a day are one range
//! scan. Entries have a time to live of two days and an hour: what no comparison needs any more expires by itself. After each
//! hour with visits a timer fires, and the page is compared.
//!
//! The job crashes in between, and continues from its last checkpoint with another number of subtasks.
//!
//! ```text
//! cargo run --release --example day_over_day
//! ```
#![allow(clippy::print_stdout, reason = "a program")]

use state_backends::prelude::*;

/// Milliseconds.
pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
/// How long a minute of the history is kept. The last comparison of a day still needs the first minute of the day before.
const KEPT: i64 = 2 * DAY + HOUR;
/// Visits between two checkpoints.
const CHECKPOINT_EVERY: usize = 1_000;
/// Key groups.
const GROUPS: u16 = 32;

/// A visit of a page.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) page: String,
    /// Milliseconds.
    pub(crate) at: i64,
}

/// The visits of a page from the start of the day to the end of an hour, and those of the same time of the day before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// The end of the hour, in milliseconds.
    pub(crate) end: i64,
    pub(crate) page: String,
    pub(crate) today: u64,
    pub(crate) yesterday: u64,
}

/// A subtask of the operator. An engine would run each in a thread of its own.
struct Comparison<B> {
    backend: B,
    /// Visits by minute.
    history: MapToken<i64, u64>,
    /// The ends of hours with visits.
    hours: TimerToken,
    /// The rows since the last checkpoint.
    rows: Vec<Row>,
}

impl<B: StateBackend<Key = String>> Comparison<B> {
    fn visit(&mut self, visit: &Visit) -> Result<()> {
        let Self { backend, history, hours, .. } = self;
        let page = backend.key(&visit.page)?;
        let mut minutes = backend.map(*history, page, &())?;
        minutes.update(visit.at.div_euclid(MINUTE), |visits| *visits.get_or_insert(0) += 1)?;
        drop(minutes);
        let end = (visit.at.div_euclid(HOUR) + 1) * HOUR;
        backend.timers(*hours)?.add(page, &(), end)?;
        Ok(())
    }

    /// No more visits before `now` are expected: compares the pages whose hours have ended.
    fn advance(&mut self, now: i64) -> Result<()> {
        self.backend.advance_to(now)?;
        while let Some(Timer { at: end, key: page, .. }) = self.backend.next_due(self.hours, now)? {
            let start = (end - 1).div_euclid(DAY) * DAY;
            let (today, yesterday) =
                (self.visits(&page, start, end)?, self.visits(&page, start - DAY, end - DAY)?);
            self.rows.push(Row { end, page, today, yesterday });
        }
        Ok(())
    }

    /// The visits of a page in a span of time.
    fn visits(&mut self, page: &String, from: i64, to: i64) -> Result<u64> {
        let page = self.backend.key(page)?;
        let mut history = self.backend.map(self.history, page, &())?;
        let minutes = history.range(from / MINUTE..to / MINUTE)?;
        minutes.map(|minute| minute.map(|(_, visits)| *visits)).sum()
    }
}

/// Starts the subtasks at a time, from a checkpoint if there is one.
fn start<B: StateBackend<Key = String>>(
    options: &B::Options,
    parallelism: u16,
    from: Option<&Checkpoint>,
    now: i64,
) -> Result<Vec<Comparison<B>>> {
    let keys = KeySpace::new(GROUPS)?;
    let start = |index| {
        let subtask = Subtask::new("comparison", keys.clone(), parallelism, index)?;
        let restore = from.map(|checkpoint| checkpoint.restore(&subtask)).transpose()?;
        let handles = restore.as_ref().map(|restore| restore.keyed()).unwrap_or_default();
        let mut backend = B::open(options, subtask, handles)?;
        backend.advance_to(now)?;
        let history = backend.register(MapDescriptor::new("history").ttl(Ttl::millis(KEPT)?))?;
        let hours = backend.register(TimerDescriptor::event_time("hours"))?;
        Ok(Comparison { backend, history, hours, rows: Vec::new() })
    };
    (0..parallelism).map(start).collect()
}

/// Completes a checkpoint. Returns the rows before it.
fn checkpoint<B: StateBackend<Key = String>>(
    subtasks: &mut [Comparison<B>],
    store: &mut CheckpointStore,
) -> Result<Vec<Row>> {
    let id = store.begin()?;
    let (mut tasks, mut rows) = (Vec::new(), Vec::new());
    for Comparison { backend, rows: new, .. } in &mut *subtasks {
        let keyed = backend.snapshot(SnapshotRequest::new(id))?.run()?;
        tasks.push(TaskState::of(backend.subtask(), keyed));
        rows.append(new);
    }
    store.complete(Checkpoint::new(id, tasks))?;
    subtasks.iter_mut().try_for_each(|subtask| subtask.backend.notify_complete(id))?;
    Ok(rows)
}

/// Runs the job over all visits. At each position in `crashes` it loses everything since the last checkpoint, and continues
/// with the parallelism beside it. Returns the sorted rows, and the number of entries in the history at the end if the
/// backend counts them. The rows of a checkpoint become visible when it is complete, so a crash repeats none.
///
/// # Errors
/// Errors of the backend and of the store.
pub(crate) fn run<B: StateBackend<Key = String>>(
    options: &B::Options,
    store: &mut CheckpointStore,
    visits: &[Visit],
    parallelism: u16,
    crashes: &[(usize, u16)],
) -> Result<(Vec<Row>, Option<u64>)> {
    let mut visible = Vec::new();
    // The position in the source and the time. An engine keeps them in the checkpoint.
    let (mut next, mut now) = (0, 0);
    let mut completed = (next, now);
    let mut crashes = crashes.iter().peekable();
    let mut subtasks = start::<B>(options, parallelism, None, now)?;
    while let Some(visit) = visits.get(next) {
        if let Some((_, parallelism)) = crashes.next_if(|(at, _)| *at == next) {
            (next, now) = completed;
            drop(subtasks);
            subtasks = start(options, *parallelism, store.latest(), now)?;
            continue;
        }
        if visit.at > now {
            now = visit.at;
            subtasks.iter_mut().try_for_each(|subtask| subtask.advance(now))?;
        }
        if let Some(owner) = subtasks.iter_mut().find(|subtask| subtask.backend.key(&visit.page).is_ok()) {
            owner.visit(visit)?;
        }
        next += 1;
        if next.is_multiple_of(CHECKPOINT_EVERY) || next == visits.len() {
            visible.extend(checkpoint(&mut subtasks, store)?);
            completed = (next, now);
        }
    }
    visible.sort();
    let states = subtasks.iter().flat_map(|subtask| subtask.backend.states());
    let history = states.filter(|state| state.name == "history");
    Ok((visible, history.map(|state| state.entries).sum()))
}

/// Visits of some days, more by day than by night, with pages that rise and fall. They depend on the seed only.
pub(crate) fn visits(seed: u64, number: usize, days: i64) -> Vec<Visit> {
    const PAGES: u64 = 12;
    let mut state = seed;
    let mut below = move |bound: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    };
    let mut visits = Vec::new();
    while visits.len() < number {
        let at = below((days * DAY) as u64) as i64;
        let (hour, day) = (at % DAY / HOUR, at / DAY);
        if !(7..22).contains(&hour) && below(10) > 0 {
            continue;
        }
        // The favourite changes from day to day.
        let page = if below(4) == 0 { day as u64 * 5 % PAGES } else { below(PAGES) };
        visits.push(Visit { page: format!("/page-{page}"), at });
    }
    visits.sort_by_key(|visit| visit.at);
    visits
}

fn main() -> Result<()> {
    let visits = visits(1, 100_000, 10);
    let run = |crashes: &[(usize, u16)]| {
        let options_of_store = CheckpointStoreOptions::in_memory(JobFolder::new("day-over-day")?);
        let mut store = CheckpointStore::open(options_of_store)?;
        run::<MemoryBackend<_>>(&MemoryOptions::default(), &mut store, &visits, 2, crashes)
    };
    let (undisturbed, _) = run(&[])?;
    let (rows, history) = run(&[(33_333, 3), (70_001, 1)])?;
    for row in rows.iter().filter(|row| row.end == 8 * DAY + 18 * HOUR) {
        let change = 100.0 * (row.today as f64 / row.yesterday as f64 - 1.0);
        println!("{:10} {:4} visits until 18:00, {change:+4.0} %", row.page, row.today);
    }
    println!("{} comparisons, {} minutes of history are left", rows.len(), history.unwrap_or_default());
    println!("the same without a crash: {}", rows == undisturbed);
    Ok(())
}
