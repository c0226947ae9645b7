//! `state diff`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use backend_api::Datum;
use backend_api::format::StateMeta;
use serde::Serialize;

use crate::dump::Printed;
use crate::failure::{Failure, Result};
use crate::numbers::count;
use crate::progress;
use crate::rows::{Group, Item, Keyed};
use crate::source::{Operator, Source};
use crate::types::{Types, plain};

/// The differences of a state.
#[derive(Debug, Default, Serialize)]
struct Difference {
    operator: String,
    state: String,
    added: u64,
    removed: u64,
    changed: u64,
    equal: u64,
}

/// What became of a row.
#[derive(Clone, Copy, Debug)]
enum Change {
    Added,
    Removed,
    Changed,
}

impl Change {
    fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// Prints the rows of keyed state that were added, removed and changed.
pub fn diff(a: &Path, b: &Path, summary: bool, json: bool, out: &mut dyn Write) -> Result<()> {
    let (a, b) = (Source::open(a)?, Source::open(b)?);
    let (old, new) = (a.operators(), b.operators());
    let ids: BTreeSet<&str> = old.iter().chain(&new).map(|operator| operator.id).collect();
    let bar = progress::bar(a.checkpoint.full_size().saturating_add(b.checkpoint.full_size()));
    let mut differences = Vec::new();
    for id in ids {
        let open = |source: &Source, operators: &[Operator<'_>]| {
            let operator = operators.iter().find(|operator| operator.id == id);
            operator.map_or(Ok(None), |operator| Keyed::open(source, operator))
        };
        let sides = Sides { operator: id, old: open(&a, &old)?, new: open(&b, &new)? };
        sides.check()?;
        let names = [&sides.old, &sides.new].into_iter().flatten().flat_map(Keyed::states);
        let names: BTreeSet<&str> = names.map(|meta| &*meta.name).collect();
        for name in names {
            let mut print = Print { operator: id, state: name, is_shown: !summary, json, out: &mut *out };
            differences.push(sides.diff(name, &bar, &mut print)?);
        }
    }
    bar.finish_and_clear();
    if json && summary {
        serde_json::to_writer(&mut *out, &differences)?;
        return Ok(writeln!(out)?);
    }
    if json {
        return Ok(());
    }
    for difference in &differences {
        let Difference { operator, state, added, removed, changed, equal } = difference;
        let [added, removed, changed, equal] = [*added, *removed, *changed, *equal].map(count);
        writeln!(
            out,
            "{operator}/{state}: {added} added, {removed} removed, {changed} changed, {equal} equal"
        )?;
    }
    Ok(())
}

/// The keyed state of an operator in both checkpoints.
struct Sides<'s> {
    operator: &'s str,
    old: Option<Keyed>,
    new: Option<Keyed>,
}

