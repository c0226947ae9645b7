//! A source subtask: reads its parts of the log in turn, and sends their lines and barriers to the subtasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use state_backends::prelude::*;
use state_backends::task::{OperatorListDescriptor, OperatorListToken, OperatorState, TaskSnapshot};

use crate::args::Args;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::log_line;
use crate::progress::Progress;
use crate::router::Router;
use crate::source::{Position, Source};
use crate::window::{Minute, minute_of};

/// The operator that reads the log.
pub const OPERATOR: &str = "log";

/// Number of lines that must include a well-formed one.
const ENOUGH_LINES: u64 = 1000;

/// A line in the combined format, for error messages.
const SAMPLE: &str = r#"`192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl"`"#;

/// The positions of all parts, distributed over the sources.
pub fn positions() -> OperatorListDescriptor<Position> {
    OperatorListDescriptor::even_split("positions")
}

/// State that all sources of a run share.
pub struct Shared<'a> {
    pub args: &'a Args,
    pub interrupt: &'a Interrupt,
    pub job: JobHandle,
    pub progress: Progress,
    /// Why a source cannot continue.
    pub failure: Mutex<Option<Failure>>,
    /// Lines read when the user ended the job, or 0.
    pub interrupted_at: AtomicU64,
    /// The positions of the parts at the end.
    pub ends: Mutex<Vec<Position>>,
}

impl Shared<'_> {
    /// Keeps a failure for the user, and returns an error for the driver.
    fn note(&self, failure: Failure) -> Error {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        Error::new(ErrorKind::Function, "the log cannot be read")
    }

    /// The same for a result.
    pub fn noted<T>(&self, result: Result<T, Failure>) -> Result<T> {
        result.map_err(|failure| self.note(failure))
    }
}

/// A source with the parts that it reads.
pub struct Reading<'a> {
    shared: &'a Shared<'a>,
    target: CheckpointTarget,
    subtask: Subtask<()>,
    state: OperatorState,
    token: OperatorListToken<Position>,
    parts: Vec<(Source, Position)>,
    /// The latest minute of each part.
    newest: Vec<Minute>,
    router: Router,
    checkpoints: u64,
    last_checkpoint: Option<u64>,
    is_stopped: bool,
}

impl<'a> Reading<'a> {
    /// Opens the parts in `restore` for `subtask`, or `fresh` ones.
    pub fn open(
        shared: &'a Shared<'a>,
        target: CheckpointTarget,
        subtask: Subtask<()>,
        restore: &TaskRestore,
        fresh: &[Position],
        router: Router,
    ) -> Result<Self, Failure> {
        let mut state = OperatorState::open(&target, &subtask, restore.operator())?;
        let token = state.register(positions())?;
        if restore.checkpoint_id().is_none() {
            let own = fresh.iter().skip(subtask.index().into()).step_by(subtask.parallelism().into());
            state.list(token)?.set(own.copied());
        }
        let input = shared.args.input();
        let open = |position: &Position| Ok((Source::open(&input, position)?, *position));
        let parts = state.list(token)?.iter().map(open).collect::<Result<_, Failure>>()?;
        let (newest, checkpoints, last_checkpoint, is_stopped) = (Vec::new(), 0, None, false);
        Ok(Self {
            shared,
            target,
            subtask,
            state,
            token,
            parts,
            newest,
            router,
            checkpoints,
            last_checkpoint,
            is_stopped,
        })
    }

    /// Reads to the end. A source that finishes early acknowledges checkpoints until `all_done` reports that
    /// all have finished.
    pub fn run(mut self, mut context: TaskContext, done: Sender<()>, all_done: Receiver<()>) -> Result<()> {
        let mut read = self.read(&mut context);
        let Args { savepoint, savepoint_at, .. } = self.shared.args;
        if read.is_ok() && self.subtask.index() == 0 && savepoint.is_some() && savepoint_at.is_none() {
            read = self.stop_with_savepoint(&mut context);
        }
        if self.is_stopped {
            return Ok(());
        }
        self.shared.noted(read)?;
        if self.shared.interrupted_at.load(Ordering::Relaxed) > 0 {
            // The driver has been asked to cancel the job.
            while context.wait()? != Control::Stop {}
            return Ok(());
        }
        if let Some(id) = self.last_checkpoint {
            context.wait_for(id)?;
        }
        self.router.finish()?;
        drop(done);
        while let Some(control) = context.wait_unless(&all_done)? {
            match control {
                Control::Barrier(barrier) => self.snapshot(&mut context, &barrier)?,
                Control::Complete(_) | Control::Aborted(_) => {}
                Control::Stop => break,
            }
        }
        let mut ends = self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.extend(self.parts.iter().map(|(_, position)| *position));
        Ok(())
    }

    /// Reads a line of each part in turn.
    fn read(&mut self, context: &mut TaskContext) -> Result<(), Failure> {
        let mut lines = Position::sum(&self.now()).lines;
        let mut reached = 0;
        // After a restore, the subtasks do not know the minute.
        self.tell_minute(&mut reached);
        let mut open: Vec<usize> = (0..self.parts.len()).collect();
        while !open.is_empty() {
            let mut turn = 0;
            while let Some(&part) = open.get(turn) {
                if self.shared.interrupt.is_pressed() {
                    self.shared.interrupted_at.store(lines.max(1), Ordering::Relaxed);
                    self.shared.job.cancel();
                    return Ok(());
                }
                if !self.read_line(part, &mut reached)? {
                    open.remove(turn);
                    continue;
                }
                turn += 1;
                lines += 1;
                self.have_read(context, lines)?;
            }
        }
        Ok(())
    }

