//! A blocking face of asynchronous work.

use std::future::Future;
use std::sync::mpsc;

use backend_api::{Cancel, Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads of the runtime. They wait for the network, and copy what it brings.
const THREADS: usize = 2;

/// Runs futures on threads of its own, so that any thread may wait for them, also one of another runtime.
pub struct Blocking(Option<Runtime>);

impl Blocking {
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("object-storage")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Io, format!("no threads for requests: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    /// Starts a future.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        self.0.as_ref().map(|runtime| runtime.spawn(work)).ok_or_else(stopped)
    }

    /// Runs a future to its end.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (done, answer) = mpsc::channel();
        self.spawn(async move { done.send(work.await) })?;
        answer.recv().map_err(|_| stopped())
    }

    /// Runs a future to its end or until it is cancelled.
    pub fn run_until<T: Send + 'static>(
        &self,
        cancel: &Cancel,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (done, answer) = mpsc::channel();
        let cancelled = done.clone();
        let task = self.spawn(async move { done.send(Some(work.await)) })?;
        let guard = cancel.on_cancel(move || _ = cancelled.send(None));
        let answer = answer.recv();
        drop(guard);
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                task.abort();
                cancel.check()?;
                Err(stopped())
            }
            Err(_) => Err(stopped()),
        }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // Waiting for the threads would panic within another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cold]
fn stopped() -> Error {
    Error::new(ErrorKind::Io, "a request has stopped without an answer")
}
