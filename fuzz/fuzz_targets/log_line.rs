#![no_main]

#[path = "../../examples/access_log/log_line.rs"]
#[allow(dead_code, reason = "the example's module")]
mod log_line;
#[path = "../../examples/access_log/log_time.rs"]
#[allow(dead_code, reason = "the example's module")]
mod log_time;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = log_line::parse(bytes);
});
