//! Rows as a Parquet file.

use std::io::Write;
use std::sync::Arc;

use backend_api::Datum;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use super::Printed;
use super::printed::{Cells, Column};
use crate::failure::{Failure, Result};
use crate::types::plain;

/// Rows of a row group, which is in memory until it is written.
const GROUP_ROWS: usize = 64 << 10;

/// Bytes of texts after which a row group is written.
const GROUP_BYTES: usize = 16 << 20;

/// Writes a Parquet file, one row group at a time.
pub struct ParquetWriter<'o> {
    file: SerializedFileWriter<&'o mut (dyn Write + Send)>,
    columns: Vec<Values>,
    rows: usize,
    text_bytes: usize,
}

/// The values of a column in the current row group.
enum Values {
    Numbers(Vec<i64>),
    Floats(Vec<f64>),
    Flags(Vec<bool>),
    Texts(Vec<ByteArray>),
}

impl<'o> ParquetWriter<'o> {
    /// Begins a file with these columns.
    pub fn new(columns: &[Column], out: &'o mut (dyn Write + Send)) -> Result<Self> {
        let schema = schema(columns).map_err(failed)?;
        let level = ZstdLevel::try_new(3).map_err(failed)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(failed)?;
        let columns = columns.iter().map(|column| Values::of(column.cells)).collect();
        Ok(Self { file, columns, rows: 0, text_bytes: 0 })
    }

    /// Adds a row.
    pub fn write(&mut self, row: Printed) -> Result<()> {
        for (values, (_, cell)) in self.columns.iter_mut().zip(row.cells) {
            self.text_bytes += values.push(&cell);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.text_bytes >= GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    /// Writes the last rows and the end of the file.
    pub fn finish(mut self) -> Result<()> {
        if self.rows > 0 {
            self.write_group()?;
        }
        self.file.close().map(drop).map_err(failed)
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        let mut columns = self.columns.iter_mut();
        while let (Some(mut column), Some(values)) = (group.next_column().map_err(failed)?, columns.next()) {
            match values {
                Values::Numbers(values) => {
                    column.typed::<Int64Type>().write_batch(values, None, None).map_err(failed)?;
                    values.clear();
                }
                Values::Floats(values) => {
                    column.typed::<DoubleType>().write_batch(values, None, None).map_err(failed)?;
                    values.clear();
                }
                Values::Flags(values) => {
                    column.typed::<BoolType>().write_batch(values, None, None).map_err(failed)?;
                    values.clear();
                }
                Values::Texts(values) => {
                    column.typed::<ByteArrayType>().write_batch(values, None, None).map_err(failed)?;
                    values.clear();
                }
            }
            column.close().map_err(failed)?;
        }
        group.close().map_err(failed)?;
        (self.rows, self.text_bytes) = (0, 0);
        Ok(())
    }
}

impl Values {
    fn of(cells: Cells) -> Self {
        match cells {
            Cells::Signed | Cells::Unsigned => Self::Numbers(Vec::new()),
            Cells::Float => Self::Floats(Vec::new()),
            Cells::Flag => Self::Flags(Vec::new()),
            Cells::Text => Self::Texts(Vec::new()),
        }
    }

    /// Adds a cell. Returns the bytes of its text.
    fn push(&mut self, cell: &Datum) -> usize {
        match (self, cell) {
            // An unsigned number has the bits of the signed one.
            (Self::Numbers(values), Datum::Integer(number)) => values.push(*number as i64),
            (Self::Numbers(values), _) => values.push(0),
            (Self::Floats(values), Datum::Float(number)) => values.push(*number),
            // Keys are read from their texts.
            (Self::Floats(values), cell) => values.push(plain(cell).parse().unwrap_or(f64::NAN)),
            (Self::Flags(values), cell) => values.push(*cell == Datum::Bool(true)),
            (Self::Texts(values), cell) => {
                let text = plain(cell);
                let length = text.len();
                values.push(text.into_bytes().into());
                return length;
            }
        }
        0
    }
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let mut fields = Vec::new();
    for column in columns {
        let (physical, logical) = match column.cells {
            Cells::Signed => (Physical::INT64, Some(LogicalType::integer(64, true))),
            Cells::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Cells::Float => (Physical::DOUBLE, None),
            Cells::Flag => (Physical::BOOLEAN, None),
            Cells::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(column.name, physical);
        fields
            .push(Arc::new(field.with_repetition(Repetition::REQUIRED).with_logical_type(logical).build()?));
    }
    Ok(Arc::new(Type::group_type_builder("rows").with_fields(fields).build()?))
}

fn failed(error: ParquetError) -> Failure {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(cause) => (*cause).into(),
            Err(cause) => Failure::Usage(format!("the Parquet file cannot be written: {cause}")),
        },
        other => Failure::Usage(format!("the Parquet file cannot be written: {other}")),
    }
}
