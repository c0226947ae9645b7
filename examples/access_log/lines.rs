//! Lines of a byte stream. They end with LF, CR LF or CR, as in Python's text files. The last one may have no end.

use std::io::{self, BufRead};

use memchr::memchr2;

/// Reads the next line into `line`, without its end. Returns the number of bytes taken from `input`; 0 at the end.
pub fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    loop {
        let buffer = input.fill_buf()?;
        let read = line.len() as u64;
        if buffer.is_empty() {
            return Ok(read);
        }
        let Some(end) = memchr2(b'\n', b'\r', buffer) else {
            let len = buffer.len();
            line.extend_from_slice(buffer);
            input.consume(len);
            continue;
        };
        line.extend_from_slice(&buffer[..end]);
        let is_cr = buffer[end] == b'\r';
        input.consume(end + 1);
        let mut taken = line.len() as u64 + 1;
        if is_cr && input.fill_buf()?.first() == Some(&b'\n') {
            input.consume(1);
            taken += 1;
        }
        return Ok(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines and the bytes that each took, read through a buffer of `capacity` bytes.
    fn lines(text: &[u8], capacity: usize) -> Vec<(String, u64)> {
        let mut input = io::BufReader::with_capacity(capacity, text);
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        loop {
            match read_line(&mut input, &mut line).unwrap() {
                0 => return lines,
                taken => lines.push((String::from_utf8(line.clone()).unwrap(), taken)),
            }
        }
    }

    #[test]
    fn every_line_end_is_one_wherever_the_buffer_ends() {
        for capacity in 1..12 {
            let found = lines(b"a\nbc\r\n\r\rd\n\r\nend", capacity);
            let found: Vec<_> = found.iter().map(|(line, taken)| (line.as_str(), *taken)).collect();
            assert_eq!(found, [("a", 2), ("bc", 4), ("", 1), ("", 1), ("d", 2), ("", 2), ("end", 3)]);
        }
        assert_eq!(lines(b"", 4), []);
    }
}
