use std::borrow::Cow;

use super::config::Rules;
use super::{Either, Stamped};
use crate::{Error, ListState, Result, StateValue};

/// A list whose elements have a time to live, over a view of its stamped form.
#[derive(Debug)]
pub struct TtlList<S> {
    pub(super) state: S,
    pub(super) rules: Rules,
}

impl<S> TtlList<S> {
    fn stamp<T, I: IntoIterator<Item = T>>(
        &self,
        elements: I,
    ) -> impl Iterator<Item = Stamped<T>> + use<S, T, I> {
        let at = self.rules.now;
        elements.into_iter().map(move |value| Stamped { at, value })
    }
}

impl<S: ListState<Stamped<T>, N>, T: StateValue, N> ListState<T, N> for TtlList<S> {
    #[inline]
    fn add(&mut self, value: T) -> Result<()> {
        self.state.add(Stamped { at: self.rules.now, value })
    }

    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let stamped = self.stamp(elements);
        self.state.add_all(stamped)
    }

    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let stamped = self.stamp(elements);
        self.state.set(stamped)
    }

    /// The elements that have not expired. A list of expired elements is removed. If reads renew the time to live, the
    /// list is written again without the expired elements.
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>> {
        let rules = self.rules;
        let has_live = {
            let live = |element: Result<Cow<'_, Stamped<T>>>| Ok::<_, Error>(rules.is_live(element?.at));
            let mut live = self.state.iter()?.map(live);
            live.find(|is_live| !matches!(is_live, Ok(false))).transpose()?.is_some()
        };
        if has_live && !rules.renews_on_read() {
            return Ok(Either::Left(self.state.iter()?.filter_map(move |element| match element {
                Ok(element) => rules.is_visible(element.at).then(|| Ok(value(element))),
                Err(error) => Some(Err(error)),
            })));
        }
        let (mut returned, mut live) = (Vec::new(), Vec::new());
        for element in self.state.iter()? {
            let element = element?;
            if rules.is_live(element.at) {
                live.push(Stamped { at: rules.now, value: element.value.clone() });
            }
            if rules.is_visible(element.at) {
                returned.push(element.into_owned().value);
            }
        }
        // Clears the list if no element lives.
        self.state.set(live)?;
        Ok(Either::Right(returned.into_iter().map(|element| Ok(Cow::Owned(element)))))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        self.state.merge_from(sources)
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Vec<T>> {
        let elements = self.state.get_merged(of)?.into_iter();
        Ok(elements
            .filter(|element| self.rules.is_visible(element.at))
            .map(|element| element.value)
            .collect())
    }

    fn clear(&mut self) -> Result<()> {
        self.state.clear()
    }
}

/// The value of a stamped one, borrowed if that is.
pub(super) fn value<V: StateValue>(stamped: Cow<'_, Stamped<V>>) -> Cow<'_, V> {
    match stamped {
        Cow::Borrowed(stamped) => Cow::Borrowed(&stamped.value),
        Cow::Owned(stamped) => Cow::Owned(stamped.value),
    }
}