impl Sides<'_> {
    /// Refuses what cannot be compared group by group.
    fn check(&self) -> Result<()> {
        let (Some(old), Some(new)) = (&self.old, &self.new) else { return Ok(()) };
        let refuse = |what: &str, old: &str, new: &str| {
            let operator = self.operator;
            Err(Failure::Usage(format!(
                "operator {operator:?} has {what} {old} in A and {new} in B: rows cannot be compared"
            )))
        };
        if old.key_schema != new.key_schema {
            return refuse("keys of", &old.key_schema, &new.key_schema);
        }
        if old.max_parallelism != new.max_parallelism {
            let (old, new) = (old.max_parallelism.to_string(), new.max_parallelism.to_string());
            return refuse("a max parallelism of", &old, &new);
        }
        if old.mapping != new.mapping {
            return refuse("the mapping to key groups", &old.mapping, &new.mapping);
        }
        Ok(())
    }

    fn diff(&self, name: &str, bar: &indicatif::ProgressBar, print: &mut Print<'_>) -> Result<Difference> {
        let side = |keyed: &'_ Option<Keyed>| -> Result<Option<(StateMeta, Types)>> {
            let Some(keyed) = keyed else { return Ok(None) };
            let Some(meta) = keyed.state(name) else { return Ok(None) };
            Ok(Some((meta.clone(), keyed.types(meta)?)))
        };
        let (old, new) = (side(&self.old)?, side(&self.new)?);
        if let (Some((old, _)), Some((new, _))) = (&old, &new)
            && (old.kind.shape(), &old.namespace_schema) != (new.kind.shape(), &new.namespace_schema)
        {
            let message =
                format!("state {name:?} has another kind or namespaces in B: rows cannot be compared");
            return Err(Failure::Usage(message));
        }
        let mut found = Difference {
            operator: self.operator.to_owned(),
            state: name.to_owned(),
            ..Difference::default()
        };
        let groups = [&self.old, &self.new].into_iter().flatten().map(|keyed| keyed.max_parallelism).max();
        for group in 0..groups.unwrap_or(0) {
            // The group of A is in memory, the one of B is streamed.
            let mut before = Group::default();
            if let (Some(keyed), Some((meta, types))) = (&self.old, &old) {
                keyed.scan(meta, types, group, |item| {
                    before.add(item);
                    Ok(())
                })?;
                bar.inc(keyed.stored(meta, group).1);
            }
            if let (Some(keyed), Some((meta, types))) = (&self.new, &new) {
                keyed.scan(meta, types, group, |item| {
                    let Some(value) = before.take(&item) else {
                        found.added += 1;
                        return print.row(Change::Added, types, group, &item, None);
                    };
                    let old_types = old.as_ref().map_or(types, |(_, types)| types);
                    let is_equal = match old.as_ref().is_some_and(|(old, _)| old.codecs == meta.codecs) {
                        true => *value == *item.value,
                        false => old_types.value.read(&value)? == types.value.read(item.value)?,
                    };
                    if is_equal {
                        found.equal += 1;
                        return Ok(());
                    }
                    found.changed += 1;
                    let value = old_types.value.read(&value)?;
                    print.row(Change::Changed, types, group, &item, Some(value))
                })?;
                bar.inc(keyed.stored(meta, group).1);
            }
            if let Some((_, types)) = &old {
                let mut failure = Ok(());
                before.for_each(&mut |item| {
                    found.removed += 1;
                    if failure.is_ok() {
                        failure = print.row(Change::Removed, types, group, &item, None);
                    }
                    Ok(())
                })?;
                failure?;
            }
        }
        Ok(found)
    }
}

/// A row that differs, as JSON.
#[derive(Serialize)]
struct Row<'r> {
    change: &'static str,
    operator: &'r str,
    state: &'r str,
    #[serde(flatten)]
    row: Printed,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_value: Option<Datum>,
}

/// Prints rows that differ.
struct Print<'o> {
    operator: &'o str,
    state: &'o str,
    is_shown: bool,
    json: bool,
    out: &'o mut dyn Write,
}

impl Print<'_> {
    /// Prints a row; `old` is the value before a change.
    fn row(
        &mut self,
        change: Change,
        types: &Types,
        group: u16,
        item: &Item<'_>,
        old: Option<Datum>,
    ) -> Result<()> {
        if !self.is_shown {
            return Ok(());
        }
        let printed = Printed::of(types, group, item)?;
        if self.json {
            let row = Row {
                change: change.name(),
                operator: self.operator,
                state: self.state,
                row: printed,
                old_value: old,
            };
            serde_json::to_writer(&mut *self.out, &row)?;
            return Ok(self.out.write_all(b"\n")?);
        }
        write!(self.out, "{} {}/{}", change.sign(), self.operator, self.state)?;
        for (name, value) in printed.cells {
            match (name, &old) {
                ("key_group", _) => {}
                ("value", Some(old)) => write!(self.out, " = {} -> {}", plain(old), plain(&value))?,
                ("value", None) => write!(self.out, " = {}", plain(&value))?,
                _ => write!(self.out, " {value}")?,
            }
        }
        Ok(writeln!(self.out)?)
    }
}
