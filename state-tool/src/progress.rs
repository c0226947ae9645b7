//! Progress on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `total` bytes on standard error. It is not shown unless that is a terminal.
pub fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
