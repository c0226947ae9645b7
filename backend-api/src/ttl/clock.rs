use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::Codec;

/// The time of a backend in milliseconds, handed in by the engine.
#[derive(Clone, Debug)]
pub struct Clock(Arc<OnceLock<Arc<AtomicI64>>>);

/// No time was handed in.
const UNSET: i64 = i64::MIN;

impl Clock {
    /// The clock of a backend.
    pub(crate) fn new() -> Self {
        let clock = Self::unbound();
        clock.0.get_or_init(|| Arc::new(AtomicI64::new(UNSET)));
        clock
    }

    /// The clock of a descriptor, which knows no time until it is [bound](Self::bind).
    pub(crate) fn unbound() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// Makes this the clock of a backend.
    pub(crate) fn bind(&self, backend: &Self) {
        if let Some(time) = backend.0.get() {
            self.0.get_or_init(|| Arc::clone(time));
        }
    }

    /// The present time, or `None` before [`StateBackend::advance_to`](crate::StateBackend::advance_to).
    #[inline]
    pub fn now(&self) -> Option<i64> {
        let now = self.0.get()?.load(Ordering::Relaxed);
        (now != UNSET).then_some(now)
    }

    /// Sets the present time. It may go back. `i64::MIN` and `i64::MAX` count as the times next to them.
    #[inline]
    pub(crate) fn advance_to(&self, now: i64) {
        if let Some(time) = self.0.get() {
            time.store(now.clamp(UNSET + 1, i64::MAX - 1), Ordering::Relaxed);
        }
    }
}

/// Tells a backend which contents of a state have expired, so that it can remove them. See
/// [`StateDescriptor::expiry`](crate::StateDescriptor::expiry).
#[derive(Clone, Debug)]
pub struct Expiry {
    clock: Clock,
    millis: i64,
}

impl Expiry {
    pub(super) fn new(clock: Clock, millis: i64) -> Self {
        Self { clock, millis }
    }

    /// True if contents with this stamp have expired by now.
    #[inline]
    pub fn is_expired(&self, stamp: i64) -> bool {
        self.clock.now().is_some_and(|now| is_expired(stamp, self.millis, now))
    }

    /// True if a value has a stamp that has expired by now.
    #[inline]
    pub fn has_expired<V: 'static>(&self, value: &V, codec: &dyn Codec<V>) -> bool {
        codec.stamp(value).is_some_and(|stamp| self.is_expired(stamp))
    }

    /// The same for the present moment, whatever time is handed in later.
    pub fn frozen(&self) -> Self {
        let clock = Clock::new();
        if let Some(now) = self.clock.now() {
            clock.advance_to(now);
        }
        Self { clock, millis: self.millis }
    }
}

/// The bound is inclusive, and the sum saturates, as in Flink's `TtlUtils`.
#[inline]
pub(super) fn is_expired(stamp: i64, millis: i64, now: i64) -> bool {
    stamp.saturating_add(millis) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expires_before_a_time_is_handed_in() {
        let (clock, descriptors) = (Clock::new(), Clock::unbound());
        let expiry = Expiry::new(descriptors.clone(), 10);
        assert!((clock.now(), expiry.is_expired(i64::MIN)) == (None, false));
        clock.advance_to(15);
        assert!(!expiry.is_expired(0));
        descriptors.bind(&clock);
        let frozen = expiry.frozen();
        clock.advance_to(5);
        assert!(!expiry.is_expired(0) && frozen.is_expired(5) && !frozen.is_expired(6));
        clock.advance_to(i64::MIN);
        assert_eq!(descriptors.now(), Some(i64::MIN + 1));
    }
}
