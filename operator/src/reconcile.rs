//! `refundctl reconcile`: what a provider says it has refunded, against the ledger.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use csv::{Reader, ReaderBuilder, StringRecord};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use shared::ebet::ChannelId;
use shared::entries::{currency_of, tenant_name};
use shared::epay::MerchantId;
use shared::ledger::{
    Amount, Application, ApplicationState, BatchState, Debit, DebitState, FailedRefund, ItemRefund,
    ItemState, MinorUnits, RefundBatch, TenantKey,
};
use shared::pingpp::{AppId, Mode};
use shared::store::{Content, Stored};

use crate::agreement::WrongUsage;
use crate::scan::{ScanOptions, scan_all};
use crate::screen::{Cell, Output, OutputOptions, Section, Sheet, plain};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Reads the whole table. The statement is CSV in UTF-8, and its first line names the columns; others than these three are
not looked at:
  id,amount,status
  a70efc7cf71e03ae98b42b22ad4b4288,100.00,succeeded
  d34fbd4e4734d430c05f443da281d92b,-20,pending

  id       a channel's: the bet's seqNo; a merchant's: the batch number; an app's: the refund's id, re_…
  amount   with up to two decimals; an app's: whole numbers of the currency's smallest unit; its sign means nothing
  status   succeeded, success, refunded, done, 200 or 2; failed, failure or refused; pending, processing, open or 1.
           Without this column states are not compared, and only what has succeeded here must be in the statement.

With --from and --to only refunds of these days must be in it: those that were decided then, or begun then and not
decided yet. What the statement names is compared whenever it was.

Differences:
  missing here             the ledger has no such refund
  missing there            the statement has no such refund
  different amount
  different state          of a bet that is there and was not refunded, too, unless the statement says so itself
  twice in the statement   further rows of a refund
  ambiguous                several players have a bet of this number, and it can't be told whose is meant

The sums leave out what has failed.

Examples:
  refundctl reconcile statement.csv --channel 1
  refundctl reconcile statement.csv --merchant demo --from 2026-11-01 --to 2026-11-30 --table refunds-prod
  refundctl reconcile statement.csv --app app_1Gqj58ynP0mHeX1q --live --id 'Refund ID' --amount Fee --output csv
  zcat statement.csv.gz | refundctl reconcile - --channel 1 --id seqNo --status result

Exit codes: 0 all agree; 1 there are differences, or the statement or an item of the table can't be read; 2 wrong usage.";

/// What is wrong with a statement that is shown; the rest is counted.
const PROBLEMS_SHOWN: usize = 20;

/// Differences that people are shown; the others are counted.
const DIFFERENCES_SHOWN: usize = 200;

/// Refunds of one id that are told of where it can't be said which one is meant.
const AMBIGUOUS_SHOWN: usize = 3;

/// Columns of a statement that are told, and characters that are quoted of what others wrote.
const COLUMNS_TOLD: usize = 12;
const QUOTED_CHARS_MAX: usize = 60;

#[derive(Debug, Args)]
pub struct Options {
    /// The statement, CSV with a header; - for standard input
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// The app in live mode rather than in test mode
    #[arg(long, conflicts_with_all = ["channel", "merchant"])]
    live: bool,
    /// First day whose refunds must be in the statement, UTC [default: the first there is]
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Date>,
    /// Last day whose refunds must be in the statement, UTC [default: the last there is]
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: Option<Date>,
    /// Column of the refunds' ids
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    id: String,
    /// Column of the amounts
    #[arg(long, value_name = "COLUMN", default_value = "amount")]
    amount: String,
    /// Column of the states [default: status, where there is one]
    #[arg(long, value_name = "COLUMN")]
    status: Option<String>,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    scan: ScanOptions,
}

/// Whose refunds the statement has.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// A channel of eBET's, by its number
    #[arg(long, value_name = "ID")]
    channel: Option<ChannelId>,
    /// A merchant of EPay's
    #[arg(long, value_name = "NAME")]
    merchant: Option<MerchantId>,
    /// An app of Ping++'s
    #[arg(long, value_name = "APP")]
    app: Option<AppId>,
}

fn date(text: &str) -> Result<Date, String> {
    let is_plain = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let date =
        text.parse::<Date>().ok().filter(|_| text.len() == 10 && text.bytes().enumerate().all(is_plain));
    date.ok_or_else(|| "must be a day such as 2026-11-22".to_owned())
}

impl Options {
    fn tenant(&self) -> Result<TenantKey> {
        match (&self.whose.channel, &self.whose.merchant, &self.whose.app) {
            (Some(channel), _, _) => Ok(channel.tenant()),
            (_, Some(merchant), _) => Ok(merchant.tenant()),
            (_, _, Some(app)) => Ok(app.tenant(Mode::of(self.live))),
            (None, None, None) => {
                Err(WrongUsage("say whose refunds these are: --channel, --merchant or --app".to_owned())
                    .into())
            }
        }
    }

    fn period(&self) -> Result<Period> {
        let period = Period { from: self.from, to: self.to };
        match (period.from, period.to) {
            (Some(from), Some(to)) if from > to => {
                Err(WrongUsage(format!("--from {from} is after --to {to}")).into())
            }
            _ => Ok(period),
        }
    }

