use super::Stamped;
use super::config::Rules;
use crate::{BoxError, Result, StateValue, ValueState};

/// A value with a time to live, over a view of its stamped form.
#[derive(Debug)]
pub struct TtlValue<S> {
    pub(super) state: S,
    pub(super) rules: Rules,
}

impl<S: ValueState<Stamped<V>>, V: StateValue> ValueState<V> for TtlValue<S> {
    #[inline]
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        let rules = self.rules;
        let (mut renew, mut remove) = (false, false);
        let result = self.state.with(|stamped| match stamped {
            Some(stamped) => {
                let is_live = rules.is_live(stamped.at);
                (renew, remove) = (is_live && rules.renews_on_read() && stamped.at != rules.now, !is_live);
                f(rules.is_visible(stamped.at).then_some(&stamped.value))
            }
            None => f(None),
        })?;
        if remove {
            self.state.clear()?;
        } else if renew {
            self.state.update(|stamped| {
                if let Some(stamped) = stamped {
                    stamped.at = rules.now;
                }
            })?;
        }
        Ok(result)
    }

    #[inline]
    fn set(&mut self, value: V) -> Result<()> {
        self.state.set(Stamped { at: self.rules.now, value })
    }

    #[inline]
    fn try_update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>) -> Result<R> {
        let rules = self.rules;
        self.state.try_update(|stamped| update(stamped, rules, f))
    }

    #[inline]
    fn clear(&mut self) -> Result<()> {
        self.state.clear()
    }
}

/// Updates stamped contents.
#[inline]
pub(super) fn update<V, R>(
    stamped: &mut Option<Stamped<V>>,
    rules: Rules,
    f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>,
) -> Result<R, BoxError> {
    let mut value =
        stamped.take().filter(|stamped| rules.is_visible(stamped.at)).map(|stamped| stamped.value);
    let result = f(&mut value)?;
    *stamped = value.map(|value| Stamped { at: rules.now, value });
    Ok(result)
}
