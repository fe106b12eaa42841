//! Items of batches of refunds: charges, the batch, its number's guard, and its refunds.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;

use super::StoreError;
use super::attribute::{INDEX_PARTITION_KEY, INDEX_SORT_KEY, PARTITION_KEY, SORT_KEY};
use super::items::{self, Item, Reader, bytes, map, number, text};
use crate::ledger::{
    AccountKey, BatchEnd, BatchItem, BatchState, CHARGES_PREFIX, Charge, ChargeKey, Fingerprint,
    FundingSource, FundsPosting, Hold, ItemRefund, ItemState, MerchantBatchNo, MinorUnits, RefundBatch,
    RefundBatchId, RefundBatchKey, RefundId, TenantKey,
};

pub(super) const CHARGE: &str = "PAYMENT";
pub(super) const GUARD: &str = "GUARD";
pub(super) const MONTHS: &str = "MONTHS";
pub(super) const REFUND_PREFIX: &str = "REFUND#";

pub(super) const CREATING: &str = "creating";
pub(super) const CREATED: &str = "created";
pub(super) const SETTLING: &str = "settling";
pub(super) const VOID: &str = "void";
pub(super) const PENDING: &str = "pending";
pub(super) const SUCCEEDED: &str = "succeeded";
const PARTIALLY_SUCCEEDED: &str = "partially_succeeded";
pub(super) const FAILED: &str = "failed";

/// Partitions of the index that open batches lie in, so that no one of them is busy.
pub(super) const OPEN_SHARDS: u64 = 8;

// ---- keys ----

pub(super) fn charge_key(charge: &ChargeKey) -> Item {
    items::key(&charge.path(), CHARGE)
}

pub(super) fn refund_key(charge: &ChargeKey, refund: &RefundId) -> Item {
    items::key(&charge.path(), &refund_sort(refund))
}

/// Where a refund lies with its charge.
pub(super) fn refund_sort(refund: &RefundId) -> String {
    format!("{REFUND_PREFIX}{refund}")
}

pub(super) fn batch_key(batch: &RefundBatchKey) -> Item {
    items::key(&batch.path(), batch.id.as_str())
}

pub(super) fn guard_key(tenant: &TenantKey, batch_no: &MerchantBatchNo) -> Item {
    items::key(&tenant.numbered_batch(batch_no), GUARD)
}

/// What names the months that have batches.
pub(super) fn months_key(tenant: &TenantKey) -> Item {
    items::key(&format!("{tenant}#batches"), MONTHS)
}

pub(super) fn funds_key(tenant: &TenantKey, source: FundingSource) -> AccountKey {
    tenant.account(source.as_str())
}

/// The partition of the index that an open batch lies in.
pub(super) fn open_partition(shard: u64) -> String {
    format!("{CHARGES_PREFIX}#open#{shard}")
}

/// An open batch, as the index names it, with when it is to be brought on.
pub(super) fn open_batch(item: &Item) -> Option<(String, RefundBatchKey)> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let (path, sort) = (text(PARTITION_KEY)?, text(INDEX_SORT_KEY)?);
    let (tenant, _month) = path.rsplit_once("#batches#")?;
    let (_time, id) = sort.split_once('#')?;
    Some((sort.clone(), RefundBatchKey { tenant: TenantKey::recorded(tenant), id: id.parse().ok()? }))
}

/// The partition of the index that a refund is found in, by its id alone.
pub(super) fn refund_partition(refund: &RefundId) -> String {
    format!("{CHARGES_PREFIX}#refund#{refund}")
}

pub(super) fn shard_of(batch: &RefundBatchKey) -> u64 {
    // An id ends in digits that differ from one to the next; three of them spread evenly.
    let id = batch.id.as_str();
    id.get(id.len() - 3..).and_then(|digits| digits.parse().ok()).unwrap_or(0) % OPEN_SHARDS
}

