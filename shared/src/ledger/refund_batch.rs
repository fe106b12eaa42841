//! A batch: refunds of charges, accepted together or not at all under their merchant's number, and settled each by
//! itself.
//!
//! `creating → created → settling → succeeded | partially succeeded | failed`, or `creating → void`. A batch of up
//! to [`limits::charges_held_at_once`] charges is created at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::posting::FieldDigest;
use super::{
    Account, Cause, ChannelName, Charge, ChargeId, ChargeKey, Currency, Fingerprint, FundingSource,
    InvalidMoney, MerchantBatchNo, MinorUnits, OrderNo, Posting, PostingFacts, RefundBatchId, RefundBatchKey,
    RefundId, TenantKey, TransactionNo,
};
use crate::limits;

/// Refunds asked for together under a merchant's number.
#[derive(Debug, Clone)]
pub struct BatchRequest {
    pub tenant: TenantKey,
    pub batch_no: MerchantBatchNo,
    /// Over all that is asked: another body under the same number has another one.
    pub fingerprint: Fingerprint,
    /// Of the app: its accounts and charges are held in it.
    pub currency: Currency,
    pub description: String,
    /// A JSON object's text.
    pub metadata: String,
    /// Distinct charges, in the request's order.
    pub items: Vec<AskedCharge>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCharge {
    pub charge: ChargeId,
    /// None: all that can still be refunded.
    pub amount: Option<MinorUnits>,
    pub description: Option<String>,
    pub funding_source: Option<FundingSource>,
}

/// A batch on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundBatch {
    pub key: RefundBatchKey,
    pub batch_no: MerchantBatchNo,
    pub fingerprint: Fingerprint,
    /// Its charges'. None of a batch from before batches said so.
    pub currency: Option<Currency>,
    pub description: String,
    /// A JSON object's text.
    pub metadata: String,
    /// Unix milliseconds.
    pub at: u64,
    pub state: BatchState,
    pub items: Vec<BatchItem>,
    /// What was taken from the app's accounts, one posting each.
    pub holds: Vec<FundsPosting>,
    /// What was given back to them.
    pub releases: Vec<FundsPosting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchState {
    /// The first charges are held, the others are not yet.
    Creating,
    Created,
    /// Payment channels may have been asked.
    Settling,
    /// Taken back: the other charges could not be held. Nobody was told of it.
    Void,
    Ended {
        end: BatchEnd,
        /// Unix milliseconds.
        at: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEnd {
    Succeeded,
    PartiallySucceeded,
    Failed,
}

impl BatchState {
    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Creating | Self::Created | Self::Settling)
    }
}

/// One refund of a batch, as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    pub charge: ChargeId,
    pub refund: RefundId,
    pub amount: MinorUnits,
    pub description: Option<String>,
    pub funding_source: Option<FundingSource>,
    /// The charge's own, which don't change.
    pub channel: ChannelName,
    pub order_no: OrderNo,
    pub transaction_no: Option<TransactionNo>,
}

impl BatchItem {
    /// The account that pays for it.
    pub fn source(&self) -> FundingSource {
        self.funding_source.unwrap_or(FundingSource::Unsettled)
    }
}

/// A change of one of the app's accounts, which a batch made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FundsPosting {
    pub source: FundingSource,
    pub amount: MinorUnits,
    /// Unix milliseconds.
    pub at: u64,
    pub posting: Posting,
    /// Of money that is given back: the refunds it was for.
    pub refunds: Vec<RefundId>,
}

/// What became of one refund of a batch; nothing is on record of one before its channel was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRefund {
    pub id: RefundId,
    pub charge: ChargeKey,
    pub batch: RefundBatchId,
    pub amount: MinorUnits,
    pub state: ItemState,
    /// What its payment channel said later, and is not so.
    pub contradiction: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemState {
    /// Someone must confirm it with the payment channel.
    Pending { url: String },
    Succeeded {
        /// Unix milliseconds.
        at: u64,
    },
    Failed {
        /// Unix milliseconds.
        at: u64,
        code: String,
        message: String,
    },
}

impl ItemState {
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending { .. })
    }
}

