//! A provider's statement: rows of CSV, each a refund as the provider has it.

use anyhow::Result;
use csv::{Reader, ReaderBuilder, StringRecord};
use shared::ledger::{Amount, MinorUnits};

use crate::screen::plain;

use super::ledger::Here;

/// What is wrong with a statement that is shown; the rest is counted.
const PROBLEMS_SHOWN: usize = 20;

/// Columns of a statement that are told, and characters that are quoted of what others wrote.
const COLUMNS_TOLD: usize = 12;
const QUOTED_CHARS_MAX: usize = 60;

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Succeeded,
    Failed,
    Pending,
}

impl State {
    /// The words of statements.
    pub(super) const WORDS: [(Self, &[&str]); 3] = [
        (Self::Succeeded, &["succeeded", "success", "refunded", "done", "200", "2"]),
        (Self::Failed, &["failed", "failure", "refused"]),
        (Self::Pending, &["pending", "processing", "open", "1"]),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }

    /// # Errors
    /// Names the words that are known.
    pub(super) fn of_word(text: &str) -> Result<Self, String> {
        let word = text.to_lowercase();
        let known = Self::WORDS.into_iter().find(|(_, words)| words.contains(&word.as_str()));
        known.map(|(state, _)| state).ok_or_else(|| {
            let words: Vec<String> = Self::WORDS.iter().map(|(_, words)| words.join(", ")).collect();
            format!("status {} is none of {}", quoted(text), words.join("; "))
        })
    }
}

/// A row of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub line: u64,
    pub id: String,
    pub amount: Amount,
    /// None if the statement has no states.
    pub state: Option<State>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    pub rows: Vec<Row>,
    pub has_states: bool,
}

/// What is wrong with a line of a statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: u64,
    pub what: String,
}

/// What a statement's columns are called.
#[derive(Debug)]
pub struct Columns<'a> {
    pub id: &'a str,
    pub amount: &'a str,
    /// None: `status`, where there is one.
    pub status: Option<&'a str>,
}

/// Where they stand in a row.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) id: usize,
    pub(super) amount: usize,
    pub(super) status: Option<usize>,
}

impl Statement {
    /// `is_minor`: amounts are whole numbers of the currency's smallest unit.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(bytes: &[u8], columns: &Columns<'_>, is_minor: bool) -> Result<Self, Vec<Problem>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
            let what = "is not UTF-8: convert the file first, such as with `iconv -f GB18030 -t UTF-8`";
            vec![Problem { line, what: what.to_owned() }]
        })?;
        let mut records = Records::of(text.strip_prefix('\u{feff}').unwrap_or(text));
        let Some((line, header)) = records.next() else {
            let what = "is missing: the statement is empty, and its first line must name the columns";
            return Err(vec![Problem { line: 1, what: what.to_owned() }]);
        };
        let problems = |line, wrong: Vec<String>| wrong.into_iter().map(move |what| Problem { line, what });
        let header = header.map_err(|what| vec![Problem { line, what }])?;
        let places = columns.places(&header).map_err(|wrong| problems(line, wrong).collect::<Vec<_>>())?;
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        for (line, record) in records {
            let row = match record {
                Ok(record) if record.len() == header.len() => Row::read(line, &record, &places, is_minor),
                Ok(record) => Err(vec![format!(
                    "has {} cells, and the line with the columns has {}: is a comma not in quotation marks?",
                    record.len(),
                    header.len()
                )]),
                Err(what) => Err(vec![what]),
            };
            match row {
                Ok(row) => rows.push(row),
                Err(what) => wrong.extend(problems(line, what)),
            }
        }
        if wrong.is_empty() { Ok(Self { rows, has_states: places.status.is_some() }) } else { Err(wrong) }
    }
}

impl Row {
    pub(super) fn read(
        line: u64,
        record: &StringRecord,
        places: &Places,
        is_minor: bool,
    ) -> Result<Self, Vec<String>> {
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let id = cell(places.id);
        let has_no_id = id.is_empty().then(|| "has no id".to_owned());
        let amount = amount(cell(places.amount), is_minor);
        let state = places.status.map(|at| State::of_word(cell(at))).transpose();
        match (has_no_id, amount, state) {
            (None, Ok(amount), Ok(state)) => Ok(Self { line, id: id.to_owned(), amount, state }),
            (has_no_id, amount, state) => {
                Err([has_no_id, amount.err(), state.err()].into_iter().flatten().collect())
            }
        }
    }

    /// Whether the ledger has this very refund; or has none, and it failed.
    pub(super) fn agrees(&self, here: Here) -> bool {
        match here {
            Here::Refund(refund) => {
                self.amount == refund.amount && self.state.is_none_or(|state| state == refund.state)
            }
            Here::Unrefunded(_) => self.state == Some(State::Failed),
        }
    }
}

/// An amount, whatever its sign: statements have what was given back above or below zero.
pub(super) fn amount(text: &str, is_minor: bool) -> Result<Amount, String> {
    const SEPARATORS: [char; 8] = [',', '，', '\'', '’', '_', ' ', '\u{a0}', '\u{202f}'];
    let wrong = |why: &str| format!("amount {} {why}", quoted(text));
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() {
        return Err("has no amount".to_owned());
    }
    if digits.contains(SEPARATORS) {
        return Err(wrong("has a separator: no thousands separators, and a point before decimals"));
    }
    if digits.starts_with(['+', '-']) {
        return Err(wrong("is not a number"));
    }
    if !is_minor {
        return digits.parse::<Amount>().map_err(|error| wrong(&error.to_string()));
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("is not a whole number of the currency's smallest unit"));
    }
    let units = digits.parse().unwrap_or(u64::MAX);
    MinorUnits::new(units).and_then(MinorUnits::amount).map_err(|error| wrong(&error.to_string()))
}

