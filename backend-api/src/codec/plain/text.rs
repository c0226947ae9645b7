//! Strings.

use super::{Plain, corrupt, put_len, take_len, take_slice};
use crate::Result;

impl Plain for String {
    const LEN_MIN: usize = 1;

    fn schema() -> String {
        "string".to_owned()
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<Self> {
        let len = take_len(input)?;
        let text = str::from_utf8(take_slice(len, input)?);
        text.map(str::to_owned).map_err(|error| corrupt("a string is not UTF-8").with_source(error))
    }

    #[inline]
    fn heap_size(&self) -> usize {
        self.len()
    }
}
