//! `refundctl report`: what was refunded in a period, added up: for people, for the books, and as a page with plots.
//!
//! The table is read once, and each item is added to small sums: what is kept grows with days and tenants, and with the
//! batches that are open, but not with items.

mod html;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use shared::entries::{currency_of, tenant_name};
use shared::ledger::{
    Application, ApplicationState, BatchState, Charge, Currency, Debit, DebitState, FailedRefund, ItemRefund,
    ItemState, RefundBatchKey, RefundedBy, TenantKey,
};
use shared::store::{Content, Stored};
use shared::{ebet, epay};

use crate::agreement::WrongUsage;
use crate::scan::{ScanOptions, scan_all};
use crate::screen::{self, Cell, Output, OutputOptions, Section, Sheet, plain};
use crate::target::TableOptions;
use crate::tell;

pub const EXAMPLES: &str = "\
Reads every item of the table once, and changes nothing. Amounts are exact and in units of their currency, and those of
different currencies are never added. Days are UTC's. What is told:

  refunds   made in the period because a caller asked for them
  own       made in the period by channels on their own, unasked; they are not among the refunds
  failed    recorded as failed in the period: no money went back
  open      begun, and neither made nor failed now, whatever the period; by day, on the day on which it began

Examples:
  refundctl report                                          the last 30 days and today, day by day
  refundctl report --from 2026-11-01 --to 2026-11-30 --by tenant
  refundctl report --from 2026-11-01 --to 2026-11-30 --output csv > november.csv
  refundctl report --from 2026-11-22T09:00:00+08:00 --to 2026-11-22T18:00:00+08:00 --by provider
  refundctl report --stage prod --max-rcu 500 --html report.html     a page with plots, too

Exit codes: 0 shown; 1 the table, or some of its items, can't be read, or the page not written; 2 wrong usage.";

/// How long before its end a period begins where that is not said.
const DAYS_DEFAULT: i32 = 30;

/// The width of the longest bar.
const BAR_COLUMNS: usize = 8;

/// Tenants that a note names; the others are counted.
const NAMED_MAX: usize = 5;

#[derive(Debug, Args)]
pub struct Options {
    /// First day (UTC), as 2026-11-22, or a time, as 2026-11-22T09:30:00Z [default: 30 days before --to]
    #[arg(long, value_name = "DATE", value_parser = moment)]
    from: Option<Moment>,
    /// Last day (UTC), or the time before which the period ends [default: today]
    #[arg(long, value_name = "DATE", value_parser = moment)]
    to: Option<Moment>,
    /// What refunds are added up by, besides their currency
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Write a page with plots to this file, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    #[default]
    Day,
    Tenant,
    Provider,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let now = Timestamp::now();
    let period = options.period(now)?;
    if let Some(file) = &options.html {
        html::check(file)?;
    }
    let store = options.table.store().await?;
    let mut totals = Totals::new(period);
    scan_all(&store, options.scan, |stored| {
        totals.take(&stored);
        Ok(())
    })
    .await?;
    let is_whole = totals.unreadable == 0;
    let report = totals.finish();
    if let Some(file) = &options.html {
        html::write(file, &html::page(&report, options.by, &options.table.place()?, now)?)?;
        tell!("wrote {}", plain(&file.display().to_string()));
    }
    let sheet = report.sheet(options.by, options.output.output, screen::width(), milliseconds(now));
    sheet.print(options.output)?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

// ---- the period ----

/// Where a period begins or ends, as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Day(Date),
    At(Timestamp),
}

fn moment(text: &str) -> Result<Moment, String> {
    let is_day = text.len() == "2026-11-22".len();
    let moment = match is_day {
        true => text.parse().ok().map(Moment::Day),
        false => text.parse().ok().map(Moment::At),
    };
    moment.ok_or_else(|| "is neither a day, as 2026-11-22, nor a time, as 2026-11-22T09:30:00Z".to_owned())
}

impl Moment {
    fn day(self) -> Date {
        match self {
            Self::Day(day) => day,
            Self::At(at) => day_of(at),
        }
    }

    /// Where a period begins that begins with it.
    fn beginning(self) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Day(day) => midnight(day),
            Self::At(at) => Ok(at),
        }
    }

    /// Where a period ends that ends with it; that is no longer in the period.
    fn end(self) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Day(day) => midnight(day.tomorrow()?),
            Self::At(at) => Ok(at),
        }
    }
}

impl Options {
    /// # Errors
    /// If what was asked for is no period.
    fn period(&self, now: Timestamp) -> Result<Period> {
        let wrong = |error: jiff::Error| WrongUsage(format!("there is no such period: {error}"));
        let to = self.to.unwrap_or(Moment::Day(day_of(now)));
        let before = || to.day().checked_sub(DAYS_DEFAULT.days()).map(Moment::Day);
        let from = self.from.map_or_else(before, Ok).and_then(Moment::beginning).map_err(wrong)?;
        let until = to.end().map_err(wrong)?;
        if from >= until {
            return Err(WrongUsage("there is no such period: --from must be before --to".to_owned()).into());
        }
        Ok(Period { from, until })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Timestamp,
    /// No longer in it.
    until: Timestamp,
}

impl Period {
    /// The day (UTC) of a time (Unix milliseconds), if that is in the period.
    fn day(&self, at: u64) -> Option<Date> {
        let at = Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()?;
        (self.from..self.until).contains(&at).then(|| day_of(at))
    }

    fn first_day(&self) -> Date {
        day_of(self.from)
    }

