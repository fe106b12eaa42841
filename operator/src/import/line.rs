//! One line of an import: parsed into what the ledger takes, or refused with the reason.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use shared::ebet::{Channel, ChannelId, ChannelSettings, Username};
use shared::epay::{Merchant, MerchantId, MerchantSettings};
use shared::ledger::{
    AccountKey, Application, ApplicationState, Balance, Charge, CredentialKey, Debit, DebitKey, DebitState,
    FundingSource, MinorUnits, TenantKey,
};
use shared::pingpp::{App, AppId, AppSettings, Mode, SecretKey};

/// A line as it is written.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Written {
    Channel(ChannelSettings),
    Wallet(WrittenWallet),
    Debit(WrittenDebit),
    Merchant(WrittenMerchant),
    Application(WrittenApplication),
    App(WrittenApp),
    Key(WrittenKey),
    Charge(WrittenCharge),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenWallet {
    channel_id: ChannelId,
    username: String,
    balance: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenDebit {
    channel_id: ChannelId,
    username: String,
    seq_no: String,
    round_code: String,
    amount: String,
    #[serde(default)]
    state: WrittenState,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenState {
    #[default]
    Open,
    Settled,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMerchant {
    merchant: String,
    currency: String,
    #[serde(deserialize_with = "keys")]
    api_keys: Vec<String>,
    #[serde(default = "enabled")]
    enabled: bool,
}

/// Texts, and where they are something else no word of what they are: they are secrets.
fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    serde_json::from_value(value).map_err(|_| serde::de::Error::custom("apiKeys must be a list of texts"))
}

fn enabled() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenApplication {
    merchant: String,
    autoid: i64,
    amount: String,
    order_no: String,
    #[serde(default)]
    status: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenApp {
    app: String,
    livemode: bool,
    currency: String,
    /// In minor units, as all amounts of this provider.
    unsettled_funds: Option<u64>,
    recharge_funds: Option<u64>,
    public_key: Option<String>,
    #[serde(default)]
    require_signature: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenKey {
    #[serde(deserialize_with = "secret")]
    secret: String,
    apps: Vec<String>,
}

/// A text, and where it is something else no word of what it is.
fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    serde_json::from_value(value).map_err(|_| serde::de::Error::custom("secret must be a text"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenCharge {
    app: String,
    livemode: bool,
    id: String,
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

/// A line that can be written to the ledger.
#[derive(Debug)]
pub enum Line {
    Channel { channel: Channel, json: String },
    Wallet { channel: ChannelId, account: AccountKey, balance: Balance },
    Debit { channel: ChannelId, debit: Debit },
    Merchant { merchant: Merchant, json: String, credentials: Vec<CredentialKey> },
    Application { merchant: MerchantId, application: Application },
    App { app: Box<App>, json: String, funds: Vec<(FundingSource, Balance)> },
    Key { key: SecretKey, apps: Vec<AppId> },
    Charge { charge: Box<Charge> },
}

impl Line {
    /// # Errors
    /// Says what of the line is wrong.
    pub fn read(text: &str) -> Result<Self> {
        let written: Written = serde_json::from_str(text).map_err(reason)?;
        Ok(match written {
            Written::Channel(settings) => {
                let channel = Channel::new(&settings)?;
                Self::Channel { channel, json: serde_json::to_string(&settings)? }
            }
            Written::Wallet(wallet) => {
                let username: Username = member("username", &wallet.username)?;
                Self::Wallet {
                    channel: wallet.channel_id,
                    account: wallet.channel_id.wallet(&username),
                    balance: member("balance", &wallet.balance)?,
                }
            }
            Written::Debit(debit) => {
                let username: Username = member("username", &debit.username)?;
                let account = debit.channel_id.wallet(&username);
                let state = match debit.state {
                    WrittenState::Open => DebitState::Open,
                    WrittenState::Settled => DebitState::Settled,
                };
                Self::Debit {
                    channel: debit.channel_id,
                    debit: Debit {
                        key: DebitKey { account, id: member("seqNo", &debit.seq_no)? },
                        round: member("roundCode", &debit.round_code)?,
                        amount: member("amount", &debit.amount)?,
                        state,
                    },
                }
            }
            Written::Merchant(written) => written.line()?,
            Written::Application(written) => written.line()?,
            Written::App(written) => written.line()?,
            Written::Key(written) => written.line()?,
            Written::Charge(written) => written.line()?,
        })
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Channel { .. } => "channel",
            Self::Wallet { .. } => "wallet",
            Self::Debit { .. } => "debit",
            Self::Merchant { .. } => "merchant",
            Self::Application { .. } => "application",
            Self::App { .. } => "app",
            Self::Key { .. } => "key",
            Self::Charge { .. } => "charge",
        }
    }

    /// Whose the line is: a key may be several apps'.
    pub fn tenants(&self) -> Vec<TenantKey> {
        match self {
            Self::Channel { channel, .. } => vec![channel.id.tenant()],
            Self::Wallet { channel, .. } | Self::Debit { channel, .. } => vec![channel.tenant()],
            Self::Merchant { merchant, .. } => vec![merchant.id.tenant()],
            Self::Application { merchant, .. } => vec![merchant.tenant()],
            Self::App { app, .. } => vec![app.tenant()],
            Self::Key { key, apps } => apps.iter().map(|app| app.tenant(key.mode)).collect(),
            Self::Charge { charge } => vec![charge.key.tenant.clone()],
        }
    }

    /// What the line is about, the same for two lines about the same thing.
    pub fn name(&self) -> String {
        match self {
            Self::Channel { channel, .. } => format!("channel {}", channel.id),
            Self::Wallet { account, .. } => format!("wallet {account}"),
            Self::Debit { debit, .. } => format!("debit {} {}", debit.key.account, debit.key.id),
            Self::Merchant { merchant, .. } => format!("merchant {}", merchant.id),
            Self::Application { application, .. } => format!("application {}", application.key.path()),
            Self::App { app, .. } => format!("app {}", app.tenant()),
            Self::Key { key, .. } => format!("key {}", key.credential),
            Self::Charge { charge } => format!("charge {}", charge.key.path()),
        }
    }
}

impl WrittenMerchant {
    fn line(self) -> Result<Line> {
        let credentials: Vec<CredentialKey> =
            self.api_keys.iter().map(|key| Merchant::credential(key)).collect::<Result<_, _>>()?;
        let settings = MerchantSettings {
            merchant: self.merchant,
            currency: self.currency,
            key_hashes: credentials.iter().map(|credential| credential.hash().to_owned()).collect(),
            enabled: self.enabled,
        };
        let merchant = Merchant::new(&settings)?;
        Ok(Line::Merchant { merchant, json: serde_json::to_string(&settings)?, credentials })
    }
}

impl WrittenApplication {
    fn line(self) -> Result<Line> {
        if self.status != 0 {
            bail!(
                "status {}: only requested applications (0) are imported; the calls bring them on",
                self.status
            );
        }
        let merchant: MerchantId = member("merchant", &self.merchant)?;
        let application = Application {
            key: merchant.application(self.autoid),
            order_no: member("orderNo", &self.order_no)?,
            paid: member("amount", &self.amount)?,
            state: ApplicationState::Requested,
        };
        Ok(Line::Application { merchant, application })
    }
}

impl WrittenApp {
    fn line(self) -> Result<Line> {
        let settings = AppSettings {
            app: self.app,
            livemode: self.livemode,
            currency: self.currency,
            public_key: self.public_key,
            require_signature: self.require_signature,
        };
        let app = App::new(&settings)?;
        let mut funds = Vec::new();
        for (source, balance) in
            [(FundingSource::Unsettled, self.unsettled_funds), (FundingSource::Recharge, self.recharge_funds)]
        {
            if let Some(balance) = balance {
                funds.push((source, member(source.as_str(), &balance.to_string())?));
            }
        }
        Ok(Line::App { app: Box::new(app), json: serde_json::to_string(&settings)?, funds })
    }
}

impl WrittenKey {
    fn line(self) -> Result<Line> {
        // A secret that is wrong may be another one's right one: it is not shown.
        let key = self.secret.parse::<SecretKey>().map_err(|error| anyhow!("secret {error}"))?;
        let mut apps: Vec<AppId> = self.apps.iter().map(|app| member("app", app)).collect::<Result<_>>()?;
        apps.sort();
        apps.dedup();
        Ok(Line::Key { key, apps })
    }
}

impl WrittenCharge {
    fn line(self) -> Result<Line> {
        let app: AppId = member("app", &self.app)?;
        let amount =
            MinorUnits::new(self.amount).map_err(|error| anyhow!("amount {} {error}", self.amount))?;
        if self.amount_refunded > self.amount {
            bail!("amountRefunded {} is above the amount", self.amount_refunded);
        }
        let charge = Charge {
            key: app.charge(Mode::of(self.livemode), member("id", &self.id)?),
            channel: member("channel", &self.channel)?,
            currency: member("currency", &self.currency.to_ascii_uppercase())?,
            order_no: member("orderNo", &self.order_no)?,
            transaction_no: self.transaction_no.map(|no| member("transactionNo", &no)).transpose()?,
            amount,
            refunded: self.amount_refunded,
            holds: Default::default(),
            paid: self.paid,
            created: self.created,
            time_paid: self.time_paid,
            version: 0,
        };
        Ok(Line::Charge { charge: Box::new(charge) })
    }
}

fn or_none(text: Option<&impl ToString>) -> String {
    text.map_or("none".to_owned(), ToString::to_string)
}

/// How a charge on record differs from the one to import. What became of it since is no difference.
pub fn charge_difference(line: &Charge, there: &Charge) -> Option<String> {
    let id = &line.key.id;
    let facts: [(&str, String, String); 6] = [
        ("amount", line.amount.to_string(), there.amount.to_string()),
        ("channel", line.channel.to_string(), there.channel.to_string()),
        ("currency", line.currency.to_string(), there.currency.to_string()),
        ("orderNo", line.order_no.to_string(), there.order_no.to_string()),
        ("transactionNo", or_none(line.transaction_no.as_ref()), or_none(there.transaction_no.as_ref())),
        ("paid", line.paid.to_string(), there.paid.to_string()),
    ];
    let different = facts.into_iter().find(|(_, line, there)| line != there);
    different.map(|(name, _, there)| format!("charge {id} has {name} {there}"))
}

/// A tenant as people call it.
pub fn name_of(tenant: &TenantKey) -> String {
    if let Some((app, mode)) = AppId::of_tenant(tenant) {
        return format!("app {app} in {} mode", mode.as_str());
    }
    let kind = if is_merchant(tenant) { "merchant" } else { "channel" };
    format!("{kind} {}", tenant.as_str().split_once('#').map_or("", |(_provider, id)| id))
}

pub fn is_merchant(tenant: &TenantKey) -> bool {
    tenant.as_str().starts_with(&format!("{}#", shared::epay::PROVIDER))
}

/// serde's words, less the place in the line: the line is named already.
fn reason(error: serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    anyhow!("{}", text.split(" at line ").next().unwrap_or(&text))
}

/// A text that is shown, less the secret keys that may stand in it by mistake.
pub fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("sk_") {
        let (before, key) = rest.split_at(start);
        let end = key.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let (key, after) = key.split_at(end.unwrap_or(key.len()));
        masked.push_str(before);
        match key.get(..8).filter(|_| key.len() > 8) {
            Some(prefix) => masked.extend([prefix, "…"]),
            // No more than what all keys begin with.
            None => masked.push_str(key),
        }
        rest = after;
    }
    masked + rest
}

fn member<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T> {
    match text.parse() {
        Ok(value) => Ok(value),
        Err(error) => bail!("{name} {text:?} {error}"),
    }
}

/// How an application on record differs from the one to import. What became of it since is no difference.
pub fn application_difference(line: &Application, there: &Application) -> Option<String> {
    let id = line.key.id;
    if line.paid != there.paid {
        return Some(format!("application {id} was paid {}", there.paid));
    }
    (line.order_no != there.order_no).then(|| format!("application {id} is of order {}", there.order_no))
}

/// How a debit on record differs from the one to import. What became of it since is no difference.
pub fn difference(line: &Debit, there: &Debit) -> Option<String> {
    let id = &line.key.id;
    if line.amount != there.amount {
        return Some(format!("debit {id} took {}", there.amount));
    }
    if line.round != there.round {
        return Some(format!("debit {id} is of round {}", there.round));
    }
    match (&line.state, &there.state) {
        (DebitState::Settled, DebitState::Open) => Some(format!("debit {id} is open")),
        (DebitState::Settled, DebitState::Refunded(_)) => Some(format!("debit {id} was refunded")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn secret_keys_are_not_shown_wherever_they_stand() {
        for (text, shown) in [
            ("app sk_live_0123456789abcdef in test mode", "app sk_live_… in test mode"),
            ("unknown field `sk_test_x`, sk_test_0123456789abcdef", "unknown field `sk_test_…`, sk_test_…"),
            ("must be sk_test_ or sk_live_", "must be sk_test_ or sk_live_"),
            ("no key", "no key"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
