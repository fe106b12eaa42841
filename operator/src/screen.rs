//! What commands show: for people as lines and tables that fit on 80 columns, for programs as JSON or CSV.
//!
//! No colours: what is to be seen is in words, so that it reads the same on a light and a dark terminal, in a file and
//! through a pipe.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Prints a line. Where that fails, whoever reads has gone, or a disk is full, what was done is done.
#[macro_export]
macro_rules! say {
    ($($told:tt)*) => {
        $crate::screen::out(&format!("{}\n", format_args!($($told)*)))?
    };
}

/// Tells people something on stderr; where nobody can read it that is no failure.
#[macro_export]
macro_rules! tell {
    ($($told:tt)*) => {
        $crate::screen::told(&format!("{}\n", format_args!($($told)*)))
    };
}

/// Prints a text.
///
/// # Errors
/// If nobody can read it.
pub fn out(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.context("what was done is done; only what is to be said of it could not be printed")
}

/// Tells a text on stderr.
pub fn told(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Columns of a terminal whose width is not known: of a pipe, of a file.
const WIDTH: u16 = 80;

/// From this width on, a time stands in one line.
const WIDE: u16 = 110;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// One object, with amounts as texts so that no digit is lost
    Json,
    /// The rows alone, with a header
    Csv,
}

#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputOptions {
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// One value of what is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// What others may have written.
    Text(String),
    /// An exact number: a text for programs.
    Amount(String),
    Count(u64),
    /// Unix milliseconds.
    Time(u64),
    Flag(bool),
    Nothing,
}

impl Cell {
    pub fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    pub fn amount(amount: impl ToString) -> Self {
        Self::Amount(amount.to_string())
    }

    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Nothing, Self::text)
    }

    pub fn time_of(at: Option<u64>) -> Self {
        at.map_or(Self::Nothing, Self::Time)
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Amount(_) | Self::Count(_))
    }

    /// For people.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.lines().map(plain).collect::<Vec<_>>().join("\n"),
            Self::Amount(amount) => plain(amount),
            Self::Count(count) => count.to_string(),
            Self::Time(at) => time(*at),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
            Self::Nothing => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) | Self::Amount(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Time(at) => json!(iso_time(*at)),
            Self::Flag(flag) => json!(flag),
            Self::Nothing => Value::Null,
        }
    }

    /// For CSV: as for JSON, without its marks. What a spreadsheet would take for a formula is made a text.
    fn csv(&self) -> String {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Amount(text) => return text.clone(),
            Self::Time(at) => iso_time(*at),
            other => other.shown(),
        };
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
    }
}

