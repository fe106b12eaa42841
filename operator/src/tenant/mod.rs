//! `refundctl tenant`: channels, merchants and apps come, change their keys, and are switched off and on.

mod add;
mod key;
mod rotate;
mod switch;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::ebet::{Channel, ChannelSettings};
use shared::entries::tenant_name;
use shared::epay::{Merchant, MerchantSettings};
use shared::ledger::{CredentialKey, TenantKey};
use shared::limits;
use shared::pingpp::{App, AppId, AppSettings, Mode, SecretKey, tenant_of};
use shared::store::{Creation, Session, SettingsChange, Store};

use crate::agreement::{Agreement, WrongUsage};
use crate::target::{TableOptions, session};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Put a new channel, merchant or app on record, with its first key
    #[command(subcommand, after_help = add::EXAMPLES)]
    Add(add::Kind),
    /// Add a key beside those that a tenant has, or end one of them
    #[command(subcommand, after_help = rotate::EXAMPLES)]
    RotateKey(rotate::Kind),
    /// Refuse a tenant's calls, until it is enabled again
    #[command(subcommand, after_help = switch::DISABLE_EXAMPLES)]
    Disable(switch::Kind),
    /// Answer a tenant's calls again
    #[command(subcommand, after_help = switch::ENABLE_EXAMPLES)]
    Enable(switch::Kind),
}

/// Which app, in which mode.
#[derive(Debug, Args)]
pub struct AppName {
    /// The app
    app: AppId,
    /// In live mode rather than in test mode
    #[arg(long)]
    live: bool,
}

