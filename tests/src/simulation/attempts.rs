//! Attempts at the same thing, by whoever makes them: what an answer may claim depends on which others were under way.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Attempts by what they are made at, such as a request's number.
#[derive(Default)]
pub struct Attempts(Mutex<BTreeMap<String, Count>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub started: u64,
    /// Those that nobody has heard of again. What they have sent may arrive at any time.
    pub unanswered: u64,
}

impl Attempts {
    pub fn start(&self, at: &str) {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry(at.to_owned()).or_default();
        count.started += 1;
        count.unanswered += 1;
    }

    pub fn answered(&self, at: &str) {
        self.0.lock().unwrap().entry(at.to_owned()).or_default().unanswered -= 1;
    }

    pub fn count(&self, at: &str) -> Count {
        self.0.lock().unwrap().get(at).copied().unwrap_or_default()
    }

    /// All at rest: nothing that was sent is still on its way.
    pub fn settle(&self) {
        for count in self.0.lock().unwrap().values_mut() {
            count.unanswered = 0;
        }
    }
}

/// What somebody was told has not happened: at that moment, and, if nobody else was trying, until somebody tries again.
#[derive(Debug, Clone)]
pub struct Denied<T> {
    pub of: String,
    pub count: Count,
    pub what: T,
}

impl<T> Denied<T> {
    /// Whether it still must not have happened.
    pub fn holds(&self, attempts: &Attempts) -> bool {
        self.count.unanswered == 0 && attempts.count(&self.of).started == self.count.started
    }
}
