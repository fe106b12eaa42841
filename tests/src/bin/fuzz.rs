//! One target under libFuzzer, by the name in `FUZZ_TARGET`: built and run by `tests/fuzz.sh`.

#![no_main]

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use tests::fuzz::{SELDOM, TARGETS, Target, target};

/// Inputs are many, and what each of them takes is soon given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    // A look at the whole table takes as long as many inputs.
    SELDOM.store(16, Ordering::Relaxed);
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("FUZZ_TARGET is none of {}", names.join(" "))
    })
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
