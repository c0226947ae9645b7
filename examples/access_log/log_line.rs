//! Lines of the combined format:
//! `address identity user [time] "METHOD path HTTP/1.1" status bytes "referrer" "agent"`.

use memchr::memchr;

use crate::log_time::{self, number};

/// The parts of a line that the job uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit<'l> {
    /// The path with its query, byte for byte: the key.
    pub path: &'l [u8],
    /// The client.
    pub address: &'l [u8],
    /// Seconds since 1970; `None` if the log has no valid time there.
    pub time: Option<u64>,
    /// The status of the response.
    pub status: u16,
    /// Bytes of the response; 0 for `-`.
    pub bytes: u64,
}

/// Parses a line without its line end. `None` if it is not in the format.
pub fn parse(line: &[u8]) -> Option<Visit<'_>> {
    let (address, rest) = word(line)?;
    let (_identity, rest) = word(rest)?;
    let (_user, rest) = word(rest)?;
    let (time, rest) = until(rest.strip_prefix(b"[")?, b']')?;
    let (method, rest) = word(rest.strip_prefix(b" \"")?)?;
    let (path, rest) = word(rest)?;
    let [
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'0'..=b'9',
        b'.',
        b'0'..=b'9',
        b'"',
        b' ',
        s1,
        s2,
        s3,
        b' ',
        rest @ ..,
    ] = rest
    else {
        return None;
    };
    let (bytes, rest) = word(rest)?;
    let (_referrer, rest) = until(rest.strip_prefix(b"\"")?, b'"')?;
    let (_agent, rest) = until(rest.strip_prefix(b" \"")?, b'"')?;
    if time.is_empty() || !method.iter().all(u8::is_ascii_uppercase) || !rest.is_empty() {
        return None;
    }
    Some(Visit {
        path,
        address,
        time: log_time::parse(time),
        status: number(&[*s1, *s2, *s3])? as u16,
        bytes: if bytes == b"-" { 0 } else { number(bytes)? },
    })
}

/// The text before and after `end`.
fn until(text: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(end, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The word before a space, and the text after it. A word is not empty and has no white space.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = until(text, b' ')?;
    let plain = word.iter().all(|byte| matches!(byte, b'!'..=b'~'));
    (!word.is_empty() && (plain || !has_white_space(word))).then_some((word, rest))
}

/// White space is looked for in the parts that are UTF-8.
#[cold]
fn has_white_space(word: &[u8]) -> bool {
    let separator = |c: char| matches!(c, '\x1c'..='\x1f');
    word.utf8_chunks().any(|chunk| chunk.valid().contains(|c: char| c.is_whitespace() || separator(c)))
}
