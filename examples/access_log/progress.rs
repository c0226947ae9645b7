//! A bar on standard error; nothing unless that is a terminal.

use indicatif::ProgressBar;

/// How far the source is.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar up to `total`, or a spinner where nobody knows how much there is.
    pub fn new(total: Option<u64>) -> Self {
        Self(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new))
    }

    /// So much is read.
    pub fn at(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
