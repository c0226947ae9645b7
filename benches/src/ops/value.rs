use std::hint::black_box;
use std::rc::Rc;

use state_backends::prelude::*;

use super::{Load, Op, Operations, Round, has_entries, in_batches};
use crate::measure::timed;

/// Value states, and the expected value of each.
pub(super) struct Values<B> {
    backend: B,
    token: ValueToken<i64>,
    load: Rc<Load>,
    model: Vec<i64>,
}

impl<B: StateBackend<Key = i64>> Values<B> {
    pub(super) fn load(mut backend: B, load: &Rc<Load>) -> Result<Self> {
        let token = backend.register(ValueDescriptor::new("kvState"))?;
        let model: Vec<i64> = (0..load.keys).map(|i| load.loaded(i)).collect();
        let mut values = Self { backend, token, load: Rc::clone(load), model };
        for i in 0..values.load.keys {
            values.set(i as i64, values.model[i])?;
        }
        Ok(values)
    }

    #[inline]
    fn set(&mut self, key: i64, value: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.set(value)
    }

    #[inline]
    fn get(&mut self, key: i64) -> Result<Option<i64>> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.get()
    }

    fn sum(&mut self, keys: impl Iterator<Item = i64>) -> Result<i64> {
        let mut sum = 0_i64;
        for key in keys {
            sum = sum.wrapping_add(self.get(key)?.unwrap_or(0));
        }
        Ok(black_box(sum))
    }
}

impl<B: StateBackend<Key = i64>> Operations for Values<B> {
    fn round(&mut self, op: Op, round: usize) -> Result<Round> {
        let load = Rc::clone(&self.load);
        let ops = load.ops;
        let existing = || load.existing(round, ops);
        let took = match op {
            Op::ValueGet => {
                let (sum, took) = timed(|| self.sum(existing().map(|(key, _)| key)));
                let expected =
                    existing().fold(0_i64, |sum, (key, _)| sum.wrapping_add(self.model[key as usize]));
                assert_eq!(sum?, expected, "other values than were set");
                took
            }
            Op::ValueGetBatch => {
                let mut sum = 0_i64;
                let keys = existing().map(|(key, _)| (key, ()));
                let (result, took) = timed(|| {
                    in_batches(&mut self.backend, self.token, keys, |backend, key, ()| {
                        sum = sum.wrapping_add(backend.value(self.token, key, &())?.get()?.unwrap_or(0));
                        Ok(())
                    })
                });
                result?;
                let expected =
                    existing().fold(0_i64, |sum, (key, _)| sum.wrapping_add(self.model[key as usize]));
                assert_eq!(black_box(sum), expected, "other values than were set");
                took
            }
            Op::ValueAdd => {
                let (result, took) =
                    timed(|| load.fresh(round).try_for_each(|(key, value)| self.set(key, value)));
                result?;
                assert!(has_entries(&self.backend, load.keys + ops), "not all new keys are there");
                for (key, value) in load.fresh(round) {
                    assert_eq!(self.get(key)?, Some(value), "another value than was set");
                    let key = self.backend.key(&key)?;
                    self.backend.value(self.token, key, &())?.clear()?;
                }
                assert!(has_entries(&self.backend, load.keys), "not all new keys are gone");
                took
            }
            _ => {
                let (result, took) = timed(|| {
                    if op == Op::ValueUpdateBatch {
                        return in_batches(
                            &mut self.backend,
                            self.token,
                            existing(),
                            |backend, key, value| backend.value(self.token, key, &())?.set(value),
                        );
                    }
                    existing().try_for_each(|(key, value)| self.set(key, value))
                });
                result?;
                for (key, value) in existing() {
                    self.model[key as usize] = value;
                    assert_eq!(self.get(key)?, Some(value), "another value than was set");
                }
                took
            }
        };
        Ok(Round { ops: ops as u64, took })
    }
}
