//! The laws of keys.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail as the tests do")]

mod laws;
mod own_types;
mod user_types;