/// Sorts by when the batch is to be brought on (Unix milliseconds), and names it.
pub(super) fn open_sort(batch: &RefundBatchKey, next_attempt_at: u64) -> String {
    format!("{next_attempt_at:015}#{}", batch.id)
}

// ---- writing ----

pub(super) fn charge_item(charge: &Charge) -> Item {
    let mut item = charge_key(&charge.key);
    item.extend([
        text("tenant", charge.key.tenant.as_str()),
        text("charge", charge.key.id.as_str()),
        text("channel", charge.channel.as_str()),
        text("currency", charge.currency.as_str()),
        text("orderNo", charge.order_no.as_str()),
        number("amount", charge.amount),
        number("refunded", charge.refunded),
        number("refundedBefore", charge.refunded_before),
        bytes(items::SEAL, charge.seal().as_bytes()),
        (
            "holds".to_owned(),
            map(charge.holds.iter().map(|(refund, hold)| (refund.to_string(), hold_value(hold)))),
        ),
        ("paid".to_owned(), AttributeValue::Bool(charge.paid)),
        number("created", charge.created),
        number("version", charge.version),
    ]);
    item.extend(charge.transaction_no.as_ref().map(|no| text("transactionNo", no.as_str())));
    item.extend(charge.time_paid.map(|at| number("timePaid", at)));
    item
}

pub(super) fn hold_value(hold: &Hold) -> AttributeValue {
    map([number("amount", hold.amount), text("batchId", hold.batch.as_str())])
}

pub(super) fn guard_item(batch: &RefundBatch) -> Item {
    let mut item = guard_key(&batch.key.tenant, &batch.batch_no);
    item.extend([text("batchId", batch.key.id.as_str()), bytes("fingerprint", batch.fingerprint.as_bytes())]);
    item
}

pub(super) fn batch_item(batch: &RefundBatch, next_attempt_at: u64) -> Item {
    let mut item = batch_key(&batch.key);
    item.extend([
        text("tenant", batch.key.tenant.as_str()),
        text("batchNo", batch.batch_no.as_str()),
        bytes("fingerprint", batch.fingerprint.as_bytes()),
        bytes(items::SEAL, batch.seal().as_bytes()),
        text("description", &batch.description),
        text("metadata", &batch.metadata),
        number("at", batch.at),
        text("state", state_name(batch.state)),
        ("items".to_owned(), AttributeValue::L(batch.items.iter().map(batch_item_value).collect())),
        ("holds".to_owned(), funds_value(&batch.holds)),
        ("releases".to_owned(), funds_value(&batch.releases)),
    ]);
    item.extend(batch.currency.as_ref().map(|currency| text("currency", currency.as_str())));
    match batch.state {
        BatchState::Ended { at, .. } => item.extend([number("endedAt", at)]),
        BatchState::Void => {}
        BatchState::Creating | BatchState::Created | BatchState::Settling => item.extend([
            text(INDEX_PARTITION_KEY, &open_partition(shard_of(&batch.key))),
            text(INDEX_SORT_KEY, &open_sort(&batch.key, next_attempt_at)),
        ]),
    }
    item
}

pub(super) fn state_name(state: BatchState) -> &'static str {
    match state {
        BatchState::Creating => CREATING,
        BatchState::Created => CREATED,
        BatchState::Settling => SETTLING,
        BatchState::Void => VOID,
        BatchState::Ended { end: BatchEnd::Succeeded, .. } => SUCCEEDED,
        BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. } => PARTIALLY_SUCCEEDED,
        BatchState::Ended { end: BatchEnd::Failed, .. } => FAILED,
    }
}

fn batch_item_value(item: &BatchItem) -> AttributeValue {
    let members = [
        text("charge", item.charge.as_str()),
        text("refund", item.refund.as_str()),
        number("amount", item.amount),
        text("channel", item.channel.as_str()),
        text("orderNo", item.order_no.as_str()),
    ];
    let optional = [
        item.description.as_deref().map(|description| text("description", description)),
        item.funding_source.map(|source| text("source", source.as_str())),
        item.transaction_no.as_ref().map(|no| text("transactionNo", no.as_str())),
    ];
    map(members.into_iter().chain(optional.into_iter().flatten()))
}

