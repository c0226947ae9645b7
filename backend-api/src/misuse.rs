//! Programs that do not compile. Each fails with E0277, whose message names the way out; E0599 would not.
//!
//! A key type without `serde_key!`:
//!
//! ```compile_fail,E0277
//! struct Page(String);
//! backend_api::KeySpace::<Page>::new(128);
//! ```
//!
//! A map key of a type that has no fixed width:
//!
//! ```compile_fail,E0277
//! backend_api::MapDescriptor::<usize, u64>::new("sizes");
//! ```
//!
//! A namespace without an order:
//!
//! ```compile_fail,E0277
//! backend_api::ValueDescriptor::<u64>::new("count").namespaced::<f64>();
//! ```
//!
//! A value that cannot be cloned, and one that serde does not know:
//!
//! ```compile_fail,E0277
//! struct Count(u64);
//! backend_api::ValueDescriptor::<Count>::new("count");
//! ```
//!
//! ```compile_fail,E0277
//! #[derive(Clone)]
//! struct Count(u64);
//! backend_api::ListDescriptor::<Count>::new("count");
//! ```
//!
//! A codec of another type:
//!
//! ```compile_fail,E0277
//! # use std::sync::Arc;
//! struct Mine;
//! backend_api::ValueDescriptor::<u64>::with_codec("count", Arc::new(Mine));
//! ```
//!
//! A look-up by something that is no form of the key:
//!
//! ```compile_fail,E0277
//! # use backend_api::{KeySpace, Result};
//! # fn look_up(keys: &KeySpace<String>) -> Result<()> {
//! keys.key(&7_u64)?;
//! # Ok(())
//! # }
//! ```
