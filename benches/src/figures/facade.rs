//! `AnyBackend` against the backend that it contains.

use state_backends::prelude::*;

use super::Figures;
use crate::counts::{Counts, in_memory, subtask};
use crate::measure::{median, timed};
use crate::report::{Figure, Target};
use crate::workload::{SplitMix64, Stream};

/// Measures reads and read-modify-writes of `entries` counts, `rounds` times.
///
/// # Errors
/// Those of the backend.
///
/// # Panics
/// If the two have different values.
pub fn facade(entries: usize, rounds: usize, figures: &mut Figures<'_>) -> Result<()> {
    let mut concrete = in_memory()?;
    let options = AnyOptions::Memory(MemoryOptions::default());
    let mut any = Counts::new(AnyBackend::open(&options, subtask()?, &[])?)?;
    let all: Vec<u64> = (0..entries as u64).collect();
    concrete.add_one_each(&all)?;
    any.add_one_each(&all)?;
    let mut random = SplitMix64::new(42, Stream::Uniform);
    let (mut reads, mut updates) = (Vec::new(), Vec::new());
    let (mut read_ns, mut update_ns) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let events: Vec<u64> = (0..1_000_000).map(|_| random.below(entries as u64)).collect();
        let mut took = [[0.0; 2]; 2];
        let mut sums = [0; 2];
        for turn in 0..2 {
            let at = (turn + round) % 2;
            for (op, took) in took.iter_mut().enumerate() {
                let ((), time) = match (at, op) {
                    (0, 0) => timed(|| each(&events, |key| concrete.add_one(key))),
                    (1, 0) => timed(|| each(&events, |key| any.add_one(key))),
                    (0, _) => timed(|| each(&events, |key| concrete.get(key).map(|count| sums[0] += count))),
                    (_, _) => timed(|| each(&events, |key| any.get(key).map(|count| sums[1] += count))),
                };
                took[at] = time.cpu_ns_per(events.len() as u64);
            }
        }
        assert_eq!(sums[0], sums[1], "the two hold different counts");
        updates.push(took[0][1] / took[0][0]);
        reads.push(took[1][1] / took[1][0]);
        update_ns.push(took[0][1] - took[0][0]);
        read_ns.push(took[1][1] - took[1][0]);
    }
    for (op, ratios, differences) in [("read-modify-write", updates, update_ns), ("read", reads, read_ns)] {
        let detail = format!("{:+.1} ns CPU", median(differences));
        let name = format!("AnyBackend against MemoryBackend, {op}");
        figures(Figure::new(name, median(ratios), "x", detail).target(Target::AtMost(1.1)));
    }
    Ok(())
}

/// Calls `f` for every key. These backends do not fail.
fn each(keys: &[u64], mut f: impl FnMut(&u64) -> Result<()>) {
    keys.iter().try_for_each(&mut f).expect("memory is there");
}
