//! The measurements of the `report` program.

mod table;

pub use table::{TableScale, table};

/// Where figures go, as they are measured.
pub type Figures<'a> = dyn FnMut(crate::report::Figure) + 'a;
