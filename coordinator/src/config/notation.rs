//! Values of settings as Flink writes them: `10 min`, `5 mb`.

use std::time::Duration;

/// Units of time with their nanoseconds.
const TIMES: [(&[&str], u64); 7] = [
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["h", "hour", "hours"], 3_600_000_000_000),
    (&["min", "m", "minute", "minutes"], 60_000_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["ms", "milli", "millis", "millisecond", "milliseconds"], 1_000_000),
    (&["us", "\u{b5}s", "micro", "micros", "microsecond", "microseconds"], 1_000),
    (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
];

/// Units of size with their bytes: all of them are powers of 1024.
const SIZES: [(&[&str], u64); 5] = [
    (&["b", "bytes"], 1),
    (&["k", "kb", "kibibytes"], 1 << 10),
    (&["m", "mb", "mebibytes"], 1 << 20),
    (&["g", "gb", "gibibytes"], 1 << 30),
    (&["t", "tb", "tebibytes"], 1 << 40),
];

/// A duration: a whole number and a unit, such as `10 min`, `30s` or `500 ms`. A number alone is milliseconds.
///
/// # Errors
/// A message.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let nanos = factor(unit, "ms", &TIMES)
        .ok_or_else(|| format!("{text:?} has no unit of time that is known: d, h, min, s, ms, us, ns"))?;
    let nanos = u128::from(number) * u128::from(nanos);
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| format!("{text:?} is too long"))?;
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// A number of bytes: a whole number and a unit, such as `5 mb` or `20 kb`. A number alone is bytes.
///
/// # Errors
/// A message.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let bytes = factor(unit, "b", &SIZES)
        .ok_or_else(|| format!("{text:?} has no unit of size that is known: b, kb, mb, gb, tb"))?;
    number.checked_mul(bytes).ok_or_else(|| format!("{text:?} is more than 2^64 bytes"))
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse().map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    Ok((number, unit.trim()))
}

fn factor(unit: &str, default: &str, units: &[(&[&str], u64)]) -> Option<u64> {
    let unit = if unit.is_empty() { default.to_owned() } else { unit.to_lowercase() };
    units.iter().find(|(names, _)| names.contains(&&*unit)).map(|(_, factor)| *factor)
}

/// A whole number.
pub(crate) fn number<T: TryFrom<u64>>(value: &str) -> Result<T, String> {
    let number = value.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{value:?} is not a whole number in its range, from 0 on"))
}

/// The choice with this name, in any case of letters.
pub(crate) fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(value));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("{value:?} is none of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_as_in_flink() {
        let read = [
            ("10 min", 600_000),
            ("30 s", 30_000),
            ("30s", 30_000),
            ("500 ms", 500),
            ("1 d", 86_400_000),
            ("2 Hours", 7_200_000),
            ("250", 250),
            (" 1  min ", 60_000),
        ];
        for (text, millis) in read {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("1500 us"), Ok(Duration::from_micros(1500)));
        for text in ["", "min", "-1 s", "1.5 s", "10 parsecs", "99999999999999999999 s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_parse_as_in_flink() {
        for (text, bytes) in
            [("5 mb", 5 << 20), ("20kb", 20 << 10), ("1 GB", 1 << 30), ("7", 7), ("7 bytes", 7)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "mb", "1 pb", "-1", "20000000 tb"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
