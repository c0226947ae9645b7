//! The line format of the example `access_log`. Also runs the tests in its modules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the program uses more of its modules than this test")]

#[path = "../examples/access_log/batch.rs"]
mod batch;
#[path = "../examples/access_log/lines.rs"]
mod lines;
#[path = "../examples/access_log/log_line.rs"]
mod log_line;
#[path = "../examples/access_log/log_time.rs"]
mod log_time;
#[path = "../examples/access_log/window.rs"]
mod window;

use log_line::{Visit, parse};

const LINE: &str =
    r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023 "http://r/" "Agent""#;

/// The line with `from`, which is in it once, replaced.
fn with(from: &str, to: impl AsRef<[u8]>) -> Vec<u8> {
    let (before, after) = LINE.split_once(from).unwrap();
    [before.as_bytes(), to.as_ref(), after.as_bytes()].concat()
}

fn accepted(from: &str, to: impl AsRef<[u8]>) -> bool {
    parse(&with(from, to)).is_some()
}

#[test]
fn a_line_is_taken_apart() {
    let visit = Visit {
        path: b"/a?b=c",
        address: b"83.149.9.216",
        time: Some(1_431_857_103),
        status: 200,
        bytes: 203_023,
    };
    assert_eq!(parse(LINE.as_bytes()), Some(visit));
    let unknown = with("203023", "-");
    assert_eq!(parse(&unknown), Some(Visit { bytes: 0, ..visit }));
}

#[test]
fn every_beginning_of_a_line_is_malformed() {
    for end in 0..LINE.len() {
        assert_eq!(parse(&LINE.as_bytes()[..end]), None, "cut off after {end} bytes");
    }
}

#[test]
fn well_formed_lines() {
    assert!(accepted("83.149.9.216", "::1"));
    assert!(accepted("- -", "ident frank"));
    assert!(accepted("GET", "PROPFIND"));
    assert!(accepted("HTTP/1.1", "HTTP/2.0"));
    assert!(accepted("http://r/", ""));
    assert!(accepted("Agent", "with [brackets] and \\ and \t"));
    assert!(accepted("Agent", b"\xff\xfe"));
    assert!(accepted("200", "999"));
    assert!(accepted("203023", u64::MAX.to_string()));
}

#[test]
fn malformed_lines() {
    for (from, to) in [
        ("- -", "-"),
        ("- -", "- - -"),
        ("- -", "-  -"),
        ("83.149.9.216", "a\tb"),
        ("[17", "17"),
        ("17/May/2015:10:05:03 +0000", ""),
        ("] ", "]"),
        ("] ", "]  "),
        ("GET", "get"),
        ("GET", ""),
        ("GET", "G3T"),
        ("/a?b=c", ""),
        ("/a?b=c", "/a b"),
        ("/a?b=c", "/a\u{a0}b"),
        ("/a?b=c", "/a\x1fb"),
        (" HTTP/1.1", ""),
        ("HTTP/1.1", "HTTP/1"),
        ("HTTP/1.1", "HTTP/10.1"),
        ("HTTP/1.1", "http/1.1"),
        ("200", "20"),
        ("200", "2000"),
        ("200", "2x0"),
        ("203023", ""),
        ("203023", "+5"),
        ("203023", "-5"),
        ("203023", "18446744073709551616"),
        ("http://r/", "a\"b"),
        ("Agent", "a\"b"),
        ("\"Agent\"", "\"Agent\" "),
        ("\"Agent\"", "\"Agent"),
        ("\"Agent\"", "\"Agent\"x"),
        ("\"http://r/\" ", ""),
    ] {
        assert!(!accepted(from, to), "{from:?} became {to:?}");
    }
}

#[test]
fn a_path_is_kept_byte_for_byte() {
    for path in
        [&b"/a\"b"[..], b"/\xff\xfe", "/caf\u{e9}".as_bytes(), b"/%20", b"/a\x00b", b"/\x1b[31m", b"*"]
    {
        assert_eq!(parse(&with("/a?b=c", path)).unwrap().path, path);
    }
}

#[test]
fn an_invalid_time_does_not_make_a_line_malformed() {
    for (text, time) in [
        ("yesterday", None),
        ("17/May/2015:10:05:03", None),
        ("17/Mai/2015:10:05:03 +0000", None),
        ("31/Jun/2015:10:05:03 +0000", None),
        ("29/Feb/2015:00:00:00 +0000", None),
        ("29/Feb/2016:00:00:00 +0000", Some(1_456_704_000)),
        ("29/Feb/2100:00:00:00 +0000", None),
        ("00/May/2015:10:05:03 +0000", None),
        ("17/May/2015:24:05:03 +0000", None),
        ("31/Dec/1969:23:59:59 +0000", None),
        ("01/Jan/1970:00:00:00 +0000", Some(0)),
        ("01/Jan/1970:00:00:00 +0100", None),
        ("31/Dec/9999:23:59:59 +0000", Some(253_402_300_799)),
        ("17/May/2015:12:05:03 +0200", Some(1_431_857_103)),
        ("17/May/2015:04:35:03 -0530", Some(1_431_857_103)),
    ] {
        let line = with("17/May/2015:10:05:03 +0000", text);
        assert_eq!(parse(&line).unwrap().time, time, "{text}");
    }
}

#[test]
fn times_are_written_as_they_are_read() {
    for days in 0..60_000_u64 {
        let time = days * 86_400 + days;
        let mut text = Vec::new();
        log_time::format(time, &mut text);
        assert_eq!(log_time::parse(&text), Some(time));
    }
}
