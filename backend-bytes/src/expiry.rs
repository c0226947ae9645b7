use crate::runs;
use backend_api::ttl::stamp_of;
use backend_api::{Expiry, StateKind};

/// Tells which entries of a state with a time to live have expired.
///
/// A store may remove expired entries at any time, for example when it compacts its files. See
/// [`ByteStore::set_expiry`](crate::ByteStore::set_expiry).
#[derive(Clone, Debug)]
pub struct EntryExpiry {
    expiry: Expiry,
    is_list: bool,
}

impl EntryExpiry {
    pub(crate) fn new(kind: StateKind, expiry: &Expiry) -> Self {
        Self { expiry: expiry.clone(), is_list: kind == StateKind::List }
    }

    /// True if an entry with this value has expired by now. An entry of a list has expired if all of its elements have.
    /// A value that cannot be read has not expired.
    #[inline]
    pub fn has_expired(&self, value: &[u8]) -> bool {
        if self.is_list {
            runs::elements(value).all(|element| element.is_ok_and(|element| self.is_expired(element)))
        } else {
            self.is_expired(value)
        }
    }

    /// True if a stamped value, or an element of a list, has expired.
    #[inline]
    pub(crate) fn is_expired(&self, stamped: &[u8]) -> bool {
        stamp_of(stamped).is_ok_and(|(stamp, _)| self.expiry.is_expired(stamp))
    }

    /// The same for the present moment, whatever time is handed in later.
    pub(crate) fn frozen(&self) -> Self {
        Self { expiry: self.expiry.frozen(), is_list: self.is_list }
    }
}
