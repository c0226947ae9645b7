use std::hint::black_box;
use std::rc::Rc;

use state_backends::prelude::*;

use super::{Load, MAP_ENTRIES, Op, Operations, Round, has_entries, in_batches};
use crate::measure::timed;

/// Maps with the map keys 0 to 9, and the expected entries of each.
pub(super) struct Maps<B> {
    backend: B,
    token: MapToken<i64, i64>,
    load: Rc<Load>,
    model: Vec<[i64; MAP_ENTRIES]>,
}

impl<B: StateBackend<Key = i64>> Maps<B> {
    pub(super) fn load(mut backend: B, load: &Rc<Load>) -> Result<Self> {
        let token = backend.register(MapDescriptor::new("mapState"))?;
        let mut maps =
            Self { backend, token, load: Rc::clone(load), model: vec![[0; MAP_ENTRIES]; load.keys] };
        for i in 0..load.keys {
            for (j, &map_key) in load.map_keys.iter().enumerate() {
                let value = load.loaded(i + j);
                maps.put(i as i64, map_key, value)?;
                maps.model[i][map_key as usize] = value;
            }
        }
        Ok(maps)
    }

    #[inline]
    fn put(&mut self, key: i64, map_key: i64, value: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.map(self.token, key, &())?.put(map_key, value)
    }

    #[inline]
    fn get(&mut self, key: i64, map_key: i64) -> Result<Option<i64>> {
        let key = self.backend.key(&key)?;
        self.backend.map(self.token, key, &())?.get(&map_key)
    }

    /// True if the operation accesses batches of 32.
    fn is_batch(op: Op) -> bool {
        matches!(op, Op::MapGetBatch | Op::MapUpdateBatch | Op::MapIteratorBatch)
    }

    #[inline]
    fn contains(&mut self, key: i64, map_key: i64) -> Result<bool> {
        let key = self.backend.key(&key)?;
        self.backend.map(self.token, key, &())?.contains(&map_key)
    }

    #[inline]
    fn remove(&mut self, key: i64, map_key: i64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.map(self.token, key, &())?.remove(&map_key)
    }

    fn put_all(&mut self, key: i64, entries: &[(i64, i64)]) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.map(self.token, key, &())?.put_all(entries.iter().copied())
    }

    /// Number and sum of a map's entries.
    #[inline]
    fn walk(&mut self, key: i64, sum: &mut i64) -> Result<u64> {
        let context = self.backend.key(&key)?;
        Self::walk_at(&mut self.backend, self.token, context, sum)
    }

    #[inline]
    fn walk_at(
        backend: &mut B,
        token: MapToken<i64, i64>,
        key: KeyContext<'_, i64>,
        sum: &mut i64,
    ) -> Result<u64> {
        let mut map = backend.map(token, key, &())?;
        let mut entries = 0;
        for entry in map.iter()? {
            let (map_key, value) = entry?;
            *sum = sum.wrapping_add(*map_key).wrapping_add(*value);
            entries += 1;
        }
        Ok(entries)
    }

    /// Checks a map against the model.
    fn check(&mut self, key: i64) -> Result<()> {
        let mut sum = 0;
        assert_eq!(self.walk(key, &mut sum)?, MAP_ENTRIES as u64, "another number of entries");
        assert_eq!(sum, expected(&self.model[key as usize]), "other entries than were put");
        Ok(())
    }
}

/// Sum of the keys and values of a map.
fn expected(values: &[i64; MAP_ENTRIES]) -> i64 {
    values.iter().zip(0..).fold(0, |sum, (value, map_key)| sum.wrapping_add(map_key).wrapping_add(*value))
}

