//! A suite of behaviours for any state backend.
//!
//! It knows no backend. The author of a backend implements [`Factory`], and one line makes a `#[test]` of
//! every behaviour, named after the behaviour:
//!
//! ```ignore
//! conformance_tests::suite!(my_backend, MyFactory);
//! ```
//!
//! A case is a function over the factory in [`cases`]. Its documentation is the behaviour that it checks,
//! with its number in `BEHAVIOURS.md`. That file also lists behaviours without a case, with the reason. A
//! case that needs a setting that the backend lacks ([`Capabilities`]) reports that on standard error and is
//! skipped.
#![allow(clippy::unwrap_used, reason = "a case fails by a panic, as every test does")]

pub mod access;
pub mod cases;
#[cfg(feature = "family")]
pub mod decoders;
#[cfg(feature = "family")]
pub mod family;
pub mod functions;
pub mod kinds;
pub mod lives;
pub mod model;
pub mod script;
pub mod storage;
pub mod storage_contract;

mod factory;
mod killing;
mod macros;
mod random;
mod reference;
mod runner;
mod world;

pub use factory::{Capabilities, Factory, Setup};
pub use macros::all_cases;
pub use runner::{Case, Outcome, run_cases, run_tests, skip};
pub use world::{OPERATOR, World, checkpoint_of, part, single};
