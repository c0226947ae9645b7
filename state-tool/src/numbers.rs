//! Numbers as people read them.

use indicatif::{HumanBytes, HumanCount};

/// A count, with separators.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A number of bytes.
pub fn bytes(number: u64) -> String {
    HumanBytes(number).to_string()
}

/// Quotient of two numbers; 0 if there is none.
pub fn ratio(number: u64, divisor: u64) -> f64 {
    if divisor == 0 { 0.0 } else { number as f64 / divisor as f64 }
}
