//! One entry: parsed into what the ledger takes, or refused with the reason.

use std::fmt::Display;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::ebet::{ChannelId, Username};
use crate::epay::MerchantId;
use crate::ledger::{
    AccountEntry, AccountKey, Application, ApplicationKey, ApplicationState, Balance, BatchNo, Charge,
    Direction, FundingSource, MinorUnits, Reason, TenantKey,
};
use crate::limits;
use crate::pingpp::{AppId, Mode};

/// What is said, and of what.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A player's wallet begins, in its channel's currency.
    Wallet { channel: ChannelId, account: AccountKey, balance: Balance },
    /// Something of an account: a player's wallet, or an app's funds.
    OfAccount { tenant: TenantKey, account: AccountKey, entry: AccountEntry },
    /// A charge was made, or paid.
    Charge(Box<Charge>),
    /// A customer asks for a refund.
    Application(Application),
    /// A customer doesn't ask any more.
    Withdraw { application: ApplicationKey, reason: Option<Reason> },
    /// The payment provider refused the refund under a batch number.
    Fail { application: ApplicationKey, batch_no: BatchNo, reason: Option<Reason> },
}

/// Why a text is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEntry(String);

impl InvalidEntry {
    /// With a reason that may quote any text: a long one is cut.
    pub fn new(text: String) -> Self {
        match text.char_indices().nth(limits::MESSAGE_CHARS_MAX) {
            None => Self(text),
            Some((end, _)) => Self(format!("{}…", text.get(..end).unwrap_or_default())),
        }
    }
}

impl Entry {
    /// The kinds that there are.
    pub const KINDS: [&'static str; 10] = [
        "wallet",
        "debit",
        "credit",
        "withdrawal",
        "settle",
        "charge",
        "funds",
        "application",
        "withdraw",
        "fail",
    ];

    /// The kinds of what is no entry: tenants' settings and keys.
    pub const SETTINGS_KINDS: [&'static str; 4] = ["channel", "merchant", "app", "key"];

    /// Reads one entry's JSON text.
    ///
    /// # Errors
    /// Says what of it is wrong.
    pub fn read(text: &str) -> Result<Self, InvalidEntry> {
        // An array would be read as a struct's members in their order.
        if !text.trim_start().starts_with('{') {
            return Err(InvalidEntry::new("must be an object, {\"kind\": ...}".to_owned()));
        }
        let Kind { kind } = parse(text)?;
        match kind.as_str() {
            "wallet" => parse::<WrittenWallet>(text)?.entry(),
            "debit" => parse::<WrittenDebit>(text)?.entry(),
            "credit" => parse::<WrittenMovement>(text)?.entry(Direction::Credit),
            "withdrawal" => parse::<WrittenMovement>(text)?.entry(Direction::Withdrawal),
            "settle" => parse::<WrittenSettle>(text)?.entry(),
            "charge" => parse::<WrittenCharge>(text)?.entry(),
            "funds" => parse::<WrittenFunds>(text)?.entry(),
            "application" => parse::<WrittenApplication>(text)?.entry(),
            "withdraw" => parse::<WrittenWithdraw>(text)?.entry(),
            "fail" => parse::<WrittenFail>(text)?.entry(),
            kind if Self::SETTINGS_KINDS.contains(&kind) => {
                Err(InvalidEntry::new(format!("{kind} is settings: `refundctl import` puts them on record")))
            }
            _ => Err(InvalidEntry::new(format!("kind {kind:?} is none of {}", Self::KINDS.join(", ")))),
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Wallet { .. } => "wallet",
            Self::OfAccount { tenant, entry, .. } => match entry {
                AccountEntry::Opening { .. } => "wallet",
                AccountEntry::Debit { .. } | AccountEntry::PastDebit { .. } => "debit",
                AccountEntry::Settlement { .. } => "settle",
                AccountEntry::Movement { .. } if AppId::of_tenant(tenant).is_some() => "funds",
                AccountEntry::Movement { direction, .. } => direction.as_str(),
            },
            Self::Charge(_) => "charge",
            Self::Application(_) => "application",
            Self::Withdraw { .. } => "withdraw",
            Self::Fail { .. } => "fail",
        }
    }

    /// What it is known by among those of its kind.
    pub fn id(&self) -> String {
        match self {
            Self::Wallet { account, .. } => holder(account),
            Self::OfAccount { account, entry, .. } => match entry {
                AccountEntry::Opening { .. } => holder(account),
                AccountEntry::Debit { id, .. }
                | AccountEntry::PastDebit { id, .. }
                | AccountEntry::Settlement { id } => id.to_string(),
                AccountEntry::Movement { id, .. } => id.to_string(),
            },
            Self::Charge(charge) => charge.key.id.to_string(),
            Self::Application(Application { key: application, .. })
            | Self::Withdraw { application, .. }
            | Self::Fail { application, .. } => application.id.to_string(),
        }
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantKey {
        match self {
            Self::Wallet { channel, .. } => channel.tenant(),
            Self::OfAccount { tenant, .. } => tenant.clone(),
            Self::Charge(charge) => charge.key.tenant.clone(),
            Self::Application(application) => application.key.merchant.clone(),
            Self::Withdraw { application, .. } | Self::Fail { application, .. } => {
                application.merchant.clone()
            }
        }
    }

    /// What it is about: entries about the same are recorded in their order.
    pub fn subject(&self) -> String {
        match self {
            Self::Wallet { account, .. } | Self::OfAccount { account, .. } => account.to_string(),
            Self::Charge(charge) => format!("charge {}", charge.key.path()),
            Self::Application(application) => application.key.path(),
            Self::Withdraw { application, .. } | Self::Fail { application, .. } => application.path(),
        }
    }
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// Reads a JSON text, and says which member of it is wrong.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, InvalidEntry> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let reason = without_place(&error.into_inner());
        InvalidEntry::new(if path == "." { reason } else { format!("{path}: {reason}") })
    })?;
    json.end().map_err(|error| InvalidEntry::new(without_place(&error)))?;
    Ok(read)
}

