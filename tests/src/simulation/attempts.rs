//! Attempts at the same thing, by whoever makes them: what an answer may claim depends on which others were under way.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Attempts by what they are made at, such as a request's number.
#[derive(Default)]
pub struct Attempts(Mutex<BTreeMap<String, Count>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    started: u64,
    /// Those that nobody has heard of again. What they have sent may arrive at any time.
    unanswered: u64,
}

/// An attempt that was begun.
#[derive(Debug, Clone)]
pub struct Begun {
    pub of: String,
    count: Count,
    /// Whether what it is made at had come true before.
    pub was_so: bool,
}

impl Attempts {
    pub fn begin(&self, of: &str, was_so: bool) -> Begun {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry(of.to_owned()).or_default();
        count.started += 1;
        count.unanswered += 1;
        Begun { of: of.to_owned(), count: *count, was_so }
    }

    /// Somebody has the answer; whether nobody else was trying meanwhile.
    pub fn answered(&self, begun: &Begun) -> bool {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry(begun.of.clone()).or_default();
        count.unanswered -= 1;
        begun.count.unanswered == 1 && count.started == begun.count.started
    }

    /// Nothing that was sent is still on its way.
    pub fn settle(&self) {
        for count in self.0.lock().unwrap().values_mut() {
            count.unanswered = 0;
        }
    }

    /// Whether nobody has tried since; where it is asked `of` one thing alone, and it is that.
    pub fn is_last(&self, begun: &Begun, of: Option<&str>) -> bool {
        of.is_none_or(|of| begun.of == of)
            && self.0.lock().unwrap().get(&begun.of).is_some_and(|count| count.started == begun.count.started)
    }
}