/// Why a batch is not accepted: nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchRefusal {
    /// Another batch has the number.
    BatchNoReused,
    /// The first charge that stands in the way.
    Charge {
        position: usize,
        problem: ChargeProblem,
    },
    InsufficientFunds {
        source: FundingSource,
    },
    /// The app's account is in another currency than its charges.
    FundsCurrency {
        source: FundingSource,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeProblem {
    Unknown,
    /// It is asked for twice.
    Repeated,
    NotPaid,
    WrongCurrency,
    FullyRefunded,
    /// In minor units.
    AboveRefundable {
        refundable: u64,
    },
    FundingSourceNotAllowed,
    /// The batch's, or the charge's own if it has one; its channel takes no more.
    DescriptionTooLong {
        of_batch: bool,
        limit: DescriptionLimit,
    },
}

/// How long a description may be for a payment channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptionLimit {
    Bytes(usize),
    Characters(usize),
}

impl DescriptionLimit {
    /// Source: the API document of batch refunds.
    fn of_channel(channel: &str) -> Self {
        match channel {
            "cmb_wallet" | "cmb_pc_qr" => Self::Bytes(99),
            "jdpay_wap" => Self::Bytes(128),
            "paypal" => Self::Bytes(30),
            "coolcredit" => Self::Characters(100),
            _ => Self::Characters(limits::DESCRIPTION_CHARS_MAX),
        }
    }

    fn allows(self, description: &str) -> bool {
        match self {
            Self::Bytes(limit) => description.len() <= limit,
            Self::Characters(limit) => description.chars().count() <= limit,
        }
    }
}

/// Whether a funding source may be chosen for a channel: WeChat's of the old kind, and QQ's.
fn may_choose_funds(channel: &str) -> bool {
    const CHANNELS: [&str; 8] =
        ["wx", "wx_pub", "wx_pub_qr", "wx_lite", "wx_wap", "wx_pub_scan", "qpay", "qpay_pub"];
    CHANNELS.contains(&channel)
}

/// What the decision about a batch depends on, as it was read.
#[derive(Debug, Clone, Default)]
pub struct BatchSnapshot {
    pub charges: HashMap<ChargeId, Charge>,
    pub accounts: HashMap<FundingSource, Account>,
    /// Months that have batches, yyMM.
    pub months: HashSet<String>,
    /// The batch that has the request's number, and its fingerprint.
    pub guard: Option<(RefundBatchId, Fingerprint)>,
}

impl BatchSnapshot {
    /// Whether charges and these funds are as they were in an earlier read: then they all were so at the moment between
    /// both.
    pub fn has_the_same_money(&self, earlier: &Self, source: FundingSource) -> bool {
        self.charges == earlier.charges && self.accounts.get(&source) == earlier.accounts.get(&source)
    }

    /// What is left of a charge, in minor units.
    pub fn refundable(&self, charge: &ChargeId) -> Option<u64> {
        self.charges.get(charge).map(Charge::refundable)
    }
}

/// What is decided of a request.
#[derive(Debug, Clone)]
pub enum Creating {
    /// The number's batch was asked for by the same body before.
    Replay(RefundBatchId),
    Refused(BatchRefusal),
    /// Some of what stands in the way may be held by batches that are not created yet: bring them on first.
    /// What is refused if they all turn out to be.
    Wait {
        batches: Vec<RefundBatchId>,
        refusal: BatchRefusal,
    },
    Create(Box<Plan>),
}

/// A batch that can be put on record.
#[derive(Debug, Clone)]
pub struct Plan {
    pub batch: RefundBatch,
    /// As they will be, with the posting number that was read.
    pub accounts: Vec<(u64, Account)>,
    /// Of the batch's charges, the version that was read.
    pub versions: Vec<u64>,
}

/// What a new batch is made with.
#[derive(Debug, Clone)]
pub struct Created {
    pub id: RefundBatchId,
    /// Unix milliseconds.
    pub at: u64,
}

