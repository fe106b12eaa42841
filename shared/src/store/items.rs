//! Items: how tenants, accounts, debits and request records stand in the table, and how they are read back. What
//! is not exactly as it was written is reported as damaged, never guessed at.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use rust_decimal::Decimal;

use super::StoreError;
use super::attribute::{EXPIRES, INDEX_PARTITION_KEY, INDEX_SORT_KEY, PARTITION_KEY, SORT_KEY};
use crate::ledger::{
    Account, AccountKey, Amount, Balance, CredentialKey, Debit, DebitId, DebitKey, DebitState, Direction,
    Fingerprint, Hash, Movement, MovementKey, Posting, Refund, RefundRequest, RefundedBy, Refusal,
    RequestKey, RequestRecord, Snapshot, Taking, TenantKey, exact_decimal,
};
use crate::limits;

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const ACCOUNT: &str = "ACCOUNT";
pub(super) const TENANT: &str = "TENANT";
pub(super) const CREDENTIAL: &str = "CREDENTIAL";
pub(super) const REQUEST: &str = "REQUEST";
pub(super) const PAYMENT_PREFIX: &str = "PAYMENT#";
/// The hash over what of a payment never changes.
pub(super) const SEAL: &str = "seal";
pub(super) const MOVEMENT_PREFIX: &str = "MOVEMENT#";

/// Name the layouts of hashed bytes, for whoever checks them later.
const REFUND_VERSION: u64 = 1;
const TAKING_VERSION: u64 = 1;
const MOVEMENT_VERSION: u64 = 1;

const OPEN: &str = "open";
const SETTLED: &str = "settled";
const REFUNDED: &str = "refunded";
/// What stands in a debit's place whose refund was asked for before it came.
pub(super) const ASKED: &str = "refund_asked";

// ---- keys ----

pub(super) fn key(partition: &str, sort: &str) -> Item {
    [(PARTITION_KEY, partition), (SORT_KEY, sort)]
        .into_iter()
        .map(|(name, value)| text(name, value))
        .collect()
}

pub(super) fn tenant_key(tenant: &TenantKey) -> Item {
    key(tenant.as_str(), TENANT)
}

pub(super) fn credential_key(credential: &CredentialKey) -> Item {
    key(credential.as_str(), CREDENTIAL)
}

pub(super) fn account_key(account: &AccountKey) -> Item {
    key(account.as_str(), ACCOUNT)
}

pub(super) fn debit_key(debit: &DebitKey) -> Item {
    key(debit.account.as_str(), &format!("{PAYMENT_PREFIX}{}", debit.id))
}

pub(super) fn movement_key(movement: &MovementKey) -> Item {
    key(movement.account.as_str(), &format!("{MOVEMENT_PREFIX}{}", movement.id))
}

/// Where a request's record lies: by itself, or, for a part of a request, with the part's account.
pub(super) fn request_key(request: &RefundRequest) -> Item {
    match &request.part {
        None => key(request.key.as_str(), REQUEST),
        Some(account) => key(account.as_str(), &format!("{REQUEST}#{}", request.key.within_tenant())),
    }
}

/// The partition that an item or a key is of; empty for what is none.
pub(super) fn partition(item: &Item) -> &str {
    item.get(PARTITION_KEY).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

// ---- writing ----

pub(super) fn text(name: &str, value: &str) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value.to_owned()))
}

pub(super) fn number(name: &str, value: impl ToString) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::N(value.to_string()))
}

pub(super) fn bytes(name: &str, value: &[u8]) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::B(Blob::new(value)))
}

pub(super) fn texts(name: &str, values: &[String]) -> (String, AttributeValue) {
    (
        name.to_owned(),
        AttributeValue::L(values.iter().map(|value| AttributeValue::S(value.clone())).collect()),
    )
}

pub(super) fn map(members: impl IntoIterator<Item = (String, AttributeValue)>) -> AttributeValue {
    AttributeValue::M(members.into_iter().collect())
}

pub(super) fn settings_item(tenant: &TenantKey, settings: &str, version: u64) -> Item {
    let mut item = tenant_key(tenant);
    item.extend([text("settings", settings), number("version", version)]);
    item
}

pub(super) fn account_item(account: &Account) -> Item {
    let mut item = account_key(&account.key);
    item.extend([
        text("currency", account.currency.as_str()),
        number("balance", account.balance),
        number("opening", account.opening),
        number("sequence", account.sequence),
        bytes("head", account.head.as_bytes()),
    ]);
    item
}

