use std::rc::Rc;

use state_backends::prelude::*;

use super::{LIST_ELEMENTS, Load, Op, Operations, Round, has_entries, in_batches};
use crate::measure::timed;

/// Lists of one element each.
pub(super) struct Lists<B> {
    backend: B,
    token: ListToken<i64>,
    load: Rc<Load>,
}

impl<B: StateBackend<Key = i64>> Lists<B> {
    pub(super) fn load(mut backend: B, load: &Rc<Load>) -> Result<Self> {
        let token = backend.register(ListDescriptor::new("listState"))?;
        let mut lists = Self { backend, token, load: Rc::clone(load) };
        for i in 0..load.keys {
            lists.set(i as i64, load.loaded(i))?;
        }
        Ok(lists)
    }

    #[inline]
    fn set(&mut self, key: i64, element: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.list(self.token, key, &())?.set([element])
    }

    #[inline]
    fn add(&mut self, key: i64, element: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.list(self.token, key, &())?.add(element)
    }

    fn add_all(&mut self, key: i64, elements: &[i64]) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.list(self.token, key, &())?.add_all(elements.iter().copied())
    }

    #[inline]
    fn is_there(&mut self, key: i64) -> Result<bool> {
        let key = self.backend.key(&key)?;
        let mut list = self.backend.list(self.token, key, &())?;
        let first = list.iter()?.next().transpose()?;
        Ok(first.is_some())
    }

    fn get(&mut self, key: i64) -> Result<Vec<i64>> {
        let key = self.backend.key(&key)?;
        self.backend.list(self.token, key, &())?.get()
    }

    /// Checks that each list ends with `elements(value)`, and sets it to `value` alone again.
    fn undo(&mut self, round: usize, n: usize, elements: impl Fn(i64) -> Vec<i64>) -> Result<()> {
        let load = Rc::clone(&self.load);
        for (key, value) in load.existing(round, n) {
            let (list, added) = (self.get(key)?, elements(value));
            assert_eq!(list.len(), 1 + added.len(), "another number of elements than were added");
            assert_eq!(list[1..], added, "other elements than were added");
            self.set(key, value)?;
        }
        Ok(())
    }
}

impl<B: StateBackend<Key = i64>> Operations for Lists<B> {
    fn round(&mut self, op: Op, round: usize) -> Result<Round> {
        let load = Rc::clone(&self.load);
        let n = if op == Op::ListAddAll { load.tenth() } else { load.ops };
        let existing = || load.existing(round, n);
        let took = match op {
            Op::ListAdd => {
                let (result, took) =
                    timed(|| load.fresh(round).try_for_each(|(key, value)| self.set(key, value)));
                result?;
                assert!(has_entries(&self.backend, load.keys + n), "not all new keys are there");
                for (key, value) in load.fresh(round) {
                    assert_eq!(self.get(key)?, [value], "another list than was set");
                    let key = self.backend.key(&key)?;
                    self.backend.list(self.token, key, &())?.clear()?;
                }
                took
            }
            Op::ListAppend | Op::ListAppendBatch => {
                let (result, took) = timed(|| match op {
                    Op::ListAppend => existing().try_for_each(|(key, value)| self.add(key, value)),
                    _ => in_batches(&mut self.backend, self.token, existing(), |backend, key, value| {
                        backend.list(self.token, key, &())?.add(value)
                    }),
                });
                result?;
                self.undo(round, n, |value| vec![value])?;
                took
            }
            Op::ListAddAll => {
                let hundred = &load.values[..LIST_ELEMENTS];
                let (result, took) = timed(|| existing().try_for_each(|(key, _)| self.add_all(key, hundred)));
                result?;
                self.undo(round, n, |_| hundred.to_vec())?;
                took
            }
            Op::ListGet => {
                let mut there = 0;
                let (result, took) = timed(|| {
                    existing().try_for_each(|(key, _)| {
                        there += usize::from(self.is_there(key)?);
                        Ok::<_, Error>(())
                    })
                });
                result?;
                assert_eq!(there, n, "lists are missing");
                took
            }
            _ => {
                let (result, took) = timed(|| existing().try_for_each(|(key, value)| self.set(key, value)));
                result?;
                for (key, value) in existing() {
                    assert_eq!(self.get(key)?, [value], "another list than was set");
                }
                took
            }
        };
        Ok(Round { ops: n as u64, took })
    }
}