/// Rows of one kind. The columns of `stacked` stand under each other in the last column where people read them: they
/// may be long.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub name: &'static str,
    columns: Vec<&'static str>,
    stacked: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Section {
    pub fn new(name: &'static str, columns: &[&'static str], stacked: &[&'static str]) -> Self {
        Self { name, columns: columns.to_vec(), stacked: stacked.to_vec(), rows: Vec::new() }
    }

    /// A row: one cell for each of the columns, then one for each of the stacked ones.
    pub fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        let cells = cells.into();
        assert_eq!(cells.len(), self.columns.len() + self.stacked.len(), "a row of {}", self.name);
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows in the order of the time in this column.
    pub fn sort_by_time(&mut self, column: usize) {
        self.rows.sort_by_key(|row| match row.get(column) {
            Some(Cell::Time(at)) => *at,
            _ => 0,
        });
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().chain(&self.stacked).copied()
    }

    fn table(&self, width: u16) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
        let titles = |name: &&str| if *name == "time" { "time (UTC)".to_owned() } else { (*name).to_owned() };
        let stacked = self.stacked.first().map(titles);
        table.set_header(self.columns.iter().map(titles).chain(stacked));
        for row in &self.rows {
            let (own, stacked) = row.split_at(self.columns.len());
            let mut cells: Vec<String> = own.iter().map(|cell| shown_in(cell, width)).collect();
            if !self.stacked.is_empty() {
                let lines = self.stacked.iter().zip(stacked).enumerate().filter_map(|(at, (name, cell))| {
                    let shown = cell.shown();
                    match (shown.is_empty(), at) {
                        (true, _) => None,
                        (false, 0) => Some(shown),
                        (false, _) => Some(format!("{name} {shown}")),
                    }
                });
                cells.push(lines.collect::<Vec<_>>().join("\n"));
            }
            table.add_row(cells);
        }
        for (at, _) in self.columns.iter().enumerate() {
            let cells = || self.rows.iter().filter_map(|row| row.get(at));
            let Some(column) = table.column_mut(at) else { continue };
            column.set_padding((0, 1));
            if cells().all(|cell| !matches!(cell, Cell::Text(_))) {
                // Numbers and times are not split.
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            if cells().any(Cell::is_number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if let Some(column) = table.column_mut(self.columns.len()) {
            column.set_padding((0, 0));
        }
        table.to_string()
    }
}

fn shown_in(cell: &Cell, width: u16) -> String {
    match cell {
        Cell::Time(at) if width < WIDE => time(*at).replacen(' ', "\n", 1),
        cell => cell.shown(),
    }
}

/// All that one command shows.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// What it is about, in a line.
    pub title: String,
    facts: Vec<(&'static str, Cell)>,
    /// For programs alone: people find them in the title.
    values: Vec<(&'static str, Cell)>,
    sections: Vec<Section>,
    notes: Vec<String>,
}

impl Sheet {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    pub fn fact(&mut self, name: &'static str, cell: Cell) {
        self.facts.push((name, cell));
    }

    /// What the title tells people.
    pub fn value(&mut self, name: &'static str, cell: Cell) {
        self.values.push((name, cell));
    }

    fn all_values(&self) -> impl Iterator<Item = &(&'static str, Cell)> {
        self.values.iter().chain(&self.facts)
    }

    /// Rows. CSV has those of the first section.
    pub fn section(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// What people must not overlook.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn print(&self, options: OutputOptions) -> Result<()> {
        // CSV has rows alone.
        for note in self.notes.iter().filter(|_| options.output == Output::Csv) {
            tell!("note: {}", plain(note));
        }
        out(&self.render(options.output, width())?)
    }

    /// As it is printed on so many columns.
    pub fn render(&self, output: Output, width: u16) -> Result<String> {
        Ok(match output {
            Output::Table => self.for_people(width),
            Output::Json => serde_json::to_string_pretty(&self.json())? + "\n",
            Output::Csv => self.csv()?,
        })
    }

    fn for_people(&self, width: u16) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            let title: Vec<String> = self.title.lines().map(plain).collect();
            text.push_str(&wrapped(&title.join("\n"), width, 2));
        }
        let longest = self.facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, cell) in self.facts.iter().filter(|(_, cell)| *cell != Cell::Nothing) {
            text.push_str(&wrapped(&format!("{name:longest$}  {}", cell.shown()), width, longest + 2));
        }
        for note in &self.notes {
            text.push_str(&wrapped(&format!("! {}", plain(note)), width, 2));
        }
        for section in self.sections.iter().filter(|section| !section.is_empty()) {
            if self.sections.len() > 1 && !section.name.is_empty() {
                text.push_str(&format!("\n{}\n", section.name));
            }
            text.push_str(&section.table(width));
            text.push('\n');
        }
        text
    }

    fn json(&self) -> Value {
        let mut members = Map::new();
        for (name, cell) in self.all_values() {
            members.insert(member_name(name), cell.json());
        }
        for section in &self.sections {
            let row = |row: &Vec<Cell>| {
                let member = |(name, cell): (&'static str, &Cell)| (member_name(name), cell.json());
                Value::Object(section.names().zip(row).map(member).collect())
            };
            members.insert(member_name(section.name), section.rows.iter().map(row).collect());
        }
        if !self.notes.is_empty() {
            members.insert("notes".to_owned(), json!(self.notes));
        }
        Value::Object(members)
    }

    fn csv(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        match self.sections.first() {
            Some(section) => {
                writer.write_record(section.names().map(member_name))?;
                for row in &section.rows {
                    writer.write_record(row.iter().map(Cell::csv))?;
                }
            }
            None => {
                writer.write_record(self.all_values().map(|(name, _)| member_name(name)))?;
                writer.write_record(self.all_values().map(|(_, cell)| cell.csv()))?;
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

/// Prints sheets of one kind: JSON is a list of them, CSV one table of all, each row with what tells its sheet from the
/// others, the first of its values.
///
/// # Errors
/// If nobody can read it.
pub fn print_list(sheets: &[Sheet], options: OutputOptions) -> Result<()> {
    match options.output {
        Output::Table => {
            let each: Result<Vec<String>> =
                sheets.iter().map(|sheet| sheet.render(Output::Table, width())).collect();
            out(&each?.join("\n"))
        }
        Output::Json => {
            let list: Vec<Value> = sheets.iter().map(Sheet::json).collect();
            out(&(serde_json::to_string_pretty(&list)? + "\n"))
        }
        Output::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for (number, sheet) in sheets.iter().enumerate() {
                let Some(section) = sheet.sections.first() else { continue };
                let key = sheet.values.first();
                if number == 0 {
                    let key = key.map(|(name, _)| member_name(name));
                    writer.write_record(key.into_iter().chain(section.names().map(member_name)))?;
                }
                for row in &section.rows {
                    let key = key.map(|(_, cell)| cell.csv());
                    writer.write_record(key.into_iter().chain(row.iter().map(Cell::csv)))?;
                }
            }
            out(&String::from_utf8(writer.into_inner()?)?)
        }
    }
}

/// `oldest open` as `oldestOpen`.
fn member_name(name: &str) -> String {
    let mut words = name.split([' ', '-']);
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &initial.into_iter().chain(letters).collect::<String>()
    })
}

/// The columns of the terminal; of what is none, 80.
pub fn width() -> u16 {
    let terminal = console::Term::stdout();
    match terminal.size_checked() {
        Some((_rows, columns)) if terminal.is_term() && columns >= 40 => columns,
        _ => WIDTH,
    }
}

/// Lines that fit, those after the first indented; words longer than a line stay whole.
fn wrapped(text: &str, width: u16, indent: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let mut columns = 0;
        for word in line.split_inclusive(' ') {
            let length = console::measure_text_width(word.trim_end());
            if columns > indent && columns + length > usize::from(width) {
                while wrapped.ends_with(' ') {
                    wrapped.pop();
                }
                wrapped.push('\n');
                wrapped.push_str(&" ".repeat(indent));
                columns = indent;
            }
            wrapped.push_str(word);
            columns += console::measure_text_width(word);
        }
        while wrapped.ends_with(' ') {
            wrapped.pop();
        }
        wrapped.push('\n');
    }
    wrapped
}

/// A text that others wrote, fit for a terminal.
pub fn plain(text: &str) -> String {
    // Those that no terminal shows, and those that turn the direction of what follows.
    let is_hidden = |character: char| {
        matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let plain = |character: char| match character.is_control() || is_hidden(character) {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(plain).collect()
}

/// Unix milliseconds, in UTC.
pub fn time(milliseconds: u64) -> String {
    timestamp(milliseconds).map_or("?".to_owned(), |time| time.strftime("%F %T").to_string())
}

/// Unix milliseconds, as programs read them.
pub fn iso_time(milliseconds: u64) -> String {
    timestamp(milliseconds).map_or("?".to_owned(), |time| time.to_string())
}

fn timestamp(milliseconds: u64) -> Option<Timestamp> {
    i64::try_from(milliseconds).ok().and_then(|at| Timestamp::from_millisecond(at).ok())
}

/// Bytes as people compare them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long ago something was, in the two largest units: `3 d 4 h`.
pub fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in units {
        if rest >= length && parts.len() < 2 {
            parts.push(format!("{} {unit}", rest / length));
        }
        rest %= length;
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new("wallet apitest01 of channel 1");
        sheet.fact("balance", Cell::amount("1000.5"));
        sheet.fact("oldest open", Cell::Nothing);
        let mut history = Section::new("history", &["#", "time", "amount", "balance"], &["what", "of", "by"]);
        history.row([
            Cell::Count(1),
            Cell::Time(1_763_851_881_000),
            Cell::amount("999999999999999.99"),
            Cell::amount("-1000000000000000.5"),
            Cell::text("refunded"),
            Cell::text("bet d34fbd4e4734d430c05f443da281d92b"),
            Cell::text("=cmd\u{1b}[31m"),
        ]);
        sheet.section(history);
        sheet
    }

    #[test]
    fn what_people_see_fits_on_80_columns_with_no_number_or_id_split() {
        let text = sheet().render(Output::Table, 80).unwrap();
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
        for whole in ["999999999999999.99", "-1000000000000000.5", "2025-11-22", "22:51:21", "\\u{1b}"] {
            assert!(text.contains(whole), "{whole}: {text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("oldest open"), "{text}");
    }

    #[test]
    fn programs_get_names_without_spaces_exact_amounts_and_no_formulas() {
        let json: Value = serde_json::from_str(&sheet().render(Output::Json, 80).unwrap()).unwrap();
        assert_eq!(json["balance"], "1000.5");
        assert_eq!(json["oldestOpen"], Value::Null);
        assert_eq!(json["history"][0]["time"], "2025-11-22T22:51:21Z");
        assert_eq!(json["history"][0]["by"], "=cmd\u{1b}[31m");
        let csv = sheet().render(Output::Csv, 80).unwrap();
        let (header, row) = csv.split_once('\n').unwrap();
        assert_eq!(header, "#,time,amount,balance,what,of,by");
        assert!(row.starts_with("1,2025-11-22T22:51:21Z,999999999999999.99,-1000000000000000.5,"), "{row}");
        assert!(row.contains(",'=cmd"), "{row}");
    }

    #[test]
    fn an_age_is_told_in_its_two_largest_units() {
        for (milliseconds, told) in
            [(0, "0 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h"), (273_600_000, "3 d 4 h")]
        {
            assert_eq!(age(milliseconds), told);
        }
    }
}
