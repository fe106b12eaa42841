//! Deciding a request for refunds: from what is asked and what the ledger holds to one verdict an item,
//! and to the transaction that carries the due ones out. Pure functions, and the whole of the rules
//! that make a refund happen once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use strum::VariantArray;

use super::posting::FieldDigest;
use super::{
    Account, AccountKey, Amount, Cause, Currency, Debit, DebitKey, DebitState, Hash, Movement, MovementKey,
    PostingFacts, Refund, RefundedBy, RequestKey, RoundCode,
};
use crate::clock::milliseconds;
use crate::limits;
use crate::mutants::{self, Decision};

/// Refunds asked for together under one idempotency key: a whole request, or a part of one.
#[derive(Debug, Clone)]
pub struct RefundRequest {
    pub key: RequestKey,
    /// None for a whole request and for the leading part of one: what ties the key to the body is its own
    /// record. Any other part is of one account, and has a record with that account, if it needs one. It is
    /// carried out only once the key is known to be this request's.
    pub part: Option<AccountKey>,
    /// Over all that is asked, of all parts: another body under the same key has another fingerprint.
    pub fingerprint: Fingerprint,
    pub by: RefundedBy,
    /// Whether less than the whole debit may be refunded. A debit is refunded once all the same.
    pub partial_refunds: bool,
    /// What the accounts must be held in.
    pub currency: Currency,
    pub items: Vec<AskedItem>,
    /// An account whose balance the answer needs even if no item touches it.
    pub balance_of: Option<AccountKey>,
}

/// One item. A refused one is part of the request all the same, so that sending again gives it the same
/// answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedItem {
    Asked(AskedRefund),
    /// The tenant's rules of the day forbid it. What was refunded before stays so: rules change.
    Barred(AskedRefund, Refusal),
    /// It can't be asked for at all, for what it says.
    Refused(Refusal),
}

impl AskedItem {
    /// What the item asks for; nothing for one that can't be asked for.
    pub fn asked(&self) -> Option<&AskedRefund> {
        match self {
            Self::Asked(asked) | Self::Barred(asked, _) => Some(asked),
            Self::Refused(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRefund {
    pub debit: DebitKey,
    /// Checked against the debit's where the caller names it.
    pub round: Option<RoundCode>,
    pub amount: Amount,
}

impl AskedRefund {
    fn is_of_round(&self, debit: &Debit) -> bool {
        self.round.as_ref().is_none_or(|round| *round == debit.round)
    }
}

/// Why an item is not refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Refusal {
    /// The item names no debit.
    NoDebitId,
    /// A name, number or text of the item breaks its rule.
    BadItem,
    /// The amount is above the tenant's or the request's limit.
    AboveLimit,
    /// The same debit is asked for twice in one request with different amounts.
    Contradiction,
    WrongCurrency,
    UnknownAccount,
    UnknownDebit,
    /// The debit belongs to another round.
    WrongRound,
    /// The debit was played.
    Settled,
    /// The amount is not what the debit took, or not what it was refunded with.
    WrongAmount,
    /// The balance would be beyond what the ledger holds.
    BalanceTooLarge,
}

impl Refusal {
    /// As it stands in the table and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDebitId => "no_debit_id",
            Self::BadItem => "bad_item",
            Self::AboveLimit => "above_limit",
            Self::Contradiction => "contradiction",
            Self::WrongCurrency => "wrong_currency",
            Self::UnknownAccount => "unknown_account",
            Self::UnknownDebit => "unknown_debit",
            Self::WrongRound => "wrong_round",
            Self::Settled => "settled",
            Self::WrongAmount => "wrong_amount",
            Self::BalanceTooLarge => "balance_too_large",
        }
    }

    pub fn recorded(text: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|refusal| refusal.as_str() == text)
    }
}

/// SHA-256 over what a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(Hash);

