//! A suite of behaviours that any state backend can be held to.
//!
//! It knows no backend. Whoever writes one implements [`Factory`] for it, and one line makes a `#[test]` of every
//! behaviour, under the behaviour's name:
//!
//! ```ignore
//! conformance_tests::suite!(my_backend, MyFactory);
//! ```
//!
//! A case is a function over the factory in [`cases`]; its documentation is the behaviour that it checks, with its
//! number in `BEHAVIOURS.md`, where those that have no case are listed too, with the reason. A case that asks for a
//! setting that the backend does not have ([`Capabilities`]) says so on standard error and is skipped.
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
mod runner;
mod world;

pub use factory::{Capabilities, Factory, Setup};
pub use macros::all_cases;
pub use runner::{Case, Outcome, run_cases, run_tests, skip};
pub use world::{OPERATOR, World, checkpoint_of, part, single};
