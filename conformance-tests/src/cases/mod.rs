//! The cases, by group. The macro at the top of each file lists the cases of its group.

pub mod aggregating;
pub mod evolution;
pub mod faults;
pub mod incremental;
pub mod isolation;
pub mod key_context;
pub mod lifecycle;
pub mod limits;
pub mod lists;
pub mod maps;
pub mod model;
pub mod namespaces;
pub mod operator;
pub mod raw;
pub mod reducing;
pub mod restore;
pub mod savepoints;
pub mod timers;
pub mod ttl;
pub mod types;
pub mod values;
