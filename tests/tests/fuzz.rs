//! What fuzzing has reached and found stays so: the inputs that are kept, and changed copies of them, which are others
//! each time. `FUZZ_SEED` makes them the same again; `tests/fuzz.sh` looks for new ones.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tests::fuzz::{TARGETS, Target, inputs_taken, kept};

/// Changed copies for each target.
const COPIES: usize = 100;

/// No input may take longer, on a slow and busy machine.
const INPUT_WITHIN: Duration = Duration::from_secs(10);

/// Runs an input, which `what` tells people how to run again.
fn run(target: Target, input: &[u8], what: &str) {
    let began = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{what}: {}", input.escape_ascii());
        resume_unwind(panic);
    }
    assert!(began.elapsed() < INPUT_WITHIN, "{what} took {:?}", began.elapsed());
}

#[test]
fn every_input_that_is_kept_holds() {
    for (name, target) in TARGETS {
        let before = inputs_taken();
        for (path, input) in kept(name) {
            run(*target, &input, &path.display().to_string());
        }
        assert!(inputs_taken() > before, "all that is kept of {name} is refused");
        // What is shortest is no file.
        run(*target, b"", name);
    }
}

#[test]
fn changed_copies_of_them_hold() {
    let seed = std::env::var("FUZZ_SEED").ok().map(|seed| seed.parse().expect("FUZZ_SEED is a number"));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("FUZZ_SEED={seed}");
    for (name, target) in TARGETS {
        let mut rng = Rng::with_seed(seed);
        let inputs: Vec<Vec<u8>> = kept(name).into_iter().map(|(_, input)| input).collect();
        for number in 0..COPIES {
            let input = changed(&mut rng, &inputs);
            run(*target, &input, &format!("FUZZ_SEED={seed}, copy {number} of {name}"));
        }
    }
}

/// A copy of one of `inputs`, changed at some places.
fn changed(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut copy = rng.choice(inputs).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=4) {
        let place = rng.usize(0..=copy.len());
        let end = rng.usize(place..=copy.len().min(place + 32));
        match rng.u8(0..6) {
            0 => drop(copy.drain(place..end)),
            1 => copy.insert(place, rng.u8(..)),
            2 => copy.extend_from_within(place..end),
            3 => copy.truncate(place),
            4 => {
                let other = rng.choice(inputs).map(Vec::as_slice).unwrap_or_default();
                let from = rng.usize(0..=other.len());
                copy.splice(place..end, other[from..].iter().copied().take(64));
            }
            _ => {
                if let Some(byte) = copy.get_mut(place) {
                    *byte ^= 1 << rng.u8(0..8);
                }
            }
        }
    }
    copy
}