pub(super) fn funds_value(postings: &[FundsPosting]) -> AttributeValue {
    let posting = |funds: &FundsPosting| {
        let members =
            [text("source", funds.source.as_str()), number("amount", funds.amount), number("at", funds.at)];
        let refunds = funds.refunds.iter().map(|refund| AttributeValue::S(refund.to_string())).collect();
        let refunds = [("refunds".to_owned(), AttributeValue::L(refunds))];
        map(members.into_iter().chain(refunds).chain(items::posting_members(&funds.posting)))
    };
    AttributeValue::L(postings.iter().map(posting).collect())
}

pub(super) fn refund_item(refund: &ItemRefund) -> Item {
    let mut item = refund_key(&refund.charge, &refund.id);
    item.extend([
        text("tenant", refund.charge.tenant.as_str()),
        text("charge", refund.charge.id.as_str()),
        text("batchId", refund.batch.as_str()),
        number("amount", refund.amount),
        text(INDEX_PARTITION_KEY, &refund_partition(&refund.id)),
        text(INDEX_SORT_KEY, "REFUND"),
    ]);
    match &refund.state {
        ItemState::Pending { url } => item.extend([text("state", PENDING), text("url", url)]),
        ItemState::Succeeded { at } => item.extend([text("state", SUCCEEDED), number("at", at)]),
        ItemState::Failed { at, code, message } => item.extend([
            text("state", FAILED),
            number("at", at),
            text("code", code),
            text("message", message),
        ]),
    }
    item
}

// ---- reading ----

