use std::ops::Range;

const STATE_BYTES: usize = 2;
const HEAD_BYTES: usize = STATE_BYTES + 2;

/// The parts of an entry's key in a [`ByteStore`](super::ByteStore).
///
/// Only this type knows the positions of the parts. The [crate](super#layout) describes them.
///
/// ```
/// use backend_bytes::EntryKey;
///
/// let (from, to) = EntryKey::group_range(7, 3..5);
/// let key = EntryKey::split(b"\0\x07\0\x04key").unwrap();
/// assert_eq!((key.state, key.group, key.own), (7, 4, &b"key"[..]));
/// assert!((from..to).contains(&key.head()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryKey<'k> {
    /// Number of the state.
    pub state: u16,
    /// Key group.
    pub group: u16,
    /// Key and namespace, then a map key or the sequence number of a list element.
    pub own: &'k [u8],
}

impl<'k> EntryKey<'k> {
    /// Bytes of the state's number, the only part of a key that differs between backends with the same entry.
    pub(crate) const STATE_BYTES: usize = STATE_BYTES;

    /// Bytes of the state's number and the key group.
    pub(crate) const HEAD_BYTES: usize = HEAD_BYTES;

    /// Bytes of the sequence number of a list element, at the end of its key.
    pub const SEQUENCE_BYTES: usize = 8;

    /// Splits a key into its parts. `None` if it is shorter than a head.
    #[inline]
    pub fn split(key: &'k [u8]) -> Option<Self> {
        let (&[s0, s1, g0, g1], own) = key.split_first_chunk::<HEAD_BYTES>()?;
        Some(Self { state: u16::from_be_bytes([s0, s1]), group: u16::from_be_bytes([g0, g1]), own })
    }

    /// The bytes before [`own`](Self::own).
    #[inline]
    pub fn head(&self) -> [u8; HEAD_BYTES] {
        Self::head_of(self.state, self.group)
    }

    /// The first bytes of the keys of a state and key group.
    #[inline]
    pub fn head_of(state: u16, group: u16) -> [u8; HEAD_BYTES] {
        let ([s0, s1], [g0, g1]) = (state.to_be_bytes(), group.to_be_bytes());
        [s0, s1, g0, g1]
    }

    /// The number of the state that a key, or a bound of a range within one state, belongs to. `None` if it
    /// is shorter than the number.
    #[inline]
    pub fn state_of(key: &[u8]) -> Option<u16> {
        key.first_chunk().map(|number| u16::from_be_bytes(*number))
    }

    /// A key without the number of its state.
    #[inline]
    pub fn without_state(key: &[u8]) -> &[u8] {
        key.get(Self::STATE_BYTES..).unwrap_or_default()
    }

    /// A key without its head: [`own`](Self::own).
    #[inline]
    pub(crate) fn without_head(key: &[u8]) -> &[u8] {
        key.get(Self::HEAD_BYTES..).unwrap_or_default()
    }

    /// The range of the keys of a state, without its end.
    pub(crate) fn state_range(state: u16) -> ([u8; STATE_BYTES], [u8; STATE_BYTES + 1]) {
        let [high, low] = state.to_be_bytes();
        // The first byte of a key group is below 128.
        ([high, low], [high, low, u8::MAX])
    }

    /// The range of the keys of some key groups of a state, without its end.
    pub fn group_range(state: u16, groups: Range<u16>) -> ([u8; HEAD_BYTES], [u8; HEAD_BYTES]) {
        (Self::head_of(state, groups.start), Self::head_of(state, groups.end))
    }

    /// Writes the least key above all that begin with `prefix` to `out`. `prefix` holds a byte below 255: a
    /// key group does.
    pub(crate) fn successor(prefix: &[u8], out: &mut Vec<u8>) {
        let kept = prefix.iter().rposition(|byte| *byte < u8::MAX).map_or(0, |at| at + 1);
        out.clear();
        out.extend(prefix.iter().take(kept));
        if let Some(last) = out.last_mut() {
            *last += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_a_key_returns_its_parts() {
        let key = EntryKey { state: 0x1234, group: 0x5678, own: b"own" };
        let bytes = [&key.head()[..], key.own].concat();
        assert_eq!(EntryKey::split(&bytes), Some(key));
        assert_eq!(EntryKey::state_of(&bytes), Some(0x1234));
        assert_eq!(EntryKey::without_state(&bytes), b"\x56\x78own");
        assert_eq!(EntryKey::without_head(&bytes), b"own");
        assert_eq!((EntryKey::split(&bytes[..3]), EntryKey::state_of(&bytes[..1])), (None, None));
    }

    #[test]
    fn ranges_contain_exactly_the_keys_of_their_state_and_groups() {
        let key = |state, group| [&EntryKey::head_of(state, group)[..], &[u8::MAX; 9]].concat();
        let (from, to) = EntryKey::state_range(5);
        let of_state = |key: &[u8]| &from[..] <= key && key < &to[..];
        assert!(of_state(&EntryKey::head_of(5, 0)) && of_state(&key(5, 0x7fff)));
        assert!(!of_state(&key(4, 0x7fff)) && !of_state(&EntryKey::head_of(6, 0)));

        let (from, to) = EntryKey::group_range(5, 0x00ff..0x0101);
        let of_groups = |key: &[u8]| &from[..] <= key && key < &to[..];
        assert!(of_groups(&EntryKey::head_of(5, 0xff)) && of_groups(&key(5, 0x100)));
        assert!(!of_groups(&key(5, 0xfe)) && !of_groups(&EntryKey::head_of(5, 0x101)));
    }

    #[test]
    fn the_successor_is_above_all_that_begins_with_the_prefix() {
        let mut end = Vec::new();
        for (prefix, expected) in [(&b"a"[..], &b"b"[..]), (b"a\xff", b"b"), (b"a\xffb\xff\xff", b"a\xffc")] {
            EntryKey::successor(prefix, &mut end);
            assert_eq!(end, expected);
            assert!([prefix, &[u8::MAX; 20]].concat() < end);
        }
    }
}
