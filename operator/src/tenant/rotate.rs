//! `refundctl tenant rotate-key`: a key beside those that a tenant has, and later the end of an old one.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::ebet::{ChannelId, ChannelSettings};
use shared::entries::tenant_name;
use shared::epay::{Merchant, MerchantId, MerchantSettings};
use shared::ledger::{CredentialKey, TenantKey};
use shared::pingpp::{AppId, AppSettings, Mode, PROVIDER, tenant_of};
use shared::store::{Session, Store};

use super::add::secret_key;
use super::key::{
    FINGERPRINT_DIGITS, HashPrefix, SECRET_DIGITS, Secret, public_key_hash, read_public_key, short,
};
use super::{
    AppName, Common, Recorded, Settings as _, UNDECIDED, change, everywhere, is_named, known, name_app,
    name_merchant, rotate_command,
};
use crate::screen;
use crate::target::{TableOptions, session};
use crate::tell;

pub const EXAMPLES: &str = "\
First add the new key: all keys of a tenant are good beside each other. Once its caller uses the new one, end the old
one with --retire; the command that does it is printed. A change is known everywhere within 30 s.

A new secret of a merchant or an app is printed once, alone on standard output, when it is on record; of it the hash
alone is kept. --key-file takes one that exists from a file (- is standard input, with --yes), never from an argument,
which others on this machine can see. Run again after it was cut off, it makes another new key: end the one that nobody
has, which is listed then.

--retire takes the first 8 or more hex digits of the key's SHA-256: of a secret's text, or of a public key's DER. The
last key of a channel or a merchant can't be ended; that of an app only with --last.

Examples:
  refundctl tenant rotate-key channel 7 --public-key channel-7-new.public.pem
  refundctl tenant rotate-key channel 7 --retire 5b0c94eb6b6e0e4c
  refundctl tenant rotate-key merchant demo --reason 'yearly' --yes > demo.key
  refundctl tenant rotate-key merchant demo --retire 2a97516c
  refundctl tenant rotate-key app app_1Gqj58ynP0mHeX1q --live --stage prod
  refundctl tenant rotate-key app app_1Gqj58ynP0mHeX1q --retire 9c1185a5 --dry-run

Exit codes: 0 it is done, now or before, or --dry-run; 1 refused, or not known: run it again; 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub enum Kind {
    /// A channel's public keys
    #[command(after_help = EXAMPLES)]
    Channel(ChannelOptions),
    /// A merchant's keys
    #[command(after_help = EXAMPLES)]
    Merchant(MerchantOptions),
    /// The secret keys that name an app
    #[command(after_help = EXAMPLES)]
    App(AppOptions),
}

