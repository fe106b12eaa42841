//! Whose an entry is.

use crate::ebet::{self, Channel};
use crate::epay::{self, Merchant};
use crate::ledger::{Currency, TenantKey};
use crate::pingpp::{App, AppId};

/// The currency that all of a tenant's money is in, by its settings (JSON).
///
/// # Errors
/// If they are not its settings.
pub fn currency_of(tenant: &TenantKey, settings: &str) -> Result<Currency, String> {
    match provider(tenant) {
        epay::PROVIDER => Merchant::from_json(settings).map(|merchant| merchant.currency).map_err(text),
        ebet::PROVIDER => Channel::from_json(settings).map(|channel| channel.currency).map_err(text),
        _ => App::from_json(settings).map(|app| app.currency).map_err(text),
    }
}

/// A tenant as people call it.
pub fn tenant_name(tenant: &TenantKey) -> String {
    if let Some((app, mode)) = AppId::of_tenant(tenant) {
        return format!("app {app} in {} mode", mode.as_str());
    }
    let kind = if provider(tenant) == epay::PROVIDER { "merchant" } else { "channel" };
    format!("{kind} {}", tenant.as_str().split_once('#').map_or("", |(_provider, id)| id))
}

fn provider(tenant: &TenantKey) -> &str {
    tenant.as_str().split_once('#').map_or("", |(provider, _)| provider)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