    fn last_day(&self) -> Date {
        self.until.checked_sub(SignedDuration::from_nanos(1)).map_or(self.first_day(), day_of)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_midnight = |at: Timestamp| Offset::UTC.to_datetime(at).time() == Time::midnight();
        let shown = |at: Timestamp, day: Date| match is_midnight(at) {
            true => day.to_string(),
            false => at.strftime("%F %T").to_string(),
        };
        let (from, to) = (shown(self.from, self.first_day()), shown(self.until, self.last_day()));
        write!(f, "from {from} to {to} (UTC)")
    }
}

fn day_of(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

fn midnight(day: Date) -> Result<Timestamp, jiff::Error> {
    Offset::UTC.to_timestamp(day.to_datetime(Time::midnight()))
}

fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or_default()
}

// ---- adding up ----

/// How many, and how much together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    pub amount: Decimal,
}

impl Tally {
    fn put(&mut self, amount: Decimal) {
        self.join(Self { count: 1, amount });
    }

    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.amount += other.amount;
    }

    /// With the point so many digits further left.
    fn shifted(self, digits: u32) -> Self {
        Self { amount: self.amount * Decimal::new(1, digits), ..self }
    }
}

/// What became of refunds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Made because a caller asked for them.
    pub refunds: Tally,
    /// Made by channels on their own.
    pub own: Tally,
    pub failed: Tally,
    /// Begun, and neither made nor failed.
    pub open: Tally,
    /// When the oldest open one began, in Unix milliseconds.
    pub open_since: Option<u64>,
}

impl Sums {
    /// All that was paid back, asked for or not.
    pub fn paid_back(&self) -> Decimal {
        self.refunds.amount + self.own.amount
    }

    fn join_open(&mut self, open: Tally, since: Option<u64>) {
        self.open.join(open);
        self.open_since = self.open_since.into_iter().chain(since).min();
    }

    fn join(&mut self, other: &Self) {
        self.refunds.join(other.refunds);
        self.own.join(other.own);
        self.failed.join(other.failed);
        self.join_open(other.open, other.open_since);
    }

    fn shifted(self, digits: u32) -> Self {
        Self {
            refunds: self.refunds.shifted(digits),
            own: self.own.shifted(digits),
            failed: self.failed.shifted(digits),
            open: self.open.shifted(digits),
            open_since: self.open_since,
        }
    }
}

/// Sums over the items of a table, taken one by one in any order.
#[derive(Debug)]
pub struct Totals {
    period: Period,
    items: u64,
    /// By tenant, or why its settings don't tell.
    currencies: BTreeMap<TenantKey, Result<Currency, String>>,
    /// By the day in the period, and tenant; without a day what began on no day of it. Those of charges are in the
    /// smallest unit.
    sums: BTreeMap<(Option<Date>, TenantKey), Sums>,
    /// What charges hold for batches: their refunds that are not decided, for a hold goes with the decision.
    held: HashMap<RefundBatchKey, Tally>,
    /// When the open batches were made, in Unix milliseconds.
    open_batches: HashMap<RefundBatchKey, u64>,
    unreadable: u64,
    /// Of those that can't be read.
    first_unreadable: Option<String>,
}

impl Totals {
    pub fn new(period: Period) -> Self {
        Self {
            period,
            items: 0,
            currencies: BTreeMap::new(),
            sums: BTreeMap::new(),
            held: HashMap::new(),
            open_batches: HashMap::new(),
            unreadable: 0,
            first_unreadable: None,
        }
    }

    pub fn take(&mut self, stored: &Stored) {
        self.items += 1;
        let content = match &stored.content {
            Ok(content) => content,
            Err(why) => {
                self.unreadable += 1;
                self.first_unreadable.get_or_insert_with(|| format!("{}: {why}", stored.key()));
                return;
            }
        };
        match content {
            Content::Tenant { tenant, settings } => {
                self.currencies.insert(tenant.clone(), currency_of(tenant, settings));
            }
            Content::Debit(debit) => self.take_debit(debit),
            Content::Charge(charge) => self.take_charge(charge),
            Content::Refund(refund) => self.take_refund(refund),
            // One that is still being created was not accepted.
            Content::Batch(batch) if matches!(batch.state, BatchState::Created | BatchState::Settling) => {
                self.open_batches.insert(batch.key.clone(), batch.at);
            }
            Content::Application(application) => self.take_application(application),
            Content::Failed { application, failed } => self.take_failed(&application.merchant, failed),
            _ => {}
        }
    }

    fn take_debit(&mut self, debit: &Debit) {
        let DebitState::Refunded(refund) = &debit.state else { return };
        let amount = refund.amount.value();
        let tenant = debit.key.account.tenant();
        self.put(refund.at, &tenant, |sums| match refund.by {
            RefundedBy::Provider => sums.refunds.put(amount),
            RefundedBy::Channel => sums.own.put(amount),
        });
    }

    fn take_charge(&mut self, charge: &Charge) {
        for hold in charge.holds.values() {
            let batch = RefundBatchKey { tenant: charge.key.tenant.clone(), id: hold.batch.clone() };
            self.held.entry(batch).or_default().put(Decimal::from(hold.amount.value()));
        }
    }

    fn take_refund(&mut self, refund: &ItemRefund) {
        let amount = Decimal::from(refund.amount.value());
        let tenant = &refund.charge.tenant;
        match refund.state {
            ItemState::Pending { .. } => {} // its charge holds it
            ItemState::Succeeded { at } => self.put(at, tenant, |sums| sums.refunds.put(amount)),
            ItemState::Failed { at, .. } => self.put(at, tenant, |sums| sums.failed.put(amount)),
        }
    }

