//! Restored states that nobody registers, in canonical savepoints and in tools.

use crate::format::{CheckpointWriter, SectionKind, StateMeta};
use crate::restore::{RestoredSection, RestoredState};
use crate::row::{ItemRows, MergedRows, RowEvolution, RowParts};
use crate::{Cancel, Error, ErrorKind, Progress, Result};

impl RestoredState {
    /// The metadata of the state in a canonical savepoint: usually one, and several if it was written with different codecs.
    /// A state whose keys are known to the program only stays as it is.
    pub fn canonical_metas(&self) -> Vec<StateMeta> {
        let forms = self.canonical_forms();
        let mut metas = Vec::new();
        for form in self.groups().filter_map(|group| self.form_of(group, &forms)) {
            if !metas.contains(form) {
                metas.push(form.clone());
            }
        }
        if metas.is_empty() {
            metas.extend(forms.last().cloned());
        }
        metas
    }

    /// The form in a canonical savepoint of what was written with each of the [`metas`](Self::metas).
    fn canonical_forms(&self) -> Vec<StateMeta> {
        let mut sections = self.chains.values().flatten();
        let key_schema = sections.next().map_or("()", |part| &part.reader.meta().key_schema);
        let form = |meta: &StateMeta| match meta.is_canonical() || RowParts::parse(key_schema, meta).is_ok() {
            true => meta.canonical(),
            false => StateMeta { table_seed: 0, ..meta.clone() },
        };
        self.metas.iter().map(form).collect()
    }

    fn form_of<'f>(&self, group: u16, forms: &'f [StateMeta]) -> Option<&'f StateMeta> {
        forms.get(self.chain(group).last()?.meta)
    }

    /// Writes the state to a canonical savepoint, where [`canonical_metas`](Self::canonical_metas)`[i]` is state number
    /// `first + i`. One key group is in memory at a time. Returns the number of these states.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled), [`Corrupt`](ErrorKind::Corrupt), and those of the writer.
    pub fn write_canonical(
        &self,
        writer: &mut CheckpointWriter<'_>,
        first: u16,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<u16> {
        let forms = self.canonical_forms();
        let mut next = first;
        for meta in self.canonical_metas() {
            for group in self.groups().filter(|group| self.form_of(*group, &forms) == Some(&meta)) {
                cancel.check()?;
                let before = writer.flush()?;
                let rows = write_group(self.chain(group), group, meta.is_canonical(), writer, next)
                    .map_err(|error| error.in_state(&meta.name).in_group(group))?;
                progress.add(rows, writer.flush()? - before);
            }
            next += 1;
        }
        Ok(next - first)
    }

    /// The state with values of its codec in all rows, for tools that do not know its types.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if it has canonical values, and keys that are known to the program
    /// only.
    pub fn with_codec_values(&self) -> Result<Self> {
        let mut chains = self.chains.clone();
        for part in chains.values_mut().flatten() {
            part.evolution = part.codec_values()?;
        }
        Ok(Self { kind: self.kind, metas: self.metas.clone(), chains, verified: self.verified.clone() })
    }
}

impl RestoredSection {
    /// What its rows consist of.
    fn parts(&self) -> Result<RowParts> {
        let meta = self.reader.meta();
        match meta.states.get(usize::from(self.section.state)) {
            Some(state) => RowParts::parse(&meta.key_schema, state),
            // The reader has checked that the state of every section exists.
            None => Err(Error::new(ErrorKind::Corrupt, "a section has no state")),
        }
    }

    /// The conversion of canonical values into those of their codec, if the rows have some.
    fn codec_values(&self) -> Result<Option<RowEvolution>> {
        let schema = self.meta().and_then(StateMeta::canonical_values);
        schema.map(|schema| Ok(RowEvolution::of_canonical(self.parts()?, schema))).transpose()
    }
}

/// Writes a key group, and returns the number of its rows.
fn write_group(
    chain: &[RestoredSection],
    group: u16,
    is_canonical: bool,
    writer: &mut CheckpointWriter<'_>,
    number: u16,
) -> Result<u64> {
    let is_copied = match chain {
        [only] => {
            let is_full = only.section.kind == SectionKind::Full;
            is_full && only.meta().is_some_and(StateMeta::is_canonical)
        }
        _ => false,
    };
    if is_copied || !is_canonical {
        for part in chain {
            part.reader.copy_section(&part.section, writer, number)?;
        }
        return Ok(chain.iter().map(|part| part.section.rows).sum());
    }
    let Some(last) = chain.last() else { return Ok(0) };
    let (parts, mut merged) = (last.parts()?, MergedRows::default());
    for part in chain {
        let part = RestoredSection { evolution: part.codec_values()?, ..part.clone() };
        part.for_each_raw_row(|row| merged.apply(&parts, part.section.kind, row))?;
    }
    if merged.is_empty() {
        return Ok(0);
    }
    let values = last.meta().and_then(StateMeta::values);
    let mut rows = ItemRows::new(writer, parts.shape(), values.as_ref());
    rows.begin_section(number, group)?;
    merged.write(&mut rows)?;
    rows.finish()
}
