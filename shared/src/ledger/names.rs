//! The names of things: whose account, which debit, which request. Each name is a type of its own, so
//! that none can be passed for another.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::limits;

/// Why a text can't be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("is empty")]
    Empty,
    #[error("is longer than {0} characters")]
    TooLong(usize),
    #[error("has a control character")]
    ControlCharacter,
}

fn checked_text(text: &str, chars_max: usize) -> Result<String, InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    if text.chars().count() > chars_max {
        return Err(InvalidText::TooLong(chars_max));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    Ok(text.to_owned())
}

/// A provider's own id, kept as the provider writes it; so many characters at most.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $chars_max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                checked_text(text, $chars_max).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name! {
    /// The provider's id of one debit: eBET's `seqNo` of a bet.
    DebitId, limits::TEXT_CHARS_MAX
}
text_name! {
    /// The game round a debit belongs to: eBET's `roundCode`.
    RoundCode, limits::TEXT_CHARS_MAX
}
text_name! {
    /// The operator's own id of a movement of money, unique within its account.
    MovementId, limits::TEXT_CHARS_MAX
}
text_name! {
    /// Why money moves, as the operator's books have it: `payout`, `deposit`, `correction`.
    Reason, limits::TEXT_CHARS_MAX
}
text_name! {
    /// The order that an application asks the refund of.
    OrderNo, limits::TEXT_CHARS_MAX
}
text_name! {
    /// The number that a merchant gives a refund, its own for ever: EPay's `batch_no`. `EndSingle` takes longer
    /// ones than `BeginSingle`.
    BatchNo, limits::CONFIRMED_BATCH_NO_CHARS_MAX
}
text_name! {
    /// Where a refund goes to: EPay's `refundaccount`.
    RefundAccount, limits::REFUND_ACCOUNT_CHARS_MAX
}
text_name! {
    /// The payment provider's number of what it has paid: EPay's `trandeno`.
    TradeNo, limits::TRADE_NO_CHARS_MAX
}

text_name! {
    /// The payment platform's id of a charge: Ping++'s `ch_…`.
    ChargeId, limits::TEXT_CHARS_MAX
}
text_name! {
    /// The number that a merchant gives a batch of refunds: Ping++'s `batch_no`.
    MerchantBatchNo, limits::MERCHANT_BATCH_NO_CHARS_MAX
}
text_name! {
    /// Which way a charge was paid: Ping++'s `channel`, such as `wx_pub`.
    ChannelName, limits::CHANNEL_NAME_CHARS_MAX
}
text_name! {
    /// The payment channel's own number of a charge: Ping++'s `transaction_no`.
    TransactionNo, limits::TEXT_CHARS_MAX
}

/// A key is a path of parts, joined by `#`. Parts that a caller gives are escaped, so that no caller can
/// write a path that leads into another tenant's.
macro_rules! path_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The path, escaped: unique for what it names, and what its hash chain is bound to.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A path as the ledger wrote it.
            pub fn recorded(path: &str) -> Self {
                Self(path.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

path_name! {
    /// Who calls: `ebet#<channelId>`, `epay#<merchant>`.
    TenantKey
}
path_name! {
    /// A secret that names its tenant, by its hash alone: `key#epay#<sha256>`.
    CredentialKey
}
path_name! {
    /// A balance: `ebet#<channelId>#<username>`.
    AccountKey
}
path_name! {
    /// The caller's number of a request, within its tenant and operation; what is executed under it is
    /// executed once: `ebet#<channelId>#request#<event>#<seqNo>`.
    RequestKey
}

impl RequestKey {
    /// The operation and the number, `<event>#<seqNo>`: what names the request within its tenant.
    pub fn within_tenant(&self) -> &str {
        let number = self.0.rfind('#').unwrap_or_default();
        let operation = self.0.get(..number).and_then(|path| path.rfind('#')).map_or(0, |before| before + 1);
        self.0.get(operation..).unwrap_or_default()
    }
}

impl AccountKey {
    /// The path less the holder.
    pub fn tenant(&self) -> TenantKey {
        TenantKey(self.0.rsplit_once('#').map_or(self.0.as_str(), |(tenant, _holder)| tenant).to_owned())
    }

    /// Who holds it, as people write it: a player, a funding source.
    pub fn holder(&self) -> String {
        unescaped(self.0.rsplit('#').next().unwrap_or_default())
    }
}

impl CredentialKey {
    /// `provider` is ours and needs no escaping.
    pub fn new(provider: &'static str, secret: &str) -> Self {
        let hash = Sha256::digest(secret);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("key#{provider}#{hex}"))
    }

    /// The secret's SHA-256 in hex.
    pub fn hash(&self) -> &str {
        self.0.rsplit('#').next().unwrap_or_default()
    }
}

impl TenantKey {
    /// One of several modes of a tenant, each a tenant of its own.
    pub fn in_mode(provider: &'static str, id: &str, mode: &'static str) -> Self {
        Self(format!("{provider}#{}#{mode}", escaped(id)))
    }

    /// `provider` is ours and needs no escaping; `id` is what the provider calls its tenant by.
    pub fn new(provider: &'static str, id: &str) -> Self {
        Self(format!("{provider}#{}", escaped(id)))
    }

    /// Where the batches of a month lie.
    pub fn batches(&self, month: &str) -> String {
        format!("{}#batches#{}", self.0, escaped(month))
    }

    /// Where a merchant's number of a batch is kept.
    pub fn numbered_batch(&self, batch_no: &MerchantBatchNo) -> String {
        format!("{}#batchno#{}", self.0, escaped(batch_no.as_str()))
    }

    pub fn account(&self, holder: &str) -> AccountKey {
        AccountKey(format!("{}#{}", self.0, escaped(holder)))
    }

    pub fn request(&self, operation: &'static str, number: &str) -> RequestKey {
        RequestKey(format!("{}#request#{operation}#{}", self.0, escaped(number)))
    }
}

/// One charge of one app in a mode: `pingpp#<app>#<mode>#<charge>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChargeKey {
    pub tenant: TenantKey,
    pub id: ChargeId,
}