#[derive(Debug, Args)]
pub struct ChannelOptions {
    /// The channel's number
    channel: ChannelId,
    /// The public key to add, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "retire", conflicts_with = "retire")]
    public_key: Option<PathBuf>,
    /// End the public key with this fingerprint instead
    #[arg(long, value_name = "FINGERPRINT")]
    retire: Option<HashPrefix>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct MerchantOptions {
    /// The merchant
    merchant: MerchantId,
    /// Add the key in this file; - for standard input [default: make a new one, and print it]
    #[arg(long, value_name = "FILE", conflicts_with = "retire")]
    key_file: Option<PathBuf>,
    /// End the key whose hash begins so instead
    #[arg(long, value_name = "HASHPREFIX")]
    retire: Option<HashPrefix>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct AppOptions {
    #[command(flatten)]
    name: AppName,
    /// Add the secret key in this file; - for standard input [default: make a new one, and print it]
    #[arg(long, value_name = "FILE", conflicts_with = "retire")]
    key_file: Option<PathBuf>,
    /// Take this app from the secret key whose hash begins so instead
    #[arg(long, value_name = "HASHPREFIX")]
    retire: Option<HashPrefix>,
    /// Also if it is the app's last one: then nobody can call for the app
    #[arg(long, requires = "retire")]
    last: bool,
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

async fn channel(options: &ChannelOptions) -> Result<()> {
    let (tenant, common) = (options.channel.tenant(), &options.common);
    // Before the table is asked: what can't be a key needs no table.
    let new = options.public_key.as_deref().map(read_public_key).transpose()?;
    let store = common.table.store().await?;
    let Recorded { text, mut settings } = known::<ChannelSettings>(&session(&store), &tenant).await?;
    let hashes = settings.public_keys.iter().map(|pem| public_key_hash(pem)).collect::<Result<Vec<_>>>()?;
    let keys = Keys::new(&tenant, hashes, FINGERPRINT_DIGITS);
    let Some(new) = new else {
        let Some(hash) = keys.to_end(&session(&store), options.retire.as_ref()).await? else { return Ok(()) };
        keys.check_not_last(hash, &common.table)?;
        settings.public_keys.retain(|pem| public_key_hash(pem).is_ok_and(|own| own != hash));
        return keys.end(hash, common, &store, None, change(&store, &tenant, &text, &settings)).await;
    };
    let hash = public_key_hash(&new)?;
    if keys.has(&hash) {
        return Ok(());
    }
    settings.public_keys.push(new);
    settings.check()?;
    keys.add(&hash, None, common, &store, change(&store, &tenant, &text, &settings)).await
}

async fn merchant(options: &MerchantOptions) -> Result<()> {
    let (tenant, common) = (options.merchant.tenant(), &options.common);
    let store = common.table.store().await?;
    let Recorded { text, mut settings } = known::<MerchantSettings>(&session(&store), &tenant).await?;
    let keys = Keys::new(&tenant, settings.key_hashes.clone(), SECRET_DIGITS);
    if options.retire.is_some() {
        let Some(hash) = keys.to_end(&session(&store), options.retire.as_ref()).await? else { return Ok(()) };
        keys.check_not_last(hash, &common.table)?;
        settings.key_hashes.retain(|own| own != hash);
        return keys.end(hash, common, &store, None, change(&store, &tenant, &text, &settings)).await;
    }
    let secret = Secret::take(options.key_file.as_deref(), "")?;
    let credential = Merchant::credential(secret.text()).map_err(super::wrong)?;
    let is_named = is_named(&session(&store), &credential, &tenant).await?;
    if is_named && keys.has(credential.hash()) {
        return Ok(());
    }
    settings.key_hashes.retain(|own| own != credential.hash());
    settings.key_hashes.push(credential.hash().to_owned());
    settings.check()?;
    let work = async {
        // The settings come last: a key that they list is there.
        name_merchant(&store, &credential, &tenant).await?;
        change(&store, &tenant, &text, &settings).await
    };
    keys.add(credential.hash(), Some(&secret), common, &store, work).await
}

async fn app(options: &AppOptions) -> Result<()> {
    let (tenant, common) = (options.name.tenant(), &options.common);
    let (app, mode) = (&options.name.app, options.name.mode());
    let store = common.table.store().await?;
    known::<AppSettings>(&session(&store), &tenant).await?;
    let hashes = session(&store).keys_of_tenant(&tenant).await?;
    let keys = Keys::new(&tenant, hashes, SECRET_DIGITS);
    if options.retire.is_some() {
        let Some(hash) = keys.to_end(&session(&store), options.retire.as_ref()).await? else { return Ok(()) };
        if !options.last {
            keys.check_not_last(hash, &common.table)?;
        }
        let credential = CredentialKey::recorded(&format!("key#{PROVIDER}#{hash}"));
        let others = others(&session(&store), &credential, app).await?;
        let note = match others.is_empty() {
            true => "it names no other app".to_owned(),
            false => format!("it still names {}", others.join(", ")),
        };
        // Several may end keys at the same time: this one is ended if another one stays.
        let stays = keys.hashes.iter().find(|own| *own != hash).filter(|_| !options.last);
        let stays = stays.map(|hash| (&tenant, hash.as_str()));
        let work = unname_app(&store, &credential, app, mode, stays);
        return keys.end(hash, common, &store, Some(note), work).await;
    }
    let secret = Secret::take(options.key_file.as_deref(), super::add::prefix(mode))?;
    let key = secret_key(&secret, mode)?;
    let hash = key.credential.hash();
    if keys.has(hash) {
        return Ok(());
    }
    keys.add(hash, Some(&secret), common, &store, name_app(&store, &key, app)).await
}

/// The apps that a secret names beside this one.
async fn others(session: &Session, credential: &CredentialKey, app: &AppId) -> Result<Vec<String>> {
    let named = session.shared_credential(credential).await?;
    let named = named.with_context(|| format!("{credential} is not on record with its apps"))?;
    Ok(named.into_iter().filter(|id| id != app.as_str()).collect())
}

/// Takes an app from a secret.
async fn unname_app(
    store: &Store,
    credential: &CredentialKey,
    app: &AppId,
    mode: Mode,
    stays: Option<(&TenantKey, &str)>,
) -> Result<()> {
    let without_it = |named: &[String]| named.iter().filter(|id| *id != app.as_str()).cloned().collect();
    let tenant_of = |id: &str| tenant_of(id, mode);
    let change = session(store).change_shared_credential(credential, without_it, tenant_of, stays).await;
    change.context(UNDECIDED).map(|_| ())
}

/// How the actions of these commands begin on record.
const ADD: &str = "rotate key: add";
const RETIRE: &str = "rotate key: retire";

/// A tenant's keys, by their hashes.
struct Keys<'a> {
    tenant: &'a TenantKey,
    hashes: Vec<String>,
    /// By how many digits people call them.
    digits: usize,
}

impl<'t> Keys<'t> {
    fn new(tenant: &'t TenantKey, mut hashes: Vec<String>, digits: usize) -> Self {
        hashes.sort();
        hashes.dedup();
        Self { tenant, hashes, digits }
    }

    fn short<'a>(&self, hash: &'a str) -> &'a str {
        short(hash, &self.hashes, self.digits)
    }