    /// Sends the next line of a part. Returns false at its end.
    fn read_line(&mut self, part: usize, reached: &mut Minute) -> Result<bool, Failure> {
        let Some((source, position)) = self.parts.get_mut(part) else { return Ok(false) };
        let Some(line) = source.next(position)? else {
            check_is_log(source, position)?;
            position.newest = Minute::MAX;
            self.tell_minute(reached);
            return Ok(false);
        };
        let mut has_sent = false;
        if let Some(visit) = log_line::parse(line) {
            let minute = visit.time.map_or(0, minute_of);
            if minute > position.newest {
                position.newest = minute;
                self.newest[part] = minute;
                // This source has reached a minute once all its parts have.
                let slowest = self.newest.iter().copied().min().unwrap_or(minute);
                if slowest > *reached {
                    *reached = slowest;
                    self.router.minute(slowest);
                }
            }
            has_sent = self.router.visit(visit)?;
        } else {
            position.malformed += 1;
        }
        if position.lines == ENOUGH_LINES {
            check_is_log(source, position)?;
        }
        if has_sent && self.subtask.index() == 0 {
            // Assumes that the other sources have read the same amount.
            let done = Position::sum(&self.now()).done() * u64::from(self.subtask.parallelism());
            self.shared.progress.at(done, self.checkpoints);
        }
        Ok(true)
    }

    /// Called after each line: takes a checkpoint if it is due, and follows the driver's requests.
    fn have_read(&mut self, context: &mut TaskContext, lines: u64) -> Result<(), Failure> {
        let Args { checkpoint_every, crash_at, savepoint_at, .. } = *self.shared.args;
        if savepoint_at == Some(lines) && self.subtask.index() == 0 {
            return self.stop_with_savepoint(context);
        }
        let mut control = context.poll()?;
        let is_due = checkpoint_every > 0 && lines.is_multiple_of(checkpoint_every);
        if is_due && self.subtask.index() == 0 {
            while let Some(earlier) = control {
                self.heed(context, earlier)?;
                control = context.poll()?;
            }
            control = context.checkpoint_here()?.map(Control::Barrier);
        }
        if let Some(control) = control {
            self.heed(context, control)?;
        }
        if crash_at == Some(lines) && self.subtask.index() == 0 {
            crash();
        }
        Ok(())
    }

    /// Requests a stop with a savepoint, and follows the driver's requests until then.
    fn stop_with_savepoint(&mut self, context: &mut TaskContext) -> Result<(), Failure> {
        let answer = self.shared.job.stop_with_savepoint(Some(""), SavepointFormat::Canonical, false);
        while let Some(control) = context.wait_unless(&answer)? {
            self.heed(context, control)?;
        }
        match answer.recv() {
            // The driver tells the tasks to stop.
            Ok(Ok(_)) => loop {
                let control = context.wait()?;
                self.heed(context, control)?;
            },
            Ok(Err(refusal)) => Err(Failure::Job(refusal.to_string())),
            Err(_) => Err(Failure::Job("the job has ended before the savepoint".to_owned())),
        }
    }

    fn heed(&mut self, context: &mut TaskContext, control: Control) -> Result<(), Failure> {
        match control {
            Control::Barrier(barrier) => {
                self.last_checkpoint = Some(barrier.id);
                self.snapshot(context, &barrier)?;
                self.router.barrier(&barrier)?;
                if barrier.kind.is_stop() {
                    context.wait_for(barrier.id)?;
                }
            }
            Control::Complete(_) => self.checkpoints += 1,
            Control::Aborted(_) => {}
            Control::Stop => {
                self.is_stopped = true;
                return Err(Failure::Job("the job was stopped".to_owned()));
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, context: &mut TaskContext, barrier: &Barrier) -> Result<()> {
        let positions = self.now();
        self.state.list(self.token)?.set(positions);
        let (target, subtask, state) = (&self.target, &self.subtask, &mut self.state);
        context.snapshot(barrier, AlignmentTime::default(), |request| {
            Ok(TaskSnapshot::new(target, subtask, request).operator(state)?.into_task())
        });
        Ok(())
    }

    /// The positions of the parts.
    fn now(&self) -> Vec<Position> {
        self.parts.iter().map(|(_, position)| *position).collect()
    }

    /// Sends the subtasks the minute that all parts have reached, if it is new.
    fn tell_minute(&mut self, reached: &mut Minute) {
        self.newest = self.parts.iter().map(|(_, position)| position.newest).collect();
        let slowest = self.newest.iter().copied().min().unwrap_or(Minute::MAX);
        if slowest > *reached {
            *reached = slowest;
            self.router.minute(slowest);
        }
    }
}

/// Refuses a file with lines if none is well-formed.
fn check_is_log(source: &Source, position: &Position) -> Result<(), Failure> {
    match position.lines {
        lines if lines > position.malformed || !position.is_first() => Ok(()),
        0 => Ok(()),
        lines => {
            let name = source.name();
            Err(Failure::Job(format!(
                "{name} is no access log: none of its first {lines} lines is like {SAMPLE}"
            )))
        }
    }
}

/// Ends the process like `kill -9`: nothing is flushed or cleaned up.
fn crash() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}
