//! Scripts of state operations: a small language. The same program runs on a backend, on a plain model and,
//! through `FlinkOracle`, on Apache Flink itself. The README lists the commands.

mod datum;
mod declared;
mod interpreter;
mod machine;
mod operator;
mod states;

pub use datum::{Datum, Kept, Type, escape};
pub use declared::{Aggregator, Declared, Expires, Kind, Reducer};
pub use interpreter::{Interpreter, ScriptError, run};
pub use machine::{Answer, Machine, Op, Timed};
pub use operator::{Operator, operator};
