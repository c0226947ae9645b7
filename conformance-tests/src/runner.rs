//! Runs cases outside of a test harness.

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{self, Write};
use std::panic::{catch_unwind, set_hook, take_hook};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// A behaviour, run on the backends of one factory.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name of its group.
    pub group: &'static str,
    /// Its name, which begins with its number.
    pub name: &'static str,
    /// Panics if the backend does not behave so.
    pub run: fn(),
}

impl Case {
    /// Its group and its name.
    pub fn full_name(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend behaves so.
    Passed,
    /// It does not: what the case said, and where.
    Failed(String),
    /// The case was not run, for this reason.
    Skipped(String),
}

/// What a thread that runs a case has to tell.
#[derive(Default)]
struct Notes {
    /// The case, if this thread is the runner's.
    case: Cell<Option<Case>>,
    skipped: RefCell<Option<String>>,
    panicked: RefCell<Option<String>>,
}

thread_local! {
    static NOTES: Notes = Notes::default();
}

/// Says that a case was not run: to whoever runs it, or on standard error, past the test harness, which hides what
/// passes.
pub fn skip(why: &str) {
    if NOTES.with(|notes| notes.case.get().is_some()) {
        NOTES.with(|notes| *notes.skipped.borrow_mut() = Some(why.to_owned()));
        return;
    }
    let thread = thread::current();
    let _ = writeln!(io::stderr(), "skipped: {} ({why})", thread.name().unwrap_or("a case"));
}

/// Tells a process that it runs one case alone, and which.
const AGAIN: &str = "CONFORMANCE_TESTS_AGAIN";

/// A command that runs the case of this thread in a process of its own, which [knows](is_again) that it is one.
///
/// # Errors
/// If the path of this program is not known.
pub(crate) fn again() -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    if let Some(case) = NOTES.with(|notes| notes.case.get()) {
        command.args(env::args_os().skip(1)).env(AGAIN, case.full_name());
        return Ok(command);
    }
    // The test harness names its threads after the tests.
    let thread = thread::current();
    let test = thread.name().ok_or_else(|| io::Error::other("the thread does not have a test's name"))?;
    command.args([test, "--exact", "--nocapture"]).env(AGAIN, test);
    Ok(command)
}

/// Whether this is the process of [`again`].
pub(crate) fn is_again() -> bool {
    env::var_os(AGAIN).is_some()
}

/// Runs cases on several threads, and gives what came of each, in their order. Panics are kept off standard error
/// meanwhile.
pub fn run_cases(cases: &[Case], threads: usize) -> Vec<Outcome> {
    if let Ok(again) = env::var(AGAIN) {
        // A panic is what the process that began this one shows.
        cases.iter().filter(|case| case.full_name() == again).for_each(|case| (case.run)());
        return vec![Outcome::Passed; cases.len()];
    }
    let hook = take_hook();
    set_hook(Box::new(|panic| {
        NOTES.with(|notes| *notes.panicked.borrow_mut() = Some(panic.to_string()));
    }));
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Outcome::Passed; cases.len()]);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let outcome = run_case(case);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = outcome;
                }
            });
        }
    });
    set_hook(hook);
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run_case(case: &Case) -> Outcome {
    NOTES.with(|notes| {
        notes.case.set(Some(*case));
        notes.skipped.take();
        notes.panicked.take();
        match catch_unwind(case.run) {
            Ok(()) => notes.skipped.take().map_or(Outcome::Passed, Outcome::Skipped),
            Err(_) => {
                let unknown = || "it panicked in another thread".to_owned();
                Outcome::Failed(notes.panicked.take().unwrap_or_else(unknown))
            }
        }
    })
}
