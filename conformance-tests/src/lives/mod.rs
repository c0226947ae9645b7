//! Lives of jobs: random programs of changes, checkpoints, crashes and faults, compared with a plain account
//! of the state.
//!
//! A life has one job with several attempts. All states change or only one, at all keys or at one.
//! Checkpoints overlap, tasks run late, and notifications are lost, repeated or out of order. The storage
//! fails for a while. A second coordinator takes over while the first one still runs.
//!
//! The programs check three promises: every completed checkpoint restores exactly, there is always one, and
//! every file belongs to a checkpoint.

mod job;
mod program;
mod states;

pub use program::{Program, programs};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::Factory;
use job::Job;

/// Programs in one run of the suite, unless `LIVES` is set.
const LIVES: u32 = 24;

/// Runs random programs. The environment variable `LIVES` sets their number, and `PROPTEST_RNG_SEED` the
/// seed.
///
/// # Panics
/// If a promise is broken, with the shortest program that breaks it.
pub fn check_random<F: Factory>() {
    let cases = std::env::var("LIVES").ok().and_then(|lives| lives.parse().ok()).unwrap_or(LIVES);
    let mut config = Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    let failed =
        TestRunner::new(config).run(&programs(), |program| check::<F>(&program).map_err(TestCaseError::fail));
    match failed {
        Ok(()) => {}
        Err(TestError::Fail(why, program)) => panic!("{why}\nThis program shows it:\n{program:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Runs one program.
///
/// # Errors
/// The broken promise.
pub fn check<F: Factory>(program: &Program) -> Result<(), String> {
    let mut job = Job::<F>::start(program);
    for step in &program.steps {
        job.step(step).map_err(|why| format!("{step:?}: {why}"))?;
    }
    job.end()
}
