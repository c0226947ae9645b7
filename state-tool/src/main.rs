//! The command `state`.

use std::io::{self, BufWriter};
use std::process::ExitCode;

fn main() -> ExitCode {
    state_tool::run(std::env::args_os(), &mut BufWriter::new(io::stdout()))
}
