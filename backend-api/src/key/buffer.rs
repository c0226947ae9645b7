//! Buffers for encodings.

/// A buffer that encodings are appended to.
pub trait KeyBuffer {
    /// Appends `bytes`.
    fn extend_from_slice(&mut self, bytes: &[u8]);

    /// Appends one byte.
    #[inline]
    fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }
}

impl KeyBuffer for Vec<u8> {
    #[inline]
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        Vec::extend_from_slice(self, bytes);
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        Vec::push(self, byte);
    }
}

/// Bytes of a key that need no allocation.
const INLINE_LEN: usize = 64;

/// A buffer on the stack that moves to the heap when it is full.
pub(super) struct InlineBuffer {
    inline: [u8; INLINE_LEN],
    len: usize,
    /// All bytes once they do not fit. Empty before.
    spilled: Vec<u8>,
}

impl InlineBuffer {
    #[inline]
    pub(super) fn new() -> Self {
        Self { inline: [0; INLINE_LEN], len: 0, spilled: Vec::new() }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        // `len` stays within the array, and a slice that does not panic is cheaper.
        if self.spilled.is_empty() { self.inline.get(..self.len).unwrap_or(&[]) } else { &self.spilled }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() {
            self.spilled = self.as_slice().to_vec();
            // No slice of the array starts here, so later bytes spill too.
            self.len = usize::MAX;
        }
        self.spilled.extend_from_slice(bytes);
    }
}

impl KeyBuffer for InlineBuffer {
    #[inline]
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        let free = self.inline.get_mut(self.len..).unwrap_or_default();
        match free.get_mut(..bytes.len()) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.spill(bytes),
        }
    }
}
