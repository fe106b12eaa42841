//! What the items of the table say about each other, taken apart: each fact goes to the group of those that must agree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use shared::clock::{self, milliseconds};
use shared::epay::MerchantSettings;
use shared::ledger::{
    Account, AccountKey, Amount, ApplicationRefund, ApplicationState, BatchEnd, BatchGuard, BatchItem,
    BatchKey, BatchState, Cause, Charge, Debit, DebitState, Direction, FundsPosting, Hash, ItemState,
    Movement, Posting, PostingFacts, RefundBatch, RefundId, RefundedBy, RequestKey, TenantKey, TransactionNo,
};
use shared::limits;
use shared::store::{Content, IndexSort, Stored};

use super::breach::{Breach, Kind};

/// One fact of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What must agree: [`Group`] as a text.
    pub group: String,
    /// The facts of a group are looked at in this order.
    pub order: u64,
    /// The item's key, both parts.
    pub key: (String, String),
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The item is wrong by itself.
    Broken {
        kind: Kind,
        what: String,
    },
    // Of an account.
    Account {
        currency: String,
        balance: String,
        opening: String,
        sequence: u64,
        head: HashText,
    },
    Posting(PostingFact),
    /// What the account's head was at this posting, as an anchor has it.
    Anchor {
        sequence: u64,
        head: HashText,
    },
    // Of a batch of refunds.
    Batch(Box<BatchFact>),
    /// What is put under a batch's number.
    Number {
        fingerprint: String,
    },
    Hold {
        refund: String,
        charge: String,
        amount: u64,
        /// The charge's way, order and number.
        of: [String; 3],
    },
    Refund {
        refund: String,
        charge: String,
        amount: u64,
        state: RefundState,
    },
    // Of a charge.
    Charge {
        amount: u64,
        refunded: u64,
        before: u64,
        held: u64,
        paid: bool,
    },
    Refunded {
        amount: u64,
    },
    // Of an application.
    Application {
        paid: String,
        state: ApplicationFact,
        failures: u64,
    },
    Failed {
        refund: RefundFact,
        at: u64,
    },
    Guard {
        refund: RefundFact,
        failed_at: Option<u64>,
    },
    // Of a number that a merchant gave a refund.
    Confirmed {
        trade_no: String,
        amount: String,
        /// How many more there are, as the first one has it.
        further: Option<u64>,
    },
    Completed {
        trade_no: String,
        amount: String,
        refund: String,
    },
    // Of what others rest on.
    Tenant {
        currency: Option<String>,
    },
    /// Something of a tenant, in this currency.
    OfTenant {
        currency: Option<String>,
    },
    Months {
        months: Vec<String>,
    },
    OfMonth {
        month: String,
    },
    Request,
    /// A refund that a request has made; whether its record is still kept by that.
    OfRequest {
        is_kept: bool,
    },
    /// A secret names these, by their tenants or the ids of apps.
    Secret {
        names: Vec<String>,
        is_shared: bool,
    },
    /// A tenant has a secret.
    HasSecret {
        tenant: String,
    },
}

/// A hash, in Base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashText(String);

impl HashText {
    pub fn of(hash: &Hash) -> Self {
        Self(BASE64.encode(hash.as_bytes()))
    }

