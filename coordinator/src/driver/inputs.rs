use std::time::Instant;

use backend_api::Result;
use crossbeam_channel::{Receiver, Select};

use super::context::{AlignmentTime, Control, TaskContext};
use super::neighbour_ended;
use crate::{Aligned, Alignment, Barrier, DeclineReason, Message};

/// The next step of an operator.
#[derive(Debug)]
pub enum Input<T> {
    /// Process a record.
    Record {
        /// Number of the input.
        input: usize,
        /// The record.
        record: T,
    },
    /// Take a snapshot ([`TaskContext::snapshot`]) and forward the barrier.
    Barrier(Barrier, AlignmentTime),
    /// A control of the driver.
    Control(Control),
    /// All inputs have ended.
    End,
}

/// The receiving ends of an operator's channels, aligned at barriers.
#[derive(Debug)]
pub struct Inputs<T> {
    receivers: Vec<Receiver<Message<T>>>,
    alignment: Alignment<T>,
    size: fn(&T) -> u64,
    /// Time of the first barrier of the alignment.
    since: Option<(u64, Instant)>,
}

impl<T> Inputs<T> {
    /// Inputs that hold back at most `held_bytes_max` bytes. `size` returns the bytes of a record.
    pub fn new(receivers: Vec<Receiver<Message<T>>>, held_bytes_max: u64, size: fn(&T) -> u64) -> Self {
        let alignment = Alignment::new(receivers.len(), held_bytes_max);
        Self { receivers, alignment, size, since: None }
    }

    /// Number of inputs.
    #[expect(clippy::len_without_is_empty, reason = "an operator without inputs is a source")]
    pub fn len(&self) -> usize {
        self.receivers.len()
    }

    /// Waits for the next step.
    ///
    /// # Errors
    /// [`Closed`](backend_api::ErrorKind::Closed) if the job has ended, or a task at the other end has ended
    /// without [`Message::End`].
    pub fn next(&mut self, context: &mut TaskContext) -> Result<Input<T>> {
        loop {
            match self.alignment.next() {
                Some(Aligned::Record { input, record }) => return Ok(Input::Record { input, record }),
                Some(Aligned::Barrier { barrier, held_bytes }) => {
                    let since = self.since.take().filter(|(id, _)| *id == barrier.id);
                    let waited = since.map(|(_, since)| since.elapsed()).unwrap_or_default();
                    return Ok(Input::Barrier(barrier, AlignmentTime { waited, held_bytes }));
                }
                Some(Aligned::Abandoned { id }) => {
                    context.decline(id, DeclineReason::Overtaken);
                    continue;
                }
                Some(Aligned::End) => return Ok(Input::End),
                None => {}
            }
            if let Some(id) =
                self.alignment.aligning().filter(|id| self.since.is_none_or(|(known, _)| known != *id))
            {
                self.since = Some((id, Instant::now()));
            }
            if let Some(control) = self.receive(context)? {
                if let Control::Aborted(id) = control {
                    self.alignment.abort(id);
                }
                return Ok(Input::Control(control));
            }
        }
    }

    /// Takes the next message of a wanted input, or the next control.
    fn receive(&mut self, context: &mut TaskContext) -> Result<Option<Control>> {
        if let Some(control) = context.poll()? {
            return Ok(Some(control));
        }
        let wanted: Vec<usize> =
            (0..self.receivers.len()).filter(|input| self.alignment.wants(*input)).collect();
        let mut select = Select::new();
        for input in &wanted {
            select.recv(&self.receivers[*input]);
        }
        select.recv(&context.control);
        let ready = select.select();
        let Some(&input) = wanted.get(ready.index()) else {
            return Ok(Some(ready.recv(&context.control).map_err(|_| neighbour_ended())?));
        };
        let message = ready.recv(&self.receivers[input]).map_err(|_| neighbour_ended())?;
        let bytes = match &message {
            Message::Record(record) => (self.size)(record),
            Message::Barrier(_) | Message::End => 0,
        };
        self.alignment.push(input, message, bytes);
        Ok(None)
    }
}
