use super::runs::{RUN_BYTES, taken};
use backend_api::Result;

/// Operations for [`ByteStore::write`](super::ByteStore::write), in the order in which they apply.
///
/// ```
/// use backend_bytes::{WriteBatch, WriteOp};
///
/// let mut batch = WriteBatch::default();
/// batch.delete_range(b"a", b"b");
/// batch.put(b"ab", b"1");
/// assert_eq!(batch.iter().last(), Some(WriteOp::Put { key: b"ab", value: b"1" }));
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    /// Two byte strings per operation, concatenated.
    bytes: Vec<u8>,
    ops: Vec<Op>,
}

/// The two strings lie between `start` and `end`, and meet at `split`.
#[derive(Clone, Copy, Debug)]
struct Op {
    kind: OpKind,
    start: usize,
    split: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
enum OpKind {
    Put,
    Delete,
    DeleteRange,
}

/// One operation of a [`WriteBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp<'b> {
    /// Puts an entry, replacing one of the same key.
    Put {
        /// Its key.
        key: &'b [u8],
        /// Its value.
        value: &'b [u8],
    },
    /// Removes an entry, if there is one.
    Delete {
        /// Its key.
        key: &'b [u8],
    },
    /// Removes all entries of a range, as [`ByteStore::scan`](super::ByteStore::scan) understands it.
    DeleteRange {
        /// The first key.
        from: &'b [u8],
        /// The key after the last one.
        to: &'b [u8],
    },
}

/// Memory that an emptied batch may keep for the next one.
const KEPT_BYTES: usize = 4 << 20;

impl WriteBatch {
    /// Adds an operation that puts an entry.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(OpKind::Put, key, value);
    }

    /// Adds an operation that removes an entry.
    pub fn delete(&mut self, key: &[u8]) {
        self.push(OpKind::Delete, key, &[]);
    }

    /// Adds an operation that removes all entries from `from` (included) to `to` (excluded).
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.push(OpKind::DeleteRange, from, to);
    }

    /// The operations.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = WriteOp<'_>> + ExactSizeIterator {
        self.ops.iter().map(|op| {
            let (first, second) = (&self.bytes[op.start..op.split], &self.bytes[op.split..op.end]);
            match op.kind {
                OpKind::Put => WriteOp::Put { key: first, value: second },
                OpKind::Delete => WriteOp::Delete { key: first },
                OpKind::DeleteRange => WriteOp::DeleteRange { from: first, to: second },
            }
        })
    }

    /// Number of operations.
    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// True if there are no operations.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Removes all operations. Keeps some of the memory.
    #[inline]
    pub fn clear(&mut self) {
        if self.bytes.is_empty() && self.ops.is_empty() {
            return;
        }
        if self.bytes.capacity() + self.ops.capacity() * size_of::<Op>() > KEPT_BYTES {
            *self = Self::default();
        }
        self.bytes.clear();
        self.ops.clear();
    }

    /// Bytes of memory that the operations take.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ops.len() * size_of::<Op>()
    }

    /// Adds a put under `key` and `suffix` of the bytes that `encode` appends. Returns the length of all
    /// three together. After an error nothing was added.
    pub(crate) fn put_encoded(
        &mut self,
        key: &[u8],
        suffix: &[u8],
        encode: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(suffix);
        let split = self.bytes.len();
        let mut encoded = encode(&mut self.bytes);
        if self.bytes.len() < split {
            self.bytes.resize(split, 0);
            encoded = encoded.and(Err(taken()));
        }
        if let Err(error) = encoded {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.ops.push(Op { kind: OpKind::Put, start, split, end: self.bytes.len() });
        Ok(self.bytes.len() - start)
    }

    /// Adds an element of the list whose keys start with `prefix`. `encode` appends it with its length.
    /// Returns its bytes.
    ///
    /// An element that `goes_on` joins the entry of the last operation while that is short. Others get their
    /// own entry under `number`. After an error nothing was added.
    pub(crate) fn put_element(
        &mut self,
        prefix: &[u8],
        number: impl FnOnce() -> [u8; 8],
        goes_on: bool,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<usize> {
        if goes_on
            && let Some(op) = self.ops.last_mut()
            && op.end - op.split < RUN_BYTES
        {
            encode(&mut self.bytes)?;
            let size = self.bytes.len() - op.end;
            op.end = self.bytes.len();
            return Ok(size);
        }
        let number = number();
        Ok(self.put_encoded(prefix, &number, encode)? - prefix.len() - number.len())
    }

    /// Adds an operation that puts an entry without a value, whose key is given in two parts.
    pub(crate) fn put_parts(&mut self, head: &[u8], rest: &[u8]) {
        self.push_parts(OpKind::Put, head, rest);
    }

    /// Adds an operation that removes the entry of a key that is given in two parts.
    pub(crate) fn delete_parts(&mut self, head: &[u8], rest: &[u8]) {
        self.push_parts(OpKind::Delete, head, rest);
    }

    fn push_parts(&mut self, kind: OpKind, head: &[u8], rest: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(rest);
        let end = self.bytes.len();
        self.ops.push(Op { kind, start, split: end, end });
    }

    /// Moves all operations of `other` to the end.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let by = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        let moved = |op: Op| Op { start: op.start + by, split: op.split + by, end: op.end + by, ..op };
        self.ops.extend(other.ops.drain(..).map(moved));
    }

    /// Sorts the operations by their first strings.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        let first = |op: &Op| &bytes[op.start..op.split];
        // Most comparisons need only the first bytes, which are adjacent here.
        let beginning = |op: &Op| {
            let mut beginning = [0; 16];
            beginning.iter_mut().zip(first(op)).for_each(|(to, from)| *to = *from);
            u128::from_be_bytes(beginning)
        };
        self.ops.sort_by_cached_key(beginning);
        for alike in self.ops.chunk_by_mut(|a, b| beginning(a) == beginning(b)) {
            alike.sort_by(|a, b| first(a).cmp(first(b)));
        }
    }

    fn push(&mut self, kind: OpKind, first: &[u8], second: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(first);
        let split = self.bytes.len();
        self.bytes.extend_from_slice(second);
        self.ops.push(Op { kind, start, split, end: self.bytes.len() });
    }
}
