//! Restart strategies.

use std::time::Duration;

use coordinator::{RestartStrategy, Restarts};

fn delays(strategy: RestartStrategy, failures: &[u64]) -> Vec<Option<u64>> {
    let mut restarts = Restarts::new(strategy);
    let delay = |now: &u64| restarts.failed(*now).map(|delay| delay.as_millis() as u64);
    failures.iter().map(delay).collect()
}

#[test]
fn no_strategy_never_restarts() {
    assert_eq!(delays(RestartStrategy::None, &[5]), [None]);
}

#[test]
fn a_fixed_delay_restarts_a_fixed_number_of_times() {
    let strategy = RestartStrategy::FixedDelay { attempts: 2, delay: Duration::from_millis(30) };
    assert_eq!(delays(strategy, &[1, 2, 3]), [Some(30), Some(30), None]);
}

#[test]
fn an_exponential_delay_grows_to_its_maximum_and_resets() {
    let millis = Duration::from_millis;
    let (initial, max, reset_after) = (millis(100), millis(500), millis(10_000));
    let strategy = RestartStrategy::ExponentialDelay { initial, max, multiplier: 2.0, reset_after };
    let found = delays(strategy, &[0, 1000, 2000, 3000, 4000, 14_499, 24_999]);
    // The last but one came after running for 9,999 ms, the last one after 10,000.
    assert_eq!(found, [100, 200, 400, 500, 500, 500, 100].map(Some));
}
