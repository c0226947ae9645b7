//! Rows on their way to other key groups, in a temporary file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use backend_api::row::{decode_sized, decode_varint, encode_varint};
use backend_api::{Error, ErrorKind, Result, StateKey};

use super::{put_sized, temporary};
use crate::rows::{Group, Item, Place, Visit};

/// Most buckets. The rows of one bucket are in memory at a time.
const BUCKETS: u16 = 256;

/// Bytes of a bucket that are written at once.
const CHUNK: usize = 64 << 10;

/// The items of a state, by buckets of consecutive key groups.
#[derive(Debug)]
pub struct Spill {
    file: File,
    /// Bytes of the file.
    length: u64,
    /// Key groups of a bucket.
    width: u16,
    buckets: Vec<Bucket>,
    /// The bucket that was read last, by key groups.
    loaded: Option<(usize, BTreeMap<u16, Group>)>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Items that are not written yet.
    buffer: Vec<u8>,
    /// Offset and length of what was written.
    chunks: Vec<(u64, usize)>,
}

impl Spill {
    /// For items of `max_parallelism` key groups.
    pub fn new(max_parallelism: u16) -> Result<Self> {
        let width = max_parallelism.div_ceil(BUCKETS).max(1);
        let buckets = (0..max_parallelism.div_ceil(width)).map(|_| Bucket::default()).collect();
        Ok(Self { file: tempfile::tempfile().map_err(temporary)?, length: 0, width, buckets, loaded: None })
    }

    /// Adds an item of a key group.
    pub fn add(&mut self, group: u16, item: &Item<'_>) -> Result<()> {
        let Some(bucket) = self.buckets.get_mut(usize::from(group / self.width)) else {
            return Err(Error::new(ErrorKind::IllegalState, "there is no such key group").in_group(group));
        };
        let out = &mut bucket.buffer;
        encode_varint(group.into(), out);
        put_sized(item.key, out)?;
        put_sized(item.namespace, out)?;
        match item.place {
            Place::Single => out.push(0),
            Place::Element(_) => out.push(1),
            Place::Entry(key) => {
                out.push(2);
                put_sized(key, out)?;
            }
            Place::Timer(time) => {
                out.push(3);
                time.encode(out);
            }
        }
        put_sized(item.value, out)?;
        if out.len() >= CHUNK {
            self.file.write_all(out).map_err(temporary)?;
            bucket.chunks.push((self.length, out.len()));
            self.length += out.len() as u64;
            out.clear();
        }
        Ok(())
    }

    /// Calls `visit` with each item of a key group, in order. Key groups should be asked for in ascending order.
    pub fn for_each(&mut self, group: u16, visit: &mut Visit<'_>) -> Result<()> {
        let number = usize::from(group / self.width);
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
            self.loaded = Some((number, self.load(number)?));
        }
        let loaded = self.loaded.as_ref().and_then(|(_, groups)| groups.get(&group));
        loaded.map_or(Ok(()), |entries| entries.for_each(visit))
    }

    fn load(&self, number: usize) -> Result<BTreeMap<u16, Group>> {
        let mut groups = BTreeMap::new();
        let Some(bucket) = self.buckets.get(number) else { return Ok(groups) };
        let mut chunk = Vec::new();
        for (offset, length) in &bucket.chunks {
            chunk.resize(*length, 0);
            self.file.read_exact_at(&mut chunk, *offset).map_err(temporary)?;
            read(&chunk, &mut groups)?;
        }
        read(&bucket.buffer, &mut groups)?;
        Ok(groups)
    }
}

/// Adds the items in `bytes` to their key groups.
fn read(mut bytes: &[u8], groups: &mut BTreeMap<u16, Group>) -> Result<()> {
    let cut = || Error::new(ErrorKind::Corrupt, "a temporary file has changed");
    while !bytes.is_empty() {
        let group = u16::try_from(decode_varint(&mut bytes)?).map_err(|_| cut())?;
        let (key, namespace) = (decode_sized(&mut bytes)?, decode_sized(&mut bytes)?);
        let (tag, rest) = bytes.split_first().ok_or_else(cut)?;
        bytes = rest;
        let place = match tag {
            0 => Place::Single,
            // The elements of a list come in their order.
            1 => Place::Element(0),
            2 => Place::Entry(decode_sized(&mut bytes)?),
            _ => Place::Timer(i64::decode(&mut bytes)?),
        };
        let value = decode_sized(&mut bytes)?;
        groups.entry(group).or_default().add(Item { key, namespace, place, value });
    }
    Ok(())
}