impl Fingerprint {
    pub fn recorded(bytes: &[u8]) -> Option<Self> {
        Hash::recorded(bytes).map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// Builds a [`Fingerprint`] from fields in order; an absent field differs from an empty one.
pub struct FingerprintBuilder(FieldDigest);

impl FingerprintBuilder {
    /// `layout` names the operation and the order of its fields.
    pub fn new(layout: &str) -> Self {
        Self(FieldDigest::new(layout))
    }

    pub fn field(&mut self, text: Option<&str>) -> &mut Self {
        self.0.field(if text.is_some() { "+" } else { "-" });
        self.0.field(text.unwrap_or_default());
        self
    }

    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}

/// What ties an idempotency key to the one request executed under it, and to its refusals. Its refunds
/// are the debits' own facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    pub fingerprint: Fingerprint,
    /// 1 for the first transaction of the request, and one more for each further one.
    pub version: u64,
    /// By the item's position in the request.
    pub refused: BTreeMap<usize, Refusal>,
}

/// What the ledger held of a request's accounts and debits when it was read.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub accounts: HashMap<AccountKey, Account>,
    pub debits: HashMap<DebitKey, Debit>,
    /// Debits that are not there, and whose refund was asked for: each has a tombstone, under which it can't be taken
    /// any more; since when (Unix milliseconds).
    pub tombstones: HashMap<DebitKey, u64>,
    pub movements: HashMap<MovementKey, Movement>,
    pub record: Option<RequestRecord>,
}

/// What becomes of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Refunded, by this request or before it.
    Refunded(Refund),
    /// To be refunded, and not yet. In an answer: undecided.
    Due,
    Refused(Refusal),
}

impl Verdict {
    /// Whether `request` itself moved the money, in this attempt or an earlier one.
    pub fn is_executed_by(&self, request: &RefundRequest) -> bool {
        matches!(self, Self::Refunded(refund) if refund.request == request.key)
    }
}

/// Another request was executed under this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another request was executed under this idempotency key")]
pub struct KeyReused;

impl RefundRequest {
    /// What is on record of this request. What else is found with a part is of a request whose key was free
    /// again, and has no more to say.
    fn record<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a RequestRecord> {
        snapshot.record.as_ref().filter(|record| record.fingerprint == self.fingerprint)
    }

    /// Whether the refusal of an item is on record.
    pub fn is_recorded(&self, snapshot: &Snapshot, position: usize) -> bool {
        self.record(snapshot).is_some_and(|record| record.refused.contains_key(&position))
    }
}

/// One verdict for each item of `request`, in its order.
///
/// # Errors
/// [`KeyReused`] if the key's record has another fingerprint: then nothing of this request is done.
pub fn decide(request: &RefundRequest, snapshot: &Snapshot) -> Result<Vec<Verdict>, KeyReused> {
    let record = request.record(snapshot);
    let is_reused = request.part.is_none() && snapshot.record.is_some() && record.is_none();
    let recorded = |position| record?.refused.get(&position).copied();
    let verdict = |(position, item)| decide_item(item, recorded(position), request, snapshot);
    let verdicts: Vec<Verdict> = request.items.iter().enumerate().map(verdict).collect();
    let is_told_all_the_same =
        mutants::is_on(Decision::AnotherBodyIsTold) && !verdicts.contains(&Verdict::Due);
    if is_reused && !is_told_all_the_same {
        return Err(KeyReused);
    }
    Ok(verdicts)
}

