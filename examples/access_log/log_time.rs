//! Converts times of access logs, such as `17/May/2015:10:05:03 +0000`, to seconds since 1970 and back.

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const DAY: u64 = 24 * 60 * 60;

/// Seconds since 1970; `None` if it is no time, or before 1970.
pub fn parse(text: &[u8]) -> Option<u64> {
    let text: &[u8; 26] = text.try_into().ok()?;
    let [.., b'/', _, _, _, b'/', _, _, _, _, b':', _, _, b':', _, _, b':', _, _, b' ', sign, _, _, _, _] =
        text
    else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == &text[3..6])?;
    let (day, year) = (number(&text[..2])?, number(&text[7..11])?);
    let (hour, minute, second) = (number(&text[12..14])?, number(&text[15..17])?, number(&text[18..20])?);
    // A leap second counts as the first second of the next minute.
    if year < 1970 || day == 0 || day > days_of(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before_year(year) + (0..month).map(|month| days_of(year, month)).sum::<u64>() + day - 1;
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let offset = number(&text[22..24])? * 3600 + number(&text[24..])? * 60;
    match sign {
        b'+' => local.checked_sub(offset),
        b'-' => Some(local + offset),
        _ => None,
    }
}

/// Appends the time, in UTC.
pub fn format(time: u64, out: &mut Vec<u8>) {
    let mut days = time / DAY;
    // A year has at most 366 days, so this is the right year or a few years before it.
    let mut year = 1970 + days / 366;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    days -= days_before_year(year);
    let mut month = 0;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    two_digits(days + 1, b'/', out);
    out.extend_from_slice(MONTHS[month]);
    out.push(b'/');
    out.extend_from_slice(year.to_string().as_bytes());
    out.push(b':');
    two_digits(time % DAY / 3600, b':', out);
    two_digits(time % 3600 / 60, b':', out);
    two_digits(time % 60, b' ', out);
    out.extend_from_slice(b"+0000");
}

/// Days from 1970 to the first of January of `year`.
fn days_before_year(year: u64) -> u64 {
    let leap_years = |before: u64| (before - 1) / 4 - (before - 1) / 100 + (before - 1) / 400;
    (year - 1970) * 365 + leap_years(year) - leap_years(1970)
}

fn days_of(year: u64, month: usize) -> u64 {
    match month {
        1 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// Parses ASCII digits; `None` for anything else, or if the number exceeds 64 bits.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn two_digits(number: u64, end: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8, end]);
}
