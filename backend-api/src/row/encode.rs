//! Encoding rows.

use crate::{Result, StateKey};

/// Most items of one row: elements of a list, entries or removed keys of a map.
pub const ROW_ITEMS: usize = 128;

/// A row of a list or map ends with the item that brings it to this many bytes. Writers and readers keep a
/// row in one buffer.
pub const ROW_BYTES: usize = 64 << 10;

/// True if a row with this many items and bytes takes no further item.
#[inline]
pub fn is_full(items: usize, bytes: usize) -> bool {
    items >= ROW_ITEMS || bytes >= ROW_BYTES
}

/// Appends items to a row until it is [full](is_full) or no more are left. Returns their number, which is at
/// least 1 if there are any.
///
/// # Errors
/// The error of `encode`.
#[inline]
pub fn encode_items<I>(
    items: &mut impl Iterator<Item = I>,
    out: &mut Vec<u8>,
    mut encode: impl FnMut(I, &mut Vec<u8>) -> Result<()>,
) -> Result<usize> {
    let (start, mut taken) = (out.len(), 0);
    while !is_full(taken, out.len() - start)
        && let Some(item) = items.next()
    {
        encode(item, out)?;
        taken += 1;
    }
    Ok(taken)
}

/// Appends the index of the first element of a row of a list, and then elements as [`encode_items`] does.
///
/// # Errors
/// The error of `encode`.
#[inline]
pub fn encode_elements<T>(
    first: u64,
    elements: &mut impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut encode: impl FnMut(T, &mut Vec<u8>) -> Result<()>,
) -> Result<usize> {
    encode_varint(first, out);
    encode_items(elements, out, |element, out| encode_sized(out, |out| encode(element, out)))
}

/// Appends key and namespace, which start a row.
#[inline]
pub fn encode_key<K: StateKey, N: StateKey>(key: &K, namespace: &N, out: &mut Vec<u8>) {
    key.encode(out);
    namespace.encode(out);
}

/// Appends a whole number, seven bits a byte, the lowest first.
#[inline]
pub fn encode_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a whole number as [`encode_varint`] writes it.
#[inline]
pub fn varint_len(number: u64) -> usize {
    if number < 0x80 { 1 } else { (u64::BITS - number.leading_zeros()).div_ceil(7) as usize }
}

/// Appends the bytes that `encode` appends, preceded by their length.
///
/// # Errors
/// The error of `encode`. Then `out` is unchanged.
#[inline]
pub fn encode_sized(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.push(0);
    let result = encode(out);
    let length = out.len() - start - 1;
    match result {
        Ok(()) if length < 0x80 => out[start] = length as u8,
        Ok(()) => {
            // Rare: moves the bytes to make space for a longer length.
            let mut prefix = Vec::with_capacity(10);
            encode_varint(length as u64, &mut prefix);
            out.splice(start..=start, prefix);
        }
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_at_its_limit_of_items_or_of_bytes() {
        let rows = |length: usize, number: usize| {
            let (mut items, mut rows) = (vec![vec![7; length]; number].into_iter(), Vec::new());
            loop {
                let mut out = vec![1, 2, 3];
                let taken = encode_elements(0, &mut items, &mut out, |item, out| {
                    out.extend(item);
                    Ok(())
                });
                match taken.unwrap() {
                    0 => return rows,
                    taken => rows.push((taken, out.len())),
                }
            }
        };
        let taken = |rows: &[(usize, usize)]| rows.iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(taken(&rows(1, 300)), [128, 128, 44]);
        assert_eq!(taken(&rows(ROW_BYTES, 3)), [1, 1, 1]);
        let long = rows(20_000, 100);
        assert_eq!(taken(&long), [4; 25]);
        assert!(long.iter().all(|(_, bytes)| *bytes < ROW_BYTES + 20_100));
    }
}
