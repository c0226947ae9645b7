//! Windows of time.

use std::fmt;

use backend_api::{EncodedKey, KeyBuffer, Result, StateKey};
use serde::{Deserialize, Serialize};

/// A window of time, from `start` (included) to `end` (excluded), in milliseconds. It is a namespace of state.
///
/// Its encoding as a key is that of the pair `(start, end)`. Follows Flink's `TimeWindow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeWindow {
    /// The first millisecond.
    pub start: i64,
    /// The millisecond after the last.
    pub end: i64,
}

impl TimeWindow {
    /// The window of `size` milliseconds that contains the time `at`. Windows start at multiples of `size`. A
    /// size below 1 counts as 1.
    ///
    /// ```
    /// use coordinator::TimeWindow;
    ///
    /// assert_eq!(TimeWindow::tumbling(65_000, 60_000), TimeWindow { start: 60_000, end: 120_000 });
    /// assert_eq!(TimeWindow::tumbling(-1, 60_000), TimeWindow { start: -60_000, end: 0 });
    /// ```
    pub fn tumbling(at: i64, size: i64) -> Self {
        let size = size.max(1);
        let start = at.saturating_sub(at.rem_euclid(size));
        Self { start, end: start.saturating_add(size) }
    }

    /// The windows of `size` milliseconds that contain the time `at`, the latest first. One starts every `slide`
    /// milliseconds. Sizes and slides below 1 count as 1.
    ///
    /// ```
    /// use coordinator::TimeWindow;
    ///
    /// let starts: Vec<_> = TimeWindow::sliding(7, 10, 5).map(|window| window.start).collect();
    /// assert_eq!(starts, [5, 0]);
    /// ```
    pub fn sliding(at: i64, size: i64, slide: i64) -> impl Iterator<Item = Self> {
        let (size, slide) = (size.max(1), slide.max(1));
        let latest = at.saturating_sub(at.rem_euclid(slide));
        let starts = std::iter::successors(Some(latest), move |start| start.checked_sub(slide));
        let windows = starts.map(move |start| Self { start, end: start.saturating_add(size) });
        windows.take_while(move |window| window.end > at)
    }

    /// The window of a session that begins with a record at the time `at`, and ends `gap` milliseconds later. A
    /// gap below 1 counts as 1. See [`MergingWindows`](crate::MergingWindows).
    pub fn session(at: i64, gap: i64) -> Self {
        Self { start: at, end: at.saturating_add(gap.max(1)) }
    }

    /// The last millisecond. A window is complete once the watermark has reached it, so it is the time of the
    /// window's timer.
    pub fn last(&self) -> i64 {
        self.end.saturating_sub(1)
    }

    /// True if the windows overlap, or one starts where the other ends. Sessions merge then.
    pub fn touches(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The least window that contains both.
    pub fn cover(&self, other: &Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl StateKey for TimeWindow {
    type Stored = EncodedKey;

    fn schema() -> String {
        <(i64, i64)>::schema()
    }

    #[inline]
    fn encode<B: KeyBuffer>(&self, out: &mut B) {
        (self.start, self.end).encode(out);
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self> {
        let (start, end) = StateKey::decode(input)?;
        Ok(Self { start, end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_at_the_ends_of_time_are_cut_off() {
        assert!(TimeWindow::tumbling(i64::MAX, 1000).end == i64::MAX);
        assert!(TimeWindow::tumbling(i64::MIN, 1000).start == i64::MIN);
        assert_eq!(TimeWindow::session(i64::MAX, 5).last(), i64::MAX - 1);
        assert_eq!(TimeWindow::sliding(i64::MIN, 10, 5).count(), 1);
        assert_eq!(TimeWindow::tumbling(5, 0), TimeWindow { start: 5, end: 6 });
        assert_eq!(TimeWindow::sliding(5, -3, 0).collect::<Vec<_>>(), [TimeWindow { start: 5, end: 6 }]);
    }

    proptest! {
        #[test]
        fn sliding_windows_are_those_that_contain_the_time(
            at in -1_000..1_000_i64, size in 1..50_i64, slide in 1..50_i64
        ) {
            let all = (-1_100..1_100).map(|n| TimeWindow { start: n * slide, end: n * slide + size });
            let mut expected: Vec<_> = all.filter(|window| window.start <= at && at < window.end).collect();
            expected.reverse();
            prop_assert_eq!(TimeWindow::sliding(at, size, slide).collect::<Vec<_>>(), expected);
            prop_assert_eq!(Some(TimeWindow::tumbling(at, size)), TimeWindow::sliding(at, size, size).next());
        }

        #[test]
        fn keys_are_those_of_the_pair(start: i64, end: i64, other: (i64, i64)) {
            let (window, other) = (TimeWindow { start, end }, TimeWindow { start: other.0, end: other.1 });
            let encoded = |window: TimeWindow| {
                let mut bytes = Vec::new();
                window.encode(&mut bytes);
                bytes
            };
            prop_assert_eq!(TimeWindow::decode(&mut &encoded(window)[..]).unwrap(), window);
            prop_assert_eq!(window.cmp(&other), encoded(window).cmp(&encoded(other)));
            prop_assert_eq!(window.stable_hash(), (start, end).stable_hash());
        }
    }
}