    fn columns(&self) -> Columns<'_> {
        Columns { id: &self.id, amount: &self.amount, status: self.status.as_deref() }
    }
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let (tenant, period) = (options.tenant()?, options.period()?);
    let is_minor = options.whose.app.is_some();
    let read = Statement::read(&bytes_of(&options.file)?, &options.columns(), is_minor);
    let statement = match read {
        Ok(statement) => statement,
        Err(problems) => bail!("{}", complaint(&problems)),
    };
    let store = options.table.store().await?;
    let name = tenant_name(&tenant);
    let settings = session(&store).settings(&tenant).await?;
    let settings = settings.with_context(|| format!("there is no {name}"))?;
    let currency = currency_of(&tenant, &settings).map_err(|error| anyhow!("settings of {name}: {error}"))?;
    let mut gathered = Gathered::new(&tenant, statement.rows.iter().map(|row| row.id.as_str()));
    scan_all(&store, options.scan, |stored| gathered.take(stored)).await?;
    let ledger = gathered.finish();

    let comparison = Comparison::of(&statement, &ledger, period);
    let output = options.output.output;
    let shown = if output == Output::Table { DIFFERENCES_SHOWN } else { usize::MAX };
    let file = match options.file.as_os_str() == "-" {
        true => "from standard input".to_owned(),
        false => options.file.display().to_string(),
    };
    let mut sheet = comparison.sheet(&format!("statement {file} against the ledger of {name}"), shown);
    let unit = if is_minor { "the smallest unit of " } else { "" };
    sheet.fact("amounts in", Cell::text(format!("{unit}{currency}")));
    sheet.fact("from", Cell::maybe(period.from));
    sheet.fact("to", Cell::maybe(period.to));
    for note in notes(&statement, &ledger, &comparison, shown) {
        sheet.note(note);
    }
    sheet.print(options.output)?;
    let is_sure = ledger.damaged == 0 && comparison.differences.is_empty();
    Ok(if is_sure { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bytes_of(file: &Path) -> Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file).with_context(|| format!("could not read {}", file.display()));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).context("could not read standard input")?;
    Ok(bytes)
}

/// What people must know of a comparison beside its differences.
fn notes(statement: &Statement, ledger: &Ledger, comparison: &Comparison, shown: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if !statement.has_states {
        notes.push(
            "the statement has no states: they are not compared, and only what has succeeded here must be in it"
                .to_owned(),
        );
    }
    if ledger.damaged > 0 {
        notes.push(format!(
            "{} of its items in the table can't be read, and are left out: it is not known that all agree",
            ledger.damaged
        ));
    }
    let hidden = comparison.differences.len().saturating_sub(shown);
    if hidden > 0 {
        notes.push(format!("{hidden} more differences are not shown: --output csv has them all"));
    }
    notes
}

// ---- the statement ----

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Succeeded,
    Failed,
    Pending,
}

impl State {
    /// The words of statements.
    const WORDS: [(Self, &[&str]); 3] = [
        (Self::Succeeded, &["succeeded", "success", "refunded", "done", "200", "2"]),
        (Self::Failed, &["failed", "failure", "refused"]),
        (Self::Pending, &["pending", "processing", "open", "1"]),
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }

    /// # Errors
    /// Names the words that are known.
    fn of_word(text: &str) -> Result<Self, String> {
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
struct Row {
    line: u64,
    id: String,
    amount: Amount,
    /// None if the statement has no states.
    state: Option<State>,
}

#[derive(Debug, PartialEq, Eq)]
struct Statement {
    rows: Vec<Row>,
    has_states: bool,
}

/// What is wrong with a line of a statement.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    line: u64,
    what: String,
}

/// What a statement's columns are called.
#[derive(Debug)]
struct Columns<'a> {
    id: &'a str,
    amount: &'a str,
    /// None: `status`, where there is one.
    status: Option<&'a str>,
}

/// Where they stand in a row.
#[derive(Debug)]
struct Places {
    id: usize,
    amount: usize,
    status: Option<usize>,
}

