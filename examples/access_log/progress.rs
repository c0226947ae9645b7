//! A progress bar on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// The progress of the job. The bar disappears on drop.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar from `done` up to `total`, in bytes of a log or in lines; a spinner if the total is unknown.
    pub fn new(done: u64, total: Option<u64>, unit: &'static str) -> Self {
        let template = match total {
            Some(_) => "{bar:32} {percent}%  {rate}  {eta} left  {msg}",
            None => "{spinner} {rate}  {msg}",
        };
        let rate = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0} {unit}/s", state.per_sec());
        };
        let style = ProgressStyle::with_template(template).map(|style| style.with_key("rate", rate));
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_position(done);
        bar.reset_eta();
        Self(style.map_or(bar.clone(), |style| bar.with_style(style)))
    }

    /// Shows the amount read, and the number of completed checkpoints.
    pub fn at(&self, done: u64, checkpoints: u64) {
        self.0.set_position(done);
        self.0.set_message(format!("{checkpoints} checkpoints"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
