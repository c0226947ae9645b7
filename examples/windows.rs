//! Tumbling, sliding and session windows over payments that come out of order, some of them too late.
//!
//! Each open window has a timer of event time. When the watermark reaches it, the window is complete: its sum becomes a
//! result, and its state is removed. The cost follows the windows that are due, and not those that are open.
//!
//! The job crashes in between, and continues from its last checkpoint with another number of subtasks. Its results are
//! those of a run without a crash.
//!
//! ```text
//! cargo run --release --example windows
//! ```
#![allow(clippy::print_stdout, reason = "a program")]

use state_backends::coordinator::{MergingWindows, TimeWindow, Watermarks};
use state_backends::prelude::*;

/// Length of a tumbling or sliding window.
pub(crate) const SIZE: i64 = 60_000;
/// Distance of the starts of sliding windows.
pub(crate) const SLIDE: i64 = 20_000;
/// A session ends after this long without a payment.
pub(crate) const GAP: i64 = 15_000;
/// How late the source expects payments to be. Later ones may be too late.
pub(crate) const DELAY: i64 = 8_000;
/// The source sends a watermark after this many payments.
pub(crate) const WATERMARK_EVERY: usize = 20;
/// Payments between two checkpoints.
const CHECKPOINT_EVERY: usize = 1_000;
/// Key groups.
const GROUPS: u16 = 32;

/// A payment of a user.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) user: String,
    /// Milliseconds.
    pub(crate) at: i64,
    pub(crate) amount: u64,
}

/// The kinds of windows. They are part of the namespace, so one state has the sums of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Tumbling,
    Sliding,
    Session,
}

/// A kind of windows and a window.
type Namespace = (u8, TimeWindow);

/// A complete window of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) user: String,
    pub(crate) window: TimeWindow,
    pub(crate) payments: u64,
    pub(crate) sum: u64,
}

/// Results, and the payments that came after their window was complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
    /// One for each window that a payment came too late for.
    pub(crate) late: u64,
}

/// The operator: its states, and what it has produced since the last checkpoint.
struct Windows {
    /// Number and sum of the payments.
    sums: ReducingToken<(u64, u64), Namespace>,
    /// The sessions of a user with their state windows.
    sessions: ListToken<(TimeWindow, TimeWindow)>,
    /// The last millisecond of each open window.
    ends: TimerToken<Namespace>,
    watermark: i64,
    produced: Results,
}

impl Windows {
    fn register<B: StateBackend<Key = String>>(backend: &mut B, watermark: i64) -> Result<Self> {
        let sums = ReducingDescriptor::new("sums", |a: &(u64, u64), b| (a.0 + b.0, a.1 + b.1));
        Ok(Self {
            sums: backend.register(sums.namespaced())?,
            sessions: backend.register(ListDescriptor::new("sessions"))?,
            ends: backend.register(TimerDescriptor::event_time("window ends").namespaced())?,
            watermark,
            produced: Results::default(),
        })
    }

    /// Adds a payment to all of its windows.
    fn pay<B: StateBackend<Key = String>>(&mut self, backend: &mut B, payment: &Payment) -> Result<()> {
        self.add(backend, payment, Kind::Tumbling, TimeWindow::tumbling(payment.at, SIZE))?;
        for window in TimeWindow::sliding(payment.at, SIZE, SLIDE) {
            self.add(backend, payment, Kind::Sliding, window)?;
        }
        self.add_to_session(backend, payment)
    }

    fn add<B: StateBackend<Key = String>>(
        &mut self,
        backend: &mut B,
        payment: &Payment,
        kind: Kind,
        window: TimeWindow,
    ) -> Result<()> {
        if window.last() <= self.watermark {
            self.produced.late += 1;
            return Ok(());
        }
        let (user, namespace) = (backend.key(&payment.user)?, (kind as u8, window));
        backend.reducing(self.sums, user, &namespace)?.add((1, payment.amount))?;
        // A timer that is there already stays one timer.
        backend.timers(self.ends)?.add(user, &namespace, window.last())?;
        Ok(())
    }