/// Decides a request by what was read.
pub fn decide_batch(request: &BatchRequest, snapshot: &BatchSnapshot, created: &Created) -> Creating {
    if let Some((id, fingerprint)) = &snapshot.guard {
        return match *fingerprint == request.fingerprint {
            true => Creating::Replay(id.clone()),
            false => Creating::Refused(BatchRefusal::BatchNoReused),
        };
    }
    let (mut items, mut versions, mut named) = (Vec::new(), Vec::new(), HashSet::new());
    for (position, asked) in request.items.iter().enumerate() {
        let charge = snapshot.charges.get(&asked.charge);
        let is_new = named.insert(&asked.charge);
        let accepted = match is_new {
            true => accept(request, asked, charge, &created.id),
            false => Err(ChargeProblem::Repeated),
        };
        match accepted {
            Ok((item, version)) => {
                items.push(item);
                versions.push(version);
            }
            Err(problem) => {
                let refusal = BatchRefusal::Charge { position, problem };
                let holders = charge.into_iter().flat_map(|charge| charge.holds.values());
                let batches: BTreeSet<RefundBatchId> = holders.map(|hold| hold.batch.clone()).collect();
                let is_held = matches!(
                    refusal,
                    BatchRefusal::Charge {
                        problem: ChargeProblem::FullyRefunded | ChargeProblem::AboveRefundable { .. },
                        ..
                    }
                );
                return match is_held && !batches.is_empty() {
                    true => Creating::Wait { batches: batches.into_iter().collect(), refusal },
                    false => Creating::Refused(refusal),
                };
            }
        }
    }
    let key = RefundBatchKey { tenant: request.tenant.clone(), id: created.id.clone() };
    let (holds, accounts) = match take(request, &key, &items, snapshot, created.at) {
        Ok(taken) => taken,
        Err(refusal) => return Creating::Refused(refusal),
    };
    let is_whole = items.len() <= limits::charges_held_at_once();
    let batch = RefundBatch {
        key,
        batch_no: request.batch_no.clone(),
        fingerprint: request.fingerprint,
        currency: Some(request.currency.clone()),
        description: request.description.clone(),
        metadata: request.metadata.clone(),
        at: created.at,
        state: if is_whole { BatchState::Created } else { BatchState::Creating },
        items,
        holds,
        releases: Vec::new(),
    };
    Creating::Create(Box::new(Plan { batch, accounts, versions }))
}

/// The refund of one charge, with the charge's version; or why not.
fn accept(
    request: &BatchRequest,
    asked: &AskedCharge,
    charge: Option<&Charge>,
    batch: &RefundBatchId,
) -> Result<(BatchItem, u64), ChargeProblem> {
    let charge = charge.ok_or(ChargeProblem::Unknown)?;
    if !charge.paid {
        return Err(ChargeProblem::NotPaid);
    }
    if charge.currency != request.currency {
        return Err(ChargeProblem::WrongCurrency);
    }
    if asked.funding_source.is_some() && !may_choose_funds(charge.channel.as_str()) {
        return Err(ChargeProblem::FundingSourceNotAllowed);
    }
    // The batch's own is limited whatever the charge says for itself, as the document has it.
    let limit = DescriptionLimit::of_channel(charge.channel.as_str());
    if !limit.allows(&request.description) {
        return Err(ChargeProblem::DescriptionTooLong { of_batch: true, limit });
    }
    if asked.description.as_ref().is_some_and(|description| !limit.allows(description)) {
        return Err(ChargeProblem::DescriptionTooLong { of_batch: false, limit });
    }
    let refundable = charge.refundable();
    let all = MinorUnits::new(refundable).map_err(|_| ChargeProblem::FullyRefunded)?;
    let amount = asked.amount.unwrap_or(all);
    if amount > all {
        return Err(ChargeProblem::AboveRefundable { refundable });
    }
    let item = BatchItem {
        charge: asked.charge.clone(),
        refund: RefundId::of_charge(&request.tenant, batch, &asked.charge),
        amount,
        description: asked.description.clone(),
        funding_source: asked.funding_source,
        channel: charge.channel.clone(),
        order_no: charge.order_no.clone(),
        transaction_no: charge.transaction_no.clone(),
    };
    Ok((item, charge.version))
}

/// Postings, and the accounts as they will be with the posting number that was read.
type Moved = (Vec<FundsPosting>, Vec<(u64, Account)>);

/// Takes what `items` refund from the app's accounts.
fn take(
    request: &BatchRequest,
    batch: &RefundBatchKey,
    items: &[BatchItem],
    snapshot: &BatchSnapshot,
    at: u64,
) -> Result<Moved, BatchRefusal> {
    let mut taken: Moved = Default::default();
    for (source, total) in totals(items.iter()) {
        let insufficient = BatchRefusal::InsufficientFunds { source };
        let Some(account) = snapshot.accounts.get(&source) else { return Err(insufficient) };
        if account.currency != request.currency {
            return Err(BatchRefusal::FundsCurrency { source });
        }
        let read = account.sequence;
        let mut account = account.clone();
        let cause = Cause::Hold { batch: batch.id.as_str() };
        let Ok(posting) = post(&mut account, cause, source, total, at) else { return Err(insufficient) };
        taken.0.push(posting);
        taken.1.push((read, account));
    }
    Ok(taken)
}

