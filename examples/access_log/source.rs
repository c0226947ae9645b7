//! The sources of lines, and positions in them, which are part of each checkpoint.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::args::Input;
use crate::failure::Failure;
use crate::generate;
use crate::lines::read_line;
use crate::window::Minute;

/// A part of the log, its position, and statistics of its lines so far. The positions of all parts are one
/// even-split list, so a resumed job can read them with another number of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Number and seed of the lines, if they are generated.
    generated: Option<(u64, u64)>,
    /// Where the part begins: a byte of a log, or the number of a generated line.
    begin: u64,
    /// Where it ends, if that is not the end of the input.
    end: Option<u64>,
    /// The next byte of the log.
    pub offset: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines among them that were not in the format.
    pub malformed: u64,
    /// The latest minute seen in a line.
    pub newest: Minute,
}

impl Position {
    /// Splits `input` into this many parts. An input without a length has one part.
    pub fn split(input: &Input, parts: u64) -> Result<Vec<Self>, Failure> {
        let generated = generated(input);
        let part = |begin, end| Self { generated, begin, end, offset: begin, ..Self::default() };
        let bounds = match input {
            Input::Generated { lines, .. } => {
                let cut = |n: u64| (u128::from(*lines) * u128::from(n) / u128::from(parts)) as u64;
                (1..parts).map(cut).collect()
            }
            Input::Stdin => Vec::new(),
            Input::File(_) if parts == 1 => Vec::new(),
            Input::File(path) => {
                lines_near(path, parts).map_err(|error| Failure::job(path.display(), error))?
            }
        };
        let begins = std::iter::once(0).chain(bounds.iter().copied());
        let ends = bounds.iter().map(|end| Some(*end)).chain([None]);
        let mut parts: Vec<Self> = begins.zip(ends).map(|(begin, end)| part(begin, end)).collect();
        if generated.is_some() {
            parts.iter_mut().for_each(|part| part.offset = 0);
        }
        Ok(parts)
    }

    /// The sum of all `parts`.
    pub fn sum(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |sum, part| Self {
            offset: sum.offset + part.offset - if part.generated.is_some() { 0 } else { part.begin },
            lines: sum.lines + part.lines,
            malformed: sum.malformed + part.malformed,
            generated: part.generated,
            ..sum
        })
    }

    /// The amount read, in the unit of [`Source::check`].
    pub fn done(&self) -> u64 {
        if self.generated.is_some() { self.lines } else { self.offset }
    }

    /// True for the first part of the input.
    pub fn is_first(&self) -> bool {
        self.begin == 0
    }
}

/// Lines after a position, one by one.
pub struct Source {
    /// `None` if lines are generated.
    reader: Option<Box<dyn BufRead + Send>>,
    name: String,
    line: Vec<u8>,
}

impl Source {
    /// Checks that `input` can be read at `position`. Returns its total, if known, and the unit of that.
    pub fn check(input: &Input, position: &Position) -> Result<(Option<u64>, &'static str), Failure> {
        let generated = generated(input);
        if position.generated != generated {
            let tell = |made: Option<(u64, u64)>| match made {
                Some((lines, seed)) => format!("{lines} lines generated from seed {seed}"),
                None => "a log".to_owned(),
            };
            let (was, is) = (tell(position.generated), tell(generated));
            return Err(Failure::Job(format!("the checkpoint was made while reading {was}, not {is}")));
        }
        match input {
            Input::Generated { lines, .. } => Ok((Some(*lines), "lines")),
            Input::Stdin => Ok((None, "bytes")),
            Input::File(path) => {
                let failed = |error| Failure::job(path.display(), error);
                let metadata = std::fs::metadata(path).map_err(failed)?;
                // Other kinds, such as pipes, can be opened only once.
                if metadata.is_file() || metadata.is_dir() {
                    open_at(path, position.offset).map_err(failed)?;
                }
                Ok(((metadata.len() > 0).then_some(metadata.len()), "bytes"))
            }
        }
    }

    /// Opens `input` at `position`.
    pub fn open(input: &Input, position: &Position) -> Result<Self, Failure> {
        let (reader, name): (Option<Box<dyn BufRead + Send>>, _) = match input {
            Input::Generated { .. } => (None, "generated lines".to_owned()),
            Input::Stdin => (Some(Box::new(BufReader::new(io::stdin()))), "standard input".to_owned()),
            Input::File(path) => {
                let name = path.display().to_string();
                let (file, _) = open_at(path, position.offset).map_err(|error| Failure::job(&name, error))?;
                (Some(Box::new(BufReader::with_capacity(1 << 16, file))), name)
            }
        };
        Ok(Self { reader, name, line: Vec::new() })
    }

    /// Reads the line at `position`, and advances the position.
    pub fn next(&mut self, position: &mut Position) -> Result<Option<&[u8]>, Failure> {
        match (&mut self.reader, position.generated) {
            (Some(_), _) if position.end.is_some_and(|end| position.offset >= end) => return Ok(None),
            (Some(reader), _) => {
                let taken =
                    read_line(reader, &mut self.line).map_err(|error| Failure::job(&self.name, error))?;
                if taken == 0 {
                    return Ok(None);
                }
                position.offset += taken;
            }
            (None, Some((lines, seed)))
                if position.begin + position.lines < position.end.unwrap_or(lines) =>
            {
                generate::line(seed, position.begin + position.lines, &mut self.line);
                position.offset += self.line.len() as u64 + 1;
            }
            (None, _) => return Ok(None),
        }
        position.lines += 1;
        Ok(Some(&self.line))
    }

    /// Name of the log.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn generated(input: &Input) -> Option<(u64, u64)> {
    match *input {
        Input::Generated { lines, seed } => Some((lines, seed)),
        Input::File(_) | Input::Stdin => None,
    }
}

/// Offsets that cut a log into `parts` of about equal length, each at the beginning of a line.
fn lines_near(path: &Path, parts: u64) -> io::Result<Vec<u64>> {
    let (file, len) = open_at(path, 0)?;
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut cut = |n: u64| {
        let near = (u128::from(len) * u128::from(n) / u128::from(parts)) as u64;
        line.clear();
        reader.seek(SeekFrom::Start(near))?;
        let taken = reader.read_until(b'\n', &mut line)?;
        Ok(near + taken as u64)
    };
    (1..parts).map(&mut cut).collect()
}

fn open_at(path: &Path, offset: u64) -> io::Result<(File, u64)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let len = metadata.len();
    if len < offset {
        return Err(io::Error::other(format!("the log has {len} bytes, the checkpoint is at {offset}")));
    }
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    Ok((file, len))
}
