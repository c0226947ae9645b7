//! The sealed container of a small file, such as a checkpoint's metadata.

use super::fields::Fields;
use crate::{Error, ErrorKind, Result};

const MAGIC: [u8; 8] = *b"\x89SBSEAL\n";

const VERSION: u16 = 2;

/// Bytes before the payload: magic, kind, version, length of the payload.
const PREFIX: usize = 20;

/// Seals `payload` as a file of this kind.
pub fn seal(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + payload.len() + 4);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

/// The payload of a sealed file of this kind. Errors name `path`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if any bit changed, or the kind differs. [`ErrorKind::Unsupported`] for a container
/// of another version.
pub fn unseal<'a>(kind: u16, bytes: &'a [u8], path: &str) -> Result<&'a [u8]> {
    let corrupt = |offset: usize, message: &str| {
        Err(Error::new(ErrorKind::Corrupt, message).in_file(path, Some(offset as u64)))
    };
    let Some((sealed, crc)) = bytes.split_last_chunk::<4>() else { return corrupt(0, "the file is cut off") };
    let mut fields = Fields(sealed);
    if fields.bytes() != Some(MAGIC) {
        return corrupt(0, "the file does not begin as a sealed file does");
    }
    if crc32fast::hash(sealed) != u32::from_le_bytes(*crc) {
        return corrupt(sealed.len(), "the checksum of the file does not match");
    }
    let (Some(found), Some(version), Some(len)) = (fields.u16(), fields.u16(), fields.u64()) else {
        return corrupt(sealed.len(), "the file is cut off");
    };
    if version != VERSION {
        let message = format!("the file has version {version} of the container, and {VERSION} is known");
        return Err(Error::new(ErrorKind::Unsupported, message).in_file(path, None));
    }
    if len != fields.0.len() as u64 {
        return corrupt(12, "the file does not have the length that it was sealed with");
    }
    if found != kind {
        return corrupt(8, &format!("the file is of kind {found}, and {kind} is expected"));
    }
    Ok(fields.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sealed_files_round_trip() {
        for payload in [&b""[..], b"x", &[7; 1000]] {
            assert_eq!(unseal(3, &seal(3, payload), "m").unwrap(), payload);
        }
    }

    #[test]
    fn every_damage_is_detected() {
        let sealed = seal(3, b"some payload");
        let check = |bytes: &[u8], what: &str| {
            let error = unseal(3, bytes, "chk-1/_metadata").expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
            assert_eq!(error.file(), Some("chk-1/_metadata"), "{what}");
            assert!(error.offset().is_some(), "{what}");
        };
        for at in 0..sealed.len() {
            check(&sealed[..at], &format!("cut to {at}"));
            for mask in 1..=255 {
                let mut bytes = sealed.clone();
                bytes[at] ^= mask;
                check(&bytes, &format!("byte {at} xor {mask}"));
            }
        }
        check(&[&sealed[..], b"\0"].concat(), "appended");
        check(&[&sealed[..], &sealed[..]].concat(), "twice");
        check(&seal(4, b"some payload"), "other kind");
    }

    #[test]
    fn another_version_is_not_reported_as_damage() {
        let mut bytes = seal(3, b"");
        bytes[10] = 3;
        let crc = crc32fast::hash(&bytes[..PREFIX]);
        bytes[PREFIX..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(unseal(3, &bytes, "m").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_as_sealed_files(mut bytes in prop::collection::vec(any::<u8>(), 0..100), magic: bool) {
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(&MAGIC);
            }
            prop_assert_eq!(unseal(0, &bytes, "m").unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