    pub fn hash(&self) -> Option<Hash> {
        Hash::recorded(&BASE64.decode(&self.0).ok()?)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostingFact {
    pub sequence: u64,
    pub before: String,
    pub after: String,
    pub previous: HashText,
    pub hash: HashText,
    pub amount: String,
    pub at: u64,
    pub cause: CauseFact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CauseFact {
    Debit { debit: String, round: String },
    Refund { debit: String, by_channel: bool, request: String },
    Movement { id: String, is_credit: bool, reason: String },
    Hold { batch: String },
    Release { batch: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFact {
    pub state: BatchStateFact,
    /// Where the guard of its number lies.
    pub number: String,
    pub items: Vec<ItemFact>,
    /// How many of the items are held at once; the others follow.
    pub held_at_once: usize,
    /// By the account that pays.
    pub holds: Vec<(String, u64)>,
    pub releases: Vec<(String, u64, Vec<String>)>,
    pub fingerprint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFact {
    pub refund: String,
    /// The charge's path.
    pub charge: String,
    pub amount: u64,
    pub source: String,
    /// The charge's way, order and number.
    pub of: [String; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchStateFact {
    Creating,
    Created,
    Settling,
    Void,
    Succeeded,
    PartiallySucceeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundState {
    Pending,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplicationFact {
    Requested,
    Processing(RefundFact),
    Done(RefundFact),
    Withdrawn,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundFact {
    pub id: String,
    pub batch_no: String,
    pub amount: String,
    pub account: String,
    pub at: u64,
    pub invocation: String,
    /// Where the guard of its number lies.
    pub number: String,
}

/// Facts that must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// One item by itself.
    Item(String, String),
    Account(String),
    /// The tenant, and the batch's id.
    Batch(String, String),
    Charge(String),
    Application(String),
    Number(String),
    Request(String),
    Tenant(String),
    Months(String),
    /// By its hash.
    Secret(String),
}

impl Group {
    pub fn text(&self) -> String {
        match self {
            Self::Item(partition, sort) => format!("item {partition}\n{sort}"),
            Self::Account(path) => format!("account {path}"),
            Self::Batch(tenant, id) => format!("batch {tenant}\n{id}"),
            Self::Charge(path) => format!("charge {path}"),
            Self::Application(path) => format!("application {path}"),
            Self::Number(path) => format!("number {path}"),
            Self::Request(path) => format!("request {path}"),
            Self::Tenant(tenant) => format!("tenant {tenant}"),
            Self::Months(tenant) => format!("months {tenant}"),
            Self::Secret(hash) => format!("secret {hash}"),
        }
    }

    pub fn read(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(' ')?;
        let one = || name.to_owned();
        let two = || name.split_once('\n').map(|(first, second)| (first.to_owned(), second.to_owned()));
        Some(match kind {
            "item" => two().map(|(partition, sort)| Self::Item(partition, sort))?,
            "account" => Self::Account(one()),
            "batch" => two().map(|(tenant, id)| Self::Batch(tenant, id))?,
            "charge" => Self::Charge(one()),
            "application" => Self::Application(one()),
            "number" => Self::Number(one()),
            "request" => Self::Request(one()),
            "tenant" => Self::Tenant(one()),
            "months" => Self::Months(one()),
            "secret" => Self::Secret(one()),
            _ => return None,
        })
    }
}

impl Fact {
    /// Whether one of its kind and content says all: the others of its group add nothing.
    pub fn is_said_once(&self) -> bool {
        matches!(self, Self::OfTenant { .. } | Self::OfMonth { .. } | Self::OfRequest { .. })
    }
}

impl PostingFact {
    fn of(posting: &Posting, amount: impl ToString, at: u64, cause: CauseFact) -> Self {
        Self {
            sequence: posting.sequence,
            before: posting.before.to_string(),
            after: posting.after.to_string(),
            previous: HashText::of(&posting.previous),
            hash: HashText::of(&posting.hash),
            amount: amount.to_string(),
            at,
            cause,
        }
    }

    /// The posting, and whether its hash vouches for it in `account`.
    pub fn read(&self, account: &Account) -> Option<(Posting, bool)> {
        let posting = Posting {
            sequence: self.sequence,
            before: super::check::balance(&self.before)?,
            after: super::check::balance(&self.after)?,
            previous: self.previous.hash()?,
            hash: self.hash.hash()?,
        };
        let is_vouched_for = self.is_vouched_for(account, &posting).unwrap_or_default();
        Some((posting, is_vouched_for))
    }

    fn is_vouched_for(&self, account: &Account, posting: &Posting) -> Option<bool> {
        let amount: Amount = self.amount.parse().ok()?;
        let vouches = |cause: Cause<'_>| {
            let (currency, at) = (&account.currency, self.at);
            PostingFacts { account: &account.key, currency, amount, cause, at }.vouch_for(posting)
        };
        Some(match &self.cause {
            CauseFact::Debit { debit, round } => {
                vouches(Cause::Debit { debit: &debit.parse().ok()?, round: &round.parse().ok()? })
            }
            CauseFact::Refund { debit, by_channel, request } => {
                let by = if *by_channel { RefundedBy::Channel } else { RefundedBy::Provider };
                let (debit, request) = (debit.parse().ok()?, RequestKey::recorded(request));
                vouches(Cause::Refund { debit: &debit, by, request: &request })
            }
            CauseFact::Movement { id, is_credit, reason } => {
                let direction = if *is_credit { Direction::Credit } else { Direction::Withdrawal };
                let (id, reason) = (id.parse().ok()?, reason.parse().ok()?);
                vouches(Cause::Movement { id: &id, direction, reason: &reason })
            }
            CauseFact::Hold { batch } => vouches(Cause::Hold { batch }),
            CauseFact::Release { batch } => vouches(Cause::Release { batch }),
        })
    }
}

/// Where a posting stands among the facts of its account: behind the account, before an anchor of the same number.
fn posting_order(sequence: u64) -> u64 {
    // As far as the file can sort them; there are none beyond.
    sequence.min(i64::MAX.unsigned_abs() / 4) * 2 + 1
}

/// Where an anchor stands among the facts of its account.
pub fn anchor_order(sequence: u64) -> u64 {
    posting_order(sequence) + 1
}

/// Takes items apart.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Unix milliseconds: what may have expired by then is not missed.
    now: u64,
}

impl Facts {
    pub fn by_now() -> Self {
        Self { now: clock::unix_now() }
    }

    /// All that an item says.
    pub fn of(self, stored: &Stored) -> Vec<Row> {
        let mut rows = Rows { key: (stored.partition.clone(), stored.sort.clone()), rows: Vec::new() };
        let content = match &stored.content {
            Ok(content) => content,
            Err(what) => {
                rows.broken(Kind::DamagedItem, what.clone());
                return rows.rows;
            }
        };
        self.check_by_itself(stored, content, &mut rows);
        match content {
            Content::Tenant { tenant, settings } => rows.tenant(tenant, settings),
            Content::Credential { tenant } => {
                let names = vec![tenant.to_string()];
                rows.secret(&stored.partition, Fact::Secret { names, is_shared: false });
            }
            Content::SharedCredential { ids } => {
                rows.secret(&stored.partition, Fact::Secret { names: ids.clone(), is_shared: true });
            }
            Content::KeyOfTenant { tenant, hash } => {
                rows.of_tenant(tenant.as_str(), None);
                let has = Fact::HasSecret { tenant: tenant.to_string() };
                rows.push(Group::Secret(hash.clone()), 1, has);
            }
            Content::Intervention(_)
            | Content::Tombstone { .. }
            | Content::ApplicationTombstone { .. }
            | Content::RequestPart { .. } => {}
            Content::Request { path, .. } => {
                match path.split_once("#request#") {
                    Some((tenant, _)) => rows.of_tenant(tenant, None),
                    None => rows.broken(Kind::DamagedItem, "it is no tenant's".to_owned()),
                }
                rows.push(Group::Request(path.clone()), 0, Fact::Request);
            }
            Content::Account(account) => rows.account(account),
            Content::Debit(debit) => self.debit(debit, &mut rows),
            Content::Movement(movement) => rows.movement(movement),
            Content::Charge(charge) => rows.charge(charge),
            Content::Refund(refund) => {
                let state = match refund.state {
                    ItemState::Pending { .. } => RefundState::Pending,
                    ItemState::Succeeded { .. } => RefundState::Succeeded,
                    ItemState::Failed { .. } => RefundState::Failed,
                };
                let (charge, amount) = (refund.charge.path(), refund.amount.value());
                let group = Group::Batch(refund.charge.tenant.to_string(), refund.batch.to_string());
                let said =
                    Fact::Refund { refund: refund.id.to_string(), charge: charge.clone(), amount, state };
                rows.push(group, 3, said);
                if state == RefundState::Succeeded {
                    rows.push(Group::Charge(charge), 1, Fact::Refunded { amount });
                }
            }
            Content::Batch(batch) => rows.batch(batch),
            Content::Number { tenant, batch, fingerprint } => {
                let number = Fact::Number { fingerprint: BASE64.encode(fingerprint.as_bytes()) };
                rows.push(Group::Batch(tenant.to_string(), batch.to_string()), 1, number);
            }
            Content::Months { tenant, months } => {
                let months = Fact::Months { months: months.clone() };
                rows.push(Group::Months(tenant.to_string()), 0, months);
            }
            Content::Application(application) => {
                let path = application.key.path();
                rows.of_tenant(application.key.merchant.as_str(), None);
                let refund = |refund| refund_fact(&application.key.merchant, refund);
                let state = match &application.state {
                    ApplicationState::Requested => ApplicationFact::Requested,
                    ApplicationState::Withdrawn(_) => ApplicationFact::Withdrawn,
                    ApplicationState::Processing(under_way) => ApplicationFact::Processing(refund(under_way)),
                    ApplicationState::Done { refund: done, completion } => {
                        let done = refund(done);
                        let confirmation = &completion.confirmation;
                        let completed = Fact::Completed {
                            trade_no: confirmation.trade_no.to_string(),
                            amount: confirmation.amount.to_string(),
                            refund: done.amount.clone(),
                        };
                        rows.push(Group::Number(done.number.clone()), 1, completed);
                        ApplicationFact::Done(done)
                    }
                };
                let paid = application.paid.to_string();
                rows.push(
                    Group::Application(path),
                    0,
                    Fact::Application { paid, state, failures: application.failures.unwrap_or(0) },
                );
            }
            Content::Failed { application, failed } => {
                let refund = refund_fact(&application.merchant, &failed.refund);
                let fact = Fact::Failed { refund, at: failed.at };
                rows.push(Group::Application(application.path()), 1, fact);
            }
            Content::Guard { path, guard } => rows.guard(path, guard),
            Content::Confirmation { path, confirmation, further } => {
                let (trade_no, amount) = (confirmation.trade_no.to_string(), confirmation.amount.to_string());
                let fact = Fact::Confirmed { trade_no, amount, further: *further };
                rows.push(Group::Number(path.clone()), 0, fact);
            }
        }
        rows.rows
    }

    fn debit(self, debit: &Debit, rows: &mut Rows) {
        rows.of_tenant(debit.key.account.tenant().as_str(), None);
        let account = Group::Account(debit.key.account.to_string());
        let id = debit.key.id.to_string();
        if let Some(taking) = &debit.taken {
            let cause = CauseFact::Debit { debit: id.clone(), round: debit.round.to_string() };
            let posting = PostingFact::of(&taking.posting, debit.amount, taking.at, cause);
            rows.push(account.clone(), posting_order(posting.sequence), Fact::Posting(posting));
        }
        let DebitState::Refunded(refund) = &debit.state else { return };
        if refund.amount > debit.amount {
            let what = format!("{} was refunded of {}", refund.amount, debit.amount);
            rows.broken(Kind::AbovePayment, what);
        }
        if debit.taken.as_ref().is_some_and(|taking| taking.posting.sequence > refund.posting.sequence) {
            rows.broken(Kind::RefundBeforePayment, "it was refunded before it was taken".to_owned());
        }
        let cause = CauseFact::Refund {
            debit: id,
            by_channel: refund.by == RefundedBy::Channel,
            request: refund.request.to_string(),
        };
        let posting = PostingFact::of(&refund.posting, refund.amount, refund.at, cause);
        rows.push(account, posting_order(posting.sequence), Fact::Posting(posting));
        // A record is kept for its time only, counted from its request's first refund at the least.
        let kept = milliseconds(limits::REQUEST_RECORD_KEPT);
        let is_kept = refund.at.saturating_add(kept) > self.now.saturating_add(DAY);
        rows.push(Group::Request(refund.request.to_string()), 1, Fact::OfRequest { is_kept });
    }

    /// What can be known of an item without any other.
    fn check_by_itself(self, stored: &Stored, content: &Content, rows: &mut Rows) {
        let expires = match content {
            Content::Request { at, .. } | Content::RequestPart { at, .. } => {
                Some(at / 1_000 + limits::REQUEST_RECORD_KEPT.as_secs())
            }
            Content::Tombstone { since, .. } | Content::ApplicationTombstone { since, .. } => {
                Some(since / 1_000 + limits::TOMBSTONE_KEPT.as_secs())
            }
            _ => None,
        };
        if stored.expires != expires {
            let what = match expires {
                None => "it is marked to vanish, and must not",
                Some(_) => "it is marked to vanish at another time than it must",
            };
            rows.broken(Kind::WouldExpire, what.to_owned());
        }
        let seal = match content {
            Content::Debit(debit) => debit.seal(),
            Content::Charge(charge) => Some(charge.seal()),
            Content::Application(application) => Some(application.seal()),
            Content::Batch(batch) => Some(batch.seal()),
            _ => None,
        };
        let is_sealed = seal.is_none() || seal == stored.seal;
        if !is_sealed {
            let what = "it is not what it was when it was put on record: its seal differs".to_owned();
            rows.broken(Kind::ChangedPayment, what);
        }
        let is_indexed = self.is_indexed(stored, content);
        if !is_indexed {
            let what = "the index has it elsewhere than where it is looked for".to_owned();
            rows.broken(Kind::WrongIndex, what);
        }
        if stored.taken_until.is_some_and(|until| until > self.now.saturating_add(HOUR)) {
            rows.broken(Kind::WrongIndex, "somebody is to have it alone for ever".to_owned());
        }
        // What was told of already is not told twice.
        if !stored.is_plain && is_sealed && is_indexed && stored.expires == expires {
            let what = "it has more than the ledger writes, or something written otherwise".to_owned();
            rows.broken(Kind::DamagedItem, what);
        }
        match content {
            Content::Guard { path, guard } => {
                let merchant = guard.application.merchant.clone();
                if (BatchKey { merchant, no: guard.refund.batch_no.clone() }).path() != *path {
                    let what = "it is under another number than its own".to_owned();
                    rows.broken(Kind::GuardWithoutOwner, what);
                }
            }
            Content::Batch(batch) => {
                let own =
                    |item: &BatchItem| RefundId::of_charge(&batch.key.tenant, &batch.key.id, &item.charge);
                if let Some(item) = batch.items.iter().find(|item| item.refund != own(item)) {
                    let what = format!("{} is not its refund's id of {}", item.refund, item.charge);
                    rows.broken(Kind::ContradictingState, what);
                }
                if batch.holds.iter().any(|hold| !hold.refunds.is_empty()) {
                    let what = "what it took is marked as given back".to_owned();
                    rows.broken(Kind::ContradictingState, what);
                }
            }
            Content::Application(application) => match &application.state {
                ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. } => {
                    let merchant = application.key.merchant.clone();
                    let batch = BatchKey { merchant, no: refund.batch_no.clone() };
                    if refund.id != RefundId::of(&batch) {
                        let what = format!("{} is not its refund's id", refund.id);
                        rows.broken(Kind::ContradictingState, what);
                    }
                }
                ApplicationState::Requested | ApplicationState::Withdrawn(_) => {}
            },
            _ => {}
        }
    }

    fn is_indexed(self, stored: &Stored, content: &Content) -> bool {
        let ((partition, sort), index) = match (content.index_due(), &stored.index) {
            (None, None) => return true,
            (Some(due), Some(index)) => (due, index),
            _ => return false,
        };
        let is_there = match sort {
            IndexSort::Named(sort) => index.1 == sort,
            // A day from now at most.
            IndexSort::Timed(end) => index.1.strip_suffix(&end).is_some_and(|time| {
                let at: Option<u64> = time.parse().ok().filter(|_| time.len() == 15);
                at.is_some_and(|at| at <= self.now.saturating_add(DAY + HOUR))
            }),
        };
        index.0 == partition && is_there
    }
}

/// An hour, in milliseconds.
const HOUR: u64 = 60 * 60 * 1_000;

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn refund_fact(merchant: &TenantKey, refund: &ApplicationRefund) -> RefundFact {
    let number = BatchKey { merchant: merchant.clone(), no: refund.batch_no.clone() }.path();
    RefundFact {
        id: refund.id.to_string(),
        batch_no: refund.batch_no.to_string(),
        amount: refund.amount.to_string(),
        account: refund.account.to_string(),
        at: refund.at,
        invocation: refund.invocation.clone(),
        number,
    }
}

fn number(no: Option<&TransactionNo>) -> String {
    no.map(ToString::to_string).unwrap_or_default()
}

/// The facts of one item.
struct Rows {
    key: (String, String),
    rows: Vec<Row>,
}

impl Rows {
    fn push(&mut self, group: Group, order: u64, fact: Fact) {
        self.rows.push(Row { group: group.text(), order, key: self.key.clone(), fact });
    }

    fn broken(&mut self, kind: Kind, what: String) {
        let group = Group::Item(self.key.0.clone(), self.key.1.clone());
        self.push(group, 0, Fact::Broken { kind, what });
    }

    fn of_tenant(&mut self, tenant: &str, currency: Option<String>) {
        self.push(Group::Tenant(tenant.to_owned()), 1, Fact::OfTenant { currency });
    }

    fn tenant(&mut self, tenant: &TenantKey, settings: &str) {
        let currency = shared::entries::currency_of(tenant, settings).map(|code| code.to_string());
        if let Err(why) = &currency {
            self.broken(Kind::DamagedItem, format!("its settings: {why}"));
        }
        if let Ok(merchant) = serde_json::from_str::<MerchantSettings>(settings) {
            for hash in merchant.key_hashes {
                let has = Fact::HasSecret { tenant: tenant.to_string() };
                self.push(Group::Secret(hash), 1, has);
            }
        }
        self.push(Group::Tenant(tenant.to_string()), 0, Fact::Tenant { currency: currency.ok() });
    }

    fn secret(&mut self, partition: &str, fact: Fact) {
        let hash = partition.rsplit('#').next().unwrap_or_default();
        self.push(Group::Secret(hash.to_owned()), 0, fact);
    }

    fn account(&mut self, account: &Account) {
        // Its opening comes before its tenant where an import has died: nobody can use it then.
        if account.sequence > 0 {
            self.of_tenant(account.key.tenant().as_str(), Some(account.currency.to_string()));
        }
        let fact = Fact::Account {
            currency: account.currency.to_string(),
            balance: account.balance.to_string(),
            opening: account.opening.to_string(),
            sequence: account.sequence,
            head: HashText::of(&account.head),
        };
        self.push(Group::Account(account.key.to_string()), 0, fact);
    }

    fn movement(&mut self, movement: &Movement) {
        let cause = CauseFact::Movement {
            id: movement.key.id.to_string(),
            is_credit: movement.direction == Direction::Credit,
            reason: movement.reason.to_string(),
        };
        let posting = PostingFact::of(&movement.posting, movement.amount, movement.at, cause);
        let order = posting_order(posting.sequence);
        self.push(Group::Account(movement.key.account.to_string()), order, Fact::Posting(posting));
    }

    fn charge(&mut self, charge: &Charge) {
        let path = charge.key.path();
        self.of_tenant(charge.key.tenant.as_str(), Some(charge.currency.to_string()));
        let fact = Fact::Charge {
            amount: charge.amount.value(),
            refunded: charge.refunded,
            before: charge.refunded_before,
            held: charge.held(),
            paid: charge.paid,
        };
        let of =
            [charge.channel.to_string(), charge.order_no.to_string(), number(charge.transaction_no.as_ref())];
        self.push(Group::Charge(path.clone()), 0, fact);
        for (refund, hold) in &charge.holds {
            let group = Group::Batch(charge.key.tenant.to_string(), hold.batch.to_string());
            let (refund, amount) = (refund.to_string(), hold.amount.value());
            self.push(group, 2, Fact::Hold { refund, charge: path.clone(), amount, of: of.clone() });
        }
    }

    fn batch(&mut self, batch: &RefundBatch) {
        let id = batch.key.id.to_string();
        let month = Fact::OfMonth { month: batch.key.id.month().to_owned() };
        self.push(Group::Months(batch.key.tenant.to_string()), 1, month);
        let sources = |postings: &[FundsPosting], cause: &dyn Fn() -> CauseFact, rows: &mut Self| {
            for funds in postings {
                let account: AccountKey = batch.key.tenant.account(funds.source.as_str());
                let posting = PostingFact::of(&funds.posting, funds.amount, funds.at, cause());
                let order = posting_order(posting.sequence);
                rows.push(Group::Account(account.to_string()), order, Fact::Posting(posting));
            }
        };
        sources(&batch.holds, &|| CauseFact::Hold { batch: id.clone() }, self);
        sources(&batch.releases, &|| CauseFact::Release { batch: id.clone() }, self);
        let item = |item: &BatchItem| ItemFact {
            refund: item.refund.to_string(),
            charge: batch.charge_key(item).path(),
            amount: item.amount.value(),
            source: item.source().as_str().to_owned(),
            of: [item.channel.to_string(), item.order_no.to_string(), number(item.transaction_no.as_ref())],
        };
        let release = |funds: &FundsPosting| {
            let refunds = funds.refunds.iter().map(ToString::to_string).collect();
            (funds.source.as_str().to_owned(), funds.amount.value(), refunds)
        };
        let fact = BatchFact {
            state: match batch.state {
                BatchState::Creating => BatchStateFact::Creating,
                BatchState::Created => BatchStateFact::Created,
                BatchState::Settling => BatchStateFact::Settling,
                BatchState::Void => BatchStateFact::Void,
                BatchState::Ended { end: BatchEnd::Succeeded, .. } => BatchStateFact::Succeeded,
                BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. } => {
                    BatchStateFact::PartiallySucceeded
                }
                BatchState::Ended { end: BatchEnd::Failed, .. } => BatchStateFact::Failed,
            },
            number: batch.key.tenant.numbered_batch(&batch.batch_no),
            items: batch.items.iter().map(item).collect(),
            held_at_once: batch.first_items().len(),
            holds: batch
                .holds
                .iter()
                .map(|hold| (hold.source.as_str().to_owned(), hold.amount.value()))
                .collect(),
            releases: batch.releases.iter().map(release).collect(),
            fingerprint: BASE64.encode(batch.fingerprint.as_bytes()),
        };
        self.of_tenant(batch.key.tenant.as_str(), batch.currency.as_ref().map(ToString::to_string));
        self.push(Group::Batch(batch.key.tenant.to_string(), id), 0, Fact::Batch(Box::new(fact)));
    }

    fn guard(&mut self, path: &str, guard: &BatchGuard) {
        let mut refund = refund_fact(&guard.application.merchant, &guard.refund);
        refund.number = path.to_owned();
        let fact = Fact::Guard { refund, failed_at: guard.failed_at };
        self.push(Group::Application(guard.application.path()), 2, fact);
    }
}

/// What an item is wrong with by itself.
pub fn broken(row: &Row) -> Option<Breach> {
    match &row.fact {
        Fact::Broken { kind, what } => Some(Breach::new(*kind, what.clone(), [row])),
        _ => None,
    }
}
