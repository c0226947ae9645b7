use crate::ByteCursor;
use backend_api::Result;
use backend_api::row::decode_sized;

/// Iterates over the list elements in the runs of a cursor.
pub(crate) struct ElementCursor<'c> {
    runs: Box<dyn ByteCursor + 'c>,
    /// A copy of the run that is being read, from `at` on. The cursor lends a run only until it moves.
    run: Vec<u8>,
    at: usize,
}

impl<'c> ElementCursor<'c> {
    pub fn new(runs: Box<dyn ByteCursor + 'c>) -> Self {
        Self { runs, run: Vec::new(), at: 0 }
    }

    /// The next element. There is no further call after an error.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        while self.at == self.run.len() {
            let Some((_, run)) = self.runs.next()? else { return Ok(None) };
            self.run.clear();
            self.run.extend_from_slice(run);
            self.at = 0;
        }
        let mut rest = &self.run[self.at..];
        let element = decode_sized(&mut rest)?;
        self.at = self.run.len() - rest.len();
        Ok(Some(element))
    }
}