pub(super) fn debit_item(debit: &Debit) -> Item {
    let mut item = debit_key(&debit.key);
    item.extend([
        text(INDEX_PARTITION_KEY, &index_partition(&debit.key)),
        text(INDEX_SORT_KEY, "PAYMENT"),
        text("roundCode", debit.round.as_str()),
        number("amount", debit.amount),
        text("state", debit.state.as_str()),
    ]);
    if let Some(taking) = &debit.taken {
        item.insert("taken".to_owned(), taking_value(taking));
    }
    if let DebitState::Refunded(refund) = &debit.state {
        item.insert("refund".to_owned(), refund_value(refund));
    }
    item.extend(debit.asked.map(|at| number("askedAt", at)));
    item.extend(debit.seal().map(|seal| bytes(SEAL, seal.as_bytes())));
    item
}

/// What stands in a debit's place whose refund was asked for, and that is not there. It may vanish once no provider
/// asks for that refund again.
pub(super) fn tombstone_item(debit: &DebitKey, at: u64) -> Item {
    let mut item = debit_key(debit);
    item.extend([text("state", ASKED), number("at", at), expires(at, limits::TOMBSTONE_KEPT)]);
    item
}

pub(super) fn movement_item(movement: &Movement) -> Item {
    let mut item = movement_key(&movement.key);
    item.extend([
        number("version", MOVEMENT_VERSION),
        text("direction", movement.direction.as_str()),
        number("amount", movement.amount),
        text("reason", movement.reason.as_str()),
        number("at", movement.at),
    ]);
    item.extend(posting_members(&movement.posting));
    item
}

fn taking_value(taking: &Taking) -> AttributeValue {
    let facts = [number("version", TAKING_VERSION), number("at", taking.at)];
    map(facts.into_iter().chain(posting_members(&taking.posting)))
}

/// When what was written `at` (Unix milliseconds) may vanish.
pub(super) fn expires(at: u64, kept: Duration) -> (String, AttributeValue) {
    number(EXPIRES, expiry(at, kept))
}

/// Unix seconds.
pub(super) fn expiry(at: u64, kept: Duration) -> u64 {
    (at / 1_000).saturating_add(kept.as_secs())
}

/// Where a bet is found by its `seqNo` alone: under its tenant, which is the account's path less the holder.
pub(super) fn index_partition(debit: &DebitKey) -> String {
    debit_partition(&debit.account.tenant(), &debit.id)
}

pub(super) fn debit_partition(tenant: &TenantKey, debit: &DebitId) -> String {
    format!("{tenant}#debit#{debit}")
}

pub(super) fn refund_value(refund: &Refund) -> AttributeValue {
    let facts = [
        number("version", REFUND_VERSION),
        number("amount", refund.amount),
        text("by", refund.by.as_str()),
        text("request", refund.request.as_str()),
        number("at", refund.at),
    ];
    map(facts.into_iter().chain(posting_members(&refund.posting)))
}

pub(super) fn posting_members(posting: &Posting) -> [(String, AttributeValue); 5] {
    [
        number("sequence", posting.sequence),
        number("before", posting.before),
        number("after", posting.after),
        bytes("previous", posting.previous.as_bytes()),
        bytes("hash", posting.hash.as_bytes()),
    ]
}

/// The positions of refused items by the reason, in ranges: a large request's record stays small.
fn refused_value(record: &RequestRecord) -> AttributeValue {
    let mut positions: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, refusal) in &record.refused {
        positions.entry(refusal.as_str()).or_default().push(*position);
    }
    let ranges = |(refusal, positions): (&str, Vec<usize>)| text(refusal, &ranges_text(&positions));
    AttributeValue::M(positions.into_iter().map(ranges).collect())
}

/// `0-2,5` for 0, 1, 2 and 5.
fn ranges_text(positions: &[usize]) -> String {
    let ranges = positions.chunk_by(|position, next| position + 1 == *next).map(|range| match range {
        [first, .., last] => format!("{first}-{last}"),
        single => single.iter().map(usize::to_string).collect(),
    });
    ranges.collect::<Vec<String>>().join(",")
}

fn ranges_positions(text: &str) -> Option<Vec<usize>> {
    let mut positions = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        // In their order, and none twice: no text is worth more than the positions there are.
        let is_next = positions.last().is_none_or(|before| *before < first);
        if first > last || last >= limits::ITEMS_PER_REQUEST_MAX || !is_next {
            return None;
        }
        positions.extend(first..=last);
    }
    Some(positions)
}

/// `at` is when the record was last written, in Unix milliseconds.
pub(super) fn record_item(request: &RefundRequest, record: &RequestRecord, at: u64) -> Item {
    let mut item = request_key(request);
    item.extend([
        bytes("fingerprint", record.fingerprint.as_bytes()),
        number("version", record.version),
        ("refused".to_owned(), refused_value(record)),
        number("at", at),
        expires(at, limits::REQUEST_RECORD_KEPT),
    ]);
    item
}

// ---- reading ----

