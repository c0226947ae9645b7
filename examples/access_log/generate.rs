//! A generated log. Line `n` depends only on the seed and `n`, so reading may start at any line.

use std::io::Write;

use crate::log_time;

/// 17 May 2015, 00:00:00.
const START: u64 = 1_431_820_800;
const LINES_PER_SECOND: u64 = 50;
const VISITORS: u64 = 1 << 13;
const PAGES_OF_A_VISITOR: u64 = 16;
/// The most popular page is as likely as the next two together, those as the next four, and so on.
const POPULARITY_STEPS: u64 = 11;

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4",
    "curl/8.5.0",
];

/// Writes line `n` of the log of `seed` into `line`.
pub fn line(seed: u64, n: u64, line: &mut Vec<u8>) {
    let mut random = Random(mixed(seed) ^ n);
    let visitor = random.below(VISITORS);
    let page = page(seed, visitor, random.below(PAGES_OF_A_VISITOR));
    // Servers log a request when it ends, so lines are out of order by seconds, some by minutes.
    let late = if random.below(1000) == 0 { 180 } else { random.below(4) };
    let status = [200, 200, 200, 200, 200, 304, 404, 500][random.below(8) as usize];
    let agent = AGENTS[(visitor % 3) as usize];

    line.clear();
    number(b"198.18.", visitor / 256, line);
    number(b".", visitor % 256, line);
    line.extend_from_slice(b" - - [");
    log_time::format(START + n / LINES_PER_SECOND - late, line);
    line.extend_from_slice(b"] \"GET ");
    write_path(page, line);
    number(b" HTTP/1.1\" ", status, line);
    match status {
        304 => line.extend_from_slice(b" -"),
        _ => number(b" ", 500 + random.below(50_000), line),
    }
    line.extend_from_slice(b" \"https://example.com/\" \"");
    line.extend_from_slice(agent.as_bytes());
    line.push(b'"');
    // Some lines are truncated, as on a full disk.
    if random.below(10_000) == 0 {
        line.truncate(line.len() / 2);
    }
}

/// The rank of a visitor's page number `choice`.
fn page(seed: u64, visitor: u64, choice: u64) -> u64 {
    let mut random = Random(mixed(seed ^ mixed(visitor)) ^ choice);
    let octave = 1 << random.below(POPULARITY_STEPS);
    octave + random.below(octave) - 1
}

fn write_path(page: u64, line: &mut Vec<u8>) {
    match page % 4 {
        0 => number(b"/articles/number-", page, line),
        1 => number(b"/images/photo-", page, line),
        2 => number(b"/search?q=term+", page, line),
        _ => number(b"/download/release-", page, line),
    }
    line.extend_from_slice([&b".html"[..], b".jpg", b"&page=1", b".tar.gz"][(page % 4) as usize]);
}

fn number(before: &[u8], number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(before);
    write!(line, "{number}").expect("a vector takes all");
}

/// SplitMix64. All states are equally good, so states can be mixed from seeds.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        ((u128::from(mixed(self.0)) * u128::from(bound)) >> 64) as u64
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
