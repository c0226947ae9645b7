//! Key groups: the units in which keyed state moves when a job is rescaled.
//!
//! A job has **max parallelism** key groups, numbered from 0. A key belongs to one of them for the life of
//! the job. A subtask owns a contiguous range. The arithmetic is that of Flink's `KeyGroupRangeAssignment`.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Most key groups of a job, and so most subtasks.
pub const MAX_PARALLELISM_LIMIT: u16 = 1 << 15;

/// Least default max parallelism.
const DEFAULT_MAX_PARALLELISM: u32 = 128;

/// A non-empty range of key groups, both ends included.
///
/// ```
/// use backend_api::KeyGroupRange;
///
/// let ranges: Vec<_> = (0..3).map(|i| KeyGroupRange::of_subtask(10, 3, i)).collect::<Result<_, _>>()?;
/// assert_eq!(ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0-3", "4-6", "7-9"]);
/// assert_eq!(ranges[1].intersection(KeyGroupRange::new(6, 9)?), Some(KeyGroupRange::new(6, 6)?));
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bounds", into = "Bounds")]
pub struct KeyGroupRange {
    start: u16,
    end: u16,
}

/// The serialized form, which is checked when it is deserialized.
#[derive(Serialize, Deserialize)]
#[serde(rename = "KeyGroupRange")]
struct Bounds {
    start: u16,
    end: u16,
}

impl KeyGroupRange {
    /// The groups from `start` to `end` inclusive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `end` is less than `start` or over 32767.
    pub fn new(start: u16, end: u16) -> Result<Self> {
        if start > end || end >= MAX_PARALLELISM_LIMIT {
            return Err(invalid(format!("{start} to {end} is no range of key groups")));
        }
        Ok(Self { start, end })
    }

    /// All groups of a job.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `max_parallelism` is not in 1 to 32768.
    pub fn all(max_parallelism: u16) -> Result<Self> {
        check_max_parallelism(max_parallelism)?;
        Ok(Self { start: 0, end: max_parallelism - 1 })
    }

    /// The groups of subtask `index` of `parallelism` subtasks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] unless `index < parallelism <= max_parallelism <= 32768`.
    pub fn of_subtask(max_parallelism: u16, parallelism: u16, index: u16) -> Result<Self> {
        check_parallelism(max_parallelism, parallelism)?;
        if index >= parallelism {
            return Err(invalid(format!("there is no subtask {index} of {parallelism}")));
        }
        // `next(i)` is the first group whose subtask, by `group * parallelism / max_parallelism`, is not below i.
        let (max, parallelism) = (u32::from(max_parallelism), u32::from(parallelism));
        let next = |index: u32| (index * max).div_ceil(parallelism) as u16;
        Ok(Self { start: next(index.into()), end: next(u32::from(index) + 1) - 1 })
    }

    /// The first group.
    #[inline]
    pub fn start(self) -> u16 {
        self.start
    }

    /// The last group.
    #[inline]
    pub fn end(self) -> u16 {
        self.end
    }

    /// The number of groups, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "no range is empty")]
    #[inline]
    pub fn len(self) -> usize {
        usize::from(self.end - self.start) + 1
    }

    /// True if `group` is in the range.
    #[inline]
    pub fn contains(self, group: u16) -> bool {
        self.start <= group && group <= self.end
    }

    /// The groups, ascending.
    pub fn iter(self) -> RangeInclusive<u16> {
        self.start..=self.end
    }

    /// The groups in both, if there are any.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }
}

impl IntoIterator for KeyGroupRange {
    type Item = u16;
    type IntoIter = RangeInclusive<u16>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `0-3`, also `3-3`.
impl fmt::Display for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl TryFrom<Bounds> for KeyGroupRange {
    type Error = Error;

    fn try_from(bounds: Bounds) -> Result<Self> {
        Self::new(bounds.start, bounds.end)
    }
}

impl From<KeyGroupRange> for Bounds {
    fn from(range: KeyGroupRange) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// The subtask that owns `group`.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] unless `group < max_parallelism` and `1 <= parallelism <= max_parallelism <= 32768`.
pub fn subtask_of_group(max_parallelism: u16, parallelism: u16, group: u16) -> Result<u16> {
    check_parallelism(max_parallelism, parallelism)?;
    if group >= max_parallelism {
        return Err(invalid(format!("there is no key group {group} of {max_parallelism}")));
    }
    Ok((u32::from(group) * u32::from(parallelism) / u32::from(max_parallelism)) as u16)
}

/// The default max parallelism: 1.5 times the parallelism, rounded up to a power of two, at least 128 and at
/// most 32768.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] if `parallelism` is not in 1 to 32768.
pub fn default_max_parallelism(parallelism: u16) -> Result<u16> {
    check_parallelism(MAX_PARALLELISM_LIMIT, parallelism)?;
    let parallelism = u32::from(parallelism);
    let roomy = (parallelism + parallelism / 2).next_power_of_two();
    Ok(roomy.clamp(DEFAULT_MAX_PARALLELISM, MAX_PARALLELISM_LIMIT.into()) as u16)
}

/// The max parallelism of a job: that of the `restored` snapshot if there is one, else the `explicit` one if
/// it is set, else the default for `parallelism`.
///
/// # Errors
///
/// [`ErrorKind::IllegalState`] if the snapshot's differs from the explicit one, or is less than
/// `parallelism`. [`ErrorKind::InvalidArgument`] if a number is not in 1 to 32768, or `explicit` is less than
/// `parallelism`.
pub fn resolve_max_parallelism(
    explicit: Option<u16>,
    parallelism: u16,
    restored: Option<u16>,
) -> Result<u16> {
    if let Some(explicit) = explicit {
        check_parallelism(explicit, parallelism)?;
    }
    let default = default_max_parallelism(parallelism)?;
    let Some(restored) = restored else { return Ok(explicit.unwrap_or(default)) };
    check_max_parallelism(restored)?;
    if let Some(explicit) = explicit.filter(|explicit| *explicit != restored) {
        return Err(Error::new(
            ErrorKind::IllegalState,
            format!("max parallelism is set to {explicit}, the snapshot has {restored}"),
        ));
    }
    if parallelism > restored {
        return Err(Error::new(
            ErrorKind::IllegalState,
            format!("parallelism {parallelism} is above the snapshot's max parallelism {restored}"),
        ));
    }
    Ok(restored)
}

pub(crate) fn check_max_parallelism(max_parallelism: u16) -> Result<()> {
    if (1..=MAX_PARALLELISM_LIMIT).contains(&max_parallelism) {
        return Ok(());
    }
    Err(invalid(format!("max parallelism {max_parallelism} is not in 1 to {MAX_PARALLELISM_LIMIT}")))
}

fn check_parallelism(max_parallelism: u16, parallelism: u16) -> Result<()> {
    check_max_parallelism(max_parallelism)?;
    if (1..=max_parallelism).contains(&parallelism) {
        return Ok(());
    }
    Err(invalid(format!("parallelism {parallelism} is not in 1 to the max parallelism {max_parallelism}")))
}

#[cold]
fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
