//! Session windows, which grow and merge.

use crate::TimeWindow;

/// The session windows of one key.
///
/// A session grows with each record, and two sessions become one when a record closes the gap between them. Moving
/// the state of a session to a new namespace each time would be slow. So the state of a session stays in the
/// namespace of its first window, the *state window*. This type maps sessions to their state windows. It follows
/// Flink's `MergingWindowSet`.
///
/// The pairs of [`pairs`](Self::pairs) are state too. Keep them in a list or value state of the key, as here:
///
/// ```
/// use backend_api::{
///     KeyContext, ListState, ListToken, ReducingState, ReducingToken, Result, StateBackend,
/// };
/// use coordinator::{MergingWindows, TimeWindow};
///
/// /// Adds a click to the session of its user, and returns the session.
/// fn click<B: StateBackend<Key = u64>>(
///     backend: &mut B,
///     sessions: ListToken<(TimeWindow, TimeWindow)>,
///     clicks: ReducingToken<u64, TimeWindow>,
///     user: &u64,
///     at: i64,
/// ) -> Result<TimeWindow> {
///     let user = backend.key(user)?;
///     let mut windows = MergingWindows::new(backend.list(sessions, user, &())?.get()?);
///     let added = windows.add(TimeWindow::session(at, 30_000));
///     {
///         let mut count = backend.reducing(clicks, user, &added.state)?;
///         count.merge_from(&added.merged_states)?;
///         count.add(1)?;
///     }
///     backend.list(sessions, user, &())?.set(windows.pairs().to_vec())?;
///     Ok(added.window)
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergingWindows {
    /// Sessions that do not touch each other, ascending, each with its state window.
    pairs: Vec<(TimeWindow, TimeWindow)>,
}

/// What [`MergingWindows::add`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedWindow {
    /// The session that contains the added window.
    pub window: TimeWindow,
    /// The namespace of its state.
    pub state: TimeWindow,
    /// The sessions that no longer exist, because this one contains them. Their timers are due for deletion. Empty
    /// if the session was there before.
    pub replaced: Vec<TimeWindow>,
    /// The namespaces whose state must be merged into that of [`state`](Self::state).
    pub merged_states: Vec<TimeWindow>,
}

impl MergingWindows {
    /// The sessions with their state windows, as [`pairs`](Self::pairs) has returned them. None for a new key.
    pub fn new(mut pairs: Vec<(TimeWindow, TimeWindow)>) -> Self {
        pairs.sort_unstable();
        Self { pairs }
    }

    /// Each session with its state window, ascending.
    pub fn pairs(&self) -> &[(TimeWindow, TimeWindow)] {
        &self.pairs
    }

    /// True if there are no sessions.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The state window of a session, or `None` if there is no such session.
    pub fn state_window(&self, session: &TimeWindow) -> Option<TimeWindow> {
        let at = self.position(session)?;
        self.pairs.get(at).map(|(_, state)| *state)
    }

    /// Adds a window, and merges it with all sessions that it touches. The merged session keeps the state window
    /// of the earliest of them.
    pub fn add(&mut self, window: TimeWindow) -> AddedWindow {
        let touched = |(session, _): &&mut (TimeWindow, TimeWindow)| session.touches(&window);
        let mut merged: Vec<_> = self.pairs.extract_if(.., |pair| touched(&pair)).collect();
        let session = merged.iter().fold(window, |cover, (session, _)| cover.cover(session));
        let mut states = merged.iter().map(|(_, state)| *state);
        let state = states.next().unwrap_or(session);
        let merged_states = states.collect();
        merged.retain(|(old, _)| *old != session);
        let replaced = merged.into_iter().map(|(old, _)| old).collect();
        let at = self.pairs.partition_point(|(old, _)| *old < session);
        self.pairs.insert(at, (session, state));
        AddedWindow { window: session, state, replaced, merged_states }
    }

