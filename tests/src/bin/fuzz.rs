//! One target under libFuzzer, by the name in `FUZZ_TARGET`: built and run by `tests/fuzz.sh`.

#![no_main]

use std::sync::LazyLock;

use tests::fuzz::{TARGETS, target};

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("FUZZ_TARGET is none of {}", names.join(" "))
    })
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
