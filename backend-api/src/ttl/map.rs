use std::borrow::Cow;
use std::ops::{Bound, RangeBounds};

use super::config::Rules;
use super::list::value;
use super::value::update;
use super::{Either, Stamped};
use crate::{BoxError, MapState, Result, StateKey, StateValue};

/// Expired entries that a range scan removes at most before its first live entry.
const REMOVED_AT_ONCE: usize = 64;

/// A map whose entries have a time to live, over a view of its stamped form.
#[derive(Debug)]
pub struct TtlMap<S> {
    pub(super) state: S,
    pub(super) rules: Rules,
}

impl<S> TtlMap<S> {
    /// Reads the first visible entries of a range, at most `max`, as an access to each of them does: expired entries are
    /// removed, and the others renewed if reads do that.
    fn read_range<MK: StateKey, MV: StateValue>(
        &mut self,
        range: impl RangeBounds<MK>,
        max: usize,
        into: &mut Vec<(MK, MV)>,
    ) -> Result<()>
    where
        S: MapState<MK, Stamped<MV>>,
    {
        let rules = self.rules;
        let (mut expired, mut renewed) = (Vec::new(), Vec::new());
        let mut read = 0;
        for entry in self.state.range(range)? {
            if read == max {
                break;
            }
            let (key, stamped) = entry?;
            let is_live = rules.is_live(stamped.at);
            if !is_live {
                expired.push(key.clone().into_owned());
            } else if rules.renews_on_read() && stamped.at != rules.now {
                renewed.push((key.clone().into_owned(), stamped.value.clone()));
            }
            if rules.is_visible(stamped.at) {
                into.push((key.into_owned(), stamped.into_owned().value));
                read += 1;
            }
        }
        expired.iter().try_for_each(|key| self.state.remove(key))?;
        let renewed = renewed.into_iter().map(|(key, value)| (key, Stamped { at: rules.now, value }));
        self.state.put_all(renewed)
    }

    /// Removes expired entries at the start of a range, so that repeated scans do not pass over them.
    fn remove_first<MK: StateKey, MV: StateValue>(&mut self, range: (Bound<MK>, Bound<MK>)) -> Result<()>
    where
        S: MapState<MK, Stamped<MV>>,
    {
        let mut expired = Vec::new();
        for entry in self.state.range(range)?.take(REMOVED_AT_ONCE) {
            let (key, stamped) = entry?;
            if self.rules.is_live(stamped.at) {
                break;
            }
            expired.push(key.into_owned());
        }
        expired.iter().try_for_each(|key| self.state.remove(key))
    }
}

impl<S: MapState<MK, Stamped<MV>>, MK: StateKey, MV: StateValue> MapState<MK, MV> for TtlMap<S> {
    #[inline]
    fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        let rules = self.rules;
        let (mut renew, mut remove) = (false, false);
        let result = self.state.with(key, |stamped| match stamped {
            Some(stamped) => {
                let is_live = rules.is_live(stamped.at);
                (renew, remove) = (is_live && rules.renews_on_read() && stamped.at != rules.now, !is_live);
                f(rules.is_visible(stamped.at).then_some(&stamped.value))
            }
            None => f(None),
        })?;
        if remove {
            self.state.remove(key)?;
        } else if renew {
            self.state.update(key.clone(), |stamped| {
                if let Some(stamped) = stamped {
                    stamped.at = rules.now;
                }
            })?;
        }
        Ok(result)
    }

    #[inline]
    fn put(&mut self, key: MK, value: MV) -> Result<()> {
        self.state.put(key, Stamped { at: self.rules.now, value })
    }

    fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> Result<()> {
        let at = self.rules.now;
        self.state.put_all(entries.into_iter().map(|(key, value)| (key, Stamped { at, value })))
    }

    fn remove(&mut self, key: &MK) -> Result<()> {
        self.state.remove(key)
    }

    #[inline]
    fn try_update<R>(
        &mut self,
        key: MK,
        f: impl FnOnce(&mut Option<MV>) -> Result<R, BoxError>,
    ) -> Result<R> {
        let rules = self.rules;
        self.state.try_update(key, |stamped| update(stamped, rules, f))
    }

    fn range(
        &mut self,
        range: impl RangeBounds<MK>,
    ) -> Result<impl Iterator<Item = Result<(Cow<'_, MK>, Cow<'_, MV>)>>> {
        let rules = self.rules;
        if rules.renews_on_read() || rules.returns_expired() {
            let mut entries = Vec::new();
            self.read_range(range, usize::MAX, &mut entries)?;
            let owned = |(key, value)| Ok((Cow::Owned(key), Cow::Owned(value)));
            return Ok(Either::Right(entries.into_iter().map(owned)));
        }
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.remove_first(range.clone())?;
        Ok(Either::Left(self.state.range(range)?.filter_map(move |entry| match entry {
            Ok((key, stamped)) => rules.is_live(stamped.at).then(|| Ok((key, value(stamped)))),
            Err(error) => Some(Err(error)),
        })))
    }

    fn clear(&mut self) -> Result<()> {
        self.state.clear()
    }

    fn range_into(
        &mut self,
        range: impl RangeBounds<MK>,
        max: usize,
        into: &mut Vec<(MK, MV)>,
    ) -> Result<()> {
        self.read_range(range, max, into)
    }

    /// Reads one entry, and not the whole map.
    fn is_empty(&mut self) -> Result<bool> {
        let mut first = Vec::new();
        self.read_range(.., 1, &mut first)?;
        Ok(first.is_empty())
    }
}
