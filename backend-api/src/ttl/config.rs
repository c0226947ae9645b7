use super::clock::is_expired;
use super::{Clock, Expiry};
use crate::{Error, ErrorKind, Result};

/// Entries that a backend on the heap looks at per access, as in Flink.
const CLEANED_PER_ACCESS: u32 = 5;

/// Time to live of a state's contents, as in Flink's `StateTtlConfig`: of a value, of each element of a list, of each
/// entry of a map, or of an accumulator.
///
/// Contents expire when their time to live has passed since the last write: at `write + ttl`, not a millisecond later.
/// The time is the one that the engine hands in with [`advance_to`](crate::StateBackend::advance_to). It is part of every
/// checkpoint, so time that passes while a job is down counts too. The time to live itself belongs to the program: a
/// changed one applies to contents that were written before. Turned on, it begins for old contents when the state is
/// registered; turned off, they stay.
///
/// Expired contents are removed by and by, to free memory. Until then listings such as [`keys`](crate::StateBackend::keys)
/// may have their keys.
///
/// ```
/// use backend_api::{Ttl, ValueDescriptor};
///
/// let day = 24 * 60 * 60 * 1000;
/// let last_login = ValueDescriptor::<u64>::new("last login").ttl(Ttl::millis(30 * day)?);
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    millis: i64,
    renews_on_read: bool,
    returns_expired: bool,
    cleaned_per_access: u32,
}

impl Ttl {
    /// A time to live in milliseconds. Writes renew it, and expired contents are never returned.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for less than 1.
    pub fn millis(millis: i64) -> Result<Self> {
        if millis < 1 {
            let message = format!("a time to live of {millis} ms, it must be at least 1 ms");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self {
            millis,
            renews_on_read: false,
            returns_expired: false,
            cleaned_per_access: CLEANED_PER_ACCESS,
        })
    }

    /// Reads renew the time to live too (Flink's `OnReadAndWrite`). Then every read is a write.
    pub fn renewed_by_reads(mut self) -> Self {
        self.renews_on_read = true;
        self
    }

    /// Expired contents are returned once, if they are still there (Flink's `ReturnExpiredIfNotCleanedUp`). The read
    /// removes them.
    pub fn returning_expired(mut self) -> Self {
        self.returns_expired = true;
        self
    }

    /// Sets the number of other entries that a backend on the heap checks at each access, and removes if they have
    /// expired. The default is 5. With 0, only accesses to an expired entry remove it.
    pub fn cleaning_per_access(mut self, entries: u32) -> Self {
        self.cleaned_per_access = entries;
        self
    }

    /// The time to live in milliseconds.
    pub fn as_millis(&self) -> i64 {
        self.millis
    }

    /// The number of entries checked at each access.
    pub(crate) fn cleaned_per_access(&self) -> u32 {
        self.cleaned_per_access
    }

    /// The rules of an access at the present time.
    pub(crate) fn at(self, now: i64) -> Rules {
        Rules { ttl: self, now }
    }

    /// What a backend needs to find expired contents.
    pub(crate) fn expiry(&self, clock: &Clock) -> Expiry {
        Expiry::new(clock.clone(), self.millis)
    }
}

/// A time to live at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    ttl: Ttl,
    pub(crate) now: i64,
}

impl Rules {
    /// True if contents with this stamp have not expired.
    #[inline]
    pub(crate) fn is_live(&self, stamp: i64) -> bool {
        !is_expired(stamp, self.ttl.millis, self.now)
    }

    /// True if contents with this stamp are returned.
    #[inline]
    pub(crate) fn is_visible(&self, stamp: i64) -> bool {
        self.ttl.returns_expired || self.is_live(stamp)
    }

    #[inline]
    pub(crate) fn renews_on_read(&self) -> bool {
        self.ttl.renews_on_read
    }

    #[inline]
    pub(crate) fn returns_expired(&self) -> bool {
        self.ttl.returns_expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_expire_exactly_after_their_time_to_live() {
        let at = |now| Ttl::millis(100).unwrap().at(now).is_live(0);
        assert!(at(99) && !at(100) && !at(101));
        // A clock that goes back makes them live again.
        assert!(at(-5));
        assert!(Ttl::millis(i64::MAX).unwrap().at(i64::MAX - 1).is_live(5));
        assert!(Ttl::millis(5).unwrap().at(i64::MIN).is_live(i64::MIN));
    }

    #[test]
    fn there_is_no_time_to_live_below_a_millisecond() {
        for millis in [0, -1, i64::MIN] {
            assert_eq!(Ttl::millis(millis).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
