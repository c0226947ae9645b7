//! Benchmarks of the state backend family.
//!
//! [`workload`] has the inputs and [`ops`] the operations; the Flink peer has the same. [`peers`] are the tables that the
//! heap table is compared with. [`figures`] are the measurements of the `report` program: each is a ratio to a peer or to
//! a limit of the machine, and has a target.
//!
//! On a shared machine, compare only ratios within one table. Variants are measured in turns, round by round, by wall
//! clock and by the CPU time of their thread.

pub mod counts;
pub mod figures;
pub mod flink;
pub mod measure;
pub mod ops;
pub mod peers;
pub mod report;
pub mod workload;
