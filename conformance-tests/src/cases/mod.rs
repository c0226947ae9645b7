//! The cases, by group. Each group's list is in the macro at the head of its file.

pub mod aggregating;
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
pub mod types;
pub mod values;
