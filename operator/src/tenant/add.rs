//! `refundctl tenant add`: a new channel, merchant or app, with its first key.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::ebet::{BatchSignature, ChannelId, ChannelSettings};
use shared::entries::tenant_name;
use shared::epay::{Merchant, MerchantId, MerchantSettings};
use shared::ledger::{CredentialKey, TenantKey};
use shared::limits;
use shared::pingpp::{AppSettings, Mode, SecretKey};
use shared::store::Session;

use super::key::{FINGERPRINT_DIGITS, SECRET_DIGITS, Secret, public_key_hash, read_public_key, short};
use super::{
    AppName, Common, Recorded, Settings, everywhere, is_named, name_app, name_merchant, put, recorded,
    rotate_command, wrong,
};
use crate::target::{TableOptions, session};
use crate::tell;

pub const EXAMPLES: &str = "\
A new secret of a merchant or an app is printed once, alone on standard output, when everything is on record; of it the
hash alone is kept. --key-file takes one that exists from a file (- is standard input, with --yes), never from an
argument, which others on this machine can see. A tenant that is there already is left as it is. One whose adding was
cut off is completed by running it again, or that says what to do.

Examples:
  refundctl keygen --out channel-7
  refundctl tenant add channel 7 --currency CNY --public-key channel-7.public.pem
  refundctl tenant add channel 8 --currency CNY --public-key eight.pem --allowed-ip 203.0.113.0/24 \\
      --refund-limit 100000.00 --partial-refunds --max-age 3600
  refundctl tenant add merchant demo2 --currency CNY --reason 'new contract' --yes > demo2.key
  refundctl tenant add merchant demo2 --currency CNY --key-file demo2.key --stage prod
  refundctl tenant add app app_1Gqj58ynP0mHeX1q --live --currency cny --public-key app.pem --require-signature

Exit codes: 0 it is on record, now or before, or --dry-run; 1 refused, or not known: run it again; 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub enum Kind {
    /// A channel, which eBET calls and signs for
    #[command(after_help = EXAMPLES)]
    Channel(ChannelOptions),
    /// A merchant, which EPay's back office calls for
    #[command(after_help = EXAMPLES)]
    Merchant(MerchantOptions),
    /// An app of a payment platform's merchant, in one mode
    #[command(after_help = EXAMPLES)]
    App(AppOptions),
}

#[derive(Debug, Args)]
pub struct ChannelOptions {
    /// The channel's number
    channel: ChannelId,
    /// Currency of all its money
    #[arg(long, value_name = "CODE")]
    currency: String,
    /// A public key that its signatures are checked with, PEM; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    public_key: Vec<PathBuf>,
    /// An address or network that may call; may be given several times [default: all may]
    #[arg(long, value_name = "NET")]
    allowed_ip: Vec<String>,
    /// Largest refund of one item [default: none]
    #[arg(long, value_name = "AMOUNT")]
    refund_limit: Option<String>,
    /// Let less than the whole debit be refunded
    #[arg(long)]
    partial_refunds: bool,
    /// How far a request's timestamp may be from now; 0 for any
    #[arg(long, value_name = "SECONDS", default_value_t = limits::SIGNATURE_AGE_SECONDS_DEFAULT)]
    max_age: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct MerchantOptions {
    /// The merchant
    merchant: MerchantId,
    /// Currency of all its money
    #[arg(long, value_name = "CODE")]
    currency: String,
    /// Take its key from this file; - for standard input [default: make a new one, and print it]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct AppOptions {
    #[command(flatten)]
    name: AppName,
    /// Currency of all its money
    #[arg(long, value_name = "CODE")]
    currency: String,
    /// The public key that its requests' signatures are checked with, PEM [default: they are not checked]
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Refuse requests that are not signed
    #[arg(long, requires = "public_key")]
    require_signature: bool,
    /// Take its secret key from this file; - for standard input [default: make a new one, and print it]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub async fn command(kind: &Kind) -> Result<()> {
    match kind {
        Kind::Channel(options) => channel(options).await,
        Kind::Merchant(options) => merchant(options).await,
        Kind::App(options) => app(options).await,
    }
}

impl ChannelOptions {
    fn settings(&self) -> Result<ChannelSettings> {
        use BatchSignature::{ChannelIdTimestamp, Timestamp, UsernameTimestamp};
        let settings = ChannelSettings {
            channel_id: self.channel,
            currency: self.currency.clone(),
            public_keys: self.public_key.iter().map(|file| read_public_key(file)).collect::<Result<_>>()?,
            allowed_ips: Some(self.allowed_ip.clone()).filter(|networks| !networks.is_empty()),
            refund_limit: self.refund_limit.clone(),
            partial_refunds: self.partial_refunds,
            enabled: true,
            max_age: self.max_age,
            batch_signature: vec![ChannelIdTimestamp, UsernameTimestamp, Timestamp],
        };
        settings.check()?;
        Ok(settings)
    }

