use std::sync::Arc;

use super::clock::is_expired;
use super::config::Rules;
use super::{Clock, Stamped, Ttl};
use crate::{BoxError, ReduceFunction, ReducingState, Result, StateValue};

/// An accumulated value with a time to live, over a view of its stamped form.
#[derive(Debug)]
pub struct TtlReducing<S> {
    pub(super) state: S,
    pub(super) rules: Rules,
}

/// Stamp of an added value that only renews the accumulated one. No clock shows it.
const RENEW: i64 = i64::MAX;

/// Folds stamped values. Expired ones do not take part.
pub(crate) fn stamped_reduce<T: StateValue>(
    reduce: Arc<ReduceFunction<T>>,
    ttl: Ttl,
    clock: Clock,
) -> impl Fn(&Stamped<T>, &Stamped<T>) -> Result<Stamped<T>, BoxError> + Send + Sync + 'static {
    move |sum, new| {
        let now = clock.now().unwrap_or(i64::MIN);
        let has_expired = |stamped: &Stamped<T>| is_expired(stamped.at, ttl.as_millis(), now);
        if new.at == RENEW {
            return Ok(Stamped { at: now, value: sum.value.clone() });
        }
        if has_expired(sum) {
            return Ok(new.clone());
        }
        if has_expired(new) {
            return Ok(sum.clone());
        }
        Ok(Stamped { at: now, value: reduce(&sum.value, &new.value)? })
    }
}

impl<S: ReducingState<Stamped<T>, N>, T: StateValue, N> ReducingState<T, N> for TtlReducing<S> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        let rules = self.rules;
        let (mut renewed, mut remove) = (None, false);
        let result = self.state.with(|stamped| match stamped {
            Some(stamped) => {
                let is_live = rules.is_live(stamped.at);
                remove = !is_live;
                if is_live && rules.renews_on_read() && stamped.at != rules.now {
                    renewed = Some(Stamped { at: RENEW, value: stamped.value.clone() });
                }
                f(rules.is_visible(stamped.at).then_some(&stamped.value))
            }
            None => f(None),
        })?;
        if remove {
            self.state.clear()?;
        } else if let Some(renewed) = renewed {
            self.state.add(renewed)?;
        }
        Ok(result)
    }

    #[inline]
    fn add(&mut self, value: T) -> Result<()> {
        self.state.add(Stamped { at: self.rules.now, value })
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        self.state.merge_from(sources)
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Option<T>> {
        let merged = self.state.get_merged(of)?;
        Ok(merged.filter(|stamped| self.rules.is_visible(stamped.at)).map(|stamped| stamped.value))
    }

    fn clear(&mut self) -> Result<()> {
        self.state.clear()
    }
}