    /// Adds a payment to its session, which may join others.
    fn add_to_session<B: StateBackend<Key = String>>(
        &mut self,
        backend: &mut B,
        payment: &Payment,
    ) -> Result<()> {
        let user = backend.key(&payment.user)?;
        let mut sessions = MergingWindows::new(backend.list(self.sessions, user, &())?.get()?);
        let added = sessions.add(TimeWindow::session(payment.at, GAP));
        if added.window.last() <= self.watermark {
            self.produced.late += 1;
            return Ok(());
        }
        let session = |window| (Kind::Session as u8, window);
        let merged: Vec<_> = added.merged_states.iter().copied().map(session).collect();
        let state = session(added.state);
        backend.reducing(self.sums, user, &state)?.merge_from(&merged)?;
        backend.reducing(self.sums, user, &state)?.add((1, payment.amount))?;
        for replaced in &added.replaced {
            backend.timers(self.ends)?.remove(user, &session(*replaced), replaced.last())?;
        }
        backend.timers(self.ends)?.add(user, &session(added.window), added.window.last())?;
        backend.list(self.sessions, user, &())?.set(sessions.pairs().to_vec())
    }

    /// No more payments up to `watermark` are expected: completes the windows that end by then.
    fn advance<B: StateBackend<Key = String>>(&mut self, backend: &mut B, watermark: i64) -> Result<()> {
        self.watermark = watermark;
        while let Some(end) = backend.next_due(self.ends, watermark)? {
            let (kind, window) = end.namespace;
            let (kind, state) = match kind {
                0 => (Kind::Tumbling, window),
                1 => (Kind::Sliding, window),
                _ => (Kind::Session, self.end_session(backend, &end.key, &window)?),
            };
            let user = backend.key(&end.key)?;
            let namespace = (kind as u8, state);
            let (payments, sum) = backend.reducing(self.sums, user, &namespace)?.get()?.unwrap_or_default();
            backend.reducing(self.sums, user, &namespace)?.clear()?;
            self.produced.rows.push(Row { kind, user: end.key, window, payments, sum });
        }
        Ok(())
    }

    /// Removes a session of a user, and returns its state window.
    fn end_session<B: StateBackend<Key = String>>(
        &self,
        backend: &mut B,
        user: &String,
        session: &TimeWindow,
    ) -> Result<TimeWindow> {
        let user = backend.key(user)?;
        let mut sessions = MergingWindows::new(backend.list(self.sessions, user, &())?.get()?);
        let state = sessions.remove(session).unwrap_or(*session);
        backend.list(self.sessions, user, &())?.set(sessions.pairs().to_vec())?;
        Ok(state)
    }
}

/// The subtasks of the operator. An engine would run each in a thread of its own.
struct Operator<B> {
    subtasks: Vec<(B, Windows)>,
}

impl<B: StateBackend<Key = String>> Operator<B> {
    /// Starts the operator, from a checkpoint if there is one.
    fn start(
        options: &B::Options,
        parallelism: u16,
        from: Option<&Checkpoint>,
        watermark: i64,
    ) -> Result<Self> {
        let keys = KeySpace::<String>::new(GROUPS)?;
        let start = |index| {
            let subtask = Subtask::new("windows", keys.clone(), parallelism, index)?;
            let restore = from.map(|checkpoint| checkpoint.restore(&subtask)).transpose()?;
            let handles = restore.as_ref().map(|restore| restore.keyed()).unwrap_or_default();
            let mut backend = B::open(options, subtask, handles)?;
            let windows = Windows::register(&mut backend, watermark)?;
            Ok((backend, windows))
        };
        Ok(Self { subtasks: (0..parallelism).map(start).collect::<Result<_>>()? })
    }

    /// Takes a checkpoint and completes it. Returns what was produced before it.
    fn checkpoint(&mut self, store: &mut CheckpointStore) -> Result<Results> {
        let id = store.begin()?;
        let mut tasks = Vec::new();
        let mut results = Results::default();
        for (backend, windows) in &mut self.subtasks {
            let keyed = backend.snapshot(SnapshotRequest::new(id))?.run()?;
            tasks.push(TaskState::of(backend.subtask(), keyed));
            let produced = std::mem::take(&mut windows.produced);
            results.rows.extend(produced.rows);
            results.late += produced.late;
        }
        store.complete(Checkpoint::new(id, tasks))?;
        self.subtasks.iter_mut().try_for_each(|(backend, _)| backend.notify_complete(id))?;
        Ok(results)
    }
}