    /// Removes a session that is complete. Returns its state window, whose state the caller clears. `None` if
    /// there is no such session.
    pub fn remove(&mut self, session: &TimeWindow) -> Option<TimeWindow> {
        let at = self.position(session)?;
        Some(self.pairs.remove(at).1)
    }

    fn position(&self, session: &TimeWindow) -> Option<usize> {
        self.pairs.binary_search_by_key(session, |(window, _)| *window).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn window(start: i64, end: i64) -> TimeWindow {
        TimeWindow { start, end }
    }

    #[test]
    fn a_session_keeps_the_state_window_of_its_first_record() {
        let mut windows = MergingWindows::default();
        let first = windows.add(window(0, 10));
        assert_eq!((first.window, first.state), (window(0, 10), window(0, 10)));
        assert!(first.replaced.is_empty() && first.merged_states.is_empty());
        let second = windows.add(window(5, 15));
        assert_eq!((second.window, second.state), (window(0, 15), window(0, 10)));
        assert_eq!((second.replaced, second.merged_states), (vec![window(0, 10)], vec![]));
        assert_eq!(windows.state_window(&window(0, 15)), Some(window(0, 10)));
        assert_eq!(windows.state_window(&window(0, 10)), None);
    }

    #[test]
    fn a_window_between_two_sessions_joins_them() {
        let mut windows =
            MergingWindows::new(vec![(window(20, 30), window(25, 30)), (window(0, 10), window(0, 5))]);
        let joined = windows.add(window(10, 20));
        assert_eq!((joined.window, joined.state), (window(0, 30), window(0, 5)));
        assert_eq!(joined.replaced, [window(0, 10), window(20, 30)]);
        assert_eq!(joined.merged_states, [window(25, 30)]);
        assert_eq!(windows.pairs(), [(window(0, 30), window(0, 5))]);
    }

    #[test]
    fn a_window_within_a_session_replaces_nothing() {
        let mut windows = MergingWindows::new(vec![(window(0, 10), window(0, 5))]);
        let added = windows.add(window(2, 8));
        let expected = AddedWindow {
            window: window(0, 10),
            state: window(0, 5),
            replaced: vec![],
            merged_states: vec![],
        };
        assert_eq!(added, expected);
    }

    #[test]
    fn a_removed_session_is_gone() {
        let mut windows = MergingWindows::new(vec![(window(0, 10), window(0, 5))]);
        assert_eq!(windows.remove(&window(0, 5)), None);
        assert_eq!(windows.remove(&window(0, 10)), Some(window(0, 5)));
        assert_eq!((windows.remove(&window(0, 10)), windows.is_empty()), (None, true));
    }

    proptest! {
        /// The state of a session is the number of its records.
        #[test]
        fn the_state_of_each_session_counts_its_records(
            times in prop::collection::vec((0..300_i64, prop::bool::weighted(0.1)), 0..60), gap in 1..12_i64
        ) {
            let (mut windows, mut counts) = (MergingWindows::default(), BTreeMap::<TimeWindow, u64>::new());
            let mut records = Vec::new();
            for (at, removes) in times {
                let added = windows.add(TimeWindow::session(at, gap));
                records.push(at);
                let merged: u64 = added.merged_states.iter().map(|state| counts.remove(state).unwrap()).sum();
                *counts.entry(added.state).or_default() += merged + 1;
                if removes {
                    let state = windows.remove(&added.window).unwrap();
                    prop_assert!(counts.remove(&state).is_some());
                    records.retain(|at| !(added.window.start <= *at && *at < added.window.end));
                }
                // The model sorts all records and cuts them where the gap is exceeded.
                records.sort_unstable();
                let sessions = records.chunk_by(|a, b| b - a <= gap);
                let expected: Vec<_> = sessions
                    .map(|run| (window(run[0], run[run.len() - 1] + gap), run.len() as u64))
                    .collect();
                let found: Vec<_> = windows.pairs().iter().map(|(session, state)| (*session, counts[state])).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(windows.clone(), MergingWindows::new(windows.pairs().to_vec()));
        }
    }
}
