//! `state verify`.

use std::io::Write;
use std::path::Path;

use backend_api::format::{CheckpointReader, Section};
use backend_api::{
    Error, ErrorKind, OperatorStateMeta, RawOperatorHandle, Result, StateFile, TaskState, row,
};
use coordinator::check_operator;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::failure::{self, Failure};
use crate::numbers::{bytes, count};
use crate::progress;
use crate::rows::{Keyed, ROCKSDB_FORMAT, check_row};
use crate::source::{Operator, Source, missing};
use crate::types::{OperatorTypes, Types};

#[derive(Serialize)]
struct Report {
    checkpoint: u64,
    files: u64,
    bytes: u64,
    rows: u64,
    /// States whose values or keys are only checked by their checksums, with the reason.
    unread: Vec<String>,
    faults: Vec<Fault>,
}

#[derive(Serialize)]
struct Fault {
    file: Option<String>,
    offset: Option<u64>,
    state: Option<String>,
    key_group: Option<u16>,
    message: String,
    #[serde(skip)]
    line: String,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        Self {
            file: error.file().map(str::to_owned),
            offset: error.offset(),
            state: error.state().map(str::to_owned),
            key_group: error.key_group(),
            message: error.message().to_owned(),
            line: error.to_string(),
        }
    }
}

/// Checks a checkpoint, and reports all faults.
pub fn verify(path: &Path, json: bool, out: &mut dyn Write) -> failure::Result<()> {
    let source = Source::open(path)?;
    let mut verifier = Verifier {
        source: &source,
        bar: progress::bar(source.checkpoint.full_size()),
        report: Report {
            checkpoint: source.checkpoint.id,
            files: 0,
            bytes: source.metadata_bytes,
            rows: 0,
            unread: Vec::new(),
            faults: Vec::new(),
        },
    };
    verifier.run();
    verifier.bar.finish_and_clear();
    let report = verifier.report;
    if json {
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        for fault in &report.faults {
            writeln!(out, "{}", fault.line)?;
        }
        for reason in &report.unread {
            writeln!(out, "not decoded: {reason}")?;
        }
        let Report { checkpoint, files, bytes: size, rows, faults, .. } = &report;
        let verdict = match faults.len() {
            0 => "intact".to_owned(),
            1 => "1 fault".to_owned(),
            faults => format!("{faults} faults"),
        };
        writeln!(
            out,
            "checkpoint {checkpoint}: {} files, {}, {} rows: {verdict}",
            count(*files),
            bytes(*size),
            count(*rows)
        )?;
    }
    if report.faults.is_empty() { Ok(()) } else { Err(Failure::Damaged) }
}

struct Verifier<'s> {
    source: &'s Source,
    bar: ProgressBar,
    report: Report,
}