/// What all these commands have.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(action: &Action) -> Result<ExitCode> {
    match action {
        Action::Add(kind) => add::command(kind).await?,
        Action::RotateKey(kind) => rotate::command(kind).await?,
        Action::Disable(kind) => switch::command(kind, false).await?,
        Action::Enable(kind) => switch::command(kind, true).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is said where the table did not answer in time: what was sent may have been written.
const UNDECIDED: &str = "not known whether it is done; run it again";

impl AppName {
    fn mode(&self) -> Mode {
        Mode::of(self.live)
    }

    fn tenant(&self) -> TenantKey {
        self.app.tenant(self.mode())
    }
}

/// Settings of one kind of tenant, as they are stored.
trait Settings: Serialize + DeserializeOwned {
    /// # Errors
    /// Names the member that is wrong, and why.
    fn check(&self) -> Result<()>;

    fn enabled(&mut self) -> &mut bool;

    /// With its public keys written in one way: line breaks don't make another key.
    fn with_plain_keys(self) -> Self {
        self
    }
}

impl Settings for ChannelSettings {
    fn check(&self) -> Result<()> {
        Channel::new(self).map(drop).map_err(wrong)
    }

    fn enabled(&mut self) -> &mut bool {
        &mut self.enabled
    }

    fn with_plain_keys(mut self) -> Self {
        self.public_keys.iter_mut().for_each(key::make_plain);
        self
    }
}

impl Settings for MerchantSettings {
    fn check(&self) -> Result<()> {
        Merchant::new(self).map(drop).map_err(wrong)
    }

    fn enabled(&mut self) -> &mut bool {
        &mut self.enabled
    }
}

impl Settings for AppSettings {
    fn check(&self) -> Result<()> {
        App::new(self).map(drop).map_err(wrong)
    }

    fn enabled(&mut self) -> &mut bool {
        &mut self.enabled
    }

    fn with_plain_keys(mut self) -> Self {
        self.public_key.iter_mut().for_each(key::make_plain);
        self
    }
}

/// What was given can't be used.
fn wrong(why: impl ToString) -> anyhow::Error {
    WrongUsage(why.to_string()).into()
}

/// Settings on record, with their text as it was read.
struct Recorded<T> {
    text: String,
    settings: T,
}

/// A tenant's settings, if there is such a tenant.
async fn recorded<T: Settings>(session: &Session, tenant: &TenantKey) -> Result<Option<Recorded<T>>> {
    let Some(text) = session.settings(tenant).await? else { return Ok(None) };
    let settings = serde_json::from_str(&text);
    let settings = settings.with_context(|| format!("the settings of {} on record", tenant_name(tenant)))?;
    Ok(Some(Recorded { text, settings }))
}

/// The settings of a tenant that must be there.
async fn known<T: Settings>(session: &Session, tenant: &TenantKey) -> Result<Recorded<T>> {
    recorded(session, tenant).await?.with_context(|| format!("there is no {}", tenant_name(tenant)))
}

/// Puts a new tenant's settings on record.
async fn put<T: Settings>(store: &Store, tenant: &TenantKey, settings: &T) -> Result<()> {
    let json = serde_json::to_string(settings)?;
    match session(store).put_settings(tenant, &json, false).await.context(UNDECIDED)? {
        SettingsChange::Created | SettingsChange::Unchanged | SettingsChange::Replaced => Ok(()),
        SettingsChange::Kept => {
            bail!(
                "{} was added by someone else meanwhile, and otherwise: its settings stay",
                tenant_name(tenant)
            )
        }
    }
}

/// Puts changed settings in the place of those that were read.
async fn change<T: Settings>(store: &Store, tenant: &TenantKey, read: &str, settings: &T) -> Result<()> {
    let json = serde_json::to_string(settings)?;
    if session(store).change_settings(tenant, read, &json).await.context(UNDECIDED)? {
        return Ok(());
    }
    bail!(
        "someone else changed the settings of {} meanwhile: they stay; run it again if it is still to be done",
        tenant_name(tenant)
    )
}

/// Whether a secret names this tenant already.
///
/// # Errors
/// If it names another.
async fn is_named(session: &Session, credential: &CredentialKey, tenant: &TenantKey) -> Result<bool> {
    match session.credential(credential).await? {
        Some(owner) if owner != *tenant => bail!("nothing was changed: the key is another one's"),
        owner => Ok(owner.is_some()),
    }
}

/// Lets a secret name a merchant.
async fn name_merchant(store: &Store, credential: &CredentialKey, tenant: &TenantKey) -> Result<()> {
    match session(store).create_credential(credential, tenant).await.context(UNDECIDED)? {
        Creation::Existing(owner) if owner != *tenant => bail!("the key is another one's"),
        Creation::Existing(_) | Creation::Created => Ok(()),
    }
}

/// Lets a secret name an app, beside those that it names already.
async fn name_app(store: &Store, key: &SecretKey, app: &AppId) -> Result<()> {
    let with_it = |named: &[String]| {
        let mut ids = named.to_vec();
        if !ids.iter().any(|id| id == app.as_str()) {
            ids.push(app.to_string());
            ids.sort();
        }
        ids
    };
    let tenant_of = |id: &str| tenant_of(id, key.mode);
    let change = session(store).change_shared_credential(&key.credential, with_it, tenant_of, None).await;
    change.context(UNDECIDED).map(|_| ())
}

/// How soon all processes know of a change.
fn everywhere() -> String {
    format!("everywhere within {} s", limits::SETTINGS_CACHED.as_secs())
}

/// The command that changes a tenant's keys on the same table: all of it, to be copied.
fn rotate_command(tenant: &TenantKey, retire: Option<&str>, table: &TableOptions) -> String {
    let mut command = match AppId::of_tenant(tenant) {
        Some((app, Mode::Live)) => format!("refundctl tenant rotate-key app {app} --live"),
        Some((app, Mode::Test)) => format!("refundctl tenant rotate-key app {app}"),
        None => format!("refundctl tenant rotate-key {}", tenant_name(tenant)),
    };
    let options =
        [("stage", &table.stage), ("endpoint", &table.endpoint), ("table", &table.table)].into_iter();
    let options = options.filter_map(|(name, value)| Some((name, value.as_deref()?)));
    for (name, value) in retire.map(|key| ("retire", key)).into_iter().chain(options) {
        command.push_str(&format!(" --{name} {value}"));
    }
    command
}

/// The public keys that a channel's settings list, as people call them; of others none.
pub fn public_keys(settings: &str) -> Vec<String> {
    let channel: Option<ChannelSettings> = serde_json::from_str(settings).ok();
    let named =
        |pem: &String| key::public_key_hash(pem).ok()?.get(..key::FINGERPRINT_DIGITS).map(str::to_owned);
    channel.into_iter().flat_map(|channel| channel.public_keys).filter_map(|pem| named(&pem)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_be_copied_names_the_tenant_the_key_and_the_table() {
        let on = TableOptions { stage: Some("prod".to_owned()), ..TableOptions::default() };
        let app: AppId = "app_1".parse().unwrap();
        for (tenant, retire, table, command) in [
            (TenantKey::new("ebet", "7"), None, &on, "channel 7 --stage prod"),
            (
                TenantKey::new("epay", "demo"),
                Some("2a97516c"),
                &on,
                "merchant demo --retire 2a97516c --stage prod",
            ),
            (app.tenant(Mode::Test), None, &TableOptions::default(), "app app_1"),
            (
                app.tenant(Mode::Live),
                Some("2a97516c"),
                &on,
                "app app_1 --live --retire 2a97516c --stage prod",
            ),
        ] {
            let expected = format!("refundctl tenant rotate-key {command}");
            assert_eq!(rotate_command(&tenant, retire, table), expected);
        }
    }
}
