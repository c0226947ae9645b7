//! Where lines come from, and the position in it, which is part of each checkpoint.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use state_backends::api::{Checkpoint, Codec, SerdeCodec};

use crate::args::Input;
use crate::failure::Failure;
use crate::generate;
use crate::lines::read_line;
use crate::window::Minute;

/// The property of a checkpoint that holds the position.
const PROPERTY: &str = "source";

/// How far the source is, and what it learned from the lines before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Number and seed of the lines, if they are generated.
    generated: Option<(u64, u64)>,
    /// Bytes read.
    pub offset: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines among them that were not in the format.
    pub malformed: u64,
    /// The latest minute seen in a line.
    pub newest: Minute,
}

impl Position {
    /// The beginning of `input`.
    pub fn start(input: &Input) -> Self {
        Self { generated: generated(input), ..Self::default() }
    }

    /// Puts the position into a checkpoint.
    pub fn store(&self, checkpoint: &mut Checkpoint) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        SerdeCodec::new().encode(self, &mut bytes)?;
        checkpoint.properties.insert(PROPERTY.to_owned(), bytes);
        Ok(())
    }

    /// The position in a checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, Failure> {
        let none = || Failure::Job(format!("checkpoint {} has no position of the source", checkpoint.id));
        let bytes = checkpoint.properties.get(PROPERTY).ok_or_else(none)?;
        Ok(SerdeCodec::new().decode(bytes)?)
    }
}

/// Lines after a position, one by one.
pub struct Source {
    /// `None` if lines are generated.
    reader: Option<Box<dyn BufRead>>,
    name: String,
    /// Total in the unit of [`done`](Self::done), if it is known.
    total: Option<u64>,
    line: Vec<u8>,
}

impl Source {
    /// Opens `input` at `position`.
    pub fn open(input: &Input, position: &Position) -> Result<Self, Failure> {
        let generated = generated(input);
        if position.generated != generated {
            let tell = |made: Option<(u64, u64)>| match made {
                Some((lines, seed)) => format!("{lines} lines generated from seed {seed}"),
                None => "a log".to_owned(),
            };
            let (was, is) = (tell(position.generated), tell(generated));
            return Err(Failure::Job(format!("the checkpoint was made while reading {was}, not {is}")));
        }
        let (reader, total, name): (Option<Box<dyn BufRead>>, _, _) = match input {
            Input::Generated { lines, .. } => (None, Some(*lines), "generated lines".to_owned()),
            Input::Stdin => (Some(Box::new(io::stdin().lock())), None, "standard input".to_owned()),
            Input::File(path) => {
                let name = path.display().to_string();
                let (file, len) =
                    open_at(path, position.offset).map_err(|error| Failure::job(&name, error))?;
                // A pipe has no length.
                let total = (len > 0).then_some(len);
                (Some(Box::new(BufReader::with_capacity(1 << 16, file))), total, name)
            }
        };
        Ok(Self { reader, name, total, line: Vec::new() })
    }

    /// Reads the line at `position` and moves the position behind it.
    pub fn next(&mut self, position: &mut Position) -> Result<Option<&[u8]>, Failure> {
        match (&mut self.reader, position.generated) {
            (Some(reader), _) => {
                let taken =
                    read_line(reader, &mut self.line).map_err(|error| Failure::job(&self.name, error))?;
                if taken == 0 {
                    return Ok(None);
                }
                position.offset += taken;
            }
            (None, Some((lines, seed))) if position.lines < lines => {
                generate::line(seed, position.lines, &mut self.line);
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

    /// Total of a log in bytes, or of generated lines in lines; `None` if it is unknown.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// How much of the total is read at `position`.
    pub fn done(&self, position: &Position) -> u64 {
        if self.reader.is_some() { position.offset } else { position.lines }
    }

    /// What [`done`](Self::done) counts.
    pub fn unit(&self) -> &'static str {
        if self.reader.is_some() { "bytes" } else { "lines" }
    }
}

fn generated(input: &Input) -> Option<(u64, u64)> {
    match *input {
        Input::Generated { lines, seed } => Some((lines, seed)),
        Input::File(_) | Input::Stdin => None,
    }
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
