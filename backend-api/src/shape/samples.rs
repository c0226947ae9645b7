//! Values that types are tried with.

/// The sample of a list for one place of one attempt: the first ones first, then any, but always the same.
pub(crate) fn pick<T: Copy>(samples: &[T], attempt: u32, place: u32) -> Option<T> {
    let len = samples.len() as u32;
    let index = if attempt < len {
        attempt
    } else {
        // Fibonacci hashing.
        attempt.wrapping_mul(31).wrapping_add(place).wrapping_mul(0x9E37_79B9) >> 8
    };
    samples.get(index.checked_rem(len)? as usize).copied()
}

pub(crate) const NUMBERS: &[u8] = &[0, 1, 2, 3, 5, 10, 16, 12, 100, 127];

pub(crate) const WIDE_NUMBERS: &[i32] =
    &[0, 1, 2, 3, 5, 10, 16, 12, 100, 127, 255, 1000, 2000, 1970, 1_000_000, 1_700_000_000];

pub(crate) const FLOATS: &[f32] = &[0.0, 1.0, 0.5, 2.0, 100.0];

pub(crate) const CHARS: &[char] = &['a', '0', 'A', ' ', '/'];

pub(crate) const TEXTS: &[&str] = &[
    "",
    "a",
    "1",
    "0",
    "A",
    "1.0",
    "1.0.0",
    "2000-01-01",
    "2000-01-01T00:00:00Z",
    "2000-01-01T00:00:00",
    "00:00:00",
    "127.0.0.1",
    "::1",
    "127.0.0.1:80",
    "http://a.example/",
    "a@b.example",
    "a.example",
    "00000000-0000-0000-0000-000000000000",
    "000000000000000000000000",
    "00",
    "/a",
    "a/b",
    "en",
    "en-US",
    "EUR",
    "UTC",
    "Europe/Berlin",
    "PT1S",
    "1s",
    "#000000",
    "true",
    "{}",
    "[]",
    "abcdefgh",
    "Abcdefg1!",
    "+491701234567",
];

pub(crate) const BYTES: &[&[u8]] =
    &[&[], &[0; 16], &[0], &[0; 4], &[0; 8], &[0; 12], &[0; 20], &[0; 32], &[0; 64], b"a", b"[]"];
