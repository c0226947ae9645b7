use std::thread;

use backend_api::Result;
use crossbeam_channel::{Sender, unbounded};

type Work = Box<dyn FnOnce() + Send>;

/// Threads that write snapshots. They end when the pool is dropped and all work is done.
#[derive(Clone, Debug)]
pub struct Pool(Sender<Work>);

impl Pool {
    pub fn start(threads: usize) -> Result<Self> {
        let (sender, receiver) = unbounded::<Work>();
        for number in 0..threads {
            let receiver = receiver.clone();
            let work = move || receiver.iter().for_each(|work| work());
            thread::Builder::new().name(format!("snapshot-{number}")).spawn(work)?;
        }
        Ok(Self(sender))
    }

    /// Runs `work` on a thread.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        // The threads live until all senders are dropped.
        let _ = self.0.send(Box::new(work));
    }
}