impl Reader<'_> {
    fn tenant(&self) -> Result<TenantKey, StoreError> {
        Ok(TenantKey::recorded(self.text("tenant")?))
    }

    fn minor_units(&self, name: &str) -> Result<MinorUnits, StoreError> {
        MinorUnits::new(self.integer(name)?).map_err(|error| self.damaged(format!("{name} {error}")))
    }

    fn optional_parsed<T: FromStr<Err: ToString>>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.has(name).then(|| self.parsed(name)).transpose()
    }

    fn optional_integer(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.has(name).then(|| self.integer(name)).transpose()
    }

    pub(super) fn fingerprint(&self) -> Result<Fingerprint, StoreError> {
        self.get("fingerprint", |value| Fingerprint::recorded(value.as_b().ok()?.as_ref()))
    }

    fn source(&self) -> Result<FundingSource, StoreError> {
        self.parsed("source")
    }

    pub(super) fn charge_key(&self) -> Result<ChargeKey, StoreError> {
        let key = ChargeKey { tenant: self.tenant()?, id: self.parsed("charge")? };
        if self.text(PARTITION_KEY)? == key.path() {
            Ok(key)
        } else {
            Err(self.damaged("it is not the charge it says"))
        }
    }

    pub(super) fn charge(&self) -> Result<Charge, StoreError> {
        let mut holds = BTreeMap::new();
        for (refund, hold) in self.map("holds")? {
            let hold = hold.as_m().map_err(|_| self.damaged("holds can't be read"))?;
            let hold = self.inside(hold);
            let hold = Hold { amount: hold.minor_units("amount")?, batch: hold.parsed("batchId")? };
            holds.insert(RefundId::recorded(refund), hold);
        }
        Ok(Charge {
            key: self.charge_key()?,
            channel: self.parsed("channel")?,
            currency: self.parsed("currency")?,
            order_no: self.parsed("orderNo")?,
            transaction_no: self.optional_parsed("transactionNo")?,
            amount: self.minor_units("amount")?,
            refunded: self.integer("refunded")?,
            // Nothing of one from before charges said so.
            refunded_before: self.optional_integer("refundedBefore")?.unwrap_or_default(),
            holds,
            paid: self.get("paid", |value| value.as_bool().ok().copied())?,
            created: self.integer("created")?,
            time_paid: self.optional_integer("timePaid")?,
            version: self.integer("version")?,
        })
    }

    pub(super) fn batch_guard(&self) -> Result<(RefundBatchId, Fingerprint), StoreError> {
        Ok((self.parsed("batchId")?, self.fingerprint()?))
    }

    pub(super) fn batch(&self) -> Result<RefundBatch, StoreError> {
        let key = RefundBatchKey { tenant: self.tenant()?, id: self.parsed(SORT_KEY)? };
        if self.text(PARTITION_KEY)? != key.path() {
            return Err(self.damaged("it is not the batch it says"));
        }
        let ended = |end| Ok::<_, StoreError>(BatchState::Ended { end, at: self.integer("endedAt")? });
        let state = match self.text("state")? {
            CREATING => BatchState::Creating,
            CREATED => BatchState::Created,
            SETTLING => BatchState::Settling,
            VOID => BatchState::Void,
            SUCCEEDED => ended(BatchEnd::Succeeded)?,
            PARTIALLY_SUCCEEDED => ended(BatchEnd::PartiallySucceeded)?,
            FAILED => ended(BatchEnd::Failed)?,
            other => return Err(self.damaged(format!("state is {other:?}"))),
        };
        Ok(RefundBatch {
            key,
            batch_no: self.parsed("batchNo")?,
            fingerprint: self.fingerprint()?,
            currency: self.has("currency").then(|| self.parsed("currency")).transpose()?,
            description: self.text("description")?.to_owned(),
            metadata: self.text("metadata")?.to_owned(),
            at: self.integer("at")?,
            state,
            items: self.maps("items")?.iter().map(Reader::accepted).collect::<Result<_, _>>()?,
            holds: self.maps("holds")?.iter().map(Reader::funds).collect::<Result<_, _>>()?,
            releases: self.maps("releases")?.iter().map(Reader::funds).collect::<Result<_, _>>()?,
        })
    }

    fn accepted(&self) -> Result<BatchItem, StoreError> {
        Ok(BatchItem {
            charge: self.parsed("charge")?,
            refund: RefundId::recorded(self.text("refund")?),
            amount: self.minor_units("amount")?,
            description: self.optional_text("description")?,
            funding_source: self.has("source").then(|| self.source()).transpose()?,
            channel: self.parsed("channel")?,
            order_no: self.parsed("orderNo")?,
            transaction_no: self.optional_parsed("transactionNo")?,
        })
    }

    fn funds(&self) -> Result<FundsPosting, StoreError> {
        Ok(FundsPosting {
            source: self.source()?,
            amount: self.minor_units("amount")?,
            at: self.integer("at")?,
            posting: self.posting()?,
            refunds: self.get("refunds", |value| {
                let refunds = value.as_l().ok()?.iter().map(|refund| refund.as_s().ok());
                refunds.map(|refund| refund.map(|id| RefundId::recorded(id))).collect()
            })?,
        })
    }

    pub(super) fn item_refund(&self) -> Result<ItemRefund, StoreError> {
        let id = self.get(SORT_KEY, |value| value.as_s().ok()?.strip_prefix(REFUND_PREFIX))?;
        let state = match self.text("state")? {
            PENDING => ItemState::Pending { url: self.text("url")?.to_owned() },
            SUCCEEDED => ItemState::Succeeded { at: self.integer("at")? },
            FAILED => ItemState::Failed {
                at: self.integer("at")?,
                code: self.text("code")?.to_owned(),
                message: self.text("message")?.to_owned(),
            },
            other => return Err(self.damaged(format!("state is {other:?}"))),
        };
        Ok(ItemRefund {
            id: RefundId::recorded(id),
            charge: self.charge_key()?,
            batch: self.parsed("batchId")?,
            amount: self.minor_units("amount")?,
            state,
            contradiction: self.optional_text("contradiction")?,
        })
    }
}