/// Where the source continues after a crash. An engine keeps it in the checkpoint.
#[derive(Clone, Debug)]
struct Position {
    next: usize,
    watermarks: Watermarks,
    newest: i64,
}

/// Runs the job over all payments. At each position in `crashes` it loses everything since the last checkpoint, and
/// continues with the parallelism beside it. Returns the sorted results. Those of a checkpoint become visible when it is
/// complete, so a crash repeats none.
///
/// # Errors
/// Errors of the backend and of the store.
pub(crate) fn run<B: StateBackend<Key = String>>(
    options: &B::Options,
    store: &mut CheckpointStore,
    payments: &[Payment],
    parallelism: u16,
    crashes: &[(usize, u16)],
) -> Result<Results> {
    let mut visible = Results::default();
    let mut position = Position { next: 0, watermarks: Watermarks::new(1), newest: i64::MIN + DELAY };
    let mut completed = position.clone();
    let mut crashes = crashes.iter();
    let mut crash = crashes.next();
    let mut operator = Operator::<B>::start(options, parallelism, None, i64::MIN)?;
    loop {
        if let Some((at, parallelism)) = crash
            && *at == position.next
        {
            position = completed.clone();
            let watermark = position.watermarks.current().unwrap_or(i64::MIN);
            drop(operator);
            operator = Operator::start(options, *parallelism, store.latest(), watermark)?;
            crash = crashes.next();
            continue;
        }
        let Some(payment) = payments.get(position.next) else { break };
        let owner = operator.subtasks.iter_mut().find(|(backend, _)| backend.key(&payment.user).is_ok());
        if let Some((backend, windows)) = owner {
            windows.pay(backend, payment)?;
        }
        position.next += 1;
        position.newest = position.newest.max(payment.at);
        if position.next.is_multiple_of(WATERMARK_EVERY)
            && let Some(watermark) = position.watermarks.advance(0, position.newest - DELAY)
        {
            let mut subtasks = operator.subtasks.iter_mut();
            subtasks.try_for_each(|(backend, windows)| windows.advance(backend, watermark))?;
        }
        if position.next.is_multiple_of(CHECKPOINT_EVERY) {
            let results = operator.checkpoint(store)?;
            visible.rows.extend(results.rows);
            visible.late += results.late;
            completed = position.clone();
        }
    }
    // The end of the source is the end of time.
    for (backend, windows) in &mut operator.subtasks {
        windows.advance(backend, i64::MAX)?;
    }
    let results = operator.checkpoint(store)?;
    visible.rows.extend(results.rows);
    visible.late += results.late;
    visible.rows.sort();
    Ok(visible)
}

/// Payments of some users, out of order by seconds and some by minutes. They depend on the seed only.
pub(crate) fn payments(seed: u64, number: usize) -> Vec<Payment> {
    let mut state = seed;
    let mut below = move |bound: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    };
    let of = |n: usize| {
        let late = if below(50) == 0 { below(180_000) } else { below(5_000) };
        let at = n as i64 * 150 - late as i64;
        Payment { user: format!("user-{}", below(40)), at, amount: 1 + below(500) }
    };
    (0..number).map(of).collect()
}

fn main() -> Result<()> {
    let payments = payments(1, 20_000);
    let options = MemoryOptions::default();
    let run = |crashes: &[(usize, u16)]| {
        let options_of_store = CheckpointStoreOptions::in_memory(JobFolder::new("windows")?);
        let mut store = CheckpointStore::open(options_of_store)?;
        run::<MemoryBackend<_>>(&options, &mut store, &payments, 2, crashes)
    };
    let undisturbed = run(&[])?;
    let crashed = run(&[(7_777, 3), (15_001, 1)])?;
    for kind in [Kind::Tumbling, Kind::Sliding, Kind::Session] {
        let rows = crashed.rows.iter().filter(|row| row.kind == kind);
        let (windows, most) = (rows.clone().count(), rows.max_by_key(|row| row.sum));
        println!("{kind:?}: {windows} windows");
        if let Some(Row { user, window, payments, sum, .. }) = most {
            println!("  the largest: {user} in {window}, {payments} payments, sum {sum}");
        }
    }
    println!("{} times a payment was too late for a window", crashed.late);
    println!("the same without a crash: {}", crashed == undisturbed);
    Ok(())
}
