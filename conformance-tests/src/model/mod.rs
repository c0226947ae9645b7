//! A plain model of a backend, and random programs that must behave the same on a backend and on the model.

mod plain;
mod programs;

pub use plain::Model;
pub use programs::{Program, programs};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::script::{operator, run};
use crate::{Factory, Setup};

/// The settings with which each script runs.
fn setups<F: Factory>() -> Vec<Setup> {
    let capabilities = F::new().capabilities();
    // All state in files, so that increments share them, and the factory's own settings.
    let in_files = Setup { inline_max: capabilities.inline_max.then_some(0), ..Setup::default() };
    let claiming = Setup { claim_restored: Some(true), incremental: Some(true), ..in_files.clone() };
    let mut setups = vec![in_files];
    if capabilities.lacking(&claiming).is_none() {
        setups.push(claiming);
    }
    setups
}

/// Runs a script on a backend and on the model.
///
/// # Errors
/// The first line with different answers, or an error in the script.
pub fn compare<F: Factory>(script: &str, setup: &Setup) -> Result<(), String> {
    let expected = run(script, |_, max_parallelism| Ok(Box::new(Model::new(max_parallelism))));
    let found = run(script, |keys, max_parallelism| operator::<F>(setup.clone(), keys, max_parallelism));
    let (expected, found) = (expected.map_err(|e| e.to_string())?, found.map_err(|e| e.to_string())?);
    let mut lines = expected.lines().zip(found.lines());
    match lines.find(|(expected, found)| expected != found) {
        None if expected.lines().count() == found.lines().count() => Ok(()),
        None => Err("the backend did not answer to every line that the model answers to".to_owned()),
        Some((expected, found)) => {
            let number = expected.split('\t').next().unwrap_or_default();
            let at = number.parse::<usize>().ok().and_then(|line| line.checked_sub(1));
            let line = at.and_then(|at| script.lines().nth(at)).unwrap_or_default();
            Err(format!("line {number}: {line}\n expected {expected}\n    found {found}"))
        }
    }
}

/// Runs a script on backends with all relevant settings, and on the model.
///
/// # Panics
/// If the answers differ.
pub fn check<F: Factory>(name: &str, script: &str) {
    for setup in setups::<F>() {
        if let Err(difference) = compare::<F>(script, &setup) {
            panic!("{name} with {setup:?}: {difference}");
        }
    }
}

/// Runs random programs. `PROPTEST_CASES` sets their number, `PROPTEST_RNG_SEED` the seed.
///
/// # Panics
/// If answers differ, with the shortest script found.
pub fn check_random<F: Factory>() {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 48 };
    let mut config = Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    let setups = setups::<F>();
    let failed = TestRunner::new(config).run(&programs(), |program| {
        let script = program.to_string();
        for setup in &setups {
            compare::<F>(&script, setup).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    match failed {
        Ok(()) => {}
        Err(TestError::Fail(why, program)) => panic!(
            "{why}\nThis script shows it (the program `oracle` runs it; keep it in flink/scripts):\n\n{program}"
        ),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}
