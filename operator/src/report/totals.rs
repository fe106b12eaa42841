//! Adding up: one pass over the table, with no more kept than there are groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use jiff::civil::Date;
use rust_decimal::Decimal;
use shared::entries::{currency_of, tenant_name};
use shared::ledger::{
    Application, ApplicationState, BatchState, Charge, Currency, Debit, DebitState, FailedRefund, ItemRefund,
    ItemState, RefundBatchKey, RefundedBy, TenantKey,
};
use shared::store::{Content, Stored};

use super::NAMED_MAX;
use super::lines::{Line, Provider, Report, Unit};
use super::period::Period;

/// How many, and how much together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    pub amount: Decimal,
}

impl Tally {
    pub(super) fn put(&mut self, amount: Decimal) {
        self.join(Self { count: 1, amount });
    }

    pub(super) fn join(&mut self, other: Self) {
        self.count += other.count;
        self.amount += other.amount;
    }

    /// With the point so many digits further left.
    pub(super) fn shifted(self, digits: u32) -> Self {
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

    pub(super) fn join_open(&mut self, open: Tally, since: Option<u64>) {
        self.open.join(open);
        self.open_since = self.open_since.into_iter().chain(since).min();
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.refunds.join(other.refunds);
        self.own.join(other.own);
        self.failed.join(other.failed);
        self.join_open(other.open, other.open_since);
    }

    pub(super) fn shifted(self, digits: u32) -> Self {
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
    pub(super) period: Period,
    pub(super) items: u64,
    /// By tenant, or why its settings don't tell.
    pub(super) currencies: BTreeMap<TenantKey, Result<Currency, String>>,
    /// By the day in the period, and tenant; without a day what began on no day of it. Those of charges are in the
    /// smallest unit.
    pub(super) sums: BTreeMap<(Option<Date>, TenantKey), Sums>,
    /// What charges hold for batches: their refunds that are not decided, for a hold goes with the decision.
    pub(super) held: HashMap<RefundBatchKey, Tally>,
    /// When the open batches were made, in Unix milliseconds.
    pub(super) open_batches: HashMap<RefundBatchKey, u64>,
    pub(super) unreadable: u64,
    /// Of those that can't be read.
    pub(super) first_unreadable: Option<String>,
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

    pub(super) fn take_debit(&mut self, debit: &Debit) {
        let DebitState::Refunded(refund) = &debit.state else { return };
        let amount = refund.amount.value();
        let tenant = debit.key.account.tenant();
        self.put(refund.at, &tenant, |sums| match refund.by {
            RefundedBy::Provider => sums.refunds.put(amount),
            RefundedBy::Channel => sums.own.put(amount),
        });
    }

    pub(super) fn take_charge(&mut self, charge: &Charge) {
        for hold in charge.holds.values() {
            let batch = RefundBatchKey { tenant: charge.key.tenant.clone(), id: hold.batch.clone() };
            self.held.entry(batch).or_default().put(Decimal::from(hold.amount.value()));
        }
    }

    pub(super) fn take_refund(&mut self, refund: &ItemRefund) {
        let amount = Decimal::from(refund.amount.value());
        let tenant = &refund.charge.tenant;
        match refund.state {
            ItemState::Pending { .. } => {} // its charge holds it
            ItemState::Succeeded { at } => self.put(at, tenant, |sums| sums.refunds.put(amount)),
            ItemState::Failed { at, .. } => self.put(at, tenant, |sums| sums.failed.put(amount)),
        }
    }

    pub(super) fn take_application(&mut self, application: &Application) {
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

    pub(super) fn take_failed(&mut self, merchant: &TenantKey, failed: &FailedRefund) {
        self.put(failed.at, merchant, |sums| sums.failed.put(failed.refund.amount.value()));
    }

    /// Adds what was decided then, if that is in the period.
    pub(super) fn put(&mut self, at: u64, tenant: &TenantKey, add: impl FnOnce(&mut Sums)) {
        if let Some(day) = self.period.day(at) {
            add(self.sums.entry((Some(day), tenant.clone())).or_default());
        }
    }

    pub(super) fn put_open(&mut self, since: u64, tenant: &TenantKey, open: Tally) {
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
    pub(super) fn unit(&self, tenant: &TenantKey) -> (Unit, u32) {
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

    pub(super) fn notes(&self) -> Vec<String> {
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
