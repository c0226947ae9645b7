use std::sync::Arc;

use super::config::Rules;
use super::{Clock, Stamped, Ttl};
use crate::{Aggregate, AggregatingState, BoxError, Result};

/// An accumulator with a time to live, over a view of its stamped form.
#[derive(Debug)]
pub struct TtlAggregating<S> {
    pub(super) state: S,
    pub(super) rules: Rules,
}

/// An aggregate function over stamped accumulators. Expired ones do not take part.
pub struct TtlAggregate<A> {
    aggregate: Arc<A>,
    ttl: Ttl,
    clock: Clock,
}

/// An input of a [`TtlAggregate`].
#[derive(Debug)]
pub enum TtlInput<I> {
    /// Adds to the accumulator.
    Add(I),
    /// Renews the accumulator's stamp.
    Renew,
}

/// The result of a [`TtlAggregate`].
#[derive(Debug)]
pub struct TtlOutput<O> {
    at: i64,
    /// `None` if the accumulator is not visible.
    output: Option<O>,
}

impl<A> TtlAggregate<A> {
    pub(crate) fn new(aggregate: Arc<A>, ttl: Ttl, clock: Clock) -> Self {
        Self { aggregate, ttl, clock }
    }

    fn rules(&self) -> Rules {
        self.ttl.at(self.clock.now().unwrap_or(i64::MIN))
    }
}

impl<A: Aggregate> Aggregate for TtlAggregate<A> {
    type Input = TtlInput<A::Input>;
    type Accumulator = Stamped<A::Accumulator>;
    type Output = TtlOutput<A::Output>;

    fn create(&self) -> Self::Accumulator {
        Stamped { at: self.rules().now, value: self.aggregate.create() }
    }

    fn add(&self, accumulator: &mut Self::Accumulator, input: Self::Input) -> Result<(), BoxError> {
        let rules = self.rules();
        if !rules.is_live(accumulator.at) {
            accumulator.value = self.aggregate.create();
        }
        accumulator.at = rules.now;
        match input {
            TtlInput::Add(input) => self.aggregate.add(&mut accumulator.value, input),
            TtlInput::Renew => Ok(()),
        }
    }

    fn result(&self, accumulator: &Self::Accumulator) -> Self::Output {
        let is_visible = self.rules().is_visible(accumulator.at);
        let output = is_visible.then(|| self.aggregate.result(&accumulator.value));
        TtlOutput { at: accumulator.at, output }
    }

    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) -> Result<(), BoxError> {
        let rules = self.rules();
        if !rules.is_live(other.at) {
            return Ok(());
        }
        if !rules.is_live(into.at) {
            into.clone_from(other);
            return Ok(());
        }
        self.aggregate.merge(&mut into.value, &other.value)?;
        into.at = rules.now;
        Ok(())
    }
}

impl<S: AggregatingState<TtlAggregate<A>, N>, A: Aggregate, N> AggregatingState<A, N> for TtlAggregating<S> {
    #[inline]
    fn add(&mut self, input: A::Input) -> Result<()> {
        self.state.add(TtlInput::Add(input))
    }

    fn get(&mut self) -> Result<Option<A::Output>> {
        let Some(TtlOutput { at, output }) = self.state.get()? else { return Ok(None) };
        if !self.rules.is_live(at) {
            self.state.clear()?;
        } else if self.rules.renews_on_read() && at != self.rules.now {
            self.state.add(TtlInput::Renew)?;
        }
        Ok(output)
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        self.state.merge_from(sources)
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Option<A::Output>> {
        Ok(self.state.get_merged(of)?.and_then(|merged| merged.output))
    }

    fn clear(&mut self) -> Result<()> {
        self.state.clear()
    }
}
