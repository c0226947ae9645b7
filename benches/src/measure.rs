//! Measuring on a shared machine.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time of some work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Wall clock.
    pub wall: Duration,
    /// CPU time of this thread.
    pub cpu: Duration,
    /// CPU time of all threads of the process.
    pub process: Duration,
}

/// A clock of CPU time. Only differences have a meaning.
fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `work` and measures it.
pub fn timed<R>(work: impl FnOnce() -> R) -> (R, Took) {
    let now = || (cpu_time(ClockId::ThreadCPUTime), cpu_time(ClockId::ProcessCPUTime));
    let ((cpu, process), start) = (now(), Instant::now());
    let result = work();
    let (wall, (cpu_end, process_end)) = (start.elapsed(), now());
    (result, Took { wall, cpu: cpu_end - cpu, process: process_end - process })
}

impl Took {
    /// CPU nanoseconds per operation, of `n`.
    pub fn cpu_ns_per(self, n: u64) -> f64 {
        self.cpu.as_nanos() as f64 / n as f64
    }

    /// Wall nanoseconds per operation, of `n`.
    pub fn wall_ns_per(self, n: u64) -> f64 {
        self.wall.as_nanos() as f64 / n as f64
    }
}

/// The median. Of an even number of samples it is the upper one of the two in the middle.
pub fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.into_iter().collect();
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The smallest sample.
pub fn least(samples: impl IntoIterator<Item = f64>) -> f64 {
    samples.into_iter().fold(f64::NAN, f64::min)
}

/// Resident memory of this process, in bytes.
///
/// # Errors
/// If the system does not report it.
pub fn resident_bytes() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/statm")?;
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| std::io::Error::other("statm has no resident size"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Highest resident memory of this process so far, in bytes.
///
/// # Errors
/// If the system does not report it.
pub fn peak_resident_bytes() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.ok_or_else(|| std::io::Error::other("status has no peak"))? << 10)
}

/// Load average of the machine over the last minute; `None` if the system does not report it.
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_least_below() {
        assert_eq!(median([5.0, 1.0, 3.0]), 3.0);
        assert_eq!(least([5.0, 1.0, 3.0]), 1.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn resident_memory_grows_by_touched_pages() {
        let before = resident_bytes().unwrap();
        let touched = vec![1_u8; 64 << 20];
        assert!(resident_bytes().unwrap() >= before + (60 << 20));
        assert!(peak_resident_bytes().unwrap() >= before + (60 << 20));
        drop(touched);
    }
}
