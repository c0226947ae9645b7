//! Deterministic inputs, bit for bit those of the Flink peer (`peers/flink/Workload.java`).
//!
//! They are functions of a seed. They use wrapping 64-bit integers, and doubles with `+ - * /` only, because a library's
//! logarithm differs in its last bit between platforms.

/// The purpose of a random stream. Each pair of seed and purpose has its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Order of the keys that exist.
    ExistingKeys = 1,
    /// Order of the keys that are new.
    NewKeys = 2,
    /// Values.
    Values = 3,
    /// Order of the keys of a map.
    MapKeys = 4,
    /// Uniform draws.
    Uniform = 5,
    /// Zipf draws.
    Zipf = 6,
    /// Draws of the deduplication.
    Dedup = 7,
    /// Keys and values of the changes between two checkpoints.
    Touch = 8,
}

/// Scrambles the bits of a number; the finalizer of splitmix64.
pub fn mix64(z: u64) -> u64 {
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// The random numbers of one stream.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The numbers of a stream from the start.
    pub fn new(seed: u64, stream: Stream) -> Self {
        Self { state: mix64(seed.wrapping_add((stream as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))) }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix64(self.state)
    }

    /// The next number in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * f64::from_bits(0x3CA0_0000_0000_0000)
    }

    /// The next number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n
    }
}

/// `first`, `first + 1`, up to `n` numbers, in a random order (Fisher-Yates, from the end).
pub fn shuffled(first: u64, n: usize, seed: u64, stream: Stream) -> Vec<i64> {
    let mut numbers: Vec<i64> = (first..).take(n).map(|number| number as i64).collect();
    let mut random = SplitMix64::new(seed, stream);
    for i in (1..n).rev() {
        let j = random.below(i as u64 + 1) as usize;
        numbers.swap(i, j);
    }
    numbers
}

/// Random numbers.
pub fn values(n: usize, seed: u64) -> Vec<i64> {
    let mut random = SplitMix64::new(seed, Stream::Values);
    (0..n).map(|_| random.next_u64() as i64).collect()
}

/// Key number `i` of the application workloads: a path of 24 ASCII bytes.
pub fn url_key(i: u64) -> String {
    format!("/cat{:02}/item/{i:012}", i % 97)
}

/// Draws of key numbers below `n`, each as likely as the others.
pub fn uniform(n: u64, seed: u64, stream: Stream) -> impl Iterator<Item = u64> {
    let mut random = SplitMix64::new(seed, stream);
    std::iter::repeat_with(move || (random.unit() * n as f64) as u64)
}

/// Draws of key numbers below `n` by Zipf's law: rank `k` has weight `k^-exponent`.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// Cumulative weights of the ranks.
    cumulated: Vec<f64>,
    random: SplitMix64,
}

impl Zipf {
    /// The draws from the start. `n` must not be a multiple of 7919, which spreads the ranks over the key numbers.
    pub fn new(n: u64, exponent: f64, seed: u64) -> Self {
        assert!(!n.is_multiple_of(7919), "the number of keys is a multiple of 7919");
        let mut total = 0.0;
        let cumulated = (1..=n)
            .map(|rank| {
                total += exp(-exponent * ln(rank as f64));
                total
            })
            .collect();
        Self { cumulated, random: SplitMix64::new(seed, Stream::Zipf) }
    }
}

impl Iterator for Zipf {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let target = self.random.unit() * self.cumulated.last()?;
        let rank = self.cumulated.partition_point(|weight| *weight <= target).min(self.cumulated.len() - 1);
        Some((rank as u64 * 7919 + 12345) % self.cumulated.len() as u64)
    }
}

#[expect(clippy::approx_constant, reason = "written out, as in the other implementations")]
const LN_2: f64 = 0.693_147_180_559_945_3;

/// Natural logarithm of `x >= 1`.
fn ln(x: f64) -> f64 {
    let (mut mantissa, mut exponent) = (x, 0);
    while mantissa >= 2.0 {
        mantissa *= 0.5;
        exponent += 1;
    }
    #[expect(clippy::approx_constant, reason = "written out, as in the other implementations")]
    if mantissa > 1.414_213_562_373_095_1 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for k in (3..=23).rev().step_by(2) {
        series = (series + 1.0 / f64::from(k)) * square;
    }
    f64::from(exponent) * LN_2 + 2.0 * s * (1.0 + series)
}

/// `e^y` for `-700 < y <= 0`.
fn exp(y: f64) -> f64 {
    let (mut rest, mut halvings) = (y, 0);
    while rest < -0.5 {
        rest += LN_2;
        halvings += 1;
    }
    let mut power = 1.0;
    for k in (1..=18).rev() {
        power = 1.0 + power * rest / f64::from(k);
    }
    (0..halvings).fold(power, |power, _| power * 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a of the little-endian bytes, as in the other implementations.
    fn fnv(numbers: impl IntoIterator<Item = i64>) -> u64 {
        let bytes = numbers.into_iter().flat_map(i64::to_le_bytes);
        bytes
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
    }

    fn drawn(draws: impl Iterator<Item = u64>) -> u64 {
        fnv(draws.take(1_000_000).map(|draw| draw as i64))
    }

    // `peers/flink/run.sh workload` and `workload_check.py` print these sums for seed 42.

    #[test]
    fn keys_and_values_are_those_of_the_other_implementations() {
        assert_eq!(url_key(123_456), "/cat72/item/000000123456");
        assert_eq!(fnv(shuffled(0, 500_000, 42, Stream::ExistingKeys)), 0xff1a_d915_83c0_2a0d);
        assert_eq!(fnv(shuffled(500_000, 500_000, 42, Stream::NewKeys)), 0x78fe_5245_668c_ea25);
        assert_eq!(fnv(values(1_000_000, 42)), 0x027e_5b1b_fba1_0108);
        assert_eq!(shuffled(0, 10, 42, Stream::MapKeys), [5, 4, 6, 0, 9, 8, 1, 3, 7, 2]);
        assert_eq!(fnv(shuffled(0, 10, 42, Stream::MapKeys)), 0x54a9_6910_8ef1_5984);
    }

    #[test]
    fn draws_are_those_of_the_other_implementations() {
        assert_eq!(drawn(uniform(1_000_000, 42, Stream::Uniform)), 0x99ff_b988_c806_d116);
        assert_eq!(drawn(Zipf::new(1_000_000, 0.99, 42)), 0x5b43_84d6_97dd_2ef9);
        assert_eq!(drawn(uniform(1_000_000, 42, Stream::Dedup)), 0x410f_b61b_d61b_f6ca);
    }
}
