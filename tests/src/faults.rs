//! What goes wrong with a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wire::{Attempt, Fault, Faults};

/// The process dies at one of its calls, before it is sent or once it is carried out: from then on none gets through.
/// Counts the calls that were made.
pub fn dies_at(number: usize, is_carried_out: bool) -> (Faults, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let faults: Faults = Arc::new(move |_: Attempt<'_>| match count.fetch_add(1, Ordering::SeqCst) {
        this if this < number => Fault::None,
        this if this == number && is_carried_out => Fault::LostAnswer,
        _ => Fault::Refused,
    });
    (faults, made)
}
