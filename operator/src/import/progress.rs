//! How far an import has come, on disk: one that was interrupted goes on there.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Outcome, Report};

/// So many lines are written between two records of how far it has come: at most these, and those under way, are
/// written once more, which changes nothing.
const RECORDED_EVERY: usize = 500;

/// What is on disk.
#[derive(Default, Serialize, Deserialize)]
struct Recorded {
    /// All lines up to this one are done.
    done: usize,
    /// What became of them.
    report: Report,
}

/// The progress of one import.
#[derive(Default)]
pub struct Progress {
    /// None: it is not recorded.
    path: Option<PathBuf>,
    recorded: Recorded,
    since_recorded: usize,
}

impl Progress {
    /// What is on record in the file, or nothing yet.
    pub fn of_file(path: PathBuf, anew: bool) -> Self {
        let recorded = || serde_json::from_slice(&fs::read(&path).ok()?).ok();
        let recorded = if anew { None } else { recorded() };
        Self { recorded: recorded.unwrap_or_default(), path: Some(path), ..Self::default() }
    }

    /// All lines up to this one are done.
    pub fn done(&self) -> usize {
        self.recorded.done
    }

    /// Forgets what was done.
    pub fn begin_anew(&mut self) {
        self.recorded = Recorded::default();
    }

    /// A line is done, the next one.
    pub fn take(&mut self, number: usize, kind: &str, outcome: Outcome) -> Result<()> {
        self.recorded.report.take(number, kind, outcome);
        self.recorded.done = number;
        self.since_recorded += 1;
        if self.since_recorded >= RECORDED_EVERY { self.record() } else { Ok(()) }
    }

    /// Puts on disk how far it has come.
    fn record(&mut self) -> Result<()> {
        self.since_recorded = 0;
        let Some(path) = &self.path else { return Ok(()) };
        let folder = path.parent().context("it has no folder")?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&self.recorded)?)?;
        file.persist(path).context("could not record how far the import has come")?;
        Ok(())
    }

    /// All is done.
    pub fn finish(self) -> Report {
        if let Some(path) = &self.path {
            // One that stays is of another file's import, or does no harm.
            let _ = fs::remove_file(path);
        }
        let mut report = self.recorded.report;
        report.conflicts.sort();
        report.due.sort();
        report
    }
}