    fn take_application(&mut self, application: &Application) {
        let merchant = &application.key.merchant;
        match &application.state {
            ApplicationState::Processing(refund) => {
                let open = Tally { count: 1, amount: refund.amount.value() };
                self.put_open(refund.at, merchant, open);
            }
            ApplicationState::Done { refund, completion } => {
                self.put(completion.at, merchant, |sums| sums.refunds.put(refund.amount.value()));
            }
            ApplicationState::Requested | ApplicationState::Withdrawn(_) => {}
        }
    }

    fn take_failed(&mut self, merchant: &TenantKey, failed: &FailedRefund) {
        self.put(failed.at, merchant, |sums| sums.failed.put(failed.refund.amount.value()));
    }

    /// Adds what was decided then, if that is in the period.
    fn put(&mut self, at: u64, tenant: &TenantKey, add: impl FnOnce(&mut Sums)) {
        if let Some(day) = self.period.day(at) {
            add(self.sums.entry((Some(day), tenant.clone())).or_default());
        }
    }

    fn put_open(&mut self, since: u64, tenant: &TenantKey, open: Tally) {
        let key = (self.period.day(since), tenant.clone());
        self.sums.entry(key).or_default().join_open(open, Some(since));
    }

    /// What it all comes to, in units of currencies.
    pub fn finish(mut self) -> Report {
        for (batch, held) in std::mem::take(&mut self.held) {
            if let Some(since) = self.open_batches.get(&batch).copied() {
                self.put_open(since, &batch.tenant, held);
            }
        }
        let line = |((day, tenant), sums): (&(Option<Date>, TenantKey), &Sums)| {
            let (unit, shift) = self.unit(tenant);
            Line { day: *day, tenant: tenant.clone(), unit, sums: sums.shifted(shift) }
        };
        Report {
            period: self.period,
            items: self.items,
            tenants: self.currencies.len(),
            lines: self.sums.iter().map(line).collect(),
            notes: self.notes(),
        }
    }

    /// What a tenant's amounts are told in, and how many digits its sums have behind the point by then.
    fn unit(&self, tenant: &TenantKey) -> (Unit, u32) {
        let known = self.currencies.get(tenant).and_then(|currency| currency.as_ref().ok());
        let code = known.map_or("?", Currency::as_str);
        let is_smallest = Provider::of(tenant) == Provider::Pingpp;
        let digits = iso_currency::Currency::from_code(code);
        let digits = digits.and_then(iso_currency::Currency::exponent).map(u32::from);
        let label = match digits {
            None if is_smallest => format!("{code} (smallest unit)"),
            _ => code.to_owned(),
        };
        let unknown_of = known.is_none().then(|| tenant.clone());
        let unit = Unit { label, digits: digits.unwrap_or_default(), unknown_of };
        (unit, if is_smallest { digits.unwrap_or_default() } else { 0 })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(first) = &self.first_unreadable {
            let count = self.unreadable;
            notes.push(format!("{count} items can't be read and are in no sum; the first is {first}"));
        }
        let unset: BTreeSet<&TenantKey> = self.sums.keys().map(|(_, tenant)| tenant).collect();
        let unset = unset.into_iter().filter(|tenant| !self.currencies.contains_key(*tenant));
        let unset = unset.map(|tenant| format!("{} (not on record)", tenant_name(tenant)));
        let wrong = self.currencies.iter().filter_map(|(tenant, currency)| {
            currency.as_ref().err().map(|why| format!("{} ({why})", tenant_name(tenant)))
        });
        let mut unknown: Vec<String> = wrong.chain(unset).collect();
        if !unknown.is_empty() {
            let others = unknown.len().saturating_sub(NAMED_MAX);
            unknown.truncate(NAMED_MAX);
            let others = if others == 0 { String::new() } else { format!(", and {others} more") };
            notes.push(format!(
                "the settings of these tenants can't be read, so their currency (?) is not known: {}{others}",
                unknown.join(", ")
            ));
        }
        if self.sums.is_empty() {
            notes.push(
                "in this period nothing was refunded and nothing failed, and nothing is open".to_owned(),
            );
        }
        notes
    }
}

// ---- what it comes to ----

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    Ebet,
    Epay,
    Pingpp,
}

impl Provider {
    fn of(tenant: &TenantKey) -> Self {
        match tenant.as_str().split_once('#').map_or("", |(provider, _)| provider) {
            ebet::PROVIDER => Self::Ebet,
            epay::PROVIDER => Self::Epay,
            _ => Self::Pingpp,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ebet => "eBET",
            Self::Epay => "EPay",
            Self::Pingpp => "Ping++",
        }
    }
}

/// What amounts are told in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    pub label: String,
    /// Behind the point, at least.
    digits: u32,
    /// Whose it is where it is not known: then it is no other tenant's.
    unknown_of: Option<TenantKey>,
}

impl Unit {
    pub fn shown(&self, amount: Decimal) -> String {
        let mut amount = amount.normalize();
        if amount.scale() < self.digits {
            amount.rescale(self.digits);
        }
        amount.to_string()
    }