impl<B: StateBackend<Key = i64>> Operations for Maps<B> {
    fn round(&mut self, op: Op, round: usize) -> Result<Round> {
        let load = Rc::clone(&self.load);
        let n = if matches!(op, Op::MapIterator | Op::MapIteratorBatch | Op::MapPutAll) {
            load.tenth()
        } else {
            load.ops
        };
        // Key, map key and value of each operation.
        let accesses = || {
            let access =
                |(at, value): (usize, &i64)| (load.existing[at], load.map_keys[at % MAP_ENTRIES], *value);
            load.positions(round, n).zip(&load.values).map(access)
        };
        let batched = || accesses().map(|(key, map_key, value)| (key, (map_key, value)));
        let (token, is_batch) = (self.token, Self::is_batch(op));
        let mut ops = n as u64;
        let took = match op {
            Op::MapGet | Op::MapGetBatch => {
                let mut sum = 0_i64;
                let (result, took) = timed(|| {
                    if is_batch {
                        return in_batches(
                            &mut self.backend,
                            token,
                            batched(),
                            |backend, key, (map_key, _)| {
                                sum = sum
                                    .wrapping_add(backend.map(token, key, &())?.get(&map_key)?.unwrap_or(0));
                                Ok(())
                            },
                        );
                    }
                    accesses().try_for_each(|(key, map_key, _)| {
                        sum = sum.wrapping_add(self.get(key, map_key)?.unwrap_or(0));
                        Ok::<_, Error>(())
                    })
                });
                result?;
                let expected = accesses().fold(0_i64, |sum, (key, map_key, _)| {
                    sum.wrapping_add(self.model[key as usize][map_key as usize])
                });
                assert_eq!(black_box(sum), expected, "other values than were put");
                took
            }
            Op::MapContains => {
                let mut there = 0;
                let (result, took) = timed(|| {
                    accesses().try_for_each(|(key, map_key, _)| {
                        there += usize::from(self.contains(key, map_key << 1)?);
                        Ok::<_, Error>(())
                    })
                });
                result?;
                let expected = accesses().filter(|(_, map_key, _)| map_key << 1 < MAP_ENTRIES as i64).count();
                assert_eq!(there, expected, "other entries than were put");
                took
            }
            Op::MapIterator | Op::MapIteratorBatch => {
                let mut sum = 0;
                ops = 0;
                let (result, took) = timed(|| {
                    if is_batch {
                        return in_batches(&mut self.backend, token, batched(), |backend, key, _| {
                            ops += Self::walk_at(backend, token, key, &mut sum)?;
                            Ok(())
                        });
                    }
                    accesses().try_for_each(|(key, ..)| {
                        ops += self.walk(key, &mut sum)?;
                        Ok::<_, Error>(())
                    })
                });
                result?;
                let all = accesses()
                    .fold(0_i64, |sum, (key, ..)| sum.wrapping_add(expected(&self.model[key as usize])));
                assert_eq!(black_box(sum), all, "other entries than were put");
                assert_eq!(ops, (n * MAP_ENTRIES) as u64, "another number of entries than were put");
                took
            }
            Op::MapRemove => {
                let (result, took) =
                    timed(|| accesses().try_for_each(|(key, map_key, _)| self.remove(key, map_key)));
                result?;
                assert!(has_entries(&self.backend, load.keys * MAP_ENTRIES - n), "not all are gone");
                for (key, map_key, value) in accesses() {
                    assert_eq!(self.get(key, map_key)?, None, "an entry is still there");
                    self.put(key, map_key, value)?;
                    self.model[key as usize][map_key as usize] = value;
                }
                took
            }
            Op::MapPutAll => {
                let ten: Vec<(i64, i64)> =
                    load.map_keys.iter().copied().zip(load.values.iter().copied()).collect();
                let (result, took) = timed(|| accesses().try_for_each(|(key, ..)| self.put_all(key, &ten)));
                result?;
                for (key, ..) in accesses() {
                    for (map_key, value) in &ten {
                        self.model[key as usize][*map_key as usize] = *value;
                    }
                    self.check(key)?;
                }
                took
            }
            _ => {
                let (result, took) = timed(|| {
                    if is_batch {
                        return in_batches(
                            &mut self.backend,
                            token,
                            batched(),
                            |backend, key, (map_key, value)| {
                                backend.map(token, key, &())?.put(map_key, value)
                            },
                        );
                    }
                    accesses().try_for_each(|(key, map_key, value)| self.put(key, map_key, value))
                });
                result?;
                for (key, map_key, value) in accesses() {
                    self.model[key as usize][map_key as usize] = value;
                    self.check(key)?;
                }
                took
            }
        };
        Ok(Round { ops, took })
    }
}