    /// What adding it means, in lines.
    fn changes(&self, settings: &ChannelSettings) -> Result<Vec<String>> {
        let name = format!("channel {}", self.channel);
        let hashes =
            settings.public_keys.iter().map(|pem| public_key_hash(pem)).collect::<Result<Vec<_>>>()?;
        let keys = hashes.iter().map(|hash| short(hash, &hashes, FINGERPRINT_DIGITS)).collect::<Vec<_>>();
        let from = match &settings.allowed_ips {
            Some(networks) => networks.join(", "),
            None => "any address".to_owned(),
        };
        let limit = settings.refund_limit.as_deref().unwrap_or("any amount");
        let part = if self.partial_refunds { "whole or in part" } else { "as a whole" };
        let age = match self.max_age {
            0 => "of any time".to_owned(),
            age => format!("at most {age} s from now"),
        };
        Ok(vec![
            format!("add {name} in {}, whose public keys are {}", settings.currency, keys.join(", ")),
            format!("{name} may call from {from}, with timestamps {age}"),
            format!("{name} has bets refunded {part}, each up to {limit}"),
        ])
    }
}

async fn channel(options: &ChannelOptions) -> Result<()> {
    let settings = options.settings()?;
    let (tenant, Common { agreement, table }) = (options.channel.tenant(), &options.common);
    let name = tenant_name(&tenant);
    let store = table.store().await?;
    if is_there(&session(&store), &tenant, &settings, table).await? {
        tell!("unchanged: {name} is on record with these settings");
        return Ok(());
    }
    let Some(agreed) = agreement.ask(table, &options.changes(&settings)?).await? else { return Ok(()) };
    let work = async { put(&store, &tenant, &settings).await.map(|()| "added".to_owned()) };
    agreed.do_it(&store, &tenant, "", &format!("add {name}"), work).await?;
    tell!("added: {name}; known {}", everywhere());
    Ok(())
}

async fn merchant(options: &MerchantOptions) -> Result<()> {
    let (tenant, Common { agreement, table }) = (options.merchant.tenant(), &options.common);
    let name = tenant_name(&tenant);
    let secret = Secret::take(options.key_file.as_deref(), "")?;
    let credential = Merchant::credential(secret.text()).map_err(wrong)?;
    let settings = MerchantSettings {
        merchant: options.merchant.to_string(),
        currency: options.currency.clone(),
        key_hashes: vec![credential.hash().to_owned()],
        enabled: true,
    };
    settings.check()?;
    let store = table.store().await?;
    let is_there = is_there(&session(&store), &tenant, &settings, table).await?;
    let is_named = is_named(&session(&store), &credential, &tenant).await?;
    if is_there && is_named {
        tell!("unchanged: {name} is on record with these settings and this key");
        return Ok(());
    }
    let key = short(credential.hash(), &[], SECRET_DIGITS);
    let change = format!("add {name} in {}, {}", settings.currency, with_key(&secret, key));
    let Some(agreed) = agreement.ask(table, &[change]).await? else { return Ok(()) };
    let work = async {
        // The settings come last: a key that they don't list opens nothing, and one that they list is there.
        name_merchant(&store, &credential, &tenant).await?;
        if !is_there {
            put(&store, &tenant, &settings).await?;
        }
        anyhow::Ok(format!("added, with key {key}"))
    };
    let done = agreed.do_it(&store, &tenant, "", &format!("add {name}"), work).await?;
    tell!("{done}: {name}; known {}", everywhere());
    show(&secret, key, &tenant, table)
}

async fn app(options: &AppOptions) -> Result<()> {
    let (tenant, Common { agreement, table }) = (options.name.tenant(), &options.common);
    let (name, mode) = (tenant_name(&tenant), options.name.mode());
    let settings = AppSettings {
        app: options.name.app.to_string(),
        livemode: options.name.live,
        currency: options.currency.clone(),
        public_key: options.public_key.as_deref().map(read_public_key).transpose()?,
        require_signature: options.require_signature,
        enabled: true,
    };
    settings.check()?;
    let secret = Secret::take(options.key_file.as_deref(), prefix(mode))?;
    let secret_key = secret_key(&secret, mode)?;
    let hash = secret_key.credential.hash();
    let key = short(hash, &[], SECRET_DIGITS);
    let store = table.store().await?;
    let is_there = is_there(&session(&store), &tenant, &settings, table).await?;
    let keys = session(&store).keys_of_tenant(&tenant).await?;
    if is_there && !keys.is_empty() {
        let has = keys.iter().map(|hash| short(hash, &keys, SECRET_DIGITS)).collect::<Vec<_>>().join(", ");
        let rotate = rotate_command(&tenant, None, table);
        if !secret.is_new && !keys.iter().any(|own| own == hash) {
            bail!(
                "nothing was changed: {name} is there already, with other keys: {has}; `{rotate}` adds one"
            );
        }
        tell!("unchanged: {name} is on record with these settings; it has {has}");
        if secret.is_new {
            tell!("no key was made: if nobody has one of these, `{rotate}` makes another");
        }
        return Ok(());
    }
    let what = match is_there {
        true => format!("complete {name}, which is on record without a key"),
        false => format!("add {name} in {}", settings.currency),
    };
    let mut changes = vec![format!("{what}, {}", with_key(&secret, key))];
    changes.extend(named_too(&session(&store), &secret_key.credential, options.name.app.as_str()).await?);
    let Some(agreed) = agreement.ask(table, &changes).await? else { return Ok(()) };
    let work = async {
        // The key comes last: one that names an app names one that is there.
        if !is_there {
            put(&store, &tenant, &settings).await?;
        }
        name_app(&store, &secret_key, &options.name.app).await.map(|()| format!("added, with key {key}"))
    };
    let done = agreed.do_it(&store, &tenant, "", &format!("add {name}"), work).await?;
    tell!("{done}: {name}; known {}", everywhere());
    show(&secret, key, &tenant, table)
}

/// Whether a tenant is on record with these very settings.
///
/// # Errors
/// If it is there with others.
async fn is_there<T: Settings>(
    session: &Session,
    tenant: &TenantKey,
    settings: &T,
    table: &TableOptions,
) -> Result<bool> {
    let Some(Recorded { settings: there, .. }) = recorded::<T>(session, tenant).await? else {
        return Ok(false);
    };
    let mut there = there.with_plain_keys();
    if serde_json::to_string(&there)? == serde_json::to_string(settings)? {
        return Ok(true);
    }
    let state = if *there.enabled() { "" } else { ", disabled" };
    bail!(
        "nothing was changed: {} is there already{state}, with other settings or another key; should its key be lost, `{}` adds one",
        tenant_name(tenant),
        rotate_command(tenant, None, table)
    )
}

/// The other apps that a secret names already, in a line.
async fn named_too(session: &Session, credential: &CredentialKey, app: &str) -> Result<Option<String>> {
    let named = session.shared_credential(credential).await?.unwrap_or_default();
    let others: Vec<String> = named.into_iter().filter(|id| id != app).collect();
    Ok(Some(others.join(", "))
        .filter(|others| !others.is_empty())
        .map(|others| format!("the key names {others} too")))
}

fn with_key(secret: &Secret, key: &str) -> String {
    match secret.is_new {
        true => "with a new key, which is printed".to_owned(),
        false => format!("with key {key}"),
    }
}

/// How an app's secret keys of a mode begin.
pub fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Test => "sk_test_",
        Mode::Live => "sk_live_",
    }
}

/// A secret as an app's key of this mode.
pub fn secret_key(secret: &Secret, mode: Mode) -> Result<SecretKey> {
    let key = secret.text().parse::<SecretKey>().map_err(|error| wrong(format!("the key {error}")))?;
    if key.mode != mode {
        return Err(wrong(format!(
            "the key is for {} mode; --live chooses the app's mode",
            key.mode.as_str()
        )));
    }
    Ok(key)
}

/// Shows a new secret.
fn show(secret: &Secret, key: &str, tenant: &TenantKey, table: &TableOptions) -> Result<()> {
    secret.show().with_context(|| {
        let (make, end) = (rotate_command(tenant, None, table), rotate_command(tenant, Some(key), table));
        format!("key {key} is on record and was not printed: make another with `{make}`, then end this one with `{end}`")
    })
}