/// What items come to, by the account that pays for them.
fn totals<'a>(items: impl Iterator<Item = &'a BatchItem>) -> BTreeMap<FundingSource, u64> {
    let mut totals = BTreeMap::new();
    for item in items {
        *totals.entry(item.source()).or_default() += item.amount.value();
    }
    totals
}

fn post(
    account: &mut Account,
    cause: Cause<'_>,
    source: FundingSource,
    total: u64,
    at: u64,
) -> Result<FundsPosting, InvalidMoney> {
    let amount = MinorUnits::new(total)?;
    let (key, currency) = (account.key.clone(), account.currency.clone());
    let facts = PostingFacts { account: &key, currency: &currency, amount: amount.amount()?, cause, at };
    let posting = account.post(&facts)?;
    Ok(FundsPosting { source, amount, at, posting, refunds: Vec::new() })
}

impl RefundBatch {
    pub fn charge_key(&self, item: &BatchItem) -> ChargeKey {
        ChargeKey { tenant: self.key.tenant.clone(), id: item.charge.clone() }
    }

    /// The charges that the first transaction holds.
    pub fn first_items(&self) -> &[BatchItem] {
        self.items.get(..limits::charges_held_at_once()).unwrap_or(&self.items)
    }

    /// The charges that are held by the second one.
    pub fn further_items(&self) -> &[BatchItem] {
        self.items.get(limits::charges_held_at_once()..).unwrap_or_default()
    }

    /// Gives back what was taken for `items`: the postings, and the accounts as they will be with the posting
    /// number that was read.
    ///
    /// # Errors
    /// If an account is missing, or would hold more than it can.
    pub fn give_back<'a>(
        &self,
        items: impl Iterator<Item = &'a BatchItem>,
        accounts: &HashMap<FundingSource, Account>,
        at: u64,
    ) -> Result<Moved, InvalidMoney> {
        let mut given: Moved = Default::default();
        let items: Vec<&BatchItem> = items.collect();
        for (source, total) in totals(items.iter().copied()) {
            let mut account = accounts.get(&source).ok_or(InvalidMoney::Insufficient)?.clone();
            let read = account.sequence;
            let cause = Cause::Release { batch: self.key.id.as_str() };
            let mut posting = post(&mut account, cause, source, total, at)?;
            let of_source = items.iter().filter(|item| item.source() == source);
            posting.refunds = of_source.map(|item| item.refund.clone()).collect();
            given.0.push(posting);
            given.1.push((read, account));
        }
        Ok(given)
    }

    /// Whether the money of a failed refund was given back.
    pub fn has_given_back(&self, refund: &RefundId) -> bool {
        self.releases.iter().any(|release| release.refunds.contains(refund))
    }

    /// The items whose money goes back, and the batch's end by its refunds; no end while some are undecided.
    pub fn end(&self, refunds: &HashMap<RefundId, ItemRefund>) -> (Option<BatchEnd>, Vec<&BatchItem>) {
        let (mut failed, mut is_decided) = (Vec::new(), true);
        for item in &self.items {
            match refunds.get(&item.refund).map(|refund| &refund.state) {
                None | Some(ItemState::Pending { .. }) => is_decided = false,
                Some(ItemState::Succeeded { .. }) => {}
                Some(ItemState::Failed { .. }) => failed.push(item),
            }
        }
        let end = match failed.len() {
            0 => BatchEnd::Succeeded,
            count if count == self.items.len() => BatchEnd::Failed,
            _ => BatchEnd::PartiallySucceeded,
        };
        (is_decided.then_some(end), failed)
    }
}

impl RefundId {
    /// The id of a batch's refund of a charge: `re_` and 24 letters and digits. It follows from both, so whoever
    /// brings the batch on means the same refund.
    pub fn of_charge(tenant: &TenantKey, batch: &RefundBatchId, charge: &ChargeId) -> Self {
        let mut digest = FieldDigest::new("chargeRefundId/1");
        digest.field(tenant.as_str());
        digest.field(batch.as_str());
        digest.field(charge.as_str());
        Self::recorded(&format!("re_{}", digest.finish().letters()))
    }

    /// What a payment channel knows the refund by: the id without its prefix.
    pub fn order_no(&self) -> &str {
        self.as_str().strip_prefix("re_").unwrap_or_default()
    }
}
