//! A storage whose writers wait at a gate.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use backend_api::storage::{StorageEntry, StorageFile, StorageWriter};
use backend_api::{Cancel, CancelGuard, Result, Storage};

/// A storage that holds chosen files back: their writers block at the first byte until
/// [released](Self::release) or cancelled.
#[derive(Debug)]
pub struct GatedStorage {
    inner: Arc<dyn Storage>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    /// Number of next files to hold.
    to_hold: usize,
    /// Number of waiting writers.
    waiting: usize,
    /// Counts releases. A waiting writer waits for a greater number.
    releases: u64,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&GateState) -> bool) {
        let state = self.changed.wait_while(self.state(), |state| condition(state));
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }
}

impl GatedStorage {
    /// A storage that holds nothing yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, gate: Arc::default() }
    }

    /// Holds the next file that is created.
    pub fn hold_next(&self) {
        self.gate.state().to_hold += 1;
    }

    /// Waits until a writer is held.
    pub fn wait_until_held(&self) {
        self.gate.wait_while(|state| state.waiting == 0);
    }

    /// Number of held writers.
    pub fn held(&self) -> usize {
        self.gate.state().waiting
    }

    /// Releases all held writers.
    pub fn release(&self) {
        self.gate.state().releases += 1;
        self.gate.changed.notify_all();
    }
}

impl Storage for GatedStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        let writer = self.inner.create(path, cancel)?;
        let mut state = self.gate.state();
        if state.to_hold == 0 {
            return Ok(writer);
        }
        state.to_hold -= 1;
        drop(state);
        let gate = Arc::clone(&self.gate);
        // Under the lock, so that a writer that is about to wait does not miss it.
        let wake = move || {
            let _state = gate.state();
            gate.changed.notify_all();
        };
        let guard = cancel.on_cancel(wake);
        let gate = Some(Arc::clone(&self.gate));
        Ok(Box::new(GatedWriter { inner: writer, gate, cancel: cancel.clone(), _guard: guard }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.inner.open(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        self.inner.list(folder)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path)
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        self.inner.delete_folder(folder)
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        self.inner.sweep(folder)
    }
}

#[derive(Debug)]
struct GatedWriter {
    inner: Box<dyn StorageWriter>,
    /// The gate, until it is passed.
    gate: Option<Arc<Gate>>,
    cancel: Cancel,
    _guard: CancelGuard,
}

impl GatedWriter {
    fn pass(&mut self) -> Result<()> {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.state();
            let seen = state.releases;
            state.waiting += 1;
            gate.changed.notify_all();
            drop(state);
            gate.wait_while(|state| state.releases == seen && !self.cancel.is_cancelled());
            gate.state().waiting -= 1;
        }
        self.cancel.check()
    }
}

impl StorageWriter for GatedWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pass()?;
        self.inner.write(bytes)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.pass()?;
        self.inner.finish()
    }
}
