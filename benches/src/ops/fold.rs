use std::rc::Rc;

use state_backends::api::BoxError;
use state_backends::prelude::*;

use super::{Load, Op, Operations, Round, in_batches};
use crate::measure::timed;

/// Reducing states that add up, and the expected sum of each.
pub(super) struct Sums<B> {
    backend: B,
    token: ReducingToken<i64>,
    load: Rc<Load>,
    model: Vec<i64>,
}

impl<B: StateBackend<Key = i64>> Sums<B> {
    pub(super) fn load(mut backend: B, load: &Rc<Load>) -> Result<Self> {
        let descriptor = ReducingDescriptor::new("sum", |sum: &i64, value: &i64| sum.wrapping_add(*value));
        let token = backend.register(descriptor)?;
        let model: Vec<i64> = (0..load.keys).map(|i| load.loaded(i)).collect();
        let mut sums = Self { backend, token, load: Rc::clone(load), model };
        for i in 0..load.keys {
            sums.add(i as i64, load.loaded(i))?;
        }
        Ok(sums)
    }

    #[inline]
    fn add(&mut self, key: i64, value: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.reducing(self.token, key, &())?.add(value)
    }
}

impl<B: StateBackend<Key = i64>> Operations for Sums<B> {
    fn round(&mut self, op: Op, round: usize) -> Result<Round> {
        let load = Rc::clone(&self.load);
        let existing = || load.existing(round, load.ops);
        let (result, took) = timed(|| {
            if op == Op::ReducingAddBatch {
                return in_batches(&mut self.backend, self.token, existing(), |backend, key, value| {
                    backend.reducing(self.token, key, &())?.add(value)
                });
            }
            existing().try_for_each(|(key, value)| self.add(key, value))
        });
        result?;
        for (key, value) in existing() {
            let sum = &mut self.model[key as usize];
            *sum = sum.wrapping_add(value);
            let key = self.backend.key(&key)?;
            let found = self.backend.reducing(self.token, key, &())?.get()?;
            assert_eq!(found, Some(*sum), "another sum than was added up");
        }
        Ok(Round { ops: load.ops as u64, took })
    }
}

/// The mean of the added values. The accumulator is sum and count.
pub(super) struct Mean;

impl Aggregate for Mean {
    type Input = i64;
    type Accumulator = (i64, i64);
    type Output = f64;

    fn create(&self) -> (i64, i64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (i64, i64), input: i64) -> Result<(), BoxError> {
        *sum = sum.wrapping_add(input);
        *count += 1;
        Ok(())
    }

    fn result(&self, (sum, count): &(i64, i64)) -> f64 {
        *sum as f64 / *count as f64
    }

    fn merge(&self, into: &mut (i64, i64), other: &(i64, i64)) -> Result<(), BoxError> {
        *into = (into.0.wrapping_add(other.0), into.1 + other.1);
        Ok(())
    }
}

/// Aggregating states with [`Mean`], and the expected accumulator of each.
pub(super) struct Means<B> {
    backend: B,
    token: AggregatingToken<Mean>,
    load: Rc<Load>,
    model: Vec<(i64, i64)>,
}

impl<B: StateBackend<Key = i64>> Means<B> {
    pub(super) fn load(mut backend: B, load: &Rc<Load>) -> Result<Self> {
        let token = backend.register(AggregatingDescriptor::new("avg", Mean))?;
        let model = (0..load.keys).map(|i| (load.loaded(i), 1)).collect();
        let mut means = Self { backend, token, load: Rc::clone(load), model };
        for i in 0..load.keys {
            means.add(i as i64, load.loaded(i))?;
        }
        Ok(means)
    }

    #[inline]
    fn add(&mut self, key: i64, value: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.aggregating(self.token, key, &())?.add(value)
    }
}

impl<B: StateBackend<Key = i64>> Operations for Means<B> {
    fn round(&mut self, op: Op, round: usize) -> Result<Round> {
        let load = Rc::clone(&self.load);
        let existing = || load.existing(round, load.ops);
        let (result, took) = timed(|| {
            if op == Op::AggregatingAddBatch {
                return in_batches(&mut self.backend, self.token, existing(), |backend, key, value| {
                    backend.aggregating(self.token, key, &())?.add(value)
                });
            }
            existing().try_for_each(|(key, value)| self.add(key, value))
        });
        result?;
        for (key, value) in existing() {
            let (sum, count) = &mut self.model[key as usize];
            (*sum, *count) = (sum.wrapping_add(value), *count + 1);
            let key = self.backend.key(&key)?;
            let found = self.backend.aggregating(self.token, key, &())?.get()?;
            assert_eq!(found, Some(*sum as f64 / *count as f64), "another mean than was added up");
        }
        Ok(Round { ops: load.ops as u64, took })
    }
}
