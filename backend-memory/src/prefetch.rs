//! Prefetches memory.

#![expect(unsafe_code, reason = "prefetching needs an intrinsic")]

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Prefetches the memory of `value`, but at most its first `bytes` bytes.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: *const T, bytes: usize) {
    let first = value.cast::<u8>();
    for offset in (0..bytes).step_by(LINE) {
        prefetch_line(first.wrapping_add(offset));
    }
    // An unaligned value reaches into one more line.
    prefetch_line(first.wrapping_add(bytes.saturating_sub(1)));
}

/// Prefetches the cache line at `address`.
#[inline]
pub(crate) fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no observable effect, for any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
