//! What a report comes to: its lines, for people and for programs.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use shared::entries::tenant_name;
use shared::ledger::TenantKey;
use shared::{ebet, epay};

use crate::screen::{self, Cell, Output, Section, Sheet};

use super::period::Period;
use super::totals::{Sums, Tally};
use super::{BAR_COLUMNS, By};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    Ebet,
    Epay,
    Pingpp,
}

impl Provider {
    pub(super) fn of(tenant: &TenantKey) -> Self {
        match tenant.as_str().split_once('#').map_or("", |(provider, _)| provider) {
            ebet::PROVIDER => Self::Ebet,
            epay::PROVIDER => Self::Epay,
            _ => Self::Pingpp,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
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
    pub(super) digits: u32,
    /// Whose it is where it is not known: then it is no other tenant's.
    pub(super) unknown_of: Option<TenantKey>,
}

impl Unit {
    pub fn shown(&self, amount: Decimal) -> String {
        let mut amount = amount.normalize();
        if amount.scale() < self.digits {
            amount.rescale(self.digits);
        }
        amount.to_string()
    }

    pub(super) fn amount(&self, tally: Tally) -> Cell {
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
    pub(super) fn columns(self) -> &'static [&'static str] {
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
    pub(super) fn book_columns(self) -> Vec<&'static str> {
        let group: &[&str] = match self {
            Self::Day => &["day"],
            Self::Tenant => &["provider", "tenant"],
            Self::Provider => &["provider"],
        };
        let sums = [
            "currency",
            "refunds",
            "amount",
            "own refunds",
            "own amount",
            "failed",
            "failed amount",
            "open",
            "open amount",
        ];
        [&["from", "until"], group, &sums].concat()
    }
}

/// What became of a tenant's refunds on a day, or began on none of the period.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) day: Option<Date>,
    pub(super) tenant: TenantKey,
    pub(super) unit: Unit,
    pub(super) sums: Sums,
}

/// All that is told.
#[derive(Debug)]
pub struct Report {
    pub period: Period,
    pub items: u64,
    /// With settings on record.
    pub tenants: usize,
    pub(super) lines: Vec<Line>,
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
    pub(super) fn sheet(&self, by: By, output: Output, width: u16, now: u64) -> Sheet {
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

    pub(super) fn all_section(&self) -> Section {
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
    pub(super) fn people_section(&self, by: By, width: u16) -> Section {
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

    pub(super) fn book_section(&self, by: By) -> Section {
        let mut section = Section::new("refunds", &by.book_columns(), &[]);
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

    pub(super) fn open_section(&self, now: u64) -> Section {
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
pub(super) fn columns_needed(titles: &[&str], rows: &[Vec<Cell>]) -> usize {
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
pub(super) fn bar(part: Decimal, whole: Decimal) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if part.is_zero() || whole.is_zero() {
        return String::new();
    }
    let eighths = (part / whole * Decimal::from(BAR_COLUMNS * EIGHTHS.len())).round();
    let eighths = eighths.to_usize().unwrap_or_default().max(1);
    let rest = EIGHTHS.get(eighths % EIGHTHS.len()).copied().unwrap_or_default();
    "█".repeat(eighths / EIGHTHS.len()) + rest
}