impl Statement {
    /// `is_minor`: amounts are whole numbers of the currency's smallest unit.
    ///
    /// # Errors
    /// All that is wrong with it.
    fn read(bytes: &[u8], columns: &Columns<'_>, is_minor: bool) -> Result<Self, Vec<Problem>> {
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
    fn read(line: u64, record: &StringRecord, places: &Places, is_minor: bool) -> Result<Self, Vec<String>> {
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
    fn agrees(&self, here: Here) -> bool {
        match here {
            Here::Refund(refund) => {
                self.amount == refund.amount && self.state.is_none_or(|state| state == refund.state)
            }
            Here::Unrefunded(_) => self.state == Some(State::Failed),
        }
    }
}

/// An amount, whatever its sign: statements have what was given back above or below zero.
fn amount(text: &str, is_minor: bool) -> Result<Amount, String> {
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
    fn places(&self, header: &StringRecord) -> Result<Places, Vec<String>> {
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
fn place(header: &StringRecord, name: &str, option: &str) -> Result<usize, String> {
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

fn positions(header: &StringRecord, name: &str) -> Vec<usize> {
    let name = name.trim().to_lowercase();
    let columns = header.iter().enumerate();
    columns.filter(|(_, column)| column.trim().to_lowercase() == name).map(|(at, _)| at).collect()
}

/// What others wrote, fit for a terminal and not long.
fn quoted(text: &str) -> String {
    let shown: String = text.trim().chars().take(QUOTED_CHARS_MAX).collect();
    let dots = if shown.len() < text.trim().len() { "…" } else { "" };
    format!("\"{}{dots}\"", plain(&shown))
}

fn complaint(problems: &[Problem]) -> String {
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
struct Records<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    /// The line at `counted`, which are bytes of the text.
    line: u64,
    counted: usize,
}

impl<'a> Records<'a> {
    fn of(text: &'a str) -> Self {
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        Self { text, reader, line: 1, counted: 0 }
    }

    fn offset(&self) -> usize {
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
fn is_misquoted(row: &str) -> bool {
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

// ---- the ledger ----

/// A refund in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refund {
    amount: Amount,
    state: State,
    /// When it was decided, or else begun, in Unix milliseconds; none if that isn't known.
    at: Option<u64>,
}

/// What the ledger has under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    Refund(Refund),
    /// A bet in this state, which nobody refunded.
    Unrefunded(&'static str),
}

impl Here {
    fn refund(self) -> Option<Refund> {
        match self {
            Self::Refund(refund) => Some(refund),
            Self::Unrefunded(_) => None,
        }
    }
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refund(refund) => f.write_str(refund.state.as_str()),
            Self::Unrefunded(state) => write!(f, "not refunded here ({state})"),
        }
    }
}

/// A tenant's refunds by the ids that statements have: several of one id where several players have such a bet.
#[derive(Debug, Default)]
struct Ledger {
    by_id: HashMap<String, Vec<Here>>,
    /// Items of the tenant that can't be read.
    damaged: u64,
}

impl Ledger {
    fn under(&self, id: &str) -> &[Here] {
        self.by_id.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A tenant's refunds, as its items come.
struct Gathered<'a> {
    tenant: &'a TenantKey,
    /// The ids in the statement.
    named: HashSet<&'a str>,
    ledger: Ledger,
    /// Refunds of batches, by their ids: how much, and when the batch was made.
    begun: HashMap<String, (Amount, u64)>,
}

impl<'a> Gathered<'a> {
    fn new(tenant: &'a TenantKey, named: impl Iterator<Item = &'a str>) -> Self {
        Self { tenant, named: named.collect(), ledger: Ledger::default(), begun: HashMap::new() }
    }

    fn take(&mut self, stored: Stored) -> Result<()> {
        let Stored { partition, content, .. } = stored;
        let Ok(content) = content else {
            let rest = partition.strip_prefix(self.tenant.as_str());
            self.ledger.damaged += u64::from(rest.is_some_and(|rest| rest.starts_with('#')));
            return Ok(());
        };
        match content {
            Content::Debit(debit) if debit.key.account.tenant() == *self.tenant => self.debit(&debit),
            Content::Refund(refund) if refund.charge.tenant == *self.tenant => self.item(&refund)?,
            Content::Batch(batch) if batch.key.tenant == *self.tenant => self.batch(&batch)?,
            Content::Application(application) if application.key.merchant == *self.tenant => {
                self.application(&application);
            }
            Content::Failed { application, failed } if application.merchant == *self.tenant => {
                self.failed(&failed);
            }
            _ => {}
        }
        Ok(())
    }

    fn debit(&mut self, debit: &Debit) {
        let id = debit.key.id.as_str();
        let here = match &debit.state {
            DebitState::Refunded(refund) => {
                Here::Refund(Refund { amount: refund.amount, state: State::Succeeded, at: Some(refund.at) })
            }
            // No refund: it matters only if the statement says that there is one.
            _ if !self.named.contains(id) => return,
            state => Here::Unrefunded(state.as_str()),
        };
        self.ledger.by_id.entry(id.to_owned()).or_default().push(here);
    }

    fn item(&mut self, refund: &ItemRefund) -> Result<()> {
        let (state, at) = match refund.state {
            ItemState::Succeeded { at } => (State::Succeeded, Some(at)),
            ItemState::Failed { at, .. } => (State::Failed, Some(at)),
            ItemState::Pending { .. } => (State::Pending, None),
        };
        self.put(refund.id.as_str(), Refund { amount: refund.amount.amount()?, state, at });
        Ok(())
    }

    fn batch(&mut self, batch: &RefundBatch) -> Result<()> {
        // Nobody was told of these.
        if let BatchState::Creating | BatchState::Void = batch.state {
            return Ok(());
        }
        for item in &batch.items {
            self.begun.insert(item.refund.to_string(), (item.amount.amount()?, batch.at));
        }
        Ok(())
    }

    fn application(&mut self, application: &Application) {
        let (refund, state, at) = match &application.state {
            ApplicationState::Done { refund, completion } => (refund, State::Succeeded, completion.at),
            ApplicationState::Processing(refund) => (refund, State::Pending, refund.at),
            ApplicationState::Requested | ApplicationState::Withdrawn(_) => return,
        };
        self.put(refund.batch_no.as_str(), Refund { amount: refund.amount, state, at: Some(at) });
    }

    fn failed(&mut self, failed: &FailedRefund) {
        let FailedRefund { refund, at, .. } = failed;
        let failed = Refund { amount: refund.amount, state: State::Failed, at: Some(*at) };
        self.put(refund.batch_no.as_str(), failed);
    }

    /// The one refund of its id. It may have been decided while the table was read: then that counts.
    fn put(&mut self, id: &str, refund: Refund) {
        let known = self.ledger.by_id.entry(id.to_owned()).or_default();
        let is_decided = |here: &Here| here.refund().is_some_and(|known| known.state != State::Pending);
        if !known.iter().any(is_decided) {
            *known = vec![Here::Refund(refund)];
        }
    }

    fn finish(self) -> Ledger {
        let Self { mut ledger, begun, .. } = self;
        for (id, (amount, at)) in begun {
            let known = ledger.by_id.entry(id).or_default();
            if known.is_empty() {
                known.push(Here::Refund(Refund { amount, state: State::Pending, at: None }));
            }
            for here in known {
                if let Here::Refund(refund) = here {
                    refund.at.get_or_insert(at);
                }
            }
        }
        ledger
    }
}

// ---- the comparison ----

/// Days whose refunds must be in a statement, both included.
#[derive(Debug, Clone, Copy, Default)]
struct Period {
    from: Option<Date>,
    to: Option<Date>,
}

impl Period {
    /// Whether a time, in Unix milliseconds, is in it; one that isn't known may be.
    fn has(self, at: Option<u64>) -> bool {
        let time = at.and_then(|at| Timestamp::from_millisecond(i64::try_from(at).ok()?).ok());
        let Some(time) = time else { return true };
        let date = TimeZone::UTC.to_datetime(time).date();
        self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    MissingHere,
    MissingThere,
    DifferentAmount,
    DifferentState,
    Twice,
    Ambiguous,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::MissingHere,
        Self::MissingThere,
        Self::DifferentAmount,
        Self::DifferentState,
        Self::Twice,
        Self::Ambiguous,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::MissingHere => "missing here",
            Self::MissingThere => "missing there",
            Self::DifferentAmount => "different amount",
            Self::DifferentState => "different state",
            Self::Twice => "twice in the statement",
            Self::Ambiguous => "ambiguous",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Difference {
    kind: Kind,
    /// In the statement, if it is there.
    line: Option<u64>,
    id: String,
    amount_there: Option<Amount>,
    amount_here: Option<Amount>,
    state_there: Option<State>,
    state_here: Option<String>,
}

impl Difference {
    fn of_row(kind: Kind, row: &Row, here: Option<Here>) -> Self {
        Self {
            kind,
            line: Some(row.line),
            id: row.id.clone(),
            amount_there: Some(row.amount),
            amount_here: here.and_then(Here::refund).map(|refund| refund.amount),
            state_there: row.state,
            state_here: here.map(|here| here.to_string()),
        }
    }

    /// A row that may be of any of these.
    fn ambiguous(row: &Row, several: &[Here]) -> Self {
        let told = several.iter().take(AMBIGUOUS_SHOWN).map(|here| match here.refund() {
            Some(refund) => format!("{} {here}", refund.amount),
            None => here.to_string(),
        });
        let mut told: Vec<String> = told.collect();
        if several.len() > AMBIGUOUS_SHOWN {
            told.push(format!("{} more", several.len() - AMBIGUOUS_SHOWN));
        }
        Self { state_here: Some(told.join(", ")), ..Self::of_row(Kind::Ambiguous, row, None) }
    }

    fn missing_there(id: &str, refund: Refund) -> Self {
        Self {
            kind: Kind::MissingThere,
            line: None,
            id: id.to_owned(),
            amount_there: None,
            amount_here: Some(refund.amount),
            state_there: None,
            state_here: Some(refund.state.as_str().to_owned()),
        }
    }

    /// As they are shown: by line, and then those that have none.
    fn order(&self) -> (u64, &str, Kind, Option<Amount>) {
        (self.line.unwrap_or(u64::MAX), &self.id, self.kind, self.amount_here)
    }

    fn cells(&self) -> [Cell; 7] {
        let amount = |amount: Option<Amount>| amount.map_or(Cell::Nothing, Cell::amount);
        [
            self.line.map_or(Cell::Nothing, Cell::Count),
            amount(self.amount_there),
            amount(self.amount_here),
            Cell::text(self.kind.as_str()),
            Cell::text(&self.id),
            Cell::maybe(self.state_there.map(State::as_str)),
            Cell::maybe(self.state_here.as_deref()),
        ]
    }
}

/// What comparing a statement with the ledger came to.
#[derive(Debug, Default)]
struct Comparison {
    has_states: bool,
    rows: u64,
    /// In the ledger: those that must be in the statement, and those that it names.
    refunds: u64,
    /// Rows that agree with the ledger.
    matching: u64,
    sum_there: Decimal,
    sum_here: Decimal,
    differences: Vec<Difference>,
}

impl Comparison {
    fn of(statement: &Statement, ledger: &Ledger, period: Period) -> Self {
        let has_states = statement.has_states;
        let moved = statement.rows.iter().filter(|row| row.state != Some(State::Failed));
        let mut comparison = Self {
            has_states,
            rows: statement.rows.len() as u64,
            sum_there: moved.map(|row| row.amount.value()).sum(),
            ..Self::default()
        };
        let is_due =
            |refund: Refund| period.has(refund.at) && (has_states || refund.state == State::Succeeded);
        let mut named: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in &statement.rows {
            named.entry(&row.id).or_default().push(row);
        }
        for (id, rows) in &named {
            comparison.compare(id, rows, ledger.under(id), is_due);
        }
        for (id, here) in ledger.by_id.iter().filter(|(id, _)| !named.contains_key(id.as_str())) {
            comparison.compare(id, &[], here, is_due);
        }
        comparison.differences.sort_by(|one, other| one.order().cmp(&other.order()));
        comparison
    }

    /// Compares all rows of an id with all that the ledger has under it.
    fn compare(&mut self, id: &str, rows: &[&Row], here: &[Here], is_due: impl Fn(Refund) -> bool) {
        let mut rest = here.to_vec();
        let mut unlike = Vec::new();
        for row in rows {
            match rest.iter().position(|here| row.agrees(*here)) {
                Some(at) => {
                    self.matching += 1;
                    self.count(rest.remove(at));
                }
                None => unlike.push(*row),
            }
        }
        if unlike.is_empty() {
            for refund in rest.into_iter().filter_map(Here::refund).filter(|refund| is_due(*refund)) {
                self.count(Here::Refund(refund));
                self.differences.push(Difference::missing_there(id, refund));
            }
            return;
        }
        // A row for each that is left; the first one where there has been nothing at all.
        let firsts = if here.is_empty() { 1 } else { rest.len() };
        let (firsts, others) = unlike.split_at(firsts.min(unlike.len()));
        for row in firsts {
            match rest.as_slice() {
                [] => self.differences.push(Difference::of_row(Kind::MissingHere, row, None)),
                [here] => self.differ(row, *here),
                several => self.differences.push(Difference::ambiguous(row, several)),
            }
        }
        let only = if let [only] = here { Some(*only) } else { None };
        self.differences.extend(others.iter().map(|row| Difference::of_row(Kind::Twice, row, only)));
        for here in rest {
            self.count(here);
        }
    }

    /// How a row differs from what the ledger has.
    fn differ(&mut self, row: &Row, here: Here) {
        let kinds = match here {
            Here::Unrefunded(_) => [None, Some(Kind::DifferentState)],
            Here::Refund(refund) => {
                let has_other_state = row.state.is_some_and(|state| state != refund.state);
                [
                    (row.amount != refund.amount).then_some(Kind::DifferentAmount),
                    has_other_state.then_some(Kind::DifferentState),
                ]
            }
        };
        let kinds = kinds.into_iter().flatten();
        self.differences.extend(kinds.map(|kind| Difference::of_row(kind, row, Some(here))));
    }

    fn count(&mut self, here: Here) {
        let Here::Refund(refund) = here else { return };
        self.refunds += 1;
        if !self.has_states || refund.state != State::Failed {
            self.sum_here += refund.amount.value();
        }
    }

    /// With so many differences at most.
    fn sheet(&self, title: &str, shown: usize) -> Sheet {
        let outcome = match self.differences.len() {
            0 => "no difference".to_owned(),
            1 => "1 difference".to_owned(),
            count => format!("{count} differences"),
        };
        let mut sheet = Sheet::new(format!("{title}: {outcome}"));
        sheet.fact("rows in the statement", Cell::Count(self.rows));
        sheet.fact("refunds in the ledger", Cell::Count(self.refunds));
        sheet.fact("matching", Cell::Count(self.matching));
        for kind in Kind::ALL {
            let count = self.differences.iter().filter(|difference| difference.kind == kind).count();
            sheet.fact(kind.as_str(), Cell::Count(count as u64));
        }
        sheet.fact("sum in the statement", Cell::amount(self.sum_there.normalize()));
        sheet.fact("sum in the ledger", Cell::amount(self.sum_here.normalize()));
        let columns = &["line", "amount there", "amount here"];
        let mut section = Section::new("differences", columns, &["kind", "id", "state there", "state here"]);
        for difference in self.differences.iter().take(shown) {
            section.row(difference.cells());
        }
        sheet.section(section);
        sheet
    }
}

#[cfg(test)]
mod tests {
    use shared::ledger::{
        AccountKey, ApplicationKey, ApplicationRefund, BatchItem, ChargeKey, Completion, Confirmation,
        DebitKey, FingerprintBuilder, RefundBatchKey, RefundId,
    };

    use super::*;

    const COLUMNS: Columns<'static> = Columns { id: "id", amount: "amount", status: None };

    fn read(text: &str) -> Statement {
        Statement::read(text.as_bytes(), &COLUMNS, false).unwrap()
    }

    fn told(rows: &[Row]) -> Vec<String> {
        let state = |row: &Row| row.state.map_or("-", State::as_str);
        rows.iter().map(|row| format!("{} {} {} {}", row.line, row.id, row.amount, state(row))).collect()
    }

    #[test]
    fn a_statement_is_read_whatever_its_columns_are_called_and_wherever_they_stand() {
        let named = Columns { id: " Refund ID", amount: "FEE", status: Some("result") };
        for (text, columns, is_minor, rows) in [
            (
                "id,amount,status\na,1.50,SUCCESS\nb,-2,failure\n",
                &COLUMNS,
                false,
                &["2 a 1.5 succeeded", "3 b 2 failed"][..],
            ),
            (
                "\u{feff}Status , ID,Amount\r\n\r\n1, a ,1\r\n,,\r\n200,b,2",
                &COLUMNS,
                false,
                &["3 a 1 pending", "5 b 2 succeeded"],
            ),
            (
                "note,refund id,fee,Result\n\"two\nlines, \"\"quoted\"\"\",a,10,Open\n5\" disk,b,-11,2\n",
                &named,
                true,
                &["2 a 10 pending", "4 b 11 succeeded"],
            ),
            ("id,amount\na,\"1e3\"\na,1000.00", &COLUMNS, false, &["2 a 1000 -", "3 a 1000 -"]),
            ("id,amount\n", &COLUMNS, false, &[]),
        ] {
            let statement = Statement::read(text.as_bytes(), columns, is_minor).unwrap();
            assert_eq!(told(&statement.rows), rows, "{text:?}");
            assert_eq!(
                statement.has_states,
                statement.rows.iter().any(|row| row.state.is_some()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn every_problem_of_a_statement_is_told_with_its_line() {
        let status = Columns { status: Some("result"), ..COLUMNS };
        for (text, columns, is_minor, problems) in [
            (&b""[..], &COLUMNS, false, &[(1, "the statement is empty")][..]),
            (b"\n\r\n", &COLUMNS, false, &[(1, "the statement is empty")]),
            (
                b"no;sum\na;1\n",
                &COLUMNS,
                false,
                &[
                    (1, "has no column \"id\", but \"no;sum\": --id names another; commas must divide"),
                    (1, "--amount"),
                ],
            ),
            (b"id,amount\na,1\n", &status, false, &[(1, "has no column \"result\", but \"id\", \"amount\"")]),
            (b"id,amount,ID\na,1,b\n", &COLUMNS, false, &[(1, "has 2 columns \"id\"")]),
            (b"id,amount\na,1\nb,\xb9\xfe\n", &COLUMNS, false, &[(3, "is not UTF-8")]),
            (
                b"id,amount,status\n\na,1\nb,1,000,done\n,\"1,000.50\",chargeback\n",
                &COLUMNS,
                false,
                &[
                    (3, "has 2 cells, and the line with the columns has 3"),
                    (4, "has 4 cells"),
                    (5, "has no id"),
                    (5, "amount \"1,000.50\" has a separator"),
                    (
                        5,
                        "status \"chargeback\" is none of succeeded, success, refunded, done, 200, 2; failed,",
                    ),
                ],
            ),
            (
                b"id,amount\na,\nb,0\nc,1.001\nd,ten\ne,--1\nf,1e99\n",
                &COLUMNS,
                false,
                &[
                    (2, "has no amount"),
                    (3, "amount \"0\" must be more than zero"),
                    (4, "has more than 2 decimals"),
                    (5, "amount \"ten\" is not a decimal number"),
                    (6, "amount \"--1\" is not a number"),
                    (7, "amount \"1e99\""),
                ],
            ),
            (
                b"id,amount\na,10.00\nb,1e3\nc,0\nd,99999999999999999999\n",
                &COLUMNS,
                true,
                &[
                    (2, "amount \"10.00\" is not a whole number of the currency's smallest unit"),
                    (3, "amount \"1e3\" is not a whole number"),
                    (4, "must be more than zero"),
                    (5, "is above the limit of"),
                ],
            ),
            (
                b"id,amount,note\na,1,\"x\nb,2,y\n",
                &COLUMNS,
                false,
                &[(2, "has a quotation mark that is not")],
            ),
            (
                b"id,amount,note\na,1,\"x\nb,2,\"y\nc,\x1b[31m,z\n",
                &COLUMNS,
                false,
                &[(2, "has a quotation mark that is not closed"), (4, "amount \"\\u{1b}[31m\"")],
            ),
        ] {
            let shown = String::from_utf8_lossy(text);
            let wrong = Statement::read(text, columns, is_minor).unwrap_err();
            let lines: Vec<u64> = wrong.iter().map(|problem| problem.line).collect();
            let expected: Vec<u64> = problems.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, expected, "{shown:?}: {wrong:?}");
            for (problem, (_, what)) in wrong.iter().zip(problems) {
                assert!(problem.what.contains(what), "{shown:?}: {problem:?}");
                assert!(!problem.what.contains('\u{1b}'), "{problem:?}");
            }
        }
        let text = format!("id,amount\n{}", "a,b\n".repeat(25));
        let told = complaint(&Statement::read(text.as_bytes(), &COLUMNS, false).unwrap_err());
        assert!(
            told.contains("line 21: ") && told.contains("and 5 more") && !told.contains("line 22"),
            "{told}"
        );
    }

    fn at(time: &str) -> u64 {
        u64::try_from(time.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    /// A ledger of ids, amounts and states.
    fn ledger(refunds: &[(&str, &str, &'static str)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (id, amount, state) in refunds {
            let here = match State::of_word(state) {
                Ok(state) if !amount.is_empty() => {
                    let at = Some(at("2026-11-22T12:00:00Z"));
                    Here::Refund(Refund { amount: amount.parse().unwrap(), state, at })
                }
                _ => Here::Unrefunded(state),
            };
            ledger.by_id.entry((*id).to_owned()).or_default().push(here);
        }
        ledger
    }

    fn lines(comparison: &Comparison) -> Vec<String> {
        let line = |difference: &Difference| {
            let amount = |amount: Option<Amount>| amount.map_or("-".to_owned(), |amount| amount.to_string());
            format!(
                "{} {} {}: {} {}, {} {}",
                difference.line.map_or("-".to_owned(), |line| line.to_string()),
                difference.id,
                difference.kind.as_str(),
                amount(difference.amount_there),
                difference.state_there.map_or("-", State::as_str),
                amount(difference.amount_here),
                difference.state_here.as_deref().unwrap_or("-"),
            )
        };
        comparison.differences.iter().map(line).collect()
    }

    #[test]
    fn what_differs_is_told_and_what_agrees_is_counted() {
        let both = [("a", "10", "succeeded"), ("b", "2.5", "failed")];
        let bets = [("a", "", "open"), ("b", "", "settled")];
        let players = [("a", "10", "succeeded"), ("a", "20", "succeeded"), ("a", "", "open")];
        for (rows, here, counts, differences) in [
            // Rows, what the ledger has, refunds compared, matching, sums there and here, and differences.
            ("a,10.00,done\nb,2.50,refused", &both[..], (2, 2, "10", "10"), &[][..]),
            ("a,10,done", &both, (2, 1, "10", "10"), &["- b missing there: - -, 2.5 failed"]),
            (
                "a,11,failed\nb,3,failed\nc,1,1",
                &both,
                (2, 0, "1", "10"),
                &[
                    "2 a different amount: 11 failed, 10 succeeded",
                    "2 a different state: 11 failed, 10 succeeded",
                    "3 b different amount: 3 failed, 2.5 failed",
                    "4 c missing here: 1 pending, - -",
                ],
            ),
            (
                "a,9,done\na,10,done\na,10,done\nb,2.5,failed\nc,1,done\nc,1,done",
                &both,
                (2, 2, "31", "10"),
                &[
                    "2 a twice in the statement: 9 succeeded, 10 succeeded",
                    "4 a twice in the statement: 10 succeeded, 10 succeeded",
                    "6 c missing here: 1 succeeded, - -",
                    "7 c twice in the statement: 1 succeeded, - -",
                ],
            ),
            // Bets that nobody refunded.
            (
                "a,10,done\nb,2,failed",
                &bets,
                (0, 1, "10", "0"),
                &["2 a different state: 10 succeeded, - not refunded here (open)"],
            ),
            ("", &bets, (0, 0, "0", "0"), &[]),
            // Bets of several players.
            ("a,20,done\na,10,done", &players, (2, 2, "30", "30"), &[]),
            ("a,20,done", &players, (2, 1, "20", "30"), &["- a missing there: - -, 10 succeeded"]),
            (
                "a,15,done\na,15,done\na,15,done\na,15,done",
                &players,
                (2, 0, "60", "30"),
                &[
                    "2 a ambiguous: 15 succeeded, - 10 succeeded, 20 succeeded, not refunded here (open)",
                    "3 a ambiguous: 15 succeeded, - 10 succeeded, 20 succeeded, not refunded here (open)",
                    "4 a ambiguous: 15 succeeded, - 10 succeeded, 20 succeeded, not refunded here (open)",
                    "5 a twice in the statement: 15 succeeded, - -",
                ],
            ),
            (
                "a,10,done\na,21,done",
                &players[..2],
                (2, 1, "31", "30"),
                &["3 a different amount: 21 succeeded, 20 succeeded"],
            ),
        ] {
            let statement = read(&format!("id,amount,status\n{rows}\n"));
            let comparison = Comparison::of(&statement, &ledger(here), Period::default());
            assert_eq!(lines(&comparison), differences, "{rows:?}");
            let sums = [comparison.sum_there, comparison.sum_here].map(|sum| sum.normalize().to_string());
            let counted = (comparison.refunds, comparison.matching, sums[0].as_str(), sums[1].as_str());
            assert_eq!(counted, counts, "{rows:?}");
        }
    }

    #[test]
    fn without_states_none_are_compared_and_only_what_has_succeeded_must_be_there() {
        let here = [
            ("a", "10", "failed"),
            ("b", "20", "succeeded"),
            ("c", "30", "failed"),
            ("d", "40", "pending"),
            ("e", "", "settled"),
        ];
        let statement = read("id,amount\na,10\ne,5\n");
        let comparison = Comparison::of(&statement, &ledger(&here), Period::default());
        let told = [
            "3 e different state: 5 -, - not refunded here (settled)",
            "- b missing there: - -, 20 succeeded",
        ];
        assert_eq!(lines(&comparison), told);
        assert!(notes(&statement, &Ledger::default(), &comparison, 1)[0].contains("has no states"));
        assert!(notes(&statement, &Ledger::default(), &comparison, 1)[1].contains("1 more differences"));
    }

    #[test]
    fn a_period_has_its_last_day_and_limits_only_what_must_be_there() {
        let day = |text: &str| date(text).unwrap();
        let period = Period { from: Some(day("2026-11-21")), to: Some(day("2026-11-22")) };
        for (time, is_in) in [
            ("2026-11-20T23:59:59.999Z", false),
            ("2026-11-21T00:00:00Z", true),
            ("2026-11-22T23:59:59.999Z", true),
            ("2026-11-23T00:00:00Z", false),
        ] {
            assert_eq!(period.has(Some(at(time))), is_in, "{time}");
        }
        assert!(period.has(None) && Period::default().has(Some(0)));
        let later = Period { from: Some(day("2026-11-23")), to: None };
        let here = ledger(&[("a", "10", "succeeded"), ("b", "20", "succeeded")]);
        let comparison = Comparison::of(&read("id,amount,status\na,11,done\n"), &here, later);
        assert_eq!(lines(&comparison), ["2 a different amount: 11 succeeded, 10 succeeded"]);
        assert_eq!(comparison.refunds, 1);
        for wrong in ["2026-11-31", "20261122", "2026-11-22T00:00", "26-11-22", "", "2026-1-02", "yesterday!"]
        {
            assert!(date(wrong).is_err(), "{wrong}");
        }
    }

    fn gathered(tenant: &TenantKey, named: &[&str], contents: Vec<Result<Content, String>>) -> Ledger {
        let mut gathered = Gathered::new(tenant, named.iter().copied());
        for content in contents {
            let partition = format!("{tenant}#x");
            let (sort, seal, index) = (String::new(), None, None);
            gathered
                .take(Stored {
                    partition,
                    sort,
                    content,
                    seal,
                    index,
                    expires: None,
                    taken_until: None,
                    is_plain: true,
                })
                .unwrap();
        }
        gathered.finish()
    }

    fn under(ledger: &Ledger, id: &str) -> Vec<(String, &'static str, Option<u64>)> {
        let refund = |here: &Here| match here {
            Here::Refund(refund) => (refund.amount.to_string(), refund.state.as_str(), refund.at),
            Here::Unrefunded(state) => (String::new(), *state, None),
        };
        ledger.under(id).iter().map(refund).collect()
    }

    #[test]
    fn a_channels_open_bets_are_kept_only_if_the_statement_names_them() {
        let debit = |account: &str, id: &str, state: DebitState| {
            Ok(Content::Debit(Box::new(Debit {
                key: DebitKey { account: AccountKey::recorded(account), id: id.parse().unwrap() },
                round: "R".parse().unwrap(),
                amount: "5".parse().unwrap(),
                taken: None,
                asked: None,
                state,
            })))
        };
        let contents = vec![
            debit("ebet#1#p", "a", DebitState::Open),
            debit("ebet#1#q", "a", DebitState::Settled),
            debit("ebet#1#p", "b", DebitState::Open),
            debit("ebet#11#p", "a", DebitState::Open),
            Err("damaged".to_owned()),
        ];
        let ledger = gathered(&ChannelId(1).tenant(), &["a"], contents);
        assert_eq!(ledger.by_id.len(), 1);
        assert_eq!(under(&ledger, "a"), [(String::new(), "open", None), (String::new(), "settled", None)]);
        assert_eq!(ledger.damaged, 1);
        let comparison = Comparison::of(&read("id,amount\n"), &ledger, Period::default());
        assert!(notes(&read("id,amount,status\n"), &ledger, &comparison, 1)[0].contains("1 of its items"));
    }

    #[test]
    fn a_merchants_refund_is_what_was_decided_of_its_batch_number() {
        let merchant: MerchantId = "m".parse().unwrap();
        let key = |id: i64| merchant.application(id);
        let refund = |no: &str| ApplicationRefund {
            id: RefundId::recorded("rf_1"),
            batch_no: no.parse().unwrap(),
            amount: "2.50".parse().unwrap(),
            account: "x".parse().unwrap(),
            at: 1,
            invocation: "i".to_owned(),
        };
        let application = |key: ApplicationKey, state: ApplicationState| {
            let (order_no, paid) = ("o".parse().unwrap(), "9".parse().unwrap());
            Ok(Content::Application(Box::new(Application { key, order_no, paid, state })))
        };
        let completion = Completion {
            confirmation: Confirmation {
                trade_no: "t".parse().unwrap(),
                amount: "2.5".parse().unwrap(),
                at: 2,
                invocation: "i".to_owned(),
            },
            at: 3,
            invocation: "i".to_owned(),
        };
        let failed = |no: &str| {
            let failed = Box::new(FailedRefund { refund: refund(no), at: 4, reason: None });
            Ok(Content::Failed { application: key(1), failed })
        };
        let contents = vec![
            application(key(1), ApplicationState::Processing(refund("B1"))),
            failed("B1"),
            failed("B2"),
            application(key(2), ApplicationState::Processing(refund("B2"))),
            application(key(3), ApplicationState::Processing(refund("B3"))),
            application(key(4), ApplicationState::Done { refund: refund("B4"), completion }),
            application(key(5), ApplicationState::Requested),
            application(
                "n".parse::<MerchantId>().unwrap().application(1),
                ApplicationState::Processing(refund("B5")),
            ),
        ];
        let ledger = gathered(&merchant.tenant(), &[], contents);
        assert_eq!(ledger.by_id.len(), 4);
        for (no, state, at) in
            [("B1", "failed", 4), ("B2", "failed", 4), ("B3", "pending", 1), ("B4", "succeeded", 3)]
        {
            assert_eq!(under(&ledger, no), [("2.5".to_owned(), state, Some(at))], "{no}");
        }
    }

    #[test]
    fn an_apps_refund_without_an_answer_is_pending_since_its_batch_was_accepted() {
        let tenant = "app_1".parse::<AppId>().unwrap().tenant(Mode::Test);
        let refund = |tenant: &TenantKey, id: &str, state: ItemState| {
            Ok(Content::Refund(Box::new(ItemRefund {
                id: RefundId::recorded(id),
                charge: ChargeKey { tenant: tenant.clone(), id: "ch_1".parse().unwrap() },
                batch: "151601010230050000".parse().unwrap(),
                amount: MinorUnits::new(10).unwrap(),
                state,
                contradiction: None,
            })))
        };
        let batch = |id: &str, state: BatchState, refunds: &[&str]| {
            let item = |refund: &&str| BatchItem {
                charge: "ch_1".parse().unwrap(),
                refund: RefundId::recorded(refund),
                amount: MinorUnits::new(10).unwrap(),
                description: None,
                funding_source: None,
                channel: "wx".parse().unwrap(),
                order_no: "o".parse().unwrap(),
                transaction_no: None,
            };
            Ok(Content::Batch(Box::new(RefundBatch {
                key: RefundBatchKey { tenant: tenant.clone(), id: id.parse().unwrap() },
                batch_no: "b".parse().unwrap(),
                fingerprint: FingerprintBuilder::new("test/1").finish(),
                currency: None,
                description: String::new(),
                metadata: "{}".to_owned(),
                at: 7,
                state,
                items: refunds.iter().map(item).collect(),
                holds: Vec::new(),
                releases: Vec::new(),
            })))
        };
        let live = "app_1".parse::<AppId>().unwrap().tenant(Mode::Live);
        let failed = ItemState::Failed { at: 9, code: "c".to_owned(), message: "m".to_owned() };
        let contents = vec![
            refund(&tenant, "re_1", ItemState::Succeeded { at: 8 }),
            batch("151601010230050000", BatchState::Settling, &["re_1", "re_2", "re_3", "re_4"]),
            refund(&tenant, "re_2", failed),
            refund(&tenant, "re_3", ItemState::Pending { url: "https://x".to_owned() }),
            refund(&live, "re_5", ItemState::Succeeded { at: 8 }),
            batch("151601010230050001", BatchState::Creating, &["re_6"]),
            batch("151601010230050002", BatchState::Void, &["re_7"]),
        ];
        let ledger = gathered(&tenant, &[], contents);
        assert_eq!(ledger.by_id.len(), 4);
        for (id, state, at) in
            [("re_1", "succeeded", 8), ("re_2", "failed", 9), ("re_3", "pending", 7), ("re_4", "pending", 7)]
        {
            assert_eq!(under(&ledger, id), [("10".to_owned(), state, Some(at))], "{id}");
        }
    }

    #[test]
    fn what_people_see_fits_on_80_columns_with_no_id_split() {
        let id = "d34fbd4e4734d430c05f443da281d92b";
        let statement = read(&format!("id,amount,status\n{id},999999999999999.99,done\n\u{1b}[31m,1,1\n"));
        let here = ledger(&[(id, "", "open"), ("re_0123456789abcdefABCDEF01", "12345.67", "failed")]);
        let comparison = Comparison::of(&statement, &here, Period::default());
        let text = comparison.sheet("statement x.csv", 200).render(Output::Table, 80).unwrap();
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
        for whole in [
            id,
            "re_0123456789abcdefABCDEF01",
            "999999999999999.99",
            "not refunded here (open)",
            "statement x.csv: 3 differences",
            "\\u{1b}",
        ] {
            assert!(text.contains(whole), "{whole}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        let csv = comparison.sheet("", usize::MAX).render(Output::Csv, 80).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "line,amountThere,amountHere,kind,id,stateThere,stateHere");
        assert_eq!(
            lines[1],
            format!("2,999999999999999.99,,different state,{id},succeeded,not refunded here (open)")
        );
        assert_eq!(lines[3], ",,12345.67,missing there,re_0123456789abcdefABCDEF01,,failed");
        assert_eq!(comparison.sheet("", 1).render(Output::Csv, 80).unwrap().lines().count(), 2);
    }
}
