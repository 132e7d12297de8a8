//! See `kilngrad_testing::fuzz::npy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kilngrad_testing::fuzz::npy(bytes));
