use std::ops::{Bound, RangeBounds};

use crate::EntryKey;
use backend_api::{BorrowedKey, Result, StateKey};

/// The keys of one access, in buffers that the next access reuses.
#[derive(Debug, Default)]
pub(crate) struct KeyBuffers {
    /// State, key group, key and namespace of the access.
    here: Vec<u8>,
    /// Where the namespace begins.
    namespace_at: usize,
    /// Another key, or the start of a range.
    other: Vec<u8>,
    /// The end of a range.
    end: Vec<u8>,
}

impl KeyBuffers {
    /// Starts an access. The namespace must be one that can be encoded.
    #[inline(always)]
    pub fn set<K: BorrowedKey + ?Sized, N: StateKey>(
        &mut self,
        state: u16,
        group: u16,
        key: &K,
        namespace: &N,
    ) {
        self.here.clear();
        self.here.extend_from_slice(&EntryKey::head_of(state, group));
        key.encode_key(&mut self.here);
        self.namespace_at = self.here.len();
        namespace.encode(&mut self.here);
    }

    /// The key of the value here, and the prefix of all entries of the list or map here.
    #[inline]
    pub fn here(&self) -> &[u8] {
        &self.here
    }

    /// The same key in another namespace.
    ///
    /// # Errors
    /// If the namespace cannot be encoded.
    pub fn in_namespace<N: StateKey>(&mut self, namespace: &N) -> Result<&[u8]> {
        namespace.check()?;
        self.other.clear();
        self.other.extend_from_slice(self.here.get(..self.namespace_at).unwrap_or(&self.here));
        namespace.encode(&mut self.other);
        Ok(&self.other)
    }

    /// The key of a map entry here.
    ///
    /// # Errors
    /// If the map key cannot be encoded.
    #[inline]
    pub fn entry<MK: StateKey>(&mut self, key: &MK) -> Result<&[u8]> {
        key.check()?;
        self.other.clone_from(&self.here);
        key.encode(&mut self.other);
        Ok(&self.other)
    }

    /// The range of all entries here.
    pub fn all(&mut self) -> (&[u8], &[u8]) {
        EntryKey::successor(&self.here, &mut self.end);
        (&self.here, &self.end)
    }

    /// Start and end of the range of all entries in another namespace, and the key here.
    ///
    /// # Errors
    /// If the namespace cannot be encoded.
    pub fn all_in<N: StateKey>(&mut self, namespace: &N) -> Result<[&[u8]; 3]> {
        self.in_namespace(namespace)?;
        EntryKey::successor(&self.other, &mut self.end);
        Ok([&self.other, &self.end, &self.here])
    }

    /// The range of the list elements here with sequence numbers below `end`.
    pub fn elements_below(&mut self, end: u64) -> (&[u8], &[u8]) {
        self.end.clone_from(&self.here);
        self.end.extend_from_slice(&end.to_be_bytes());
        (&self.here, &self.end)
    }

    /// The range of the list elements here from a sequence number on.
    pub fn elements_from(&mut self, number: [u8; EntryKey::SEQUENCE_BYTES]) -> (&[u8], &[u8]) {
        self.other.clone_from(&self.here);
        self.other.extend_from_slice(&number);
        EntryKey::successor(&self.here, &mut self.end);
        (&self.other, &self.end)
    }

    /// The range of the map entries here with keys in `range`.
    pub fn entries<MK: StateKey>(&mut self, range: &impl RangeBounds<MK>) -> (&[u8], &[u8]) {
        let Self { here, other, end, .. } = self;
        let bound = |key: &MK, is_behind: bool, out: &mut Vec<u8>| {
            out.clone_from(here);
            key.encode(out);
            if is_behind {
                // No encoding of a key is a prefix of another.
                out.push(0);
            }
        };
        match range.start_bound() {
            Bound::Included(key) => bound(key, false, other),
            Bound::Excluded(key) => bound(key, true, other),
            Bound::Unbounded => other.clone_from(here),
        }
        match range.end_bound() {
            Bound::Included(key) => bound(key, true, end),
            Bound::Excluded(key) => bound(key, false, end),
            Bound::Unbounded => EntryKey::successor(here, end),
        }
        (other, end)
    }

    /// The key here, and a scratch buffer.
    #[inline]
    pub fn with_scratch(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.here, &mut self.other)
    }
}
