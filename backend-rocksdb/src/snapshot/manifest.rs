//! The private file of a checkpoint of RocksDB's files, which lists them. See `docs/formats.md`.

use std::collections::BTreeSet;

use backend_api::format::{FileMeta, seal, unseal};
use backend_api::{Error, ErrorKind, KeyedStateHandle, Result, Storage};
use backend_bytes::LayerState;
use serde::{Deserialize, Serialize};

/// The format of handles of RocksDB's files.
pub(crate) const FORMAT: &str = "rocksdb/1";

/// Kind of the sealed container.
const CONTAINER: u16 = 2;

/// Most bytes of an uncompressed manifest.
const BYTES_MAX: usize = 1 << 30;

/// Level of zstd.
const LEVEL: i32 = 3;

/// The first file of a handle: what the checkpoint is, and the list of the other files.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The checkpoint, with the states by their numbers.
    pub meta: FileMeta,
    /// State of the layer above the database, stored beside its entries.
    pub layer: LayerState,
    /// The other files of the handle, in order.
    pub tables: Vec<Table>,
    /// The files in which RocksDB lists its tables.
    pub control: Vec<ControlFile>,
}

/// A small file of RocksDB that is kept in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ControlFile {
    /// Name in the folder of the database.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A file of RocksDB with entries. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Name in the folder of the database.
    pub name: String,
    /// Name of the file in the handle.
    pub file: String,
    /// Length in bytes.
    pub length: u64,
    /// CRC-32 (IEEE) of all bytes.
    pub crc: u32,
}

impl Manifest {
    /// Its bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let fault = |message: String| Error::new(ErrorKind::Codec, message);
        let plain = postcard::to_allocvec(self).map_err(|error| fault(error.to_string()))?;
        if plain.len() > BYTES_MAX {
            return Err(fault(format!("a manifest of {} bytes exceeds {BYTES_MAX} bytes", plain.len())));
        }
        let mut payload = (plain.len() as u64).to_le_bytes().to_vec();
        payload.extend(zstd::bulk::compress(&plain, LEVEL).map_err(|error| fault(error.to_string()))?);
        Ok(seal(CONTAINER, &payload))
    }

    /// Reads bytes of [`encode`](Self::encode); `path` is for the error.
    pub fn decode(bytes: &[u8], path: &str) -> Result<Self> {
        let damaged =
            |message: &str| Error::new(ErrorKind::Corrupt, message.to_owned()).in_file(path, Some(0));
        let payload = unseal(CONTAINER, bytes, path)?;
        let (length, packed) =
            payload.split_first_chunk().ok_or_else(|| damaged("the manifest is cut off"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= BYTES_MAX);
        let length = length.ok_or_else(|| damaged("the manifest is longer than one can be"))?;
        let plain = zstd::bulk::decompress(packed, length).map_err(|error| damaged(&error.to_string()))?;
        let manifest: Self = match postcard::take_from_bytes(&plain) {
            Ok((manifest, [])) => manifest,
            Ok(_) => return Err(damaged("bytes after the end of the manifest")),
            Err(error) => return Err(damaged(&error.to_string())),
        };
        manifest.check().map_err(damaged)?;
        Ok(manifest)
    }

    /// Reads the manifest of a handle, and checks that both agree.
    pub fn of(handle: &KeyedStateHandle, storage: Option<&dyn Storage>) -> Result<Self> {
        let Some(first) = handle.files.first() else {
            return Err(Error::new(ErrorKind::Corrupt, "the handle of a RocksDB checkpoint has no file"));
        };
        let file = first.open_bytes(storage)?;
        let length = usize::try_from(file.len()).unwrap_or(usize::MAX);
        let manifest = Self::decode(&file.read(0, length)?, file.path())?;
        let meta = &manifest.meta;
        let mut files = handle.files.iter().skip(1);
        let fits = meta.format == handle.format
            && meta.checkpoint_id == first.created_by
            && meta.max_parallelism == u32::from(handle.max_parallelism)
            && meta.key_group_mapping == handle.key_group_mapping
            && meta.key_schema == handle.key_schema
            && meta.holds_groups(handle.range)
            && manifest.tables.iter().all(|table| files.next().is_some_and(|file| file.name == table.file));
        if fits {
            return Ok(manifest);
        }
        let message =
            "the manifest and the handle that names it disagree on checkpoint, key type, key groups or files";
        Err(Error::new(ErrorKind::Corrupt, message).in_file(file.path(), Some(0)))
    }

    /// Checks that its names are plain file names, and that its states fit a backend.
    fn check(&self) -> Result<(), &'static str> {
        self.meta.check().map_err(|_| "the manifest's states or key groups are out of bounds")?;
        if !self.layer.fits(self.meta.states.len()) {
            return Err("the manifest has bounds of states that it does not have, or a wrong number of them");
        }
        let control = self.control.iter().map(|file| &*file.name);
        let names = || self.tables.iter().map(|table| &*table.name).chain(control.clone());
        let plain = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
        };
        if !names().all(plain) {
            return Err("a name in the manifest is not a plain file name");
        }
        let different: BTreeSet<&str> = names().collect();
        if different.len() != self.tables.len() + self.control.len() {
            return Err("the manifest names a file twice");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(table: &str) -> Manifest {
        let meta = FileMeta {
            format: FORMAT.to_owned(),
            operator: "op".to_owned(),
            subtask: 0,
            checkpoint_id: 3,
            max_parallelism: 10,
            key_groups: 0..=9,
            key_schema: "u64".to_owned(),
            key_group_mapping: "xxh3".to_owned(),
            states: Vec::new(),
        };
        let table =
            Table { name: table.to_owned(), file: "op-0-000009.sst-3".to_owned(), length: 10, crc: 7 };
        let control = vec![ControlFile { name: "CURRENT".to_owned(), bytes: vec![1, 2] }];
        Manifest { meta, layer: LayerState::default(), tables: vec![table], control }
    }

    #[test]
    fn an_encoded_manifest_is_decoded() {
        let manifest = manifest("000009.sst");
        assert_eq!(Manifest::decode(&manifest.encode().unwrap(), "m").unwrap(), manifest);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", "..", "../x", "a/b", "/a", "CURRENT", ".x"] {
            let error = Manifest::decode(&manifest(name).encode().unwrap(), "m").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
        }
    }

    #[test]
    fn bounds_of_a_missing_state_are_refused() {
        let layer = postcard::to_allocvec(&(5_u64, vec![vec![8_u64]])).unwrap();
        let layer = postcard::from_bytes(&layer).unwrap();
        let manifest = Manifest { layer, ..manifest("1.sst") };
        let error = Manifest::decode(&manifest.encode().unwrap(), "m").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        let plain = postcard::to_allocvec(&manifest("1.sst")).unwrap();
        for length in [0, plain.len() as u64 - 1, u64::MAX] {
            let mut payload = length.to_le_bytes().to_vec();
            payload.extend(zstd::bulk::compress(&plain, LEVEL).unwrap());
            let error = Manifest::decode(&seal(CONTAINER, &payload), "m").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
        }
    }
}
