//! A statement beside the ledger: what of it agrees, and how the rest differs.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use shared::ledger::Amount;

use crate::screen::{Cell, Section, Sheet};

use super::ledger::{Here, Ledger, Refund};
use super::statement::{Row, State, Statement};

/// Refunds of one id that are told of where it can't be said which one is meant.
const AMBIGUOUS_SHOWN: usize = 3;

/// Days whose refunds must be in a statement, both included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Period {
    pub(super) from: Option<Date>,
    pub(super) to: Option<Date>,
}

impl Period {
    /// Whether a time, in Unix milliseconds, is in it; one that isn't known may be.
    pub(super) fn has(self, at: Option<u64>) -> bool {
        let time = at.and_then(|at| Timestamp::from_millisecond(i64::try_from(at).ok()?).ok());
        let Some(time) = time else { return true };
        let date = TimeZone::UTC.to_datetime(time).date();
        self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    MissingHere,
    MissingThere,
    DifferentAmount,
    DifferentState,
    Twice,
    Ambiguous,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::MissingHere,
        Self::MissingThere,
        Self::DifferentAmount,
        Self::DifferentState,
        Self::Twice,
        Self::Ambiguous,
    ];

    pub(super) fn as_str(self) -> &'static str {
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
pub(super) struct Difference {
    pub(super) kind: Kind,
    /// In the statement, if it is there.
    pub(super) line: Option<u64>,
    pub(super) id: String,
    pub(super) amount_there: Option<Amount>,
    pub(super) amount_here: Option<Amount>,
    pub(super) state_there: Option<State>,
    pub(super) state_here: Option<String>,
}

impl Difference {
    pub(super) fn of_row(kind: Kind, row: &Row, here: Option<Here>) -> Self {
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
    pub(super) fn ambiguous(row: &Row, several: &[Here]) -> Self {
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

    pub(super) fn missing_there(id: &str, refund: Refund) -> Self {
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
    pub(super) fn order(&self) -> (u64, &str, Kind, Option<Amount>) {
        (self.line.unwrap_or(u64::MAX), &self.id, self.kind, self.amount_here)
    }

    pub(super) fn cells(&self) -> [Cell; 7] {
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
pub(super) struct Comparison {
    pub(super) has_states: bool,
    pub(super) rows: u64,
    /// In the ledger: those that must be in the statement, and those that it names.
    pub(super) refunds: u64,
    /// Rows that agree with the ledger.
    pub(super) matching: u64,
    pub(super) sum_there: Decimal,
    pub(super) sum_here: Decimal,
    pub(super) differences: Vec<Difference>,
}

impl Comparison {
    pub(super) fn of(statement: &Statement, ledger: &Ledger, period: Period) -> Self {
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
    pub(super) fn compare(
        &mut self,
        id: &str,
        rows: &[&Row],
        here: &[Here],
        is_due: impl Fn(Refund) -> bool,
    ) {
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
    pub(super) fn differ(&mut self, row: &Row, here: Here) {
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

    pub(super) fn count(&mut self, here: Here) {
        let Here::Refund(refund) = here else { return };
        self.refunds += 1;
        if !self.has_states || refund.state != State::Failed {
            self.sum_here += refund.amount.value();
        }
    }

    /// With so many differences at most.
    pub(super) fn sheet(&self, title: &str, shown: usize) -> Sheet {
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
