use backend_api::{KeyContext, Lifecycle, Result, StateKey, StoredKey, Timer, TimerState, TimerToken};

use crate::heap::timers::TimerQueue;

/// View of timers on the heap.
pub struct HeapTimers<'a, K: StateKey, N: StateKey> {
    pub(in crate::heap) life: &'a Lifecycle<K>,
    pub(in crate::heap) token: TimerToken<N>,
    pub(in crate::heap) queue: &'a mut TimerQueue<K, N>,
}

impl<K: StateKey, N: StateKey> TimerState<K, N> for HeapTimers<'_, K, N> {
    #[inline]
    fn add(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<bool> {
        let place = self.life.place(self.token, key, namespace)?;
        self.queue.add(place, at)
    }

    #[inline]
    fn remove(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<bool> {
        let place = self.life.place(self.token, key, namespace)?;
        self.queue.remove(place, at)
    }

    #[inline]
    fn peek(&mut self) -> Result<Option<Timer<K, N>>> {
        Ok(self.queue.peek())
    }

    #[inline]
    fn next_due(&mut self, to: i64) -> Result<Option<Timer<K, N>>> {
        Ok(self.queue.next_due(to))
    }

    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        Ok(self.queue.iter().map(Ok))
    }

    fn in_key_group(&mut self, group: u16) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        let group = self.life.group_index(self.token, group)?;
        Ok(self.queue.in_group(group).map(Ok))
    }

    fn of_key(&mut self, key: KeyContext<'_, K>) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        let group = self.life.group_of(self.token, key)?;
        let of = K::Stored::store_borrowed(key.key());
        Ok(self.queue.in_group(group).filter(move |timer| of.matches(&timer.key)).map(Ok))
    }

    fn len(&mut self) -> Result<u64> {
        Ok(self.queue.len())
    }
}
