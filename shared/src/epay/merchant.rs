//! A merchant: the tenant of EPay's calls, with its keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::PROVIDER;
use crate::ledger::{ApplicationKey, BatchKey, BatchNo, CredentialKey, Currency, InvalidMoney, TenantKey};
use crate::limits;

/// What a merchant is called by: 1 to 64 letters, digits, or `-._`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MerchantId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 letters, digits, or - . _")]
pub struct InvalidMerchantId;

impl MerchantId {
    pub fn tenant(&self) -> TenantKey {
        TenantKey::new(PROVIDER, &self.0)
    }

    pub fn application(&self, id: i64) -> ApplicationKey {
        ApplicationKey { merchant: self.tenant(), id }
    }

    pub fn batch(&self, no: BatchNo) -> BatchKey {
        BatchKey { merchant: self.tenant(), no }
    }
}

impl FromStr for MerchantId {
    type Err = InvalidMerchantId;

    fn from_str(text: &str) -> Result<Self, InvalidMerchantId> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_valid = (1..=64).contains(&text.len()) && text.bytes().all(is_plain);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidMerchantId) }
    }
}

impl fmt::Display for MerchantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A merchant's settings as they are stored: of its keys the hashes alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MerchantSettings {
    pub merchant: String,
    pub currency: String,
    /// SHA-256 of each key, in hex.
    pub key_hashes: Vec<String>,
    pub enabled: bool,
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMerchant {
    #[error("not a merchant's settings: {0}")]
    Json(#[from] serde_json::Error),
    #[error("merchant {0}")]
    Id(#[from] InvalidMerchantId),
    #[error("currency {0}")]
    Currency(InvalidMoney),
    #[error("apiKeys must name at least one key")]
    NoKey,
    #[error(
        "apiKeys: a key must have {} to {} visible ASCII characters",
        limits::SECRET_CHARS_MIN,
        limits::TEXT_CHARS_MAX
    )]
    Key,
}

/// A merchant, ready for use.
#[derive(Debug, Clone)]
pub struct Merchant {
    pub id: MerchantId,
    pub currency: Currency,
    key_hashes: Vec<String>,
    pub enabled: bool,
}

impl Merchant {
    /// Of settings as they are stored.
    ///
    /// # Errors
    /// Names the member that is wrong, and why.
    pub fn from_json(settings: &str) -> Result<Self, InvalidMerchant> {
        Self::new(&serde_json::from_str(settings)?)
    }

    /// # Errors
    /// Names the member that is wrong, and why.
    pub fn new(settings: &MerchantSettings) -> Result<Self, InvalidMerchant> {
        if settings.key_hashes.is_empty() {
            return Err(InvalidMerchant::NoKey);
        }
        Ok(Self {
            id: settings.merchant.parse()?,
            currency: settings.currency.parse().map_err(InvalidMerchant::Currency)?,
            key_hashes: settings.key_hashes.clone(),
            enabled: settings.enabled,
        })
    }

    /// What names the merchant that has this key.
    ///
    /// # Errors
    /// If no merchant can have it: a short one is guessed, and others can't stand in a header.
    pub fn credential(key: &str) -> Result<CredentialKey, InvalidMerchant> {
        let length = limits::SECRET_CHARS_MIN..=limits::TEXT_CHARS_MAX;
        if length.contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(CredentialKey::new(PROVIDER, &key.to_ascii_lowercase()))
        } else {
            Err(InvalidMerchant::Key)
        }
    }

    /// Whether the key is one of the merchant's now.
    pub fn has(&self, credential: &CredentialKey) -> bool {
        let hash = credential.hash().as_bytes();
        self.key_hashes.iter().any(|own| own.as_bytes().ct_eq(hash).into())
    }
}
