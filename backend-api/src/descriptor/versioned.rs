//! Versions and migrations of all descriptors.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{AggregatingDescriptor, ListDescriptor, MapDescriptor, ReducingDescriptor, ValueDescriptor};
use crate::{Aggregate, BoxError, Codec, Result};

macro_rules! versioned {
    ($($descriptor:ident<$($p:ident $(: $bound:path)?),+>),* $(,)?) => {$(
        impl<$($p $(: $bound)?,)+ N> $descriptor<$($p,)+ N> {
            /// Sets the version of the values, which is part of every snapshot. It is 1 unless it is set. A restored
            /// state of another version is read by the [migration](Self::migrate) from that version.
            pub fn version(mut self, version: u32) -> Self {
                self.values.set_version(version);
                self
            }

            /// Adds a function from the values of version `from` to those of the next one, for what serde cannot do. It
            /// leads to the version of the next migration, or to the present one. `Old` may be any type that reads
            /// the old values through serde.
            ///
            /// When the restored state is registered, every value of an older version passes through the migrations
            /// from its version on. If one fails or panics, the registration fails with
            /// [`Function`](crate::ErrorKind::Function), nothing changes, and the state can be registered again. A
            /// newer version, or one without a migration, is refused with
            /// [`Migration`](crate::ErrorKind::Migration). Migrations whose types do not fit each other are refused
            /// with [`InvalidArgument`](crate::ErrorKind::InvalidArgument) whenever the state is registered.
            ///
            /// ```
            /// use backend_api::ValueDescriptor;
            /// use serde::{Deserialize, Serialize};
            ///
            /// /// Versions 1 and 2.
            /// #[derive(Deserialize)]
            /// struct OldVisit {
            ///     page: String,
            ///     seconds: u32,
            /// }
            ///
            /// #[derive(Clone, Serialize, Deserialize)]
            /// struct Visit {
            ///     page: String,
            ///     millis: u64,
            /// }
            ///
            /// let last_visit = ValueDescriptor::<Visit>::new("last visit")
            ///     .version(3)
            ///     .migrate(1, |old: OldVisit| Ok(OldVisit { page: old.page.trim().to_owned(), ..old }))
            ///     .migrate(2, |old: OldVisit| {
            ///         Ok(Visit { page: old.page, millis: u64::from(old.seconds) * 1000 })
            ///     });
            /// ```
            pub fn migrate<Old: DeserializeOwned + 'static, New: 'static>(
                mut self,
                from: u32,
                migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
            ) -> Self {
                self.values.migrate(from, migrate);
                self
            }

            /// [`migrate`](Self::migrate) for values that `codec` reads, such as a codec of your own.
            pub fn migrate_with<Old: 'static, New: 'static>(
                mut self,
                from: u32,
                codec: Arc<dyn Codec<Old>>,
                migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
            ) -> Self {
                self.values.migrate_with(from, codec, migrate);
                self
            }
        }
    )*};
}

versioned!(
    ValueDescriptor<V>,
    ListDescriptor<T>,
    MapDescriptor<MK, MV>,
    ReducingDescriptor<T>,
    AggregatingDescriptor<A: Aggregate>,
);
