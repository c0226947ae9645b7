//! Runs cases outside of a test harness.

use std::cell::RefCell;
use std::env;
use std::io::{self, Write};
use std::panic::{catch_unwind, set_hook, take_hook};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A behaviour for the backends of one factory.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name of its group.
    pub group: &'static str,
    /// Its name, which begins with its number.
    pub name: &'static str,
    /// Panics if the backend behaves differently.
    pub run: fn(),
}

impl Case {
    /// Its group and its name.
    pub fn full_name(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }
}

/// The outcome of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend behaves as required.
    Passed,
    /// It does not: message and location of the panic.
    Failed(String),
    /// The case does not apply to the backend: the reason.
    Skipped(String),
}

/// State of a thread that runs a case.
#[derive(Default)]
struct Notes {
    /// Name of the case; `None` on threads of another harness.
    case: RefCell<Option<String>>,
    skipped: RefCell<Option<String>>,
    panicked: RefCell<Option<String>>,
}

thread_local! {
    static NOTES: Notes = Notes::default();
}

/// Reports that a case was not run.
///
/// The runners of this crate count it as skipped. Rust's own test harness cannot, so there the report goes to
/// standard error, and the case counts as passed.
pub fn skip(why: &str) {
    if NOTES.with(|notes| notes.case.borrow().is_some()) {
        NOTES.with(|notes| *notes.skipped.borrow_mut() = Some(why.to_owned()));
        return;
    }
    let thread = thread::current();
    let _ = writeln!(io::stderr(), "skipped: {} ({why})", thread.name().unwrap_or("a case"));
}

/// Environment variable with the name of the one case that a process runs.
const AGAIN: &str = "CONFORMANCE_TESTS_AGAIN";

/// A command that runs this thread's case in another process, in which [`is_again`] is true.
///
/// # Errors
/// If the path of this program is not known.
pub(crate) fn again() -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    if let Some(case) = NOTES.with(|notes| notes.case.borrow().clone()) {
        command.args(env::args_os().skip(1)).env(AGAIN, case);
        return Ok(command);
    }
    // The test harness names its threads after the tests.
    let thread = thread::current();
    let test = thread.name().ok_or_else(|| io::Error::other("the thread does not have a test's name"))?;
    command.args([test, "--exact", "--nocapture"]).env(AGAIN, test);
    Ok(command)
}

/// True in a process that was started by [`again`].
pub(crate) fn is_again() -> bool {
    env::var_os(AGAIN).is_some()
}

/// Runs cases on several threads and returns the outcome of each, in their order.
///
/// Panics of the cases become [`Outcome::Failed`] and do not appear on standard error.
pub fn run_cases(cases: &[Case], threads: usize) -> Vec<Outcome> {
    if let Ok(again) = env::var(AGAIN) {
        // The panic of a failed case ends this process. Its parent reads the message.
        cases.iter().filter(|case| case.full_name() == again).for_each(|case| (case.run)());
        return vec![Outcome::Passed; cases.len()];
    }
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Outcome::Passed; cases.len()]);
    noting_panics(|| {
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(at) else { return };
                        let outcome = run_case(case, case.full_name());
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = outcome;
                    }
                });
            }
        });
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The main function of a test target without Rust's test harness. Runs suites as tests, with the usual
/// arguments.
///
/// Tests are named `suite::group::case`. Skipped cases count as ignored, so the totals show how many cases a
/// backend really passes. The target needs `harness = false` in its `Cargo.toml`.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// # struct MyFactory;
/// # fn all_cases<F>() -> Vec<conformance_tests::Case> { Vec::new() }
/// fn main() -> ExitCode {
///     conformance_tests::run_tests([("my_backend", all_cases::<MyFactory>())])
/// }
/// ```
pub fn run_tests(suites: impl IntoIterator<Item = (&'static str, Vec<Case>)>) -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = suites.into_iter().flat_map(|(suite, cases)| {
        cases.into_iter().map(move |case| (format!("{suite}::{}", case.full_name()), case))
    });
    if let Ok(again) = env::var(AGAIN) {
        cases.filter(|(name, _)| *name == again).for_each(|(_, case)| (case.run)());
        return ExitCode::SUCCESS;
    }
    let trials = cases.map(|(name, case)| {
        Trial::ignorable_test(name.clone(), move || match run_case(&case, name) {
            Outcome::Passed => Ok(Completion::Completed),
            Outcome::Skipped(why) => Ok(Completion::ignored_with(why)),
            Outcome::Failed(why) => Err(Failed::from(why)),
        })
    });
    let trials = trials.collect();
    noting_panics(|| libtest_mimic::run(&arguments, trials)).exit_code()
}

/// Runs `run` while panics go to the runner instead of standard error.
fn noting_panics<T>(run: impl FnOnce() -> T) -> T {
    let hook = take_hook();
    set_hook(Box::new(|panic| {
        NOTES.with(|notes| *notes.panicked.borrow_mut() = Some(panic.to_string()));
    }));
    let result = run();
    set_hook(hook);
    result
}

fn run_case(case: &Case, name: String) -> Outcome {
    NOTES.with(|notes| {
        *notes.case.borrow_mut() = Some(name);
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