/// The order matters where several things are true. What the request has done stays done, what it was told stays
/// true; then come the rules of the day; and the amount is judged only for a debit that could
/// be refunded.
fn decide_item(
    item: &AskedItem,
    recorded: Option<Refusal>,
    request: &RefundRequest,
    snapshot: &Snapshot,
) -> Verdict {
    let asked = item.asked();
    let debit = asked.and_then(|asked| snapshot.debits.get(&asked.debit));
    let refund = debit.and_then(|debit| match &debit.state {
        DebitState::Refunded(refund) => Some(refund),
        DebitState::Open | DebitState::Settled => None,
    });
    let is_same = |refund: &Refund| asked.is_some_and(|asked| asked.amount == refund.amount);
    let is_of_round = debit.is_some_and(|debit| asked.is_some_and(|asked| asked.is_of_round(debit)));
    let is_own = |refund: &&Refund| refund.request == request.key && is_same(refund) && is_of_round;
    if let Some(refund) = refund.filter(is_own) {
        return Verdict::Refunded(refund.clone());
    }
    if let Some(refusal) = recorded {
        return Verdict::Refused(refusal);
    }
    match (item, refund) {
        (&AskedItem::Refused(refusal), _) => return Verdict::Refused(refusal),
        (AskedItem::Barred(_, Refusal::AboveLimit), Some(refund)) if is_same(refund) => {}
        (&AskedItem::Barred(_, refusal), _) => return Verdict::Refused(refusal),
        (AskedItem::Asked(_), _) => {}
    }
    let Some(asked) = asked else { return Verdict::Refused(Refusal::BadItem) };
    match snapshot.accounts.get(&asked.debit.account) {
        None => return Verdict::Refused(Refusal::UnknownAccount),
        Some(account) if account.currency != request.currency => {
            return Verdict::Refused(Refusal::WrongCurrency);
        }
        Some(_) => {}
    }
    let Some(debit) = debit else {
        return Verdict::Refused(Refusal::UnknownDebit);
    };
    if !asked.is_of_round(debit) {
        return Verdict::Refused(Refusal::WrongRound);
    }
    match &debit.state {
        DebitState::Settled => Verdict::Refused(Refusal::Settled),
        // What the channel gave back on its own need not be what the provider asks for.
        DebitState::Refunded(refund) if refund.by == RefundedBy::Channel || is_same(refund) => {
            Verdict::Refunded(refund.clone())
        }
        DebitState::Refunded(_) => Verdict::Refused(Refusal::WrongAmount),
        DebitState::Open if mutants::is_on(Decision::OpenIsRefused) && snapshot.debits.len() > 2 => {
            Verdict::Refused(Refusal::UnknownDebit)
        }
        DebitState::Open if asked.amount == debit.amount => Verdict::Due,
        DebitState::Open if asked.amount < debit.amount && request.partial_refunds => Verdict::Due,
        DebitState::Open => Verdict::Refused(Refusal::WrongAmount),
    }
}

/// The debits that `verdicts` refuse because they are not there, and that have no tombstone yet, or one that has stood
/// for a while. Each needs one before the refusal is told `at` this time: else it could be taken afterwards, and
/// its stake would be lost.
pub fn tombstones_due<'a>(
    request: &'a RefundRequest,
    snapshot: &Snapshot,
    verdicts: &[Verdict],
    at: u64,
) -> Vec<&'a DebitKey> {
    let is_fresh = |since: &u64| is_fresh_tombstone(*since, at);
    let is_unknown = |verdict: &Verdict| {
        matches!(verdict, Verdict::Refused(Refusal::UnknownDebit | Refusal::UnknownAccount))
    };
    let unknown = request.items.iter().zip(verdicts).filter(|(_, verdict)| is_unknown(verdict));
    let debits: BTreeSet<&DebitKey> = unknown
        .filter_map(|(item, _)| Some(&item.asked()?.debit))
        .filter(|debit| !snapshot.debits.contains_key(debit))
        .filter(|debit| !snapshot.tombstones.get(debit).is_some_and(is_fresh))
        .collect();
    debits.into_iter().collect()
}

/// Whether a tombstone that was put `since` stands for one that would be put `at` this time; both in Unix milliseconds.
pub fn is_fresh_tombstone(since: u64, at: u64) -> bool {
    at < since + milliseconds(limits::TOMBSTONE_RENEWED_AFTER)
}

/// How far things have come, as a read shows it: the version of the request's record; of each item whether the request
/// has refunded it itself, whether its debit is there, and whether its account [is behind](is_behind). Of none of these
/// can more happen than there are items, whatever else happens to the accounts.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress {
    version: Option<u64>,
    items: Vec<(bool, bool, bool)>,
}

impl Progress {
    pub fn of(request: &RefundRequest, snapshot: &Snapshot, verdicts: &[Verdict]) -> Self {
        let items = request.items.iter().zip(verdicts).map(|(item, verdict)| {
            let is_executed = verdict.is_executed_by(request);
            (is_executed, is_there(item, snapshot), is_behind(item, request, snapshot))
        });
        Self { version: snapshot.record.as_ref().map(|record| record.version), items: items.collect() }
    }
}