/// What an item under a debit's key is.
pub(super) enum Payment {
    Debit(Box<Debit>),
    /// The debit is not there, and since then (Unix milliseconds) its refund is asked for.
    Tombstone {
        debit: DebitKey,
        since: u64,
    },
}

/// Reads an item's attributes, and says which one is wrong.
pub(super) struct Reader<'a> {
    item: &'a Item,
    key: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(item: &'a Item) -> Self {
        let part = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("?", String::as_str);
        Self { item, key: format!("{} {}", part(PARTITION_KEY), part(SORT_KEY)) }
    }

    pub(super) fn inside(&self, item: &'a Item) -> Self {
        Self { item, key: self.key.clone() }
    }

    pub(super) fn damaged(&self, what: impl ToString) -> StoreError {
        StoreError::Damaged { key: self.key.clone(), what: what.to_string() }
    }

    pub(super) fn get<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a AttributeValue) -> Option<T>,
    ) -> Result<T, StoreError> {
        let value = self.item.get(name).ok_or_else(|| self.damaged(format!("{name} is missing")))?;
        read(value).ok_or_else(|| self.damaged(format!("{name} can't be read")))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, StoreError> {
        self.get(name, |value| value.as_s().ok().map(String::as_str))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.item.contains_key(name)
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.has(name).then(|| self.text(name).map(str::to_owned)).transpose()
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.get(name, |value| value.as_s().ok()?.parse().ok())
    }

    pub(super) fn integer(&self, name: &str) -> Result<u64, StoreError> {
        self.get(name, |value| value.as_n().ok()?.parse().ok())
    }

    fn decimal(&self, name: &str) -> Result<Decimal, StoreError> {
        self.get(name, |value| exact_decimal(value.as_n().ok()?).ok())
    }

    pub(super) fn amount(&self, name: &str) -> Result<Amount, StoreError> {
        Amount::new(self.decimal(name)?).map_err(|error| self.damaged(format!("{name} {error}")))
    }

    pub(super) fn balance(&self, name: &str) -> Result<Balance, StoreError> {
        self.decimal(name).map(Balance::recorded)
    }

    pub(super) fn hash(&self, name: &str) -> Result<Hash, StoreError> {
        self.get(name, |value| Hash::recorded(value.as_b().ok()?.as_ref()))
    }

    /// The maps of a list.
    pub(super) fn maps(&self, name: &str) -> Result<Vec<Self>, StoreError> {
        let values = self.get(name, |value| value.as_l().ok())?;
        let map = |value: &'a AttributeValue| value.as_m().ok().map(|item| self.inside(item));
        values
            .iter()
            .map(map)
            .collect::<Option<_>>()
            .ok_or_else(|| self.damaged(format!("{name} can't be read")))
    }

    /// The texts of a list.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.get(name, |value| value.as_l().ok()?.iter().map(|text| text.as_s().ok().cloned()).collect())
    }

    pub(super) fn posting(&self) -> Result<Posting, StoreError> {
        Ok(Posting {
            sequence: self.integer("sequence")?,
            before: self.balance("before")?,
            after: self.balance("after")?,
            previous: self.hash("previous")?,
            hash: self.hash("hash")?,
        })
    }

    pub(super) fn map(&self, name: &str) -> Result<&'a Item, StoreError> {
        self.get(name, |value| value.as_m().ok())
    }

    pub(super) fn account(&self) -> Result<Account, StoreError> {
        Ok(Account {
            key: AccountKey::recorded(self.text(PARTITION_KEY)?),
            currency: self.parsed("currency")?,
            balance: self.balance("balance")?,
            opening: self.balance("opening")?,
            sequence: self.integer("sequence")?,
            head: self.hash("head")?,
        })
    }

    fn debit_key(&self) -> Result<DebitKey, StoreError> {
        let id = self.get(SORT_KEY, |value| value.as_s().ok()?.strip_prefix(PAYMENT_PREFIX)?.parse().ok())?;
        Ok(DebitKey { account: AccountKey::recorded(self.text(PARTITION_KEY)?), id })
    }

    pub(super) fn payment(&self) -> Result<Payment, StoreError> {
        Ok(match self.text("state")? {
            ASKED => Payment::Tombstone { debit: self.debit_key()?, since: self.integer("at")? },
            _ => Payment::Debit(Box::new(self.debit()?)),
        })
    }

    fn debit(&self) -> Result<Debit, StoreError> {
        let state = match self.text("state")? {
            OPEN => DebitState::Open,
            SETTLED => DebitState::Settled,
            REFUNDED => DebitState::Refunded(self.inside(self.map("refund")?).refund()?),
            other => return Err(self.damaged(format!("state is {other:?}"))),
        };
        Ok(Debit {
            key: self.debit_key()?,
            round: self.parsed("roundCode")?,
            amount: self.amount("amount")?,
            taken: match self.has("taken") {
                true => Some(self.inside(self.map("taken")?).taking()?),
                false => None,
            },
            asked: self.has("askedAt").then(|| self.integer("askedAt")).transpose()?,
            state,
        })
    }

    fn taking(&self) -> Result<Taking, StoreError> {
        Ok(Taking { at: self.integer("at")?, posting: self.posting()? })
    }

    pub(super) fn movement(&self) -> Result<Movement, StoreError> {
        let id =
            self.get(SORT_KEY, |value| value.as_s().ok()?.strip_prefix(MOVEMENT_PREFIX)?.parse().ok())?;
        Ok(Movement {
            key: MovementKey { account: AccountKey::recorded(self.text(PARTITION_KEY)?), id },
            direction: self.get("direction", |value| Direction::recorded(value.as_s().ok()?))?,
            amount: self.amount("amount")?,
            reason: self.parsed("reason")?,
            at: self.integer("at")?,
            posting: self.posting()?,
        })
    }

    fn refund(&self) -> Result<Refund, StoreError> {
        Ok(Refund {
            amount: self.amount("amount")?,
            by: self.get("by", |value| RefundedBy::recorded(value.as_s().ok()?))?,
            request: RequestKey::recorded(self.text("request")?),
            at: self.integer("at")?,
            posting: self.posting()?,
        })
    }

    pub(super) fn record(&self) -> Result<RequestRecord, StoreError> {
        let mut refused = BTreeMap::new();
        for (refusal, positions) in self.map("refused")? {
            let read =
                Refusal::recorded(refusal).zip(positions.as_s().ok().and_then(|text| ranges_positions(text)));
            let (refusal, positions) = read.ok_or_else(|| self.damaged("refused can't be read"))?;
            refused.extend(positions.into_iter().map(|position| (position, refusal)));
        }
        let fingerprint = |value: &AttributeValue| Fingerprint::recorded(value.as_b().ok()?.as_ref());
        Ok(RequestRecord {
            fingerprint: self.get("fingerprint", fingerprint)?,
            version: self.integer("version")?,
            refused,
        })
    }
}

