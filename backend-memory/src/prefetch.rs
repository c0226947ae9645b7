//! Asking for memory before it is needed.

#![expect(unsafe_code, reason = "the instruction takes any address, which only an intrinsic can say")]

/// Bytes that the processor fetches at once.
pub(crate) const LINE: usize = 64;

/// Lets the memory of `value` be fetched, as far as it is of the first `bytes` bytes.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: *const T, bytes: usize) {
    let first = value.cast::<u8>();
    for offset in (0..bytes).step_by(LINE) {
        prefetch_line(first.wrapping_add(offset));
    }
    // It may begin within a line and reach into one more.
    prefetch_line(first.wrapping_add(bytes.saturating_sub(1)));
}

/// Lets the memory at `address` be fetched.
#[inline]
pub(crate) fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect that can be observed, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
