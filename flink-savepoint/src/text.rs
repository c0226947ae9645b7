//! Java's strings.

/// Decodes modified UTF-8. An unpaired surrogate, which a name of a class or state cannot have, becomes U+FFFD. `None` if the
/// bytes are not modified UTF-8.
pub(crate) fn from_modified_utf8(bytes: &[u8]) -> Option<String> {
    if bytes.is_ascii() {
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&first) = rest.next() {
        let mut more = || rest.next().filter(|byte| **byte & 0xC0 == 0x80).map(|byte| u16::from(byte & 0x3F));
        units.push(match first {
            0..=0x7F => first.into(),
            0xC0..=0xDF => u16::from(first & 0x1F) << 6 | more()?,
            0xE0..=0xEF => u16::from(first & 0x0F) << 12 | more()? << 6 | more()?,
            _ => return None,
        });
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_pairs_have_forms_of_their_own() {
        assert_eq!(from_modified_utf8(b"plain").unwrap(), "plain");
        assert_eq!(from_modified_utf8(&[0xC0, 0x80]).unwrap(), "\0");
        assert_eq!(from_modified_utf8(&[0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]).unwrap(), "\u{1F600}");
        assert_eq!(from_modified_utf8("\u{20AC}\u{E4}".as_bytes()).unwrap(), "\u{20AC}\u{E4}");
        assert_eq!(from_modified_utf8(&[0xED, 0xA0, 0xBD]).unwrap(), "\u{FFFD}");
        for wrong in [&[0xC0][..], &[0xE1, 0x80], &[0xF0, 0x9F, 0x98, 0x80], &[0x80], &[0xC2, 0x41]] {
            assert_eq!(from_modified_utf8(wrong), None, "{wrong:?}");
        }
    }
}