/// serde's words, less the place in the text: it is one line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenWallet {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    channel_id: ChannelId,
    username: String,
    balance: String,
}

impl WrittenWallet {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        Ok(Entry::Wallet {
            channel: self.channel_id,
            account: wallet(self.channel_id, &self.username)?,
            balance: member("balance", &self.balance)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenDebit {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    channel_id: ChannelId,
    username: String,
    seq_no: String,
    round_code: String,
    amount: String,
    #[serde(default)]
    live: bool,
    state: Option<WrittenState>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenState {
    Open,
    Settled,
}

impl WrittenDebit {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        let id = member("seqNo", &self.seq_no)?;
        let round = member("roundCode", &self.round_code)?;
        let amount = member("amount", &self.amount)?;
        let entry = match (self.live, self.state) {
            (true, Some(_)) => {
                return Err(InvalidEntry::new("a live debit is open: it has no state".to_owned()));
            }
            (true, None) => AccountEntry::Debit { id, round, amount },
            (false, state) => {
                let is_settled = matches!(state, Some(WrittenState::Settled));
                AccountEntry::PastDebit { id, round, amount, is_settled }
            }
        };
        of_wallet(self.channel_id, &self.username, entry)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMovement {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    channel_id: ChannelId,
    username: String,
    id: String,
    amount: String,
    reason: String,
}

impl WrittenMovement {
    fn entry(self, direction: Direction) -> Result<Entry, InvalidEntry> {
        let entry = AccountEntry::Movement {
            id: member("id", &self.id)?,
            direction,
            amount: member("amount", &self.amount)?,
            reason: member("reason", &self.reason)?,
        };
        of_wallet(self.channel_id, &self.username, entry)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenSettle {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    channel_id: ChannelId,
    username: String,
    seq_no: String,
}

impl WrittenSettle {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        let entry = AccountEntry::Settlement { id: member("seqNo", &self.seq_no)? };
        of_wallet(self.channel_id, &self.username, entry)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenCharge {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    app: String,
    livemode: bool,
    id: String,
    /// In minor units, as all amounts of this provider.
    amount: u64,
    #[serde(default)]
    amount_refunded: u64,
    currency: String,
    channel: String,
    order_no: String,
    transaction_no: Option<String>,
    #[serde(default = "paid")]
    paid: bool,
    created: u64,
    time_paid: Option<u64>,
}

fn paid() -> bool {
    true
}

impl WrittenCharge {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        let app: AppId = member("app", &self.app)?;
        let amount = units("amount", self.amount)?;
        if self.amount_refunded > self.amount {
            let refunded = self.amount_refunded;
            return Err(InvalidEntry::new(format!("amountRefunded {refunded} is above the amount")));
        }
        if !self.paid && self.amount_refunded > 0 {
            return Err(InvalidEntry::new("nothing is refunded of a charge that is not paid".to_owned()));
        }
        Ok(Entry::Charge(Box::new(Charge {
            key: app.charge(Mode::of(self.livemode), member("id", &self.id)?),
            channel: member("channel", &self.channel)?,
            currency: member("currency", &self.currency.to_ascii_uppercase())?,
            order_no: member("orderNo", &self.order_no)?,
            transaction_no: self.transaction_no.map(|no| member("transactionNo", &no)).transpose()?,
            amount,
            refunded: self.amount_refunded,
            refunded_before: self.amount_refunded,
            holds: Default::default(),
            paid: self.paid,
            created: self.created,
            time_paid: self.time_paid,
            version: 0,
        })))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenFunds {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    app: String,
    livemode: bool,
    source: String,
    id: String,
    /// In minor units; below zero where money leaves.
    amount: i64,
    reason: String,
}

impl WrittenFunds {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        let app: AppId = member("app", &self.app)?;
        let source: FundingSource = member("source", &self.source)?;
        let mode = Mode::of(self.livemode);
        if self.amount == 0 {
            return Err(InvalidEntry::new("amount 0 moves nothing".to_owned()));
        }
        let amount = units("amount", self.amount.unsigned_abs())?;
        let entry = AccountEntry::Movement {
            id: member("id", &self.id)?,
            direction: if self.amount < 0 { Direction::Withdrawal } else { Direction::Credit },
            amount: amount.amount().map_err(|error| InvalidEntry::new(format!("amount {amount} {error}")))?,
            reason: member("reason", &self.reason)?,
        };
        Ok(Entry::OfAccount { tenant: app.tenant(mode), account: app.funds(mode, source), entry })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenApplication {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    merchant: String,
    autoid: i64,
    amount: String,
    order_no: String,
    #[serde(default)]
    status: u8,
}

impl WrittenApplication {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        if self.status != 0 {
            return Err(InvalidEntry::new(format!(
                "status {}: only requested applications (0) are recorded; the calls bring them on",
                self.status
            )));
        }
        let merchant: MerchantId = member("merchant", &self.merchant)?;
        Ok(Entry::Application(Application {
            key: merchant.application(self.autoid),
            order_no: member("orderNo", &self.order_no)?,
            paid: member("amount", &self.amount)?,
            state: ApplicationState::Requested,
            failures: None,
        }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenWithdraw {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    merchant: String,
    autoid: i64,
    reason: Option<String>,
}

impl WrittenWithdraw {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        let merchant: MerchantId = member("merchant", &self.merchant)?;
        let reason = self.reason.map(|reason| member("reason", &reason)).transpose()?;
        Ok(Entry::Withdraw { application: merchant.application(self.autoid), reason })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenFail {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    merchant: String,
    autoid: i64,
    batch_no: String,
    reason: Option<String>,
}

impl WrittenFail {
    fn entry(self) -> Result<Entry, InvalidEntry> {
        let merchant: MerchantId = member("merchant", &self.merchant)?;
        let batch_no = member("batchNo", &self.batch_no)?;
        let reason = self.reason.map(|reason| member("reason", &reason)).transpose()?;
        Ok(Entry::Fail { application: merchant.application(self.autoid), batch_no, reason })
    }
}

/// Whose account it is, within its tenant. No player's name needs an escape.
fn holder(account: &AccountKey) -> String {
    account.as_str().rsplit('#').next().unwrap_or_default().to_owned()
}

fn wallet(channel: ChannelId, username: &str) -> Result<AccountKey, InvalidEntry> {
    let username: Username = member("username", username)?;
    Ok(channel.wallet(&username))
}

fn of_wallet(channel: ChannelId, username: &str, entry: AccountEntry) -> Result<Entry, InvalidEntry> {
    Ok(Entry::OfAccount { tenant: channel.tenant(), account: wallet(channel, username)?, entry })
}

fn member<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, InvalidEntry> {
    text.parse().map_err(|error| InvalidEntry::new(format!("{name} {text:?} {error}")))
}

fn units(name: &str, units: u64) -> Result<MinorUnits, InvalidEntry> {
    MinorUnits::new(units).map_err(|error| InvalidEntry::new(format!("{name} {units} {error}")))
}
