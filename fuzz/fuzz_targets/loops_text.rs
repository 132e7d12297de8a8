//! See `kilngrad_testing::fuzz::loops_text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kilngrad_testing::fuzz::loops_text(bytes));
