//! The example `windows` has the right results on every backend, whatever crashes and rescales there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "support/backends.rs"]
mod backends;
#[path = "../examples/windows.rs"]
#[allow(dead_code, reason = "the main of the example is not run")]
mod windows;

use std::collections::BTreeMap;

use state_backends::coordinator::TimeWindow;
use state_backends::prelude::*;
use windows::{DELAY, GAP, Kind, Payment, Results, Row, SIZE, SLIDE, WATERMARK_EVERY, payments, run};

/// A session of a user: start, end, number of payments, sum.
type Session = (i64, i64, u64, u64);

/// The results, computed without state and timers.
fn expected(payments: &[Payment]) -> Results {
    let (mut watermark, mut newest, mut late) = (i64::MIN, i64::MIN, 0);
    let mut windows = BTreeMap::<(Kind, String, i64), (u64, u64)>::new();
    let mut open = BTreeMap::<String, Vec<Session>>::new();
    let mut rows = Vec::new();
    let session_row = |user: &str, (start, end, payments, sum): Session| Row {
        kind: Kind::Session,
        user: user.to_owned(),
        window: TimeWindow { start, end },
        payments,
        sum,
    };
    for (number, Payment { user, at, amount }) in (1..).zip(payments) {
        let starts = |step: i64| (at / step - 10..=at / step + 1).map(move |n| n * step);
        let tumbling = starts(SIZE).map(|start| (Kind::Tumbling, start));
        for (kind, start) in tumbling.chain(starts(SLIDE).map(|start| (Kind::Sliding, start))) {
            if !(start..start + SIZE).contains(at) {
                continue;
            }
            if start + SIZE - 1 <= watermark {
                late += 1;
                continue;
            }
            let window = windows.entry((kind, user.clone(), start)).or_default();
            *window = (window.0 + 1, window.1 + amount);
        }

        let sessions = open.entry(user.clone()).or_default();
        let is_near = |session: &Session| session.0 <= at + GAP && *at <= session.1;
        let (near, apart): (Vec<Session>, Vec<Session>) =
            sessions.iter().partition(|session| is_near(session));
        let joined = near.iter().fold((*at, at + GAP, 1, *amount), |joined, session| {
            let (start, end) = (joined.0.min(session.0), joined.1.max(session.1));
            (start, end, joined.2 + session.2, joined.3 + session.3)
        });
        if joined.1 - 1 <= watermark {
            late += 1;
        } else {
            *sessions = apart;
            sessions.push(joined);
        }

        newest = newest.max(*at);
        if number % WATERMARK_EVERY == 0 {
            watermark = watermark.max(newest - DELAY);
            for (user, sessions) in &mut open {
                let over = sessions.extract_if(.., |session| session.1 - 1 <= watermark);
                rows.extend(over.map(|session| session_row(user, session)));
            }
        }
    }
    for (user, sessions) in &open {
        rows.extend(sessions.iter().map(|session| session_row(user, *session)));
    }
    rows.extend(windows.into_iter().map(|((kind, user, start), (payments, sum))| Row {
        kind,
        user,
        window: TimeWindow { start, end: start + SIZE },
        payments,
        sum,
    }));
    rows.sort();
    Results { rows, late }
}

/// Crashes that are followed by more, by fewer and by as many subtasks, before and after the first checkpoint.
const CRASHES: &[&[(usize, u16)]] = &[&[], &[(4_321, 4)], &[(500, 3), (1_000, 1), (2_999, 1), (4_900, 5)]];

fn check<B: StateBackend<Key = String>>(mut options: impl FnMut() -> (B::Options, CheckpointStoreOptions)) {
    for (seed, crashes) in (7..).zip(CRASHES) {
        let payments = payments(seed, 5_000);
        let expected = expected(&payments);
        assert!(expected.late > 100 && expected.rows.iter().any(|row| row.payments > 5));
        let (options, store) = options();
        let mut store = CheckpointStore::open(store).unwrap();
        let found = run::<B>(&options, &mut store, &payments, 2, crashes).unwrap();
        assert_eq!(found, expected, "{crashes:?}");
    }
}

on_each_backend!(check, "windows");
