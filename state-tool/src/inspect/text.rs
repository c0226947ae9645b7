//! What `inspect` shows, as text.

use std::io::Write;

use super::plot::{Bar, bars};
use super::{OperatorReport, Report, Shown, StateReport};
use crate::failure::Result;
use crate::history;
use crate::numbers::{bytes, count};

/// Most bars of a chart.
const BARS: usize = 16;

/// Characters of the longest bar.
const WIDTH: u64 = 40;

/// Writes the whole text.
pub fn write(shown: &Shown, out: &mut dyn Write) -> Result<()> {
    if let Some(report) = &shown.report {
        write_report(report, out)?;
    }
    if let Some(history) = &shown.history {
        if shown.report.is_some() {
            writeln!(out)?;
        }
        writeln!(out, "{}", history::table(history))?;
    }
    Ok(())
}

fn write_report(report: &Report, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "checkpoint {} in {}", report.checkpoint, report.path)?;
    writeln!(
        out,
        "{}, of which it wrote {} itself; {} inline in the metadata, the rest in {} files",
        bytes(report.bytes),
        bytes(report.delta_bytes),
        bytes(report.inline_bytes),
        count(report.files)
    )?;
    report.operators.iter().try_for_each(|operator| write_operator(operator, out))
}

fn write_operator(operator: &OperatorReport, out: &mut dyn Write) -> Result<()> {
    let name = operator.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    writeln!(out, "\noperator {}{name}, parallelism {}", operator.id, operator.parallelism)?;
    if let Some(keyed) = &operator.keyed {
        writeln!(
            out,
            "  keys of {}, max parallelism {}, mapping {}, format {}",
            keyed.key_type, keyed.max_parallelism, keyed.key_group_mapping, keyed.format
        )?;
        for state in &keyed.states {
            write_state(state, out)?;
        }
    }
    for state in &operator.operator_states {
        writeln!(
            out,
            "\n  {} state {:?}: {}, {} elements",
            state.redistribution,
            state.name,
            state.value_type,
            count(state.elements)
        )?;
    }
    if operator.raw_keyed_bytes > 0 {
        writeln!(out, "\n  raw keyed state: {}", bytes(operator.raw_keyed_bytes))?;
    }
    if operator.raw_operator_partitions > 0 {
        let (size, partitions) = (bytes(operator.raw_operator_bytes), operator.raw_operator_partitions);
        writeln!(out, "\n  raw operator state: {size} in {} partitions", count(partitions))?;
    }
    Ok(())
}

fn write_state(state: &StateReport, out: &mut dyn Write) -> Result<()> {
    let namespaces = match &*state.namespace_type {
        "()" => String::new(),
        namespace => format!(", namespaces of {namespace}"),
    };
    writeln!(out, "\n  {} state {:?}: {}{namespaces}", state.kind, state.name, state.value_type)?;
    writeln!(
        out,
        "    {} rows, {}, {:.1} bytes per row, largest key group {:.2} times the mean",
        count(state.rows),
        bytes(state.bytes),
        state.bytes_per_row,
        state.skew
    )?;
    if let Some(reason) = &state.unread {
        writeln!(out, "    rows were not read: {reason}")?;
    }
    if state.rows == 0 {
        return Ok(());
    }
    let bars = bars(&state.key_groups, BARS);
    let label = bars.iter().map(|bar| bar.label().len()).max().unwrap_or(0);
    let most = bars.iter().map(|bar| bar.bytes).max().unwrap_or(0).max(1);
    for bar in &bars {
        let Bar { bytes: size, rows, .. } = bar;
        let length = (u128::from(*size) * u128::from(WIDTH)).div_ceil(most.into()) as usize;
        let drawn = "#".repeat(length);
        writeln!(out, "    {:>label$} {drawn:<40} {} ({} rows)", bar.label(), bytes(*size), count(*rows))?;
    }
    if !state.largest_keys.is_empty() {
        writeln!(out, "    largest keys")?;
    }
    for key in &state.largest_keys {
        writeln!(out, "      {} ({} rows): {}", bytes(key.bytes), count(key.rows), shortened(&key.key))?;
    }
    Ok(())
}

/// The beginning of a long key.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", key.get(..end).unwrap_or(key)),
        None => key.to_owned(),
    }
}
