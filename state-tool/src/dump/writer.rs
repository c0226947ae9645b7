//! The formats that rows are written in.

use std::io::{self, Write};

use super::Printed;
#[cfg(feature = "parquet")]
use super::parquet::ParquetWriter;
use super::printed::Column;
use crate::args::Format;
use crate::failure::{Failure, Result};
use crate::types::plain;

/// Writes rows.
pub enum RowWriter<'o> {
    /// An object per line.
    Json(&'o mut (dyn Write + Send)),
    /// A header, then a line per row. Composite values are JSON.
    Csv(Box<csv::Writer<&'o mut (dyn Write + Send)>>),
    /// A file that ends with its description.
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetWriter<'o>>),
}

impl<'o> RowWriter<'o> {
    /// Begins with these columns.
    pub fn new(format: Format, columns: &[Column], out: &'o mut (dyn Write + Send)) -> Result<Self> {
        match format {
            Format::Json => Ok(Self::Json(out)),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(columns.iter().map(|column| column.name)).map_err(csv_failed)?;
                Ok(Self::Csv(Box::new(writer)))
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => Ok(Self::Parquet(Box::new(ParquetWriter::new(columns, out)?))),
        }
    }

    /// Writes a row.
    pub fn write(&mut self, row: Printed) -> Result<()> {
        match self {
            Self::Json(out) => {
                serde_json::to_writer(&mut *out, &row)?;
                Ok(out.write_all(b"\n")?)
            }
            Self::Csv(writer) => {
                writer.write_record(row.cells.iter().map(|(_, value)| plain(value))).map_err(csv_failed)
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => writer.write(row),
        }
    }

    /// Ends the output.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Json(_) => Ok(()),
            Self::Csv(mut writer) => Ok(writer.flush()?),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => writer.finish(),
        }
    }
}

fn csv_failed(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => io::Error::other(format!("{other:?}")).into(),
    }
}