    fn amount(&self, tally: Tally) -> Cell {
        Cell::amount(self.shown(tally.amount))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Day(Date),
    /// Days that are not in the period: nothing of them is told but what began then and is open now.
    OtherDays,
    Tenant(TenantKey),
    Provider(Provider),
}

impl Group {
    pub fn shown(&self) -> String {
        match self {
            Self::Day(day) => day.to_string(),
            Self::OtherDays => "other days".to_owned(),
            Self::Tenant(tenant) => tenant_name(tenant),
            Self::Provider(provider) => provider.as_str().to_owned(),
        }
    }
}

impl By {
    /// For people.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Day => &["day", "currency", "refunds", "amount", "own", "own amount", "failed", "open"],
            Self::Tenant => {
                &["tenant", "currency", "refunds", "amount", "own", "own amount", "failed", "open"]
            }
            Self::Provider => {
                &["provider", "currency", "refunds", "amount", "own", "own amount", "failed", "open"]
            }
        }
    }

    /// For programs.
    fn book_columns(self) -> &'static [&'static str] {
        match self {
            Self::Day => &[
                "from",
                "until",
                "day",
                "currency",
                "refunds",
                "amount",
                "own refunds",
                "own amount",
                "failed",
                "failed amount",
                "open",
                "open amount",
            ],
            Self::Tenant => &[
                "from",
                "until",
                "provider",
                "tenant",
                "currency",
                "refunds",
                "amount",
                "own refunds",
                "own amount",
                "failed",
                "failed amount",
                "open",
                "open amount",
            ],
            Self::Provider => &[
                "from",
                "until",
                "provider",
                "currency",
                "refunds",
                "amount",
                "own refunds",
                "own amount",
                "failed",
                "failed amount",
                "open",
                "open amount",
            ],
        }
    }
}

/// What became of a tenant's refunds on a day, or began on none of the period.
#[derive(Debug)]
struct Line {
    day: Option<Date>,
    tenant: TenantKey,
    unit: Unit,
    sums: Sums,
}

/// All that is told.
#[derive(Debug)]
pub struct Report {
    pub period: Period,
    pub items: u64,
    /// With settings on record.
    pub tenants: usize,
    lines: Vec<Line>,
    pub notes: Vec<String>,
}

impl Report {
    pub fn by(&self, by: By) -> BTreeMap<(Group, Unit), Sums> {
        let mut groups: BTreeMap<(Group, Unit), Sums> = BTreeMap::new();
        for line in &self.lines {
            let group = match by {
                By::Day => line.day.map_or(Group::OtherDays, Group::Day),
                By::Tenant => Group::Tenant(line.tenant.clone()),
                By::Provider => Group::Provider(Provider::of(&line.tenant)),
            };
            groups.entry((group, line.unit.clone())).or_default().join(&line.sums);
        }
        groups
    }

    pub fn in_all(&self) -> BTreeMap<Unit, Sums> {
        let mut all: BTreeMap<Unit, Sums> = BTreeMap::new();
        for line in &self.lines {
            all.entry(line.unit.clone()).or_default().join(&line.sums);
        }
        all
    }

    /// As it is shown on so many columns, `now` (Unix milliseconds).
    fn sheet(&self, by: By, output: Output, width: u16, now: u64) -> Sheet {
        let mut sheet = Sheet::new(format!("refunds {}", self.period));
        sheet.fact("items read", Cell::Count(self.items));
        sheet.fact("tenants", Cell::Count(self.tenants as u64));
        match output {
            Output::Table => {
                sheet.section(self.all_section());
                sheet.section(self.people_section(by, width));
            }
            Output::Json | Output::Csv => {
                sheet.fact("from", Cell::text(self.period.from));
                sheet.fact("until", Cell::text(self.period.until));
                sheet.section(self.book_section(by));
            }
        }
        sheet.section(self.open_section(now));
        for note in &self.notes {
            sheet.note(note);
        }
        sheet
    }

    fn all_section(&self) -> Section {
        let mut section = Section::new("in all", &["what", "currency", "refunds", "amount"], &[]);
        for (unit, sums) in self.in_all() {
            for (what, tally) in [
                ("refunds: as callers asked", sums.refunds),
                ("own: by channels, unasked", sums.own),
                ("failed", sums.failed),
                ("open now, whenever begun", sums.open),
            ] {
                let (count, amount) = (Cell::Count(tally.count), unit.amount(tally));
                section.row([Cell::text(what), Cell::text(&unit.label), count, amount]);
            }
        }
        section
    }

    /// With bars of what was paid back each day, where there is room for them.
    fn people_section(&self, by: By, width: u16) -> Section {
        let groups = self.by(by);
        let mut largest: BTreeMap<&Unit, Decimal> = BTreeMap::new();
        for ((_, unit), sums) in &groups {
            let largest = largest.entry(unit).or_default();
            *largest = sums.paid_back().max(*largest);
        }
        let row = |((group, unit), sums): (&(Group, Unit), &Sums)| {
            vec![
                Cell::text(group.shown()),
                Cell::text(&unit.label),
                Cell::Count(sums.refunds.count),
                unit.amount(sums.refunds),
                Cell::Count(sums.own.count),
                unit.amount(sums.own),
                Cell::Count(sums.failed.count),
                Cell::Count(sums.open.count),
            ]
        };
        let rows: Vec<Vec<Cell>> = groups.iter().map(row).collect();
        let needed = columns_needed(by.columns(), &rows) + BAR_COLUMNS;
        let has_bars = by == By::Day && needed <= usize::from(width);
        let stacked: &'static [&'static str] = if has_bars { &["paid back"] } else { &[] };
        let mut section = Section::new("refunds", by.columns(), stacked);
        for (((_, unit), sums), mut row) in groups.iter().zip(rows) {
            if has_bars {
                let largest = largest.get(unit).copied().unwrap_or_default();
                row.push(Cell::Text(bar(sums.paid_back(), largest)));
            }
            section.row(row);
        }
        section
    }

    fn book_section(&self, by: By) -> Section {
        let mut section = Section::new("refunds", by.book_columns(), &[]);
        for ((group, unit), sums) in self.by(by) {
            let mut row = vec![Cell::text(self.period.from), Cell::text(self.period.until)];
            match &group {
                Group::OtherDays => row.push(Cell::Nothing),
                Group::Tenant(tenant) => {
                    row.extend([Cell::text(Provider::of(tenant).as_str()), Cell::text(group.shown())]);
                }
                Group::Day(_) | Group::Provider(_) => row.push(Cell::text(group.shown())),
            }
            row.push(Cell::text(&unit.label));
            for tally in [sums.refunds, sums.own, sums.failed, sums.open] {
                row.extend([Cell::Count(tally.count), unit.amount(tally)]);
            }
            section.row(row);
        }
        section
    }

    fn open_section(&self, now: u64) -> Section {
        let columns = &["tenant", "currency", "open", "amount", "oldest since", "age"];
        let mut section = Section::new("open", columns, &[]);
        for ((group, unit), sums) in self.by(By::Tenant) {
            let Some(since) = sums.open_since else { continue };
            section.row([
                Cell::text(group.shown()),
                Cell::text(&unit.label),
                Cell::Count(sums.open.count),
                unit.amount(sums.open),
                Cell::Time(since),
                Cell::text(screen::age(now.saturating_sub(since))),
            ]);
        }
        section
    }
}

