//! Sends each record to the subtask that owns its key group.

use crossbeam_channel::Sender;
use state_backends::prelude::*;

use crate::batch::{Batch, Event};
use crate::log_line::Visit;
use crate::page_stats::Path;
use crate::window::Minute;

/// One batch in the making for each subtask.
pub struct Router {
    key_space: KeySpace<Path>,
    routes: Vec<Route>,
    /// The key of the current record. Its buffer is used again for the next one.
    path: Path,
}

struct Route {
    messages: Sender<Message<Batch>>,
    batch: Batch,
}

impl Router {
    /// A router to these subtasks, in the order of their indexes.
    pub fn new(key_space: KeySpace<Path>, subtasks: Vec<Sender<Message<Batch>>>) -> Self {
        let routes =
            subtasks.into_iter().map(|messages| Route { messages, batch: Batch::default() }).collect();
        Self { key_space, routes, path: Path::new() }
    }

    /// Sends a record to the subtask of its path. Returns true if that sent a batch.
    pub fn visit(&mut self, visit: Visit<'_>) -> Result<bool> {
        self.path.clear();
        self.path.extend_from_slice(visit.path);
        let subtask = self.key_space.subtask(self.routes.len() as u16, &self.path)?;
        let route = &mut self.routes[usize::from(subtask)];
        route.batch.push(Event::Visit(visit));
        let is_full = route.batch.is_full();
        if is_full {
            route.flush()?;
        }
        Ok(is_full)
    }

    /// Tells all subtasks that this source has reached this minute, after the records before it.
    pub fn minute(&mut self, newest: Minute) {
        self.routes.iter_mut().for_each(|route| route.batch.push(Event::Minute(newest)));
    }

    /// Sends all subtasks a barrier, after the records before it.
    pub fn barrier(&mut self, barrier: &Barrier) -> Result<()> {
        self.broadcast(|| Message::Barrier(barrier.clone()))
    }

    /// Sends what is left at the end of the input, which no minute comes after.
    pub fn finish(&mut self) -> Result<()> {
        self.minute(Minute::MAX);
        self.broadcast(|| Message::End)
    }

    fn broadcast(&mut self, message: impl Fn() -> Message<Batch>) -> Result<()> {
        self.routes.iter_mut().try_for_each(|route| {
            route.flush()?;
            route.send(message())
        })
    }
}

impl Route {
    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.send(Message::Record(batch))
    }

    /// Blocks while the inbox of the subtask is full.
    fn send(&self, message: Message<Batch>) -> Result<()> {
        self.messages.send(message).map_err(|_| Error::new(ErrorKind::Closed, "a subtask ended early"))
    }
}
