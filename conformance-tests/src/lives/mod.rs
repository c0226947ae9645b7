//! Whole lives of jobs: random programs of checkpoints, crashes and faults, against a plain account of what was in the
//! state.
//!
//! A life has one job with several attempts. States change together or one alone, as a whole or at one key. Checkpoints overlap, tasks run late, notifications are lost, repeated or
//! out of order, the storage is full for a while, a second coordinator takes over while the first one still lives. Three
//! promises are checked: every completed checkpoint restores exactly, there is always one that does, and no file stays that
//! no checkpoint names.

mod job;
mod program;
mod states;

pub use program::{Program, programs};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::Factory;
use job::Job;

/// Programs that one run of the suite checks, unless `LIVES` tells.
const LIVES: u32 = 24;

/// Runs random programs; the environment variable `LIVES` sets how many, `PROPTEST_RNG_SEED` which.
///
/// # Panics
/// If a promise is broken, with the shortest program found that breaks it.
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
/// The promise that is broken.
pub fn check<F: Factory>(program: &Program) -> Result<(), String> {
    let mut job = Job::<F>::start(program);
    for step in &program.steps {
        job.step(step).map_err(|why| format!("{step:?}: {why}"))?;
    }
    job.end()
}
