use std::collections::HashSet;
use std::rc::Rc;

use state_backends::prelude::*;

use super::{Family, Load, Op, Operations, Round};
use crate::counts::Counts;
use crate::measure::timed;
use crate::workload::{Stream, Zipf, uniform, url_key};

/// Counts of words. All words exist from the start.
pub(super) struct Counting<B: StateBackend> {
    counts: Counts<B>,
    load: Rc<Load>,
    draws: Box<dyn Iterator<Item = u64>>,
    counted: u64,
}

impl<B: StateBackend<Key = String>> Counting<B> {
    pub(super) fn load(backend: B, op: Op, load: &Rc<Load>) -> Result<Self> {
        let mut counts = Counts::new(backend)?;
        let n = load.app_keys as u64;
        let draws: Box<dyn Iterator<Item = u64>> = match op {
            Op::WordcountZipf | Op::WordcountZipfBatch => Box::new(Zipf::new(n, 0.99, load.seed)),
            _ => Box::new(uniform(n, load.seed, Stream::Uniform)),
        };
        for i in 0..n {
            counts.add_one(&url_key(i))?;
        }
        Ok(Self { counts, load: Rc::clone(load), draws, counted: n })
    }
}

impl<B: StateBackend<Key = String>> Operations for Counting<B> {
    fn round(&mut self, op: Op, _: usize) -> Result<Round> {
        let events = self.load.events;
        // A new string for each event, as from a deserializer.
        let words: Vec<String> = self.draws.by_ref().take(events).map(url_key).collect();
        let is_batch = matches!(op, Op::WordcountUniformBatch | Op::WordcountZipfBatch);
        let (result, took) = timed(|| {
            if is_batch {
                return self.counts.add_one_each(&words);
            }
            words.iter().try_for_each(|word| self.counts.add_one(word))
        });
        result?;
        self.counted += events as u64;
        let mut total = 0;
        for i in 0..self.load.app_keys {
            total += self.counts.get(&url_key(i as u64))?;
        }
        assert_eq!(total, self.counted, "words were lost or made up");
        Ok(Round { ops: events as u64, took })
    }
}

/// The words seen so far. Every round starts with an empty backend and the same words.
pub(super) struct Deduplication<F> {
    family: F,
    load: Rc<Load>,
}

impl<F: Family> Deduplication<F> {
    pub(super) fn new(family: F, load: &Rc<Load>) -> Self {
        Self { family, load: Rc::clone(load) }
    }
}

impl<F: Family> Operations for Deduplication<F> {
    fn round(&mut self, _: Op, _: usize) -> Result<Round> {
        let (n, events) = (self.load.app_keys as u64, self.load.events);
        let draws = uniform(n, self.load.seed, Stream::Dedup).take(events);
        let words: Vec<String> = draws.map(url_key).collect();
        let mut backend = self.family.open_empty::<String>()?;
        let token: ValueToken<bool> = backend.register(ValueDescriptor::new("seen"))?;
        let mut first = 0;
        let (result, took) = timed(|| {
            words.iter().try_for_each(|word| {
                let key = backend.key(word)?;
                backend.value(token, key, &())?.update(|seen| {
                    first += usize::from(seen.is_none());
                    *seen = Some(true);
                })
            })
        });
        result?;
        assert_eq!(first, words.iter().collect::<HashSet<_>>().len(), "words were taken for others");
        Ok(Round { ops: events as u64, took })
    }
}