impl Verifier<'_> {
    fn run(&mut self) {
        for operator in self.source.operators() {
            if let Err(error) = check_operator(self.source.checkpoint.id, operator.id, &operator.tasks) {
                self.fault(&error);
            }
            for task in &operator.tasks {
                self.task(task);
            }
            // What the handles say together with their files; the rows of RocksDB's files.
            if self.report.faults.is_empty() {
                let result = self.together(&operator);
                self.note(result);
            }
        }
    }

    fn fault(&mut self, error: &Error) {
        self.report.faults.push(error.into());
    }

    /// Reports what a check found. Something that this build cannot read is no damage.
    fn note(&mut self, result: Result<()>) {
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let line = error.to_string();
                if !self.report.unread.contains(&line) {
                    self.report.unread.push(line);
                }
            }
            Err(error) => self.fault(&error),
        }
    }

    fn task(&mut self, task: &TaskState) {
        for file in task.keyed.iter().flat_map(|handle| &handle.files) {
            if row::has_rows(&file.format) {
                self.file(file, |this, reader, section| this.keyed_section(reader, section));
            } else {
                let opened = file.open_bytes(Some(&*self.source.storage)).map(drop).map_err(missing);
                self.count_file(file);
                self.note(opened);
            }
        }
        if let Some(handle) = &task.operator_state {
            let states = &handle.states;
            self.file(&handle.file, |this, reader, section| this.operator_section(states, reader, section));
        }
        if let Some(handle) = &task.raw_keyed {
            self.file(&handle.file, |_, reader, section| each_row(reader, section, |_| Ok(1)));
        }
        if let Some(handle) = &task.raw_operator {
            let mut partitions = Partitions::default();
            self.file(&handle.file, |_, reader, section| {
                each_row(reader, section, |row| partitions.check(row).map(|()| 1))
            });
            self.note(partitions.check_number(handle));
        }
    }

    fn count_file(&mut self, file: &StateFile) {
        self.report.files += 1;
        self.report.bytes = self.report.bytes.saturating_add(file.data.length());
    }

    /// Checks the ends of a file, and each section with `check`, which returns the number of rows.
    fn file(
        &mut self,
        file: &StateFile,
        mut check: impl FnMut(&mut Self, &CheckpointReader, &Section) -> Result<u64>,
    ) {
        self.count_file(file);
        let reader = match file.open(Some(&*self.source.storage)) {
            Ok(reader) => reader,
            Err(error) => return self.fault(&missing(error)),
        };
        if reader.meta().format != file.format || reader.meta().checkpoint_id != file.created_by {
            let message = "the file contradicts the handle that names it: another format or checkpoint";
            self.fault(&Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), Some(0)));
        }
        for section in reader.sections() {
            match check(self, &reader, section) {
                Ok(rows) => self.report.rows += rows,
                Err(error) => self.note(Err(error)),
            }
            self.bar.inc(section.stored_bytes);
        }
    }

    fn keyed_section(&mut self, reader: &CheckpointReader, section: &Section) -> Result<u64> {
        let meta = reader.meta();
        let groups = u16::try_from(meta.max_parallelism).unwrap_or(u16::MAX);
        let Some(state) = meta.states.get(usize::from(section.state)) else { return Ok(0) };
        let types = Types::of(&meta.key_schema, state)
            .map(|types| types.with_groups(&meta.key_group_mapping, groups));
        let types = match types {
            Ok(types) => {
                self.note(types.check_known().map_err(|error| error.in_state(&state.name)));
                Some(types)
            }
            Err(error) => {
                self.note(Err(error));
                None
            }
        };
        each_row(reader, section, |row| match &types {
            Some(types) => check_row(types, section.kind, row, section.group),
            None => Ok(1),
        })
    }

    fn operator_section(
        &mut self,
        states: &[OperatorStateMeta],
        reader: &CheckpointReader,
        section: &Section,
    ) -> Result<u64> {
        let Some(state) = states.get(usize::from(section.state)) else {
            let message = "the file has a state that its handle does not name";
            return Err(Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), Some(0)));
        };
        let types = OperatorTypes::of(state)?;
        let rows = each_row(reader, section, |row| types.value.check(types.split(row)?.1).map(|()| 1))?;
        if rows == state.elements {
            return Ok(rows);
        }
        let message = format!("the handle names {} elements, the file has {rows}", state.elements);
        Err(Error::new(ErrorKind::Corrupt, message).in_state(&state.name).in_file(reader.path(), Some(0)))
    }

    /// Opens an operator's keyed state as a restore does. Reads the rows of RocksDB's files.
    fn together(&mut self, operator: &Operator<'_>) -> Result<()> {
        let Some(keyed) = Keyed::open(self.source, operator)? else { return Ok(()) };
        let mut handles = operator.tasks.iter().filter_map(|task| task.keyed.as_ref());
        if !handles.any(|handle| handle.format == ROCKSDB_FORMAT) {
            return Ok(());
        }
        for meta in keyed.states() {
            let types = keyed.types(meta)?;
            for group in 0..keyed.max_parallelism {
                let mut rows = 0;
                keyed.for_each(meta, &types, group, &mut |item| {
                    types.check_group(item.key, group)?;
                    rows += 1;
                    types.value.check(item.value)
                })?;
                self.report.rows += rows;
            }
        }
        Ok(())
    }
}

/// Calls `check` with each row of a section, which returns the number of items in it. Returns their sum.
fn each_row(
    reader: &CheckpointReader,
    section: &Section,
    mut check: impl FnMut(&[u8]) -> Result<u64>,
) -> Result<u64> {
    let mut rows = reader.rows(section);
    let mut number = 0;
    while let Some(row) = rows.next()? {
        match check(row) {
            Ok(items) => number += items,
            Err(error) => return Err(rows.placed(error)),
        }
    }
    Ok(number)
}

/// The partitions of raw operator state.
#[derive(Default)]
struct Partitions(u64);

impl Partitions {
    fn check(&mut self, row: &[u8]) -> Result<()> {
        match row.first() {
            Some(1) => self.0 += 1,
            Some(0) if self.0 > 0 => {}
            _ => return Err(Error::new(ErrorKind::Corrupt, "a row belongs to no partition of raw state")),
        }
        Ok(())
    }

    fn check_number(&self, handle: &RawOperatorHandle) -> Result<()> {
        if self.0 == u64::from(handle.partitions) {
            return Ok(());
        }
        let message = format!("the handle names {} partitions, the file has {}", handle.partitions, self.0);
        Err(Error::new(ErrorKind::Corrupt, message).in_file(&handle.file.name, Some(0)))
    }
}
