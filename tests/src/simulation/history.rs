//! What happened in a run: counted and digested always, told in words only where somebody wants to read it.

use std::collections::BTreeMap;
use std::fmt;

/// What went wrong on purpose, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<&'static str, u64>);

impl Counts {
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn add_all(&mut self, others: &Self) {
        for (what, count) in &others.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(f, "{count:>12}  {what}")?;
        }
        Ok(())
    }
}

/// One run's history.
#[derive(Debug, Default)]
pub struct History {
    /// In words, where they are wanted.
    pub lines: Option<Vec<String>>,
    /// Of all that happened, in its order: two runs of one seed have the same.
    pub digest: u64,
    pub faults: Counts,
    /// What was done: calls to the table, calls of functions.
    pub done: Counts,
    pub breaches: Vec<String>,
}

impl History {
    /// What happened `at` so many milliseconds of the run.
    pub fn tell(&mut self, at: u64, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9}.{:03} {}", at / 1_000, at % 1_000, what()));
        }
    }

    /// Takes part in the digest (FNV-1a).
    pub fn digest(&mut self, part: u64) {
        for byte in part.to_le_bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
