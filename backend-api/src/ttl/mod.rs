//! Time to live: values, elements, entries and accumulators that expire.
//!
//! A state with a time to live keeps [`Stamped`] contents. Backends store them like any other type. The views in
//! this module add and check the stamps, so every backend has a time to live without code of its own. A backend
//! only removes expired contents earlier than an access would.

mod aggregating;
mod clock;
mod config;
mod either;
mod list;
mod map;
mod reducing;
mod stamped;
mod value;
mod views;

pub use aggregating::{TtlAggregate, TtlAggregating, TtlInput, TtlOutput};
pub use clock::{Clock, Expiry};
pub use config::Ttl;
pub use either::Either;
pub use list::TtlList;
pub use map::TtlMap;
pub use reducing::TtlReducing;
pub use stamped::{Stamped, StampedCodec, stamp_of};
pub use value::TtlValue;
pub use views::{
    AggregatingView, ListView, MapView, ReducingView, ValueView, aggregating, list, map, reducing, value,
};

pub(crate) use reducing::stamped_reduce;
pub(crate) use stamped::unstamped;
