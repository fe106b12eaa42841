//! Who calls, and may they? Before anything else of a request is looked at.

use std::sync::Arc;

use http::HeaderMap;

use super::{KEY_HEADER, Merchant, Refusal};
use crate::ledger::CredentialKey;
use crate::store::{Session, SettingsCache, StoreError};

/// The merchants that a process has seen lately, by their keys.
pub type Merchants = SettingsCache<CredentialKey, Merchant>;

/// The merchant whose key a request has.
///
/// # Errors
/// [`Refusal::Unauthorized`] without a key, with two, or with one that is no merchant's.
pub(super) async fn authenticate(
    merchants: &Merchants,
    session: &Session,
    headers: &HeaderMap,
) -> Result<Arc<Merchant>, Refusal> {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::Unauthorized) };
    let key = key.to_str().map_err(|_| Refusal::Unauthorized)?;
    let credential = Merchant::credential(key).map_err(|_| Refusal::Unauthorized)?;
    let merchant = merchants.get(&credential, of_credential(session, &credential)).await?;
    merchant.ok_or(Refusal::Unauthorized)
}

/// The merchant that a key names, if the key is still one of its own.
async fn of_credential(
    session: &Session,
    credential: &CredentialKey,
) -> Result<Option<Merchant>, StoreError> {
    let Some(tenant) = session.credential(credential).await? else { return Ok(None) };
    let merchant = session.settings_as(&tenant, Merchant::from_json).await?;
    Ok(merchant.filter(|merchant| merchant.id.tenant() == tenant && merchant.has(credential)))
}
