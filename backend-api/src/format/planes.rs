//! Byte planes: rows of one width, stored as columns of bytes.
//!
//! The high bytes of counters and similar values repeat from row to row, but seldom within a row. In planes
//! they are runs, which compress fast.

/// Wider rows are compressed without planes, because their repetitions are within rows.
pub(super) const MAX_WIDTH: usize = 64;

/// Rows and bytes moved at a time.
const TILE: usize = 8;

/// Splits `rows`, each `width` bytes wide, into `planes`.
pub(super) fn split(rows: &[u8], width: usize, planes: &mut Vec<u8>) {
    let count = rows.len() / width;
    planes.resize(rows.len(), 0);
    let (tiled_rows, tiled_bytes) = (count / TILE * TILE, width / TILE * TILE);
    for byte in (0..tiled_bytes).step_by(TILE) {
        for (tile, rows) in rows.chunks_exact(width * TILE).enumerate() {
            let square = transpose(std::array::from_fn(|row| load(rows, row * width + byte)));
            for (plane, bytes) in square.iter().enumerate() {
                store(planes, (byte + plane) * count + tile * TILE, *bytes);
            }
        }
    }
    for (row, bytes) in rows.chunks_exact(width).enumerate() {
        let from = if row < tiled_rows { tiled_bytes } else { 0 };
        for (byte, value) in bytes.iter().enumerate().skip(from) {
            planes[byte * count + row] = *value;
        }
    }
}

/// Joins byte planes into `rows`, as the inverse of [`split`].
pub(super) fn join(planes: &[u8], width: usize, rows: &mut Vec<u8>) {
    let count = planes.len() / width;
    rows.resize(planes.len(), 0);
    let (tiled_rows, tiled_bytes) = (count / TILE * TILE, width / TILE * TILE);
    for byte in (0..tiled_bytes).step_by(TILE) {
        for (tile, rows) in rows.chunks_exact_mut(width * TILE).enumerate() {
            let square = std::array::from_fn(|plane| load(planes, (byte + plane) * count + tile * TILE));
            for (row, bytes) in transpose(square).iter().enumerate() {
                store(rows, row * width + byte, *bytes);
            }
        }
    }
    for (row, bytes) in rows.chunks_exact_mut(width).enumerate() {
        let from = if row < tiled_rows { tiled_bytes } else { 0 };
        for (byte, value) in bytes.iter_mut().enumerate().skip(from) {
            *value = planes[byte * count + row];
        }
    }
}

/// Transposes a square of 8 by 8 bytes: first its four quarters, then within them.
fn transpose(mut square: [u64; TILE]) -> [u64; TILE] {
    for (distance, low) in
        [(4, 0x0000_0000_FFFF_FFFF), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF_u64)]
    {
        for row in (0..TILE).filter(|row| row & distance == 0) {
            let (upper, lower) = (square[row], square[row + distance]);
            let bits = 8 * distance as u32;
            square[row] = upper & low | (lower & low) << bits;
            square[row + distance] = upper >> bits & low | lower & !low;
        }
    }
    square
}

fn load(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; TILE];
    field.copy_from_slice(&bytes[at..at + TILE]);
    u64::from_le_bytes(field)
}

fn store(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + TILE].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn planes_are_columns_of_bytes() {
        let mut planes = Vec::new();
        split(b"a1b2c3", 2, &mut planes);
        assert_eq!(planes, b"abc123");
    }

    proptest! {
        #[test]
        fn join_inverts_split(width in 1_usize..70, bytes in prop::collection::vec(any::<u8>(), 1..9000)) {
            let rows = &bytes[..bytes.len() / width * width];
            let (mut planes, mut joined) = (vec![7; 3], vec![7; 20_000]);
            split(rows, width, &mut planes);
            for (at, byte) in rows.iter().enumerate() {
                prop_assert_eq!(planes[at % width * (rows.len() / width) + at / width], *byte);
            }
            join(&planes, width, &mut joined);
            prop_assert_eq!(joined, rows);
        }
    }
}
