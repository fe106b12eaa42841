//! A death at every call of every operation, before and after it, alone and in pairs; then recovery.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tests::simulation::matrix::{Operation, operations};

#[test]
fn whoever_dies_at_any_call_of_any_operation_and_again_in_its_recovery_leaves_what_an_undisturbed_one_does() {
    // `CRASH_MATRIX=end` plays only those whose names have this text.
    let only = std::env::var("CRASH_MATRIX").unwrap_or_default();
    // The long ones are the last of them: they come first.
    let operations: Vec<Operation> =
        operations().into_iter().rev().filter(|operation| operation.name.contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let table = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(operation) = operations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Operation { name, .. } = operation;
                    let began = Instant::now();
                    let played = operation.play_all();
                    println!("{name}: {played:?}, {:.1} s", began.elapsed().as_secs_f64());
                    assert!(
                        played.alone >= 2 * played.calls && played.pairs >= played.alone,
                        "{name}: {played:?}"
                    );
                    table.lock().unwrap().push((*name, played));
                }
            });
        }
    });
    let table = table.into_inner().unwrap();
    println!("calls  alone  pairs  operation");
    for (name, played) in &table {
        println!("{:>5}  {:>5}  {:>5}  {name}", played.calls, played.alone, played.pairs);
    }
    assert_eq!(table.len(), operations.len());
}
