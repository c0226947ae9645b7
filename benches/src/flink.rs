//! Running the Flink peer (`peers/flink`).

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};

/// The figures of the peer, by operation and unit.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<(String, String), f64>);

impl Told {
    /// The figure of an operation in a unit.
    ///
    /// # Errors
    /// If the peer has no such figure.
    pub fn get(&self, op: &str, unit: &str) -> io::Result<f64> {
        let told = self.0.get(&(op.to_owned(), unit.to_owned()));
        told.copied().ok_or_else(|| io::Error::other(format!("Flink told nothing of {op} in {unit}")))
    }
}

/// Runs operations, separated by commas, with options of the peer. Returns its figures.
///
/// # Errors
/// If it cannot be run, fails, or prints anything but figures.
pub fn run(ops: &str, options: &[(&str, String)]) -> io::Result<Told> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/flink/run.sh");
    let mut command = Command::new(script);
    command.args(["bench", "--op", ops]).stderr(Stdio::null());
    for (name, value) in options {
        command.args([&format!("--{name}"), value]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{script} failed: {}", output.status)));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(output: &str) -> io::Result<Told> {
    let mut told = Told::default();
    for line in output.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [_, op, _, unit, value] = fields[..] {
            let value = value.parse().map_err(io::Error::other)?;
            told.0.insert((op.to_owned(), unit.to_owned()), value);
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_operation_and_unit() {
        let told = parse("heap\tmapGet\t10\tops/s\t1500\nnoise\nheap\tmapGet\t10\tms\t2.5\n").unwrap();
        assert_eq!(told.get("mapGet", "ops/s").unwrap(), 1500.0);
        assert_eq!(told.get("mapGet", "ms").unwrap(), 2.5);
        assert!(told.get("mapPut", "ms").is_err());
        assert!(parse("heap\tmapGet\t10\tms\tfast").is_err());
    }
}
