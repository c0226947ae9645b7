//! A count for each key, kept in a backend: the heap table behind its public interface.

use state_backends::prelude::*;

/// Keys of one call of `update_batch`.
pub const BATCH: usize = 32;

/// A value state of counts in a backend.
#[derive(Debug)]
pub struct Counts<B: StateBackend> {
    /// The backend.
    pub backend: B,
    /// The state.
    pub token: ValueToken<u64>,
}

/// Name of the state.
pub const STATE: &str = "counts";

impl<B: StateBackend> Counts<B> {
    /// Registers the state in `backend`.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn new(mut backend: B) -> Result<Self> {
        let token = backend.register(ValueDescriptor::<u64>::new(STATE))?;
        Ok(Self { backend, token })
    }

    /// Adds one to the count of a key.
    ///
    /// # Errors
    /// Errors of the backend.
    #[inline(always)]
    pub fn add_one(&mut self, key: &B::Key) -> Result<()> {
        let key = self.backend.key(key)?;
        self.backend.value(self.token, key, &())?.update(|count| *count = Some(count.map_or(1, |n| n + 1)))
    }

    /// Adds one to the counts of keys, [`BATCH`] of them at a time.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn add_one_each(&mut self, keys: &[B::Key]) -> Result<()> {
        let mut contexts = Vec::with_capacity(BATCH);
        for batch in keys.chunks(BATCH) {
            contexts.clear();
            for key in batch {
                contexts.push(self.backend.key(key)?);
            }
            self.backend.update_batch(self.token, &contexts, &(), |_, count| {
                *count = Some(count.map_or(1, |n| n + 1))
            })?;
        }
        Ok(())
    }

    /// Removes keys, [`BATCH`] of them at a time.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn remove_each(&mut self, keys: &[B::Key]) -> Result<()> {
        let mut contexts = Vec::with_capacity(BATCH);
        for batch in keys.chunks(BATCH) {
            contexts.clear();
            for key in batch {
                contexts.push(self.backend.key(key)?);
            }
            self.backend.prefetch_batch(self.token, &contexts, &());
            for &key in &contexts {
                self.backend.value(self.token, key, &())?.clear()?;
            }
        }
        Ok(())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// Errors of the backend.
    #[inline]
    pub fn remove(&mut self, key: &B::Key) -> Result<()> {
        let key = self.backend.key(key)?;
        self.backend.value(self.token, key, &())?.clear()
    }

    /// The count of a key; 0 if there is none.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn get(&mut self, key: &B::Key) -> Result<u64> {
        let key = self.backend.key(key)?;
        Ok(self.backend.value(self.token, key, &())?.get()?.unwrap_or(0))
    }

    /// The backend's statistics of the state.
    ///
    /// # Panics
    /// If it does not know the state.
    pub fn info(&self) -> StateInfo {
        let mut states = self.backend.states().into_iter();
        states.find(|state| state.name == STATE).expect("it was registered")
    }
}

/// The only subtask of an operator with 128 key groups.
///
/// # Errors
/// None, with these arguments.
pub fn subtask<K: StateKey>() -> Result<Subtask<K>> {
    Subtask::single("bench", KeySpace::new(128)?)
}

/// Counts in a [`MemoryBackend`].
///
/// # Errors
/// None, as long as there is memory.
pub fn in_memory<K: StateKey>() -> Result<Counts<MemoryBackend<K>>> {
    Counts::new(MemoryBackend::open(&MemoryOptions::default(), subtask()?, &[])?)
}