impl ChargeKey {
    pub fn path(&self) -> String {
        format!("{}#{}", self.tenant, escaped(self.id.as_str()))
    }
}

/// One batch of refunds of one app in a mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefundBatchKey {
    pub tenant: TenantKey,
    pub id: RefundBatchId,
}

impl RefundBatchKey {
    /// Where the batches of the id's month lie: `pingpp#<app>#<mode>#batches#<yyMM>`.
    pub fn path(&self) -> String {
        self.tenant.batches(self.id.month())
    }
}

/// A batch's own id: `15`, yyMMddHHmmss of when it was made, and four digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefundBatchId(String);

/// Not a batch's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {} digits", RefundBatchId::DIGITS)]
pub struct InvalidBatchId;

impl RefundBatchId {
    const DIGITS: usize = 18;
    /// Where an id tells the year and month.
    const MONTH: std::ops::Range<usize> = 2..6;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id's month, yyMM.
    pub fn month(&self) -> &str {
        self.0.get(Self::MONTH).unwrap_or_default()
    }

    /// The next id in their order, if there is one.
    pub fn next(&self) -> Option<Self> {
        self.0.parse::<u64>().ok()?.checked_add(1).and_then(Self::of_number)
    }

    /// The id before this one, if there is one.
    pub fn previous(&self) -> Option<Self> {
        self.0.parse::<u64>().ok()?.checked_sub(1).and_then(Self::of_number)
    }

    fn of_number(number: u64) -> Option<Self> {
        format!("{number:018}").parse().ok()
    }
}

impl std::str::FromStr for RefundBatchId {
    type Err = InvalidBatchId;

    fn from_str(text: &str) -> Result<Self, InvalidBatchId> {
        let is_id = text.len() == Self::DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_id { Ok(Self(text.to_owned())) } else { Err(InvalidBatchId) }
    }
}

impl fmt::Display for RefundBatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One application of one merchant: `epay#<merchant>#<autoid>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApplicationKey {
    pub merchant: TenantKey,
    /// EPay's `autoid`.
    pub id: i64,
}

impl ApplicationKey {
    pub fn path(&self) -> String {
        format!("{}#{}", self.merchant, self.id)
    }
}

/// One batch number of one merchant: `epay#<merchant>#batchno#<batch_no>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchKey {
    pub merchant: TenantKey,
    pub no: BatchNo,
}

impl BatchKey {
    pub fn path(&self) -> String {
        format!("{}#batchno#{}", self.merchant, escaped(self.no.as_str()))
    }
}

/// One debit of one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DebitKey {
    pub account: AccountKey,
    pub id: DebitId,
}

/// `#` separates parts of a key, and `%` starts an escape, so neither may stand in a part.
pub(crate) fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace('#', "%23")
}

pub(crate) fn unescaped(part: &str) -> String {
    part.replace("%23", "#").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_neither_empty_nor_too_long_nor_has_control_characters() {
        for (text, refused) in [
            ("seqNoBetseqNoRefund".to_owned(), None),
            ("牌".repeat(128), None),
            ("牌".repeat(129), Some(InvalidText::TooLong(128))),
            (String::new(), Some(InvalidText::Empty)),
            ("a\nb".to_owned(), Some(InvalidText::ControlCharacter)),
            ("a\0".to_owned(), Some(InvalidText::ControlCharacter)),
        ] {
            assert_eq!(text.parse::<DebitId>().err(), refused, "{text:?}");
        }
    }

    #[test]
    fn a_request_is_named_within_its_tenant_by_operation_and_number() {
        for (tenant, number, name) in
            [("1", "r", "call#r"), ("request#1", "r#2", "call#r%232"), ("1", "", "call#")]
        {
            assert_eq!(TenantKey::new("ebet", tenant).request("call", number).within_tenant(), name);
        }
    }

    #[test]
    fn a_secret_is_known_by_its_hash_alone() {
        let key = CredentialKey::new("epay", "demo");
        assert_eq!(key.hash(), "2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea");
        assert_eq!(key.as_str(), format!("key#epay#{}", key.hash()));
    }

    proptest! {
        #[test]
        fn no_batch_number_leads_into_another_partition(merchant in "[a-z#%0-9]{1,8}", no in "[a-z#%0-9]{1,12}", id: i64) {
            let merchant = TenantKey::new("epay", &merchant);
            let batch = BatchKey { merchant: merchant.clone(), no: no.parse().unwrap() }.path();
            prop_assert_eq!(batch.matches('#').count(), 3);
            prop_assert_ne!(batch, ApplicationKey { merchant, id }.path());
        }

        #[test]
        fn different_holders_never_share_an_account(a in "[a-z#%0-9]{1,12}", b in "[a-z#%0-9]{1,12}", c in "[a-z#%0-9]{1,12}") {
            let path = |tenant: &str, holder: &str| TenantKey::new("ebet", tenant).account(holder);
            prop_assert_eq!(path(&a, &b) == path(&a, &c), b == c);
            prop_assert_eq!(path(&a, &c) == path(&b, &c), a == b);
            prop_assert_eq!(path(&a, &b).as_str().matches('#').count(), 2);
        }
    }
}