/// The columns of a terminal that a table takes where nothing of it is split.
fn columns_needed(titles: &[&str], rows: &[Vec<Cell>]) -> usize {
    let needed = |(at, title): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| match cell {
            Cell::Text(text) | Cell::Amount(text) => console::measure_text_width(text),
            Cell::Count(count) => count.to_string().len(),
            Cell::Time(_) | Cell::Flag(_) | Cell::Nothing => 0,
        });
        cells.max().unwrap_or_default().max(title.len()) + 1
    };
    titles.iter().enumerate().map(needed).sum()
}

/// A part as a bar, where the whole is one of [`BAR_COLUMNS`]. Whatever there is of it can be seen.
fn bar(part: Decimal, whole: Decimal) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if part.is_zero() || whole.is_zero() {
        return String::new();
    }
    let eighths = (part / whole * Decimal::from(BAR_COLUMNS * EIGHTHS.len())).round();
    let eighths = eighths.to_usize().unwrap_or_default().max(1);
    let rest = EIGHTHS.get(eighths % EIGHTHS.len()).copied().unwrap_or_default();
    "█".repeat(eighths / EIGHTHS.len()) + rest
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use shared::ledger::{
        AccountKey, Amount, ApplicationKey, ApplicationRefund, Balance, BatchEnd, ChargeKey, Completion,
        Confirmation, DebitKey, Fingerprint, Hash, Hold, MinorUnits, Posting, Refund, RefundBatch, RefundId,
        RequestKey,
    };

    use super::*;

    const CHANNEL: &str = "ebet#1";
    const MERCHANT: &str = "epay#demo";
    const APP: &str = "pingpp#app_1#test";

    /// Begin and end of the period of all tests but one.
    const DAYS: [&str; 2] = ["2026-11-01", "2026-11-30"];

    fn period([from, to]: [&str; 2]) -> Period {
        let (from, to) = (moment(from).unwrap(), moment(to).unwrap());
        Period { from: from.beginning().unwrap(), until: to.end().unwrap() }
    }

    fn at(time: &str) -> u64 {
        milliseconds(time.parse().unwrap())
    }

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn stored(content: Content) -> Stored {
        Stored {
            partition: "partition".to_owned(),
            sort: "sort".to_owned(),
            content: Ok(content),
            seal: None,
            index: None,
            expires: None,
            taken_until: None,
            is_plain: true,
        }
    }

    fn tenant(tenant: &str, settings: String) -> Content {
        Content::Tenant { tenant: TenantKey::recorded(tenant), settings }
    }

    fn channel() -> Content {
        let line = crate::local::DEMO_DATA.lines().next().unwrap();
        let mut settings: Value = serde_json::from_str(line).unwrap();
        settings.as_object_mut().unwrap().remove("kind");
        tenant(CHANNEL, settings.to_string())
    }

    fn merchant(currency: &str) -> Content {
        let settings = format!(
            "{{\"merchant\": \"demo\", \"currency\": \"{currency}\", \"keyHashes\": [\"0\"], \"enabled\": true}}"
        );
        tenant(MERCHANT, settings)
    }

    fn app(currency: &str) -> Content {
        let settings = format!("{{\"app\": \"app_1\", \"livemode\": false, \"currency\": \"{currency}\"}}");
        tenant(APP, settings)
    }

    fn debit(sum: &str, by: RefundedBy, time: &str) -> Content {
        let hash = Hash::recorded(&[0; 32]).unwrap();
        let posting = Posting {
            sequence: 1,
            before: Balance::recorded(Decimal::ZERO),
            after: Balance::recorded(amount(sum).value()),
            previous: hash,
            hash,
        };
        let request = RequestKey::recorded("ebet#1#request#call#1");
        let refund = Refund { amount: amount(sum), by, request, at: at(time), posting };
        Content::Debit(Box::new(Debit {
            key: DebitKey { account: AccountKey::recorded("ebet#1#demo"), id: "bet".parse().unwrap() },
            round: "round".parse().unwrap(),
            amount: amount(sum),
            taken: None,
            asked: None,
            state: DebitState::Refunded(refund),
        }))
    }

    fn refund_of(sum: &str, time: &str) -> ApplicationRefund {
        ApplicationRefund {
            id: RefundId::recorded("rf_1"),
            batch_no: "B".parse().unwrap(),
            amount: amount(sum),
            account: "account".parse().unwrap(),
            at: at(time),
            invocation: String::new(),
        }
    }

    fn application(state: ApplicationState) -> Content {
        Content::Application(Box::new(Application {
            key: ApplicationKey { merchant: TenantKey::recorded(MERCHANT), id: 1 },
            order_no: "order".parse().unwrap(),
            paid: amount("1000"),
            state,
        }))
    }

    fn done(sum: &str, time: &str) -> Content {
        let confirmation = Confirmation {
            trade_no: "T".parse().unwrap(),
            amount: amount(sum),
            at: at(time),
            invocation: String::new(),
        };
        let completion = Completion { confirmation, at: at(time), invocation: String::new() };
        application(ApplicationState::Done { refund: refund_of(sum, "2026-10-01T00:00:00Z"), completion })
    }

    fn failed(sum: &str, time: &str) -> Content {
        let refund = refund_of(sum, "2026-10-01T00:00:00Z");
        Content::Failed {
            application: ApplicationKey { merchant: TenantKey::recorded(MERCHANT), id: 1 },
            failed: Box::new(FailedRefund { refund, at: at(time), reason: None }),
        }
    }

    const BATCH: &str = "152611010000000001";

    /// With what is held for these batches.
    fn charge(holds: &[(&str, u64)]) -> Content {
        let hold = |(at, (batch, units)): (usize, &(&str, u64))| {
            let amount = MinorUnits::new(*units).unwrap();
            (RefundId::recorded(&format!("re_{at}")), Hold { amount, batch: batch.parse().unwrap() })
        };
        Content::Charge(Box::new(Charge {
            key: ChargeKey { tenant: TenantKey::recorded(APP), id: "ch_1".parse().unwrap() },
            channel: "wx".parse().unwrap(),
            currency: "CNY".parse().unwrap(),
            order_no: "order".parse().unwrap(),
            transaction_no: None,
            amount: MinorUnits::new(100_000).unwrap(),
            refunded: 0,
            refunded_before: 0,
            holds: holds.iter().enumerate().map(hold).collect::<BTreeMap<_, _>>(),
            paid: true,
            created: 1,
            time_paid: None,
            version: 1,
        }))
    }

    fn item(units: u64, state: ItemState) -> Content {
        Content::Refund(Box::new(ItemRefund {
            id: RefundId::recorded("re_9"),
            charge: ChargeKey { tenant: TenantKey::recorded(APP), id: "ch_1".parse().unwrap() },
            batch: BATCH.parse().unwrap(),
            amount: MinorUnits::new(units).unwrap(),
            state,
            contradiction: None,
        }))
    }

    fn batch(id: &str, state: BatchState, time: &str) -> Content {
        Content::Batch(Box::new(RefundBatch {
            key: RefundBatchKey { tenant: TenantKey::recorded(APP), id: id.parse().unwrap() },
            batch_no: "B".parse().unwrap(),
            fingerprint: Fingerprint::recorded(&[0; 32]).unwrap(),
            currency: None,
            description: String::new(),
            metadata: "{}".to_owned(),
            at: at(time),
            state,
            items: Vec::new(),
            holds: Vec::new(),
            releases: Vec::new(),
        }))
    }

    fn report_of(days: [&str; 2], contents: Vec<Content>) -> Report {
        let mut totals = Totals::new(period(days));
        for content in contents {
            totals.take(&stored(content));
        }
        totals.finish()
    }

    /// One with something of everything, and the currencies CNY and JPY.
    pub(super) fn report() -> Report {
        let (made, failed_at) = (at("2026-11-02T00:00:00Z"), at("2026-11-03T00:00:00Z"));
        let refused = ItemState::Failed { at: failed_at, code: String::new(), message: String::new() };
        report_of(
            DAYS,
            vec![
                // The tenants come last: the table is read in no order.
                debit("1000", RefundedBy::Provider, "2026-11-02T10:00:00Z"),
                debit("16.85", RefundedBy::Provider, "2026-11-02T11:00:00Z"),
                debit("100", RefundedBy::Channel, "2026-11-02T12:00:00Z"),
                done("2", "2026-11-03T00:00:00Z"),
                failed("358.5", "2026-11-04T00:00:00Z"),
                application(ApplicationState::Processing(refund_of("7", "2026-10-01T00:00:00Z"))),
                item(1050, ItemState::Succeeded { at: made }),
                item(20, refused),
                charge(&[(BATCH, 5000), (BATCH, 1), ("152611010000000002", 9)]),
                batch(BATCH, BatchState::Settling, "2026-11-01T00:00:01Z"),
                batch("152611010000000002", BatchState::Creating, "2026-11-01T00:00:02Z"),
                channel(),
                merchant("JPY"),
                app("cny"),
            ],
        )
    }

    /// By group and currency: how many refunds, own, failed and open ones, and how much.
    fn told(report: &Report, by: By) -> Vec<String> {
        let shown = |((group, unit), sums): ((Group, Unit), Sums)| {
            let tallies = [sums.refunds, sums.own, sums.failed, sums.open];
            let tallies = tallies.map(|tally| format!("{} {}", tally.count, unit.shown(tally.amount)));
            format!("{} {}: {}", group.shown(), unit.label, tallies.join(", "))
        };
        report.by(by).into_iter().map(shown).collect()
    }

    #[test]
    fn refunds_of_all_providers_are_added_up_in_units_of_their_currency() {
        let report = report();
        assert_eq!((report.items, report.tenants, report.notes.len()), (14, 3, 0), "{:?}", report.notes);
        assert_eq!(
            told(&report, By::Provider),
            [
                "eBET CNY: 2 1016.85, 1 100.00, 0 0.00, 0 0.00",
                "EPay JPY: 1 2, 0 0, 1 358.5, 1 7",
                "Ping++ CNY: 1 10.50, 0 0.00, 1 0.20, 2 50.01",
            ]
        );
        assert_eq!(
            told(&report, By::Tenant),
            [
                "channel 1 CNY: 2 1016.85, 1 100.00, 0 0.00, 0 0.00",
                "merchant demo JPY: 1 2, 0 0, 1 358.5, 1 7",
                "app app_1 in test mode CNY: 1 10.50, 0 0.00, 1 0.20, 2 50.01",
            ]
        );
        assert_eq!(
            told(&report, By::Day),
            [
                "2026-11-01 CNY: 0 0.00, 0 0.00, 0 0.00, 2 50.01",
                "2026-11-02 CNY: 3 1027.35, 1 100.00, 0 0.00, 0 0.00",
                "2026-11-03 CNY: 0 0.00, 0 0.00, 1 0.20, 0 0.00",
                "2026-11-03 JPY: 1 2, 0 0, 0 0, 0 0",
                "2026-11-04 JPY: 0 0, 0 0, 1 358.5, 0 0",
                "other days JPY: 0 0, 0 0, 0 0, 1 7",
            ]
        );
        let all: Vec<(String, u64)> =
            report.in_all().into_iter().map(|(unit, sums)| (unit.label, sums.refunds.count)).collect();
        assert_eq!(all, [("CNY".to_owned(), 3), ("JPY".to_owned(), 1)]);
    }

    #[test]
    fn what_is_open_is_told_whatever_the_period_with_the_oldest_of_each_tenant() {
        let open = |open: Content| {
            let report =
                report_of(["2020-01-01", "2020-01-31"], vec![open, app("cny"), charge(&[(BATCH, 5)])]);
            report.by(By::Tenant).into_values().next().map(|sums| (sums.open.count, sums.open_since))
        };
        let made = "2026-11-01T00:00:01Z";
        for (state, told) in [
            (BatchState::Created, Some((1, Some(at(made))))),
            (BatchState::Settling, Some((1, Some(at(made))))),
            (BatchState::Creating, None),
            (BatchState::Void, None),
            (BatchState::Ended { end: BatchEnd::Succeeded, at: at(made) }, None),
        ] {
            assert_eq!(open(batch(BATCH, state, made)), told, "{state:?}");
        }
        let begun = |time| application(ApplicationState::Processing(refund_of("7", time)));
        let (older, newer) = ("2026-10-01T00:00:00Z", "2026-11-05T00:00:00Z");
        let report = report_of(DAYS, vec![merchant("CNY"), begun(newer), begun(older)]);
        let sums = report.by(By::Tenant).into_values().next().unwrap();
        assert_eq!((sums.open.count, sums.open_since), (2, Some(at(older))));
        assert_eq!(report.in_all().into_values().next().unwrap().paid_back(), Decimal::ZERO);
    }

    #[test]
    fn a_period_begins_with_its_first_day_or_time_and_ends_with_its_last_day_or_before_its_last_time() {
        for (days, time, is_counted) in [
            (DAYS, "2026-10-31T23:59:59.999Z", false),
            (DAYS, "2026-11-01T00:00:00Z", true),
            (DAYS, "2026-11-30T23:59:59.999Z", true),
            (DAYS, "2026-12-01T00:00:00Z", false),
            (["2026-11-01T08:00:00+08:00", "2026-11-30"], "2026-11-01T00:00:00Z", true),
            (["2026-11-01T00:00:00.001Z", "2026-11-30"], "2026-11-01T00:00:00Z", false),
            (["2026-11-01", "2026-11-30T09:00:00Z"], "2026-11-30T08:59:59.999Z", true),
            (["2026-11-01", "2026-11-30T09:00:00Z"], "2026-11-30T09:00:00Z", false),
        ] {
            let report = report_of(days, vec![channel(), debit("1", RefundedBy::Provider, time)]);
            assert_eq!(report.by(By::Day).len(), usize::from(is_counted), "{days:?} {time}");
            assert_eq!(report.notes.is_empty(), is_counted, "that there is nothing is told");
        }
        let november = "from 2026-11-01 to 2026-11-30 (UTC)";
        assert_eq!(period(DAYS).to_string(), november);
        assert_eq!(period(["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]).to_string(), november);
        let hours = period(["2026-11-22T09:00:00+08:00", "2026-11-22T10:30:00Z"]);
        assert_eq!(hours.to_string(), "from 2026-11-22 01:00:00 to 2026-11-22 10:30:00 (UTC)");
    }

    #[test]
    fn a_period_that_is_not_said_is_the_last_30_days_and_today() {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let now = "2026-11-22T09:30:00Z".parse().unwrap();
        let of = |arguments: &[&str]| {
            let arguments = [&["report"], arguments].concat();
            let cli: Result<Cli, _> = clap::Parser::try_parse_from(arguments);
            cli.ok().map(|cli| cli.options.period(now).map(|period| period.to_string()))
        };
        for (arguments, told) in [
            (&[][..], "from 2026-10-23 to 2026-11-22 (UTC)"),
            (&["--to", "2026-03-01"], "from 2026-01-30 to 2026-03-01 (UTC)"),
            (&["--from", "2026-11-22"], "from 2026-11-22 to 2026-11-22 (UTC)"),
            (&["--to", "2026-11-22T09:00:00Z"], "from 2026-10-23 to 2026-11-22 09:00:00 (UTC)"),
        ] {
            assert_eq!(of(arguments).unwrap().unwrap(), told, "{arguments:?}");
        }
        for arguments in [
            &["--from", "2026-11-23"][..],
            &["--from", "2026-11-02", "--to", "2026-11-01"],
            &["--from", "2026-11-01T00:00:00Z", "--to", "2026-11-01T00:00:00Z"],
            &["--to", "9999-12-31"],
        ] {
            let error = of(arguments).unwrap().unwrap_err();
            assert!(error.downcast_ref::<WrongUsage>().is_some(), "{arguments:?}: {error}");
        }
        for text in ["today", "2026-02-30", "2026-11-1", "2026-11-22T09:30:00", ""] {
            assert!(of(&["--from", text]).is_none(), "{text:?}");
        }
    }

    #[test]
    fn amounts_whose_unit_is_not_known_are_kept_apart_and_said_to_be() {
        let made = || ItemState::Succeeded { at: at("2026-11-02T00:00:00Z") };
        for (currency, line) in [
            ("cny", "Ping++ CNY: 1 10.50, 0 0.00, 0 0.00, 0 0.00"),
            ("jpy", "Ping++ JPY: 1 1050, 0 0, 0 0, 0 0"),
            ("kwd", "Ping++ KWD: 1 1.050, 0 0.000, 0 0.000, 0 0.000"),
            ("usdt", "Ping++ USDT (smallest unit): 1 1050, 0 0, 0 0, 0 0"),
        ] {
            let report = report_of(DAYS, vec![app(currency), item(1050, made())]);
            assert_eq!(told(&report, By::Provider), [line]);
        }
        let report = report_of(
            DAYS,
            vec![
                item(1050, made()),
                done("2.5", "2026-11-02T00:00:00Z"),
                debit("1", RefundedBy::Channel, "2026-11-02T00:00:00Z"),
                tenant(MERCHANT, "{}".to_owned()),
            ],
        );
        assert_eq!(
            told(&report, By::Day),
            [
                "2026-11-02 ?: 0 0, 1 1, 0 0, 0 0",
                "2026-11-02 ?: 1 2.5, 0 0, 0 0, 0 0",
                "2026-11-02 ? (smallest unit): 1 1050, 0 0, 0 0, 0 0",
            ],
            "what may be of different currencies is not added"
        );
        let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
        for named in ["merchant demo (not a merchant's settings", "channel 1 (not on record)", "app app_1 in"]
        {
            assert!(note.contains(named), "{note}");
        }
    }

    #[test]
    fn items_that_can_not_be_read_are_told() {
        let mut totals = Totals::new(period(DAYS));
        for why in ["amount can't be read", "state is \"?\""] {
            totals.take(&Stored { content: Err(why.to_owned()), ..stored(channel()) });
        }
        let report = totals.finish();
        assert_eq!((report.items, report.tenants), (2, 0));
        let told =
            "2 items can't be read and are in no sum; the first is partition sort: amount can't be read";
        assert_eq!(report.notes[0], told);
    }

    #[test]
    fn people_get_bars_where_there_is_room_and_programs_never() {
        let now = at("2026-11-05T00:00:01Z");
        let shown =
            |report: &Report, by, output| report.sheet(by, output, 80, now).render(output, 80).unwrap();
        let report = report();
        let text = shown(&report, By::Day, Output::Table);
        for told in [
            "refunds from 2026-11-01 to 2026-11-30 (UTC)",
            "1027.35",
            "other days",
            &"█".repeat(BAR_COLUMNS),
            "4 d",
            "35 d 1 s",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
        let large = report_of(
            DAYS,
            vec![
                channel(),
                debit("999999999999999.99", RefundedBy::Provider, "2026-11-02T10:00:00Z"),
                debit("999999999999999.99", RefundedBy::Channel, "2026-11-02T10:00:00Z"),
            ],
        );
        for by in [By::Day, By::Tenant, By::Provider] {
            for report in [&report, &large] {
                let text = shown(report, by, Output::Table);
                let widest = text.lines().map(console::measure_text_width).max().unwrap();
                assert!(widest <= 80, "{widest}: {text}");
            }
            for output in [Output::Json, Output::Csv] {
                assert!(!shown(&report, by, output).contains('█'));
            }
        }
        assert!(!shown(&report, By::Tenant, Output::Table).contains('█'));
        let text = shown(&large, By::Day, Output::Table);
        assert!(text.contains("999999999999999.99") && !text.contains('█'), "{text}");
    }

    #[test]
    fn the_books_get_a_row_for_each_group_and_currency() {
        let report = report();
        let csv = |by| report.sheet(by, Output::Csv, 80, 0).render(Output::Csv, 80).unwrap();
        let period = "2026-11-01T00:00:00Z,2026-12-01T00:00:00Z";
        let sums = "refunds,amount,ownRefunds,ownAmount,failed,failedAmount,open,openAmount";
        for (by, columns, row) in [
            (By::Day, "day", "2026-11-02,CNY,3,1027.35,1,100.00,0,0.00,0,0.00"),
            (By::Day, "day", ",JPY,0,0,0,0,0,0,1,7"),
            (By::Tenant, "provider,tenant", "EPay,merchant demo,JPY,1,2,0,0,1,358.5,1,7"),
            (By::Provider, "provider", "Ping++,CNY,1,10.50,0,0.00,1,0.20,2,50.01"),
        ] {
            let csv = csv(by);
            assert!(csv.starts_with(&format!("from,until,{columns},currency,{sums}\n")), "{csv}");
            assert!(csv.contains(&format!("\n{period},{row}\n")), "{row}: {csv}");
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_and_never_unseen() {
        for (part, whole, told) in [
            ("0", "100", ""),
            ("0", "0", ""),
            ("0.01", "1000000", "▏"),
            ("50", "100", "████"),
            ("50", "96", "████▏"),
            ("99.99", "100", "████████"),
            ("100", "100", "████████"),
        ] {
            let decimal = |text: &str| text.parse::<Decimal>().unwrap();
            assert_eq!(bar(decimal(part), decimal(whole)), told, "{part} of {whole}");
        }
    }
}