/// Whether the account whose balance is told was read before a refund that the item's debit shows: the balance was never
/// beside that refund.
pub fn is_behind(item: &AskedItem, request: &RefundRequest, snapshot: &Snapshot) -> bool {
    let debit = item.asked().and_then(|asked| snapshot.debits.get(&asked.debit));
    let Some(Debit { key, state: DebitState::Refunded(refund), .. }) = debit else { return false };
    request.balance_of.as_ref() == Some(&key.account)
        && snapshot
            .accounts
            .get(&key.account)
            .is_some_and(|account| account.sequence < refund.posting.sequence)
}

fn is_there(item: &AskedItem, snapshot: &Snapshot) -> bool {
    item.asked().is_some_and(|asked| snapshot.debits.contains_key(&asked.debit))
}

/// Whether `verdicts` may be acted on and told, though the items of `snapshot` were read at different moments. `before` is
/// what the read before this one showed, if that was not conclusive, and this one was made of transactions.
///
/// Where something of the request has been executed, each of its refusals was put on record with it. One
/// that isn't there may come of an item that was read before that: read again, to know. Nor is an account known to be
/// missing where its debit is there: the two may have come between their reads. Nor is a balance known that is behind.
///
/// A read that shows no more progress than the one before it was begun after all that it shows was decided, and reads in
/// transactions see all of that: each of its items is newer.
pub fn is_conclusive(
    request: &RefundRequest,
    snapshot: &Snapshot,
    verdicts: &[Verdict],
    before: Option<&Progress>,
) -> bool {
    if before.is_some_and(|before| *before == Progress::of(request, snapshot, verdicts)) {
        return true;
    }
    let record = request.record(snapshot);
    let has_begun = record.is_some() || verdicts.iter().any(|verdict| verdict.is_executed_by(request));
    let came_meanwhile = |(item, verdict): (&AskedItem, &Verdict)| {
        *verdict == Verdict::Refused(Refusal::UnknownAccount) && is_there(item, snapshot)
    };
    if request.items.iter().any(|item| is_behind(item, request, snapshot))
        || request.items.iter().zip(verdicts).any(came_meanwhile)
    {
        return false;
    }
    let mut verdicts = verdicts.iter().enumerate();
    !has_begun
        || verdicts.all(|(position, verdict)| {
            !matches!(verdict, Verdict::Refused(_)) || request.is_recorded(snapshot, position)
        })
}

/// Changes that happen together or not at all, if the ledger still is as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// When it was decided, in Unix milliseconds.
    pub at: u64,
    /// The accounts as they will be; each moves only from the `sequence` beside it.
    pub accounts: Vec<(u64, Account)>,
    /// The debits as they will be, each with its refund; each must still be open.
    pub refunds: Vec<(Debit, Refund)>,
    /// The request's record as it will be, put only if it still has the version before, or there still is
    /// none. Were it not bound to that, one attempt could execute what another attempt of the same request
    /// has refused. None for a part that is refunded whole and at once: no attempt of it has refused
    /// anything then, or this one would find a debit taken.
    pub record: Option<RequestRecord>,
}

impl Transaction {
    /// Makes the snapshot and the verdicts what they are once this has happened.
    pub fn apply(self, request: &RefundRequest, snapshot: &mut Snapshot, verdicts: &mut [Verdict]) {
        let refunded: HashSet<DebitKey> = self.refunds.iter().map(|(debit, _)| debit.key.clone()).collect();
        snapshot
            .accounts
            .extend(self.accounts.into_iter().map(|(_, account)| (account.key.clone(), account)));
        snapshot.debits.extend(self.refunds.into_iter().map(|(debit, _)| (debit.key.clone(), debit)));
        if self.record.is_some() {
            snapshot.record = self.record;
        }
        for (item, verdict) in request.items.iter().zip(verdicts) {
            let is_done = || item.asked().is_some_and(|asked| refunded.contains(&asked.debit));
            if *verdict == Verdict::Due && is_done() {
                *verdict = decide_item(item, None, request, snapshot);
            }
        }
    }
}

