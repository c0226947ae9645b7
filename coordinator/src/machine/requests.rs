//! Waiting requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::output::{BarrierKind, RequestId};

/// Most waiting requests.
pub const MOST: usize = 1000;

/// A request for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub id: RequestId,
    pub kind: BarrierKind,
    pub periodic: bool,
    /// Where the folder of a savepoint is made.
    pub savepoint_in: Option<Arc<str>>,
}

/// Order of requests: savepoints, then user requests, then periodic ones. Older ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Rank {
    is_checkpoint: bool,
    is_periodic: bool,
    id: RequestId,
}

/// Requests by their rank.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requests(BTreeMap<Rank, Request>);

impl Requests {
    /// Adds a request. If too many wait, returns the one that is refused: a periodic one or the new one.
    pub fn add(&mut self, request: Request) -> Option<Request> {
        if self.0.len() >= MOST && self.0.last_key_value().is_none_or(|(last, _)| !last.is_periodic) {
            return Some(request);
        }
        let (is_checkpoint, is_periodic) = (!request.kind.is_savepoint(), request.periodic);
        self.0.insert(Rank { is_checkpoint, is_periodic, id: request.id }, request);
        if self.0.len() > MOST { self.0.pop_last().map(|(_, last)| last) } else { None }
    }

    pub fn first(&self) -> Option<&Request> {
        self.0.first_key_value().map(|(_, request)| request)
    }

    pub fn take_first(&mut self) -> Option<Request> {
        self.0.pop_first().map(|(_, request)| request)
    }

    pub fn take_all(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.0).into_values().collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.0.values()
    }

    /// Takes all periodic requests.
    pub fn take_periodic(&mut self) -> Vec<Request> {
        let (periodic, others) =
            std::mem::take(&mut self.0).into_iter().partition(|(rank, _)| rank.is_periodic);
        self.0 = others;
        let periodic: BTreeMap<Rank, Request> = periodic;
        periodic.into_values().collect()
    }
}
