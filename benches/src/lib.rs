//! Benchmarks of the state backend family.
//!
//! [`workload`] has the inputs and [`ops`] the operations, both as the Flink peer has them; [`peers`] are what the
//! heap table is compared with. [`figures`] are the measurements of the `report` program, each a ratio to a peer or
//! to a limit of the machine, with the target that it is to meet.
//!
//! Where others use the machine too, read ratios within one table: variants are measured in turns, round by round,
//! by the CPU time of their thread beside the wall clock.

pub mod counts;
pub mod figures;
pub mod flink;
pub mod measure;
pub mod ops;
pub mod peers;
pub mod report;
pub mod workload;
