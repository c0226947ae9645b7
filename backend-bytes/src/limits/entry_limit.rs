use backend_api::{Error, ErrorKind, Result};

/// Most bytes of an entry's key and value together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryLimit(pub u64);

impl EntryLimit {
    /// # Errors
    /// [`Size`](ErrorKind::Size) above the limit.
    #[inline]
    pub fn check(self, size: usize) -> Result<()> {
        if size as u64 <= self.0 { Ok(()) } else { Err(self.exceeded_by(size)) }
    }

    #[cold]
    fn exceeded_by(self, size: usize) -> Error {
        let max = self.0;
        let message = format!("key and value of {size} bytes exceed the limit of {max} bytes for an entry");
        Error::new(ErrorKind::Size, message)
    }
}
