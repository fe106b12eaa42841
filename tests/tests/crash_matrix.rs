//! A death at every call of every operation, before and after it, alone and in pairs; then recovery.

use std::time::Instant;

use tests::simulation::matrix::{Operation, operations};

/// Worlds are many, and what each of them takes is soon given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[test]
fn whoever_dies_at_any_call_of_any_operation_and_again_in_its_recovery_leaves_what_an_undisturbed_one_does() {
    // `CRASH_MATRIX=end` plays only those whose names have this text.
    let only = std::env::var("CRASH_MATRIX").unwrap_or_default();
    println!("calls  alone  pairs  operation");
    for operation in operations().iter().filter(|operation| operation.name.contains(&only)) {
        let Operation { name, .. } = operation;
        let began = Instant::now();
        let played = operation.play_all();
        let seconds = began.elapsed().as_secs_f64();
        println!("{:>5}  {:>5}  {:>5}  {name}, {seconds:.1} s", played.calls, played.alone, played.pairs);
        assert!(played.pairs >= played.alone, "{name}: {played:?}");
    }
}