    /// All of them as people call them.
    fn list(&self) -> String {
        match self.hashes.is_empty() {
            true => "no key".to_owned(),
            false => self.hashes.iter().map(|hash| self.short(hash)).collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether there is this key; says so.
    fn has(&self, hash: &str) -> bool {
        let has = self.hashes.iter().any(|own| own == hash);
        if has {
            tell!("unchanged: {} has key {}", tenant_name(self.tenant), self.short(hash));
        }
        has
    }

    /// The key to end by the beginning of its hash. None if it was ended before; says so.
    ///
    /// # Errors
    /// If there are several, or there is none.
    async fn to_end(&self, session: &Session, prefix: Option<&HashPrefix>) -> Result<Option<&str>> {
        let prefix = prefix.map(HashPrefix::as_str).context("no key is named")?;
        let name = tenant_name(self.tenant);
        let meant = self.hashes.iter().map(String::as_str).filter(|hash| hash.starts_with(prefix));
        match &meant.collect::<Vec<_>>()[..] {
            [hash] => return Ok(Some(*hash)),
            [] => {}
            _ => {
                bail!(
                    "nothing was changed: {prefix} begins several keys of {name}, give more digits; it has {}",
                    self.list()
                )
            }
        }
        let is_it = |action: &str| {
            let ended = action.strip_prefix(RETIRE).map(str::trim_start);
            ended.is_some_and(|ended| ended.starts_with(prefix) || prefix.starts_with(ended))
        };
        let before = session.interventions(self.tenant).await?;
        match before.iter().rfind(|intervention| is_it(&intervention.action)) {
            Some(ended) => {
                tell!("unchanged: key {prefix} of {name} was ended {} UTC", screen::time(ended.at));
                Ok(None)
            }
            None => bail!("nothing was changed: {name} has no key {prefix}; it has {}", self.list()),
        }
    }

    /// Refuses to leave the tenant without a key.
    fn check_not_last(&self, hash: &str, table: &TableOptions) -> Result<()> {
        if self.hashes.iter().any(|own| own != hash) {
            return Ok(());
        }
        let all_the_same = match AppId::of_tenant(self.tenant) {
            Some(_) => "; --last ends it all the same",
            None => "",
        };
        bail!(
            "nothing was changed: {} is the last key of {}; first add another with `{}`{all_the_same}",
            self.short(hash),
            tenant_name(self.tenant),
            rotate_command(self.tenant, None, table)
        )
    }

    /// Ends a key by `work`, once that is agreed to.
    async fn end(
        &self,
        hash: &str,
        common: &Common,
        store: &Store,
        note: Option<String>,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let (key, name) = (self.short(hash), tenant_name(self.tenant));
        let note = note.map(|note| format!("; {note}")).unwrap_or_default();
        let changes = [format!("end key {key} of {name}: calls with it are refused, {}{note}", everywhere())];
        let Some(agreed) = common.agreement.ask(&common.table, &changes).await? else { return Ok(()) };
        let work = async { work.await.map(|()| format!("ended key {key}")) };
        let done = agreed.do_it(store, self.tenant, "", &format!("{RETIRE} {key}"), work).await?;
        tell!("{done} of {name}; calls with it are refused, {}", everywhere());
        Ok(())
    }

    /// Adds a key by `work` beside the others, once that is agreed to; shows it if it is a new secret.
    async fn add(
        self,
        hash: &str,
        secret: Option<&Secret>,
        common: &Common,
        store: &Store,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let (name, table) = (tenant_name(self.tenant), &common.table);
        let is_new = secret.is_some_and(|secret| secret.is_new);
        let mut all = self.hashes.clone();
        all.push(hash.to_owned());
        let all = Keys { hashes: all, ..self };
        let key = all.short(hash);
        let what = match is_new {
            true => format!("make a new key of {name}, and print it"),
            false => format!("add key {key} to {name}"),
        };
        let others = match self.hashes.is_empty() {
            true => "it has no other".to_owned(),
            false => format!("its others stay good until they are ended: {}", self.list()),
        };
        let change = format!("{what}; {others}");
        let Some(agreed) = common.agreement.ask(table, &[change]).await? else { return Ok(()) };
        let work = async { work.await.map(|()| format!("added key {key}")) };
        let done = agreed.do_it(store, self.tenant, "", &format!("{ADD} {key}"), work).await;
        let nobodys = || format!("the new key {key} was not printed: end it if it is listed in the next run");
        let done = if is_new { done.with_context(nobodys)? } else { done? };
        tell!("{done} to {name}; a change is known {}", everywhere());
        for old in &self.hashes {
            let command = rotate_command(self.tenant, Some(all.short(old)), table);
            tell!("the old key {} keeps working until it is ended: {command}", all.short(old));
        }
        let Some(secret) = secret else { return Ok(()) };
        secret.show().with_context(|| {
            let command = rotate_command(self.tenant, Some(key), table);
            format!(
                "key {key} is on record and was not printed: make another, then end this one with `{command}`"
            )
        })
    }
}
