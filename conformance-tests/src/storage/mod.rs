//! Storages that block, fail and crash.

mod crashing;
mod failing;
mod gated;

pub use crashing::CrashingStorage;
pub use failing::{FailingStorage, Faults};
pub use gated::GatedStorage;
