//! The example `day_over_day` has the right rows on every backend, whatever crashes and rescales there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "support/backends.rs"]
mod backends;
#[path = "../examples/day_over_day.rs"]
#[allow(dead_code, reason = "the main of the example is not run")]
mod day_over_day;

use std::collections::BTreeSet;

use day_over_day::{DAY, HOUR, Row, Visit, run, visits};
use state_backends::prelude::*;

/// The rows, computed from all visits of all days.
fn expected(visits: &[Visit]) -> Vec<Row> {
    let hour_end = |visit: &Visit| (visit.at / HOUR + 1) * HOUR;
    let last = visits.last().unwrap().at;
    let ended = visits.iter().filter(|visit| hour_end(visit) <= last);
    let hours: BTreeSet<_> = ended.map(|visit| (hour_end(visit), &visit.page)).collect();
    let row = |(end, page): (i64, &String)| {
        let start = (end - HOUR) / DAY * DAY;
        let count = |from: i64, to: i64| {
            let is_in = |visit: &&Visit| visit.page == *page && (from..to).contains(&visit.at);
            visits.iter().filter(is_in).count() as u64
        };
        Row { end, page: page.clone(), today: count(start, end), yesterday: count(start - DAY, end - DAY) }
    };
    hours.into_iter().map(row).collect()
}

/// Crashes that are followed by more, by fewer and by as many subtasks, before and after the first checkpoint.
const CRASHES: &[&[(usize, u16)]] = &[&[], &[(4_321, 4)], &[(500, 3), (1_000, 1), (2_999, 1), (4_900, 5)]];

fn check<B: StateBackend<Key = String>>(mut options: impl FnMut() -> (B::Options, CheckpointStoreOptions)) {
    for (seed, crashes) in (7..).zip(CRASHES) {
        let visits = visits(seed, 5_000, 6);
        let expected = expected(&visits);
        assert!(expected.iter().filter(|row| row.today > 5 && row.yesterday > 5).count() > 100);
        let (options, store) = options();
        let mut store = CheckpointStore::open(store).unwrap();
        let (rows, _) = run::<B>(&options, &mut store, &visits, 2, crashes).unwrap();
        assert!(rows == expected, "{crashes:?}");
    }
}

on_each_backend!(check, "day-over-day");

#[test]
fn old_days_expire() {
    for days in [4, 20] {
        let visits = visits(1, days as usize * 1_000, days);
        let store = CheckpointStoreOptions::in_memory(JobFolder::new("days").unwrap());
        let mut store = CheckpointStore::open(store).unwrap();
        let (_, history) =
            run::<MemoryBackend<_>>(&MemoryOptions::default(), &mut store, &visits, 2, &[(2_001, 1)])
                .unwrap();
        // At most one entry for each visit of two days, and some that were not removed yet.
        assert!(history.is_some_and(|entries| (1_500..3_000).contains(&entries)), "{history:?}");
    }
}
