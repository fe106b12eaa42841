//! `refundctl show tenant` and `show app`: settings, keys, and what operators did.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use shared::ebet::ChannelId;
use shared::entries::tenant_name;
use shared::epay::{MerchantId, MerchantSettings};
use shared::ledger::{FundingSource, TenantKey};
use shared::pingpp::AppId;
use shared::store::Session;

use super::interventions;
use crate::app::AppOptions;
use crate::screen::{Cell, OutputOptions, Section, Sheet};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Of secrets the hashes alone are known; `refundctl tenant rotate-key` takes their first digits.

Examples:
  refundctl show tenant channel 1
  refundctl show tenant merchant demo --stage prod
  refundctl show tenant app app_1Gqj58ynP0mHeX1q --live --stage prod

Exit codes: 0 shown; 1 no such tenant; 2 wrong usage.";

pub const APP_EXAMPLES: &str = "\
Examples:
  refundctl show app
  refundctl show app --app app_1Gqj58ynP0mHeX1q --live --stage prod

Exit codes: 0 shown; 1 no such app; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    tenant: Tenant,
}

#[derive(Debug, Subcommand)]
enum Tenant {
    /// A channel of eBET's
    Channel {
        /// The channel's number
        id: ChannelId,
        #[command(flatten)]
        common: Common,
    },
    /// A merchant of EPay's
    Merchant {
        /// The merchant
        id: MerchantId,
        #[command(flatten)]
        common: Common,
    },
    /// An app of Ping++'s
    App {
        /// The app
        id: AppId,
        /// In live mode rather than in test mode
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Debug, Args)]
pub struct AppShown {
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    common: Common,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let (key, common) = match &options.tenant {
        Tenant::Channel { id, common } => (id.tenant(), common),
        Tenant::Merchant { id, common } => (id.tenant(), common),
        Tenant::App { id, live, common } => (id.tenant(shared::pingpp::Mode::of(*live)), common),
    };
    let store = common.table.store().await?;
    sheet(&session(&store), &key).await?.print(common.output)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn app(options: &AppShown) -> Result<ExitCode> {
    let store = options.common.table.store().await?;
    sheet(&session(&store), &options.app.tenant()).await?.print(options.common.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn sheet(session: &Session, tenant: &TenantKey) -> Result<Sheet> {
    let name = tenant_name(tenant);
    let settings = session.settings(tenant).await?.with_context(|| format!("there is no {name}"))?;
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&settings).with_context(|| format!("the settings of {name} can't be read"))?;
    let is_enabled = members.get("enabled").and_then(serde_json::Value::as_bool).unwrap_or(true);
    let mut sheet = Sheet::new(name);
    sheet.fact("enabled", Cell::Flag(is_enabled));
    let mut shown = Section::new("settings", &["setting"], &["value"]);
    for (member, value) in
        members.iter().filter(|(name, _)| !matches!(name.as_str(), "enabled" | "keyHashes"))
    {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(texts) if texts.iter().all(serde_json::Value::is_string) => {
                texts.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join("\n")
            }
            other => other.to_string(),
        };
        shown.row([Cell::text(member), Cell::text(value)]);
    }
    let mut keys = Section::new("keys", &[], &["sha256"]);
    let of_merchant =
        serde_json::from_str::<MerchantSettings>(&settings).ok().map(|settings| settings.key_hashes);
    for hash in of_merchant.into_iter().flatten().chain(session.keys_of_tenant(tenant).await?) {
        keys.row([Cell::text(hash)]);
    }
    for key in crate::tenant::public_keys(&settings) {
        keys.row([Cell::text(key)]);
    }
    sheet.section(shown);
    sheet.section(keys);
    if AppId::of_tenant(tenant).is_some() {
        let mut funds = Section::new("funds", &["balance", "postings"], &["account", "currency"]);
        for source in FundingSource::ALL {
            if let Some(account) = session.funds(tenant, source).await? {
                funds.row([
                    Cell::amount(account.balance),
                    Cell::Count(account.sequence),
                    Cell::text(source.as_str()),
                    Cell::text(format!("smallest unit of {}", account.currency)),
                ]);
            }
        }
        sheet.section(funds);
    }
    sheet.section(interventions(session, tenant, |_| true).await?);
    Ok(sheet)
}
