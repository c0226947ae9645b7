//! From the source to the subtasks: each record goes to the one that owns its key group.

use std::sync::mpsc::SyncSender;

use state_backends::prelude::*;

use crate::batch::{Batch, Event};
use crate::failure::Failure;
use crate::log_line::Visit;
use crate::page_stats::Path;
use crate::subtask::Message;
use crate::window::Minute;

/// Batches on their way, for each subtask one.
pub struct Router {
    key_space: KeySpace<Path>,
    routes: Vec<Route>,
    /// The key of the record at hand, so that not every record has to allocate one.
    path: Path,
}

struct Route {
    messages: SyncSender<Message>,
    batch: Batch,
}

impl Router {
    /// Routes to these subtasks, given in the order of their numbers.
    pub fn new(key_space: KeySpace<Path>, subtasks: Vec<SyncSender<Message>>) -> Self {
        let routes =
            subtasks.into_iter().map(|messages| Route { messages, batch: Batch::default() }).collect();
        Self { key_space, routes, path: Path::new() }
    }

    /// Sends a record to the subtask of its path. Answers whether a batch went out.
    pub fn visit(&mut self, visit: Visit<'_>) -> Result<bool, Failure> {
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

    /// Tells all subtasks, between the records before and after, that the log has come to this minute.
    pub fn minute(&mut self, newest: Minute) {
        self.routes.iter_mut().for_each(|route| route.batch.push(Event::Minute(newest)));
    }

    /// Sends all subtasks a message, after the records before it.
    pub fn broadcast(&mut self, message: impl Fn() -> Message) -> Result<(), Failure> {
        self.routes.iter_mut().try_for_each(|route| {
            route.flush()?;
            route.send(message())
        })
    }

    /// Sends what is left; the input has ended.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.routes.iter_mut().try_for_each(Route::flush)
    }
}

impl Route {
    fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.send(Message::Batch(batch))
    }

    /// Blocks while the subtask has enough to do.
    fn send(&self, message: Message) -> Result<(), Failure> {
        self.messages.send(message).map_err(|_| Failure::Job("a subtask ended early".to_owned()))
    }
}