/// Takes an item into `snapshot`, in the place of what it held under the same key.
pub(super) fn take_in(snapshot: &mut Snapshot, item: &Item) -> Result<(), StoreError> {
    let reader = Reader::new(item);
    match reader.text(SORT_KEY)? {
        ACCOUNT => {
            let account = reader.account()?;
            snapshot.accounts.insert(account.key.clone(), account);
        }
        sort if sort.starts_with(PAYMENT_PREFIX) => match reader.payment()? {
            Payment::Debit(debit) => {
                snapshot.tombstones.remove(&debit.key);
                snapshot.debits.insert(debit.key.clone(), *debit);
            }
            Payment::Tombstone { debit, since } => {
                snapshot.tombstones.insert(debit, since);
            }
        },
        sort if sort.starts_with(MOVEMENT_PREFIX) => {
            let movement = reader.movement()?;
            snapshot.movements.insert(movement.key.clone(), movement);
        }
        _ => snapshot.record = Some(reader.record()?),
    }
    Ok(())
}

// ---- sizes ----

/// What one action of a transaction costs: 2 write units for each KB begun of the item.
pub(super) fn transaction_write_units(item: &Item) -> u64 {
    2 * (item_bytes(item) as u64).div_ceil(1_024)
}

/// What a refused write by itself costs: a write unit for each KB begun of the item that is there, and at least one.
pub(super) fn refused_write_units(item: Option<&Item>) -> u64 {
    item.map_or(1, |item| (item_bytes(item) as u64).div_ceil(1_024).max(1))
}

/// An item's size as DynamoDB counts it: names and values in UTF-8, numbers by their digits.
fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::M(members) => 3 + members.len() + item_bytes(members),
        AttributeValue::L(values) => 3 + values.len() + values.iter().map(value_bytes).sum::<usize>(),
        _ => 1, // the ledger writes no other types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_in_ranges_and_read_back() {
        for (positions, text) in
            [(vec![0], "0"), (vec![0, 1, 2], "0-2"), (vec![0, 2, 3, 7, 9_999], "0,2-3,7,9999")]
        {
            assert_eq!(ranges_text(&positions), text);
            assert_eq!(ranges_positions(text), Some(positions));
        }
        for text in [
            "",
            "x",
            "2-1",
            "0-1,1",
            "3,2",
            "0-9,0-9",
            "1-",
            "-1",
            "0-10000",
            "0-18446744073709551615",
            "0-99999999999999999999",
        ] {
            assert_eq!(ranges_positions(text), None, "{text:?}");
        }
    }
}