impl Columns<'_> {
    /// # Errors
    /// Names the columns that are not there, or several times.
    pub(super) fn places(&self, header: &StringRecord) -> Result<Places, Vec<String>> {
        let (id, amount) = (place(header, self.id, "--id"), place(header, self.amount, "--amount"));
        let status = match self.status {
            None if positions(header, "status").is_empty() => Ok(None),
            name => place(header, name.unwrap_or("status"), "--status").map(Some),
        };
        match (id, amount, status) {
            (Ok(id), Ok(amount), Ok(status))
                if id == amount || Some(id) == status || Some(amount) == status =>
            {
                Err(vec!["one column can't be two of --id, --amount and --status".to_owned()])
            }
            (Ok(id), Ok(amount), Ok(status)) => Ok(Places { id, amount, status }),
            (id, amount, status) => {
                Err([id.err(), amount.err(), status.err()].into_iter().flatten().collect())
            }
        }
    }
}

/// Where the one column of this name is; `option` names another.
pub(super) fn place(header: &StringRecord, name: &str, option: &str) -> Result<usize, String> {
    match positions(header, name).as_slice() {
        [position] => Ok(*position),
        [] => {
            let mut columns: Vec<String> = header.iter().take(COLUMNS_TOLD).map(quoted).collect();
            if header.len() > COLUMNS_TOLD {
                columns.push(format!("{} more", header.len() - COLUMNS_TOLD));
            }
            let columns = columns.join(", ");
            let hint = if header.len() == 1 { "; commas must divide the cells" } else { "" };
            Err(format!("has no column {}, but {columns}: {option} names another{hint}", quoted(name)))
        }
        several => Err(format!("has {} columns {}: {option} names another", several.len(), quoted(name))),
    }
}

pub(super) fn positions(header: &StringRecord, name: &str) -> Vec<usize> {
    let name = name.trim().to_lowercase();
    let columns = header.iter().enumerate();
    columns.filter(|(_, column)| column.trim().to_lowercase() == name).map(|(at, _)| at).collect()
}

/// What others wrote, fit for a terminal and not long.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.trim().chars().take(QUOTED_CHARS_MAX).collect();
    let dots = if shown.len() < text.trim().len() { "…" } else { "" };
    format!("\"{}{dots}\"", plain(&shown))
}

pub(super) fn complaint(problems: &[Problem]) -> String {
    let shown = problems.iter().take(PROBLEMS_SHOWN);
    let mut lines: Vec<String> =
        shown.map(|Problem { line, what }| format!("  line {line}: {what}")).collect();
    if problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("  and {} more", problems.len() - PROBLEMS_SHOWN));
    }
    format!(
        "nothing was compared, the statement can't be read:\n{}\nput that right in the file, and run it again",
        lines.join("\n")
    )
}

/// Rows of a CSV text that are not blank, each with the number of its first line.
pub(super) struct Records<'a> {
    pub(super) text: &'a str,
    pub(super) reader: Reader<&'a [u8]>,
    /// The line at `counted`, which are bytes of the text.
    pub(super) line: u64,
    pub(super) counted: usize,
}

impl<'a> Records<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        Self { text, reader, line: 1, counted: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX)
    }
}

impl Iterator for Records<'_> {
    type Item = (u64, Result<StringRecord, String>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.text;
        loop {
            let (start, mut record) = (self.offset(), StringRecord::new());
            let read = self.reader.read_record(&mut record);
            let end = self.offset();
            // The end of the row before, and empty lines, stand before it.
            let raw = text.get(start..end).unwrap_or_default().trim_start_matches(['\r', '\n']);
            let first = end.saturating_sub(raw.len());
            self.line += text.get(self.counted..first).unwrap_or_default().matches('\n').count() as u64;
            self.counted = first;
            let record = match read {
                Ok(false) => return None,
                Ok(true) if is_misquoted(raw) => {
                    Err("has a quotation mark that is not closed, or text after a closed one".to_owned())
                }
                Ok(true) => Ok(record),
                Err(error) => Err(error.to_string()),
            };
            let is_blank = |record: &StringRecord| record.iter().all(|cell| cell.trim().is_empty());
            if !record.as_ref().is_ok_and(is_blank) {
                return Some((self.line, record));
            }
        }
    }
}

/// Whether a row's quotation marks are wrong: then the rows after it may have been read as a part of it.
pub(super) fn is_misquoted(row: &str) -> bool {
    enum In {
        Start,
        Plain,
        Quoted,
        /// After a mark that closes, or is the first of two that stand for one.
        Closed,
    }
    let mut place = In::Start;
    for byte in row.bytes() {
        place = match (place, byte) {
            (In::Quoted, b'"') => In::Closed,
            (In::Quoted, _) | (In::Start | In::Closed, b'"') => In::Quoted,
            (_, b',' | b'\r' | b'\n') => In::Start,
            (In::Closed, _) => return true,
            (In::Start | In::Plain, _) => In::Plain,
        };
    }
    matches!(place, In::Quoted)
}
