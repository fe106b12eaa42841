//! One line of an import: parsed into what the ledger takes, or refused with the reason.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::ebet::{Channel, ChannelSettings};
use shared::entries::Entry;
use shared::epay::{Merchant, MerchantSettings};
use shared::ledger::{
    AccountEntry, AccountKey, Application, Balance, Charge, CredentialKey, Debit, DebitKey, DebitState,
    FundingSource, TenantKey,
};
use shared::pingpp::{App, AppId, AppSettings, SecretKey};

/// A line of settings as it is written.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Written {
    Channel(ChannelSettings),
    Merchant(WrittenMerchant),
    App(WrittenApp),
    Key(WrittenKey),
}

/// The kinds of entries that are facts of the past. The others happen now, one after another.
const PAST_KINDS: [&str; 4] = ["wallet", "debit", "application", "charge"];

#[derive(Deserialize)]
struct Kind {
    kind: String,
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
    #[serde(default = "enabled")]
    enabled: bool,
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

/// A line that can be written to the ledger.
#[derive(Debug)]
pub enum Line {
    Channel { channel: Channel, json: String },
    Merchant { merchant: Merchant, json: String, credentials: Vec<CredentialKey> },
    App { app: Box<App>, json: String, funds: Vec<(FundingSource, Balance)> },
    Key { key: SecretKey, apps: Vec<AppId> },
    Fact(Fact),
}

/// A money fact of the past.
#[derive(Debug)]
pub enum Fact {
    Wallet { account: AccountKey, tenant: TenantKey, balance: Balance },
    Debit { debit: Box<Debit>, tenant: TenantKey },
    Application(Box<Application>),
    Charge(Box<Charge>),
}

impl Line {
    /// # Errors
    /// Says what of the line is wrong.
    pub fn read(text: &str) -> Result<Self> {
        if !text.trim_start().starts_with('{') {
            bail!("is not a JSON object");
        }
        let Kind { kind } = serde_json::from_str(text).map_err(reason)?;
        if PAST_KINDS.contains(&kind.as_str()) {
            return Ok(Self::Fact(Fact::read(text)?));
        }
        if Entry::KINDS.contains(&kind.as_str()) {
            bail!("{kind} happens now: `refundctl send record-entries` sends it");
        }
        if !Entry::SETTINGS_KINDS.contains(&kind.as_str()) {
            let known = [&Entry::SETTINGS_KINDS[..], &PAST_KINDS].concat().join(", ");
            bail!("kind {kind:?} is none of {known}");
        }
        Ok(match serde_json::from_str(text).map_err(reason)? {
            Written::Channel(settings) => {
                let channel = Channel::new(&settings)?;
                Self::Channel { channel, json: serde_json::to_string(&settings)? }
            }
            Written::Merchant(written) => written.line()?,
            Written::App(written) => written.line()?,
            Written::Key(written) => written.line()?,
        })
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Channel { .. } => "channel",
            Self::Merchant { .. } => "merchant",
            Self::App { .. } => "app",
            Self::Key { .. } => "key",
            Self::Fact(Fact::Wallet { .. }) => "wallet",
            Self::Fact(Fact::Debit { .. }) => "debit",
            Self::Fact(Fact::Application(_)) => "application",
            Self::Fact(Fact::Charge(_)) => "charge",
        }
    }

    /// Whose the line is: a key may be several apps'.
    pub fn tenants(&self) -> Vec<TenantKey> {
        match self {
            Self::Channel { channel, .. } => vec![channel.id.tenant()],
            Self::Merchant { merchant, .. } => vec![merchant.id.tenant()],
            Self::App { app, .. } => vec![app.tenant()],
            Self::Key { key, apps } => apps.iter().map(|app| app.tenant(key.mode)).collect(),
            Self::Fact(Fact::Wallet { tenant, .. } | Fact::Debit { tenant, .. }) => vec![tenant.clone()],
            Self::Fact(Fact::Application(application)) => vec![application.key.merchant.clone()],
            Self::Fact(Fact::Charge(charge)) => vec![charge.key.tenant.clone()],
        }
    }

    /// What accounts it opens, with how much.
    pub fn openings(&self) -> Vec<(AccountKey, Decimal)> {
        match self {
            Self::App { app, funds, .. } => {
                let opening = |(source, balance): &(FundingSource, Balance)| {
                    (app.id.funds(app.mode, *source), balance.value())
                };
                funds.iter().map(opening).collect()
            }
            Self::Fact(Fact::Wallet { account, balance, .. }) => vec![(account.clone(), balance.value())],
            _ => Vec::new(),
        }
    }

    /// A tenant's settings, if it is these: whose, and their JSON.
    pub fn settings(&self) -> Option<(TenantKey, &str)> {
        match self {
            Self::Channel { channel, json } => Some((channel.id.tenant(), json)),
            Self::Merchant { merchant, json, .. } => Some((merchant.id.tenant(), json)),
            Self::App { app, json, .. } => Some((app.tenant(), json)),
            Self::Key { .. } | Self::Fact(_) => None,
        }
    }

    /// What the line is about, the same for two lines about the same thing.
    pub fn name(&self) -> String {
        match self {
            Self::Channel { channel, .. } => format!("channel {}", channel.id),
            Self::Merchant { merchant, .. } => format!("merchant {}", merchant.id),
            Self::App { app, .. } => format!("app {}", app.tenant()),
            Self::Key { key, .. } => format!("key {}", key.credential),
            Self::Fact(Fact::Wallet { account, .. }) => format!("wallet {account}"),
            Self::Fact(Fact::Debit { debit, .. }) => format!("debit {} {}", debit.key.account, debit.key.id),
            Self::Fact(Fact::Application(application)) => format!("application {}", application.key.path()),
            Self::Fact(Fact::Charge(charge)) => format!("charge {}", charge.key.path()),
        }
    }
}

impl Fact {
    fn read(text: &str) -> Result<Self> {
        Ok(match Entry::read(text)? {
            Entry::Wallet { channel, account, balance } => {
                Self::Wallet { account, tenant: channel.tenant(), balance }
            }
            Entry::OfAccount {
                account,
                tenant,
                entry: AccountEntry::PastDebit { id, round, amount, is_settled },
            } => {
                let state = if is_settled { DebitState::Settled } else { DebitState::Open };
                let key = DebitKey { account, id };
                let debit = Debit { key, round, amount, taken: None, asked: None, state };
                Self::Debit { debit: Box::new(debit), tenant }
            }
            Entry::Application(application) => Self::Application(Box::new(application)),
            Entry::Charge(charge) => Self::Charge(charge),
            entry => bail!("a live {} happens now: `refundctl send record-entries` sends it", entry.kind()),
        })
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

impl WrittenApp {
    fn line(self) -> Result<Line> {
        let settings = AppSettings {
            app: self.app,
            livemode: self.livemode,
            currency: self.currency,
            public_key: self.public_key,
            require_signature: self.require_signature,
            enabled: self.enabled,
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
