//! Fuzzing: for each parser and each handler a function that takes any bytes, and panics where something that must hold
//! does not. `tests/fuzz.sh` runs them under libFuzzer, which looks for bytes that reach new code; `cargo test` runs
//! them on the inputs that are kept, and on changed copies of these.

mod ebet;
mod entries;
mod epay;
mod files;
mod gateway;
mod grammar;
mod keys;
mod money;
mod pingpp;
mod proxies;
mod sandbox;
mod settle;
mod stored;

use std::cell::Cell;
use std::path::{Path, PathBuf};

pub use sandbox::SELDOM;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// An input was not refused: it says something to what is fuzzed.
fn taken() {
    TAKEN.set(TAKEN.get() + 1);
}

/// How many inputs were not refused in this thread until now.
pub fn inputs_taken() -> u64 {
    TAKEN.get()
}

/// A function that takes any bytes, and panics where something that must hold does not.
pub type Target = fn(&[u8]);

/// What is given bytes, by what it is called: a handler by its function's binary.
pub const TARGETS: &[(&str, Target)] = &[
    // Parsers.
    ("decimals", money::decimals),
    ("keys", keys::keys),
    ("signatures", keys::signatures),
    ("ebet-bodies", ebet::bodies),
    ("epay-codecs", epay::codecs),
    ("pingpp-bodies", pingpp::bodies),
    ("entries", entries::entries),
    ("import-lines", entries::import_lines),
    ("gateway-events", gateway::events),
    ("proxies", proxies::proxies),
    ("stored-items", stored::items),
    ("statements", files::statements),
    ("anchors", files::anchors),
    ("dead-letters", files::dead_letters),
    // Handlers, on the demo data.
    ("refund-single-wallet", ebet::refund_single_wallet),
    ("auto-batch-refund", ebet::auto_batch_refund),
    ("begin-single-refund", epay::begin_single_refund),
    ("end-single-refund", epay::end_single_refund),
    ("create-batch-refund", pingpp::create_batch_refund),
    ("retrieve-batch-refund", pingpp::retrieve_batch_refund),
    ("list-batch-refunds", pingpp::list_batch_refunds),
    ("record-entries", entries::record_entries),
    ("settle-refunds", settle::settle_refunds),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The inputs that are kept of a target, each with where it lies: those that reach its code, and those that found bugs.
pub fn kept(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let files = ["corpus", "found"].into_iter().flat_map(|kind| {
        let entries = std::fs::read_dir(folder.join(kind).join(name)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path())
    });
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let read = |path: PathBuf| {
        let input = std::fs::read(&path).unwrap();
        (path, input)
    };
    files.into_iter().map(read).collect()
}
