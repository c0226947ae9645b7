//! Rows as Parquet files, read back.

#![cfg(feature = "parquet")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::collections::BTreeMap;
use std::fs;

use backend_fs::FsOptions;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use support::{state, three_checkpoints};

#[test]
fn a_parquet_file_has_all_rows_with_their_types() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let (_, model) = models.last().unwrap();
    let output = state(&[&"dump", &job.path(), &"--state", &"codes", &"--format", &"parquet"]);
    assert!(output.status.success());
    let file = job.folder.path().join("codes.parquet");
    fs::write(&file, output.stdout).unwrap();
    let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
    let mut codes = BTreeMap::new();
    for row in reader.get_row_iter(None).unwrap().map(Result::unwrap) {
        let names: Vec<_> = row.get_column_iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["key_group", "key", "map_key", "value"]);
        let key = (row.get_string(1).unwrap().clone(), u16::try_from(row.get_ulong(2).unwrap()).unwrap());
        assert_eq!(codes.insert(key, row.get_ulong(3).unwrap()), None);
    }
    assert_eq!(codes, model.codes);
}
