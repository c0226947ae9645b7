//! Storages that block and storages that fail.

mod failing;
mod gated;

pub use failing::{FailingStorage, Faults};
pub use gated::GatedStorage;
