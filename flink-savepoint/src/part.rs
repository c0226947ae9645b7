//! The stream of a subtask's keyed state.

use backend_api::Result;

use crate::header::{self, StateInfo};
use crate::input::{Input, corrupt};
use crate::metadata::KeyedHandle;
use crate::stream::OpenStream;
use crate::types::Type;

/// The keyed state of a subtask.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) stream: OpenStream,
    pub(crate) is_compressed: bool,
    pub(crate) key: Type,
    pub(crate) max_parallelism: u16,
    pub(crate) first_group: u16,
    /// By their ids in the rows.
    pub(crate) states: Vec<StateInfo>,
    /// Key groups with data, each with its start and end in the stream.
    pub(crate) groups: Vec<(u16, u64, u64)>,
}

impl Part {
    /// Opens the stream and reads its header.
    pub(crate) fn open(handle: &KeyedHandle, max_parallelism: u16) -> Result<Self> {
        let stream = handle.stream.open()?;
        let groups = groups(handle, stream.len()).map_err(|error| stream.placed(error, 0))?;
        let header_len = groups.iter().map(|(_, start, _)| *start).min().unwrap_or(stream.len());
        let header_len = usize::try_from(header_len).map_err(|_| corrupt("the header is too long"))?;
        let (is_compressed, key, states) = {
            let bytes = stream.read(0, header_len)?;
            let mut input = Input::new(&bytes);
            header::read(&mut input).map_err(|error| stream.placed(error, input.offset() as u64))?
        };
        let first_group = handle.first_group;
        Ok(Self { stream, is_compressed, key, max_parallelism, first_group, states, groups })
    }
}

/// The key groups with data. Each ends where the next one in the stream begins.
fn groups(handle: &KeyedHandle, len: u64) -> Result<Vec<(u16, u64, u64)>> {
    let numbered = (handle.first_group..).zip(&handle.offsets);
    let mut groups: Vec<_> =
        numbered.filter(|(_, offset)| **offset != 0).map(|(group, offset)| (group, *offset, len)).collect();
    groups.sort_unstable_by_key(|(_, start, _)| *start);
    for i in 1..groups.len() {
        groups[i - 1].2 = groups[i].1;
    }
    match groups.iter().find(|(_, start, end)| start >= end || *end > len) {
        Some((group, start, _)) => {
            Err(corrupt(format!("key group {group} begins at {start} of {len} bytes")).in_group(*group))
        }
        None => {
            groups.sort_unstable_by_key(|(group, ..)| *group);
            Ok(groups)
        }
    }
}
