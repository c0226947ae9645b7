//! The report at the end of a run.

use std::fmt::{self, Write as _};

use state_backends::prelude::*;

use crate::args::{Args, Backend};
use crate::job::Outcome;
use crate::log_time;
use crate::page_stats::Page;
use crate::window::Windows;

/// Width of a path on the screen.
const PATH_WIDTH: usize = 48;

/// The table of the busiest pages, and the summary of the run.
pub fn report(args: &Args, outcome: &Outcome) -> Result<String, fmt::Error> {
    let mut out = String::new();
    table(&mut out, outcome.pages.iter().take(args.top))?;
    summary(&mut out, args, outcome)?;
    checkpoints(&mut out, &outcome.checkpoints)?;
    Ok(out)
}

fn table<'p>(out: &mut String, pages: impl Iterator<Item = &'p Page>) -> fmt::Result {
    writeln!(
        out,
        "{:>9} {:>9} {:>11} {:>8}  {:<19}  {:<20}  path",
        "hits", "visitors", "mean bytes", "peak/min", "last statuses", "last seen (UTC)"
    )?;
    for page in pages {
        let Page { hits, visitors, mean_bytes, windows, .. } = page;
        let statuses: Vec<_> = page.statuses.iter().map(u16::to_string).collect();
        let mut seen = Vec::new();
        page.last_seen.inspect(|time| log_time::format(*time, &mut seen));
        seen.truncate("17/May/2015:10:05:03".len());
        writeln!(
            out,
            "{hits:>9} {visitors:>9} {mean_bytes:>11.1} {:>8}  {:<19}  {:<20}  {}",
            windows.peak,
            statuses.join(" "),
            String::from_utf8_lossy(&seen),
            on_screen(&page.path)
        )?;
    }
    Ok(())
}

fn summary(out: &mut String, args: &Args, outcome: &Outcome) -> fmt::Result {
    let Outcome { pages, position, resumed, elapsed, .. } = outcome;
    if let Some((id, position)) = resumed {
        writeln!(out, "resumed from checkpoint {id}, after line {}", position.lines)?;
    }
    let lines = position.lines - resumed.map_or(0, |(_, position)| position.lines);
    let seconds = elapsed.as_secs_f64();
    writeln!(out, "{lines} lines in {seconds:.2} s: {:.0} lines/s", lines as f64 / seconds.max(1e-9))?;
    let (records, malformed) = (position.lines - position.malformed, position.malformed);
    writeln!(out, "{records} records of {} paths, {malformed} malformed lines skipped", pages.len())?;
    let windows = pages.iter().fold(Windows::default(), |sum, page| sum.and(page.windows));
    let Windows { closed, hits, peak, late } = windows;
    writeln!(out, "windows: {closed} with {hits} hits, {peak} in the busiest, {late} hits too late")?;
    let backend = match args.backend {
        Backend::Memory => "memory",
        Backend::Fs => "fs",
        Backend::Rocksdb => "rocksdb",
    };
    let (parallelism, groups) = (args.parallelism, outcome.max_parallelism);
    writeln!(out, "{backend} backend, {parallelism} subtasks, {groups} key groups")
}

fn checkpoints(out: &mut String, stats: &Statistics) -> fmt::Result {
    let Statistics { completed, failed, first_failure, delta_bytes, history } = stats;
    writeln!(out, "checkpoints: {completed} completed, {failed} failed")?;
    if let Some(failure) = first_failure {
        writeln!(out, "  first failure: {failure}")?;
    }
    let last: Vec<_> = history.iter().filter(|report| report.failure.is_none()).collect();
    if let Some(newest) = last.first() {
        let sync: Vec<u64> = last.iter().map(|report| report.summary(|task| task.sync_us).max).collect();
        let total: Vec<u64> = last.iter().map(|report| 1000 * report.duration_ms()).collect();
        writeln!(out, "  standing still: {}", max_and_mean(&sync))?;
        writeln!(out, "  until complete: {}", max_and_mean(&total))?;
        let mean = delta_bytes / completed;
        let full = newest.summary(|task| task.full_bytes).sum;
        writeln!(out, "  bytes: {mean} written by each in the mean, {full} in the last one as a whole")?;
    }
    Ok(())
}

/// Of the last checkpoints, from microseconds.
fn max_and_mean(times: &[u64]) -> String {
    let max = times.iter().max().copied().unwrap_or_default();
    let mean = times.iter().sum::<u64>() as f64 / times.len().max(1) as f64;
    format!("max {:.2} ms, mean {:.2} ms", max as f64 / 1e3, mean / 1e3)
}

/// A path without control characters, cut to fit on a line.
fn on_screen(path: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(path)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .take(PATH_WIDTH + 1)
        .collect();
    if text.chars().count() > PATH_WIDTH {
        text.pop();
        text.pop();
        text.push_str("..");
    }
    text
}
