//! Batches: events between a source and a subtask, many in one allocation.

use crate::log_line::Visit;
use crate::window::Minute;

const MAX_EVENTS: usize = 1024;
const MAX_BYTES: usize = 1 << 16;

/// An event for a subtask, in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A line whose path belongs to the subtask.
    Visit(Visit<'b>),
    /// The log has reached this minute. Windows before it may close.
    Minute(Minute),
}

/// Events, and the bytes of their paths and addresses in one buffer.
#[derive(Debug, Default)]
pub struct Batch {
    texts: Vec<u8>,
    events: Vec<Packed>,
}

#[derive(Debug)]
enum Packed {
    Visit { path: usize, address: usize, time: Option<u64>, status: u16, bytes: u64 },
    Minute(Minute),
}

impl Batch {
    /// Appends an event.
    pub fn push(&mut self, event: Event<'_>) {
        self.events.push(match event {
            Event::Visit(Visit { path, address, time, status, bytes }) => {
                self.texts.extend_from_slice(path);
                self.texts.extend_from_slice(address);
                Packed::Visit { path: path.len(), address: address.len(), time, status, bytes }
            }
            Event::Minute(minute) => Packed::Minute(minute),
        });
    }

    /// True if it should be sent.
    pub fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.texts.len() >= MAX_BYTES
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> u64 {
        self.texts.len() as u64
    }

    /// True if it has no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, in insertion order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let mut texts = &self.texts[..];
        let mut text = move |len| {
            let (text, rest) = texts.split_at(len);
            texts = rest;
            text
        };
        self.events.iter().map(move |packed| match *packed {
            Packed::Visit { path, address, time, status, bytes } => {
                Event::Visit(Visit { path: text(path), address: text(address), time, status, bytes })
            }
            Packed::Minute(minute) => Event::Minute(minute),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_as_they_went_in() {
        let visit = |path, address| Visit { path, address, time: Some(7), status: 200, bytes: 1 };
        let events =
            [Event::Visit(visit(b"/a", b"1.2.3.4")), Event::Minute(9), Event::Visit(visit(b"/\xff", b"::1"))];
        let mut batch = Batch::default();
        events.iter().for_each(|event| batch.push(*event));
        assert_eq!(batch.events().collect::<Vec<_>>(), events);
    }
}
