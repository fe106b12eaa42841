//! `refundctl tenant disable` and `enable`: whether a tenant's calls are answered.

use anyhow::Result;
use clap::{Args, Subcommand};
use shared::ebet::{ChannelId, ChannelSettings};
use shared::entries::tenant_name;
use shared::epay::{MerchantId, MerchantSettings};
use shared::ledger::TenantKey;
use shared::pingpp::AppSettings;
use shared::store::Store;

use super::{AppName, Common, Recorded, Settings, change, everywhere, known};
use crate::say;
use crate::target::session;

pub const DISABLE_EXAMPLES: &str = "\
All of the tenant's calls are refused, everywhere within 30 s. What is under way is still settled, and nothing of what
it has is changed. `refundctl tenant enable` answers its calls again. Running it again changes nothing.

Examples:
  refundctl tenant disable channel 7
  refundctl tenant disable merchant demo --stage prod --yes --reason 'key in a public repository'
  refundctl tenant disable app app_1Gqj58ynP0mHeX1q --live --dry-run

Exit codes: 0 it is disabled, now or before, or --dry-run; 1 refused, or not known: run it again; 2 wrong usage.";

pub const ENABLE_EXAMPLES: &str = "\
Everywhere within 30 s. Running it again changes nothing.

Examples:
  refundctl tenant enable channel 7
  refundctl tenant enable merchant demo --stage prod --yes --reason 'key replaced'
  refundctl tenant enable app app_1Gqj58ynP0mHeX1q --live --dry-run

Exit codes: 0 it is enabled, now or before, or --dry-run; 1 refused, or not known: run it again; 2 wrong usage.";

const EXAMPLES: &str = "\
Its calls are refused after `disable`, and answered after `enable`, everywhere within 30 s. Running either again changes
nothing.

Examples:
  refundctl tenant disable channel 7
  refundctl tenant disable merchant demo --stage prod --yes --reason 'key in a public repository'
  refundctl tenant enable app app_1Gqj58ynP0mHeX1q --live --dry-run

Exit codes: 0 it is done, now or before, or --dry-run; 1 refused, or not known: run it again; 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub enum Kind {
    /// A channel, which eBET calls
    #[command(after_help = EXAMPLES)]
    Channel(ChannelOptions),
    /// A merchant, which EPay's back office calls for
    #[command(after_help = EXAMPLES)]
    Merchant(MerchantOptions),
    /// An app of a payment platform's merchant
    #[command(after_help = EXAMPLES)]
    App(AppOptions),
}

#[derive(Debug, Args)]
pub struct ChannelOptions {
    /// The channel's number
    channel: ChannelId,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct MerchantOptions {
    /// The merchant
    merchant: MerchantId,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct AppOptions {
    #[command(flatten)]
    name: AppName,
    #[command(flatten)]
    common: Common,
}

pub async fn command(kind: &Kind, enabled: bool) -> Result<()> {
    match kind {
        Kind::Channel(ChannelOptions { channel, common }) => {
            switch::<ChannelSettings>(&channel.tenant(), common, enabled).await
        }
        Kind::Merchant(MerchantOptions { merchant, common }) => {
            switch::<MerchantSettings>(&merchant.tenant(), common, enabled).await
        }
        Kind::App(AppOptions { name, common }) => {
            switch::<AppSettings>(&name.tenant(), common, enabled).await
        }
    }
}

async fn switch<T: Settings>(tenant: &TenantKey, common: &Common, enabled: bool) -> Result<()> {
    let name = tenant_name(tenant);
    let store = common.table.store().await?;
    let Recorded { text, mut settings } = known::<T>(&session(&store), tenant).await?;
    let (action, state) = if enabled { ("enable", "enabled") } else { ("disable", "disabled") };
    if *settings.enabled() == enabled {
        // Once more, so that the opposite comes to nothing, should it have been sent before and still be on its way.
        if !common.agreement.dry_run {
            change(&store, tenant, &text, &settings).await?;
        }
        say!("unchanged: {name} is {state}");
        return Ok(());
    }
    *settings.enabled() = enabled;
    let everywhere = everywhere();
    let what = match enabled {
        true => format!("its calls are answered again, {everywhere}"),
        false => format!("its calls are refused, {everywhere}; what is under way is still settled"),
    };
    let changes = [format!("{action} {name}: {what}")];
    let Some(agreed) = common.agreement.ask(&common.table, &changes).await? else { return Ok(()) };
    let work = write(&store, tenant, &text, &settings, state);
    let done = agreed.do_it(&store, tenant, "", action, work).await?;
    say!("{done}: {name}; {what}");
    Ok(())
}

async fn write<T: Settings>(
    store: &Store,
    tenant: &TenantKey,
    read: &str,
    settings: &T,
    state: &str,
) -> Result<String> {
    change(store, tenant, read, settings).await?;
    Ok(state.to_owned())
}
