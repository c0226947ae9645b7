#![doc = include_str!("../README.md")]

mod header;
mod import;
mod input;
mod keyed;
mod metadata;
mod operator_state;
mod part;
mod rows;
mod savepoint;
mod snapshot;
mod stream;
mod text;
mod types;
mod value;

pub use header::{StateInfo, StateKind};
pub use import::{Import, Imported, restore_plan};
pub use keyed::KeyedState;
pub use metadata::{OperatorId, is_metadata};
pub use operator_state::{OperatorRow, OperatorRows, OperatorState, OperatorStateInfo};
pub use rows::{AllRows, Place, RawRow, Row, Rows};
pub use savepoint::{Operator, Savepoint};
pub use types::{EnumType, Opaque, PojoType, Type};
pub use value::{LocalDate, LocalTime, Pojo, Value};
