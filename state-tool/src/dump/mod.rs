//! `state dump`.

#[cfg(feature = "parquet")]
mod parquet;
mod printed;
mod writer;

use std::io::Write;

use backend_api::OperatorStateHandle;

use crate::args::Dump;
use crate::failure::{Failure, Result};
use crate::progress;
use crate::rows::Keyed;
use crate::source::{Operator, Source, missing};
use crate::types::{OperatorTypes, read_key, same_key};

pub use printed::Printed;
use writer::RowWriter;

/// A state of an operator.
enum Found<'s> {
    Keyed(Keyed),
    Operator(Vec<(u16, &'s OperatorStateHandle)>),
}

/// Prints all rows of a state.
pub fn dump(args: &Dump, out: &mut (dyn Write + Send)) -> Result<()> {
    let source = Source::open(&args.path)?;
    let operators = source.operators();
    let mut found = Vec::new();
    for operator in &operators {
        if args.operator.as_ref().is_none_or(|name| operator.is_called(name)) {
            found.extend(find(&source, operator, &args.state)?.into_iter().map(|state| (operator.id, state)));
        }
    }
    match &*found {
        [(_, Found::Keyed(keyed))] => dump_keyed(args, keyed, out),
        [(_, Found::Operator(handles))] => dump_operator(args, &source, handles, out),
        [] => {
            let of = args.operator.iter().map(|operator| format!(" of an operator {operator:?}"));
            let of: String = of.collect();
            Err(Failure::Usage(format!("there is no state {:?}{of}; `state inspect` lists them", args.state)))
        }
        several => {
            let names: Vec<_> = several.iter().map(|(operator, _)| *operator).collect();
            let message = format!(
                "several operators have a state {:?}, name one of them: {}",
                args.state,
                names.join(", ")
            );
            Err(Failure::Usage(message))
        }
    }
}

/// The states of that name that an operator has: keyed state, operator state or both.
fn find<'s>(source: &Source, operator: &Operator<'s>, name: &str) -> Result<Vec<Found<'s>>> {
    let mut found = Vec::new();
    found
        .extend(Keyed::open(source, operator)?.filter(|keyed| keyed.state(name).is_some()).map(Found::Keyed));
    let handles =
        operator.tasks.iter().filter_map(|task| Some((task.subtask, task.operator_state.as_ref()?)));
    let handles: Vec<_> =
        handles.filter(|(_, handle)| handle.states.iter().any(|state| state.name == name)).collect();
    if !handles.is_empty() {
        found.push(Found::Operator(handles));
    }
    Ok(found)
}

fn dump_keyed(args: &Dump, keyed: &Keyed, out: &mut (dyn Write + Send)) -> Result<()> {
    let Some(meta) = keyed.state(&args.state) else { return Ok(()) };
    let types = keyed.types(meta)?;
    let mut rows = RowWriter::new(args.format, &Printed::columns(&types), out)?;
    let bar = progress::bar(keyed.stored_bytes(meta));
    for group in 0..keyed.max_parallelism {
        keyed.scan(meta, &types, group, |item| {
            if let Some(wanted) = &args.key
                && !same_key(&read_key(&types.key, item.key)?, wanted)
            {
                return Ok(());
            }
            rows.write(Printed::of(&types, group, &item)?)
        })?;
        bar.inc(keyed.stored(meta, group).1);
    }
    bar.finish_and_clear();
    rows.finish()
}

fn dump_operator(
    args: &Dump,
    source: &Source,
    handles: &[(u16, &OperatorStateHandle)],
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut rows: Option<RowWriter<'_>> = None;
    let mut out = Some(out);
    for (subtask, handle) in handles {
        let reader = handle.file.open(Some(&*source.storage)).map_err(missing)?;
        let states = (0..).zip(&handle.states);
        for (number, state) in states.filter(|(_, state)| state.name == args.state) {
            let types = OperatorTypes::of(state)?;
            if let Some(out) = out.take() {
                rows = Some(RowWriter::new(args.format, &Printed::operator_columns(&types), out)?);
            }
            let Some(rows) = &mut rows else { continue };
            let mut index = 0;
            for section in reader.sections_of(number, 0) {
                let mut section = reader.rows(section);
                while let Some(row) = section.next()? {
                    let printed = Printed::of_operator(&types, *subtask, index, row);
                    let printed = match printed {
                        Ok(printed) => printed,
                        Err(error) => return Err(section.placed(error).into()),
                    };
                    index += 1;
                    let is_wanted = match (&args.key, printed.map_key()) {
                        (Some(wanted), Some(key)) => same_key(key, wanted),
                        (Some(_), None) => false,
                        (None, _) => true,
                    };
                    if is_wanted {
                        rows.write(printed)?;
                    }
                }
            }
        }
    }
    rows.map_or(Ok(()), RowWriter::finish)
}
