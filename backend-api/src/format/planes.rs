//! Byte planes: rows of one width, stored column by column of bytes.
//!
//! The high bytes of counters and the like are alike from row to row, and seldom within one. As planes
//! they are runs, which is what makes a fast compression worth its time.

/// Rows moved at a time: as many bytes of each plane fill one cache line.
const TILE: usize = 64;

/// Rows wider than this are compressed as they are: what repeats in them is within a row.
pub(super) const MAX_WIDTH: usize = 64;

/// Makes `planes` the byte planes of `rows`, whose rows are `width` bytes wide each.
pub(super) fn split(rows: &[u8], width: usize, planes: &mut Vec<u8>) {
    let count = rows.len() / width;
    planes.resize(rows.len(), 0);
    for (tile, rows) in rows.chunks(width * TILE).enumerate() {
        for byte in 0..width {
            let plane = &mut planes[byte * count + tile * TILE..];
            for (to, row) in plane.iter_mut().zip(rows.chunks_exact(width)) {
                *to = row[byte];
            }
        }
    }
}

/// Makes `rows` the rows of these byte planes, the inverse of [`split`].
pub(super) fn join(planes: &[u8], width: usize, rows: &mut Vec<u8>) {
    let count = planes.len() / width;
    rows.resize(planes.len(), 0);
    for (tile, rows) in rows.chunks_mut(width * TILE).enumerate() {
        for byte in 0..width {
            let plane = &planes[byte * count + tile * TILE..];
            for (from, row) in plane.iter().zip(rows.chunks_exact_mut(width)) {
                row[byte] = *from;
            }
        }
    }
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
        fn join_is_the_inverse_of_split(width in 1_usize..70, bytes in prop::collection::vec(any::<u8>(), 1..9000)) {
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