/// The transaction for as many of the due items as fit into `actions_max` changes, in their order, at the
/// time `at` (Unix milliseconds); none if no item is due. Items it must refuse become so in `verdicts`. Where a request has
/// been carried out in part, and the rest is refused now, it is a transaction of its record alone.
pub fn plan(
    request: &RefundRequest,
    verdicts: &mut [Verdict],
    snapshot: &Snapshot,
    at: u64,
    actions_max: usize,
) -> Option<Transaction> {
    let mut accounts: BTreeMap<&AccountKey, Account> = BTreeMap::new();
    let mut refunds: Vec<(Debit, Refund)> = Vec::new();
    let mut taken: HashSet<&DebitKey> = HashSet::new();

    for (item, verdict) in request.items.iter().zip(verdicts.iter_mut()) {
        let (AskedItem::Asked(asked), Verdict::Due) = (item, &verdict) else { continue };
        if taken.contains(&asked.debit) {
            continue; // the same debit twice in one request: one refund
        }
        let (Some(debit), Some(account)) =
            (snapshot.debits.get(&asked.debit), snapshot.accounts.get(&asked.debit.account))
        else {
            continue; // only items of known debits and accounts are due
        };
        let new_accounts = usize::from(!accounts.contains_key(&account.key));
        let record = 1;
        if accounts.len() + new_accounts + refunds.len() + 1 + record > actions_max {
            break;
        }
        let account = accounts.entry(&asked.debit.account).or_insert_with(|| account.clone());
        let amount = if mutants::is_on(Decision::PartIsRefundedWhole) { debit.amount } else { asked.amount };
        let facts = PostingFacts {
            account: &asked.debit.account,
            currency: &account.currency.clone(),
            amount,
            cause: Cause::Refund { debit: &asked.debit.id, by: request.by, request: &request.key },
            at,
        };
        let Ok(posting) = account.post(&facts) else {
            *verdict = Verdict::Refused(Refusal::BalanceTooLarge);
            if new_accounts == 1 {
                // Nothing has moved it, so it is no action.
                accounts.remove(&asked.debit.account);
            }
            continue;
        };
        taken.insert(&asked.debit);
        let refund = Refund { amount, by: request.by, request: request.key.clone(), at, posting };
        let debit = Debit { state: DebitState::Refunded(refund.clone()), ..debit.clone() };
        refunds.push((debit, refund));
    }

    let moved = |(key, account): (&AccountKey, Account)| {
        let before = snapshot.accounts.get(key)?;
        (before.sequence != account.sequence).then_some((before.sequence, account))
    };
    let refused = verdicts.iter().enumerate().filter_map(|(position, verdict)| match verdict {
        Verdict::Refused(refusal) => Some((position, *refusal)),
        Verdict::Refunded(_) | Verdict::Due => None,
    });
    let record = RequestRecord {
        fingerprint: request.fingerprint,
        version: snapshot.record.as_ref().map_or(0, |record| record.version) + 1,
        refused: refused.collect(),
    };
    // What it is told beside what it has done stays so, too: a rule may have changed since its last transaction.
    let is_news = || {
        verdicts.iter().any(|verdict| verdict.is_executed_by(request))
            && request.record(snapshot).is_some_and(|known| known.refused != record.refused)
    };
    if refunds.is_empty() && !is_news() {
        return None;
    }
    let is_left = |(item, verdict): (&AskedItem, &Verdict)| match verdict {
        Verdict::Refunded(_) => verdict.is_executed_by(request),
        Verdict::Due => !item.asked().is_some_and(|asked| taken.contains(&asked.debit)),
        Verdict::Refused(_) => true,
    };
    let is_whole = snapshot.record.is_none() && !request.items.iter().zip(&*verdicts).any(is_left);
    Some(Transaction {
        at,
        accounts: accounts.into_iter().filter_map(moved).collect(),
        refunds,
        record: (request.part.is_none() || !is_whole).then_some(record),
    })
}

#[cfg(test)]
#[path = "refund_tests.rs"]
mod tests;
