use std::fmt;

/// The name of a file that a backend writes for a checkpoint: `<operator>-<subtask>-<attempt>-<checkpoint>`,
/// or `<operator>-<subtask>-<attempt>-<part>-<checkpoint>`.
///
/// The attempt is 16 hexadecimal digits. See
/// [`CheckpointTarget::for_attempt`](super::CheckpointTarget::for_attempt). A part contains no dash. Other
/// names are not checkpoint files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    /// The operator's name.
    pub operator: &'a str,
    /// The subtask's number.
    pub subtask: u32,
    /// The random number of the attempt.
    pub attempt: u64,
    /// The part of the state, if the file is not the only one.
    pub part: Option<&'a str>,
    /// The checkpoint that wrote the file.
    pub checkpoint_id: u64,
}

/// Length of the longest name without operator and part: a subtask of five digits, an attempt of 16, a
/// checkpoint of 20, and four dashes.
const FIXED_BYTES: usize = 5 + 16 + 20 + 4;

/// The longest file name on nearly all file systems.
pub(super) const NAME_BYTES_MAX: usize = 255;

impl<'a> FileName<'a> {
    /// The longest part, in bytes.
    pub const PART_BYTES_MAX: usize = 32;

    /// The longest name of an operator, in bytes: with it the longest file name has 255 bytes.
    pub const OPERATOR_BYTES_MAX: usize = NAME_BYTES_MAX - FIXED_BYTES - Self::PART_BYTES_MAX;

    /// Parses a name. `None` if a backend would not write it.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (rest, checkpoint_id) = name.rsplit_once('-')?;
        let checkpoint_id = decimal(checkpoint_id)?;
        let (before, last) = rest.rsplit_once('-')?;
        let without_part = || {
            let (operator, subtask) = before.rsplit_once('-')?;
            Some(Self {
                operator,
                subtask: number(subtask)?,
                attempt: attempt(last)?,
                part: None,
                checkpoint_id,
            })
        };
        let with_part = || {
            let (before, attempt_digits) = before.rsplit_once('-')?;
            let (operator, subtask) = before.rsplit_once('-')?;
            let (subtask, attempt) = (number(subtask)?, attempt(attempt_digits)?);
            Some(Self { operator, subtask, attempt, part: Some(last), checkpoint_id })
        };
        let found = without_part().or_else(with_part)?;
        let is_name = !found.operator.is_empty() && found.part != Some("") && !name.contains('/');
        is_name.then_some(found)
    }
}

impl fmt::Display for FileName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}-", self.operator, self.subtask, self.attempt)?;
        if let Some(part) = self.part {
            write!(f, "{part}-")?;
        }
        write!(f, "{}", self.checkpoint_id)
    }
}

/// Parses a decimal number without sign or leading zeros.
pub(super) fn decimal(digits: &str) -> Option<u64> {
    let is_canonical = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| is_canonical)
}

/// The number of a subtask.
fn number(digits: &str) -> Option<u32> {
    decimal(digits).and_then(|number| u16::try_from(number).ok()).map(u32::from)
}

fn attempt(digits: &str) -> Option<u64> {
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_canonical = digits.len() == 16 && digits.bytes().all(is_hex);
    u64::from_str_radix(digits, 16).ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for operator in ["op", "a-1-0123456789abcdef-b", "0", "a..b_c"] {
            for part in [None, Some("manifest"), Some("000012.sst"), Some("0123456789abcdef")] {
                for (subtask, attempt, checkpoint_id) in [(0, 0, 0), (32_767, u64::MAX, u64::MAX), (7, 12, 3)]
                {
                    let name = FileName { operator, subtask, attempt, part, checkpoint_id };
                    assert_eq!(FileName::parse(&name.to_string()), Some(name));
                }
            }
        }
    }

    #[test]
    fn similar_names_are_refused() {
        for name in [
            "",
            "below/op-0-0123456789abcdef-5",
            "notes",
            "notes-5",
            "part-99999999999999999",
            "op-0-5",
            "op-0-0123456789abcde-5",
            "op-0-0123456789ABCDEF-5",
            "op-0-0123456789abcdef-05",
            "op-0-0123456789abcdef-+5",
            "op-00-0123456789abcdef-5",
            "-0-0123456789abcdef-5",
            "op-0-0123456789abcdef--5",
            "op-0-0123456789abcdef-18446744073709551616",
            "op-99999-0123456789abcdef-5",
            "op-0-0123456789abcdef-",
        ] {
            assert_eq!(FileName::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_longest_name_fits_a_file_system() {
        let operator = "o".repeat(FileName::OPERATOR_BYTES_MAX);
        let part = "p".repeat(FileName::PART_BYTES_MAX);
        let (subtask, attempt, checkpoint_id) = (u32::from(u16::MAX), u64::MAX, u64::MAX);
        let name = FileName { operator: &operator, subtask, attempt, part: Some(&part), checkpoint_id };
        assert_eq!(name.to_string().len(), NAME_BYTES_MAX);
    }
}
