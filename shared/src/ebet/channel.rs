//! A channel: the tenant of eBET's calls, with its keys, its rules and its users' names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{InvalidKey, PROVIDER, PublicKey};
use crate::ledger::{AccountKey, Amount, Currency, InvalidMoney, TenantKey};
use crate::limits;

/// eBET's number of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u64);

impl ChannelId {
    pub fn tenant(self) -> TenantKey {
        TenantKey::new(PROVIDER, &self.0.to_string())
    }

    pub fn wallet(self, user: &Username) -> AccountKey {
        self.tenant().account(user.as_str())
    }
}

impl FromStr for ChannelId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A player's name, lower-case. eBET's rule: lower-case letters, digits and some symbols, an upper-case
/// letter is lowered, and no character that HTTP reserves. That leaves RFC 3986's unreserved ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} letters a-z, digits, or - . _ ~", limits::TEXT_CHARS_MAX)]
pub struct InvalidUsername;

impl Username {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(text: &str) -> Result<Self, InvalidUsername> {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if (1..=limits::TEXT_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_unreserved) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidUsername)
        }
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `autoBatchRefund`'s signature may be over: the documents say one thing, senders do another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchSignature {
    #[serde(rename = "channelId+timestamp")]
    ChannelIdTimestamp,
    #[serde(rename = "username+timestamp")]
    UsernameTimestamp,
    #[serde(rename = "timestamp")]
    Timestamp,
}

/// A channel's settings as they are imported and stored (JSON). Absent members have safe defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelSettings {
    pub channel_id: ChannelId,
    pub currency: String,
    /// PEM, SPKI. Several while keys are being changed.
    pub public_keys: Vec<String>,
    /// Addresses and networks that may call; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_ips: Option<Vec<String>>,
    /// Largest refund of one item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_limit: Option<String>,
    /// Whether less than the whole debit may be refunded.
    #[serde(default)]
    pub partial_refunds: bool,
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// How far a request's timestamp may be from now, in seconds; 0 = any.
    #[serde(default = "signature_age")]
    pub max_age: u64,
    #[serde(default = "all_batch_signatures")]
    pub batch_signature: Vec<BatchSignature>,
}

fn enabled() -> bool {
    true
}

fn signature_age() -> u64 {
    limits::SIGNATURE_AGE_SECONDS_DEFAULT
}

fn all_batch_signatures() -> Vec<BatchSignature> {
    use BatchSignature::{ChannelIdTimestamp, Timestamp, UsernameTimestamp};
    vec![ChannelIdTimestamp, UsernameTimestamp, Timestamp]
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    #[error("not a channel's settings: {0}")]
    Json(#[from] serde_json::Error),
    #[error("currency {0}")]
    Currency(InvalidMoney),
    #[error("refundLimit {0}")]
    RefundLimit(InvalidMoney),
    #[error("publicKeys must name at least one key")]
    NoKey,
    #[error("publicKeys: {0}")]
    Key(#[from] InvalidKey),
    #[error("allowedIps: {0:?} is neither an address nor a network such as 203.0.113.0/24")]
    AllowedIps(String),
    #[error("allowedIps is empty: name at least one address, or leave it out to allow all")]
    NoAllowedIp,
    #[error("batchSignature is empty: name at least one form, or leave it out to accept all three")]
    NoBatchSignature,
}

/// A channel, ready for use.
#[derive(Debug, Clone)]
pub struct Channel {
    pub id: ChannelId,
    pub currency: Currency,
    pub public_keys: Vec<PublicKey>,
    allowed_ips: Option<Vec<IpNet>>,
    pub refund_limit: Option<Amount>,
    pub partial_refunds: bool,
    pub enabled: bool,
    /// None: any age.
    pub max_age: Option<Duration>,
    pub batch_signature: Vec<BatchSignature>,
}

impl Channel {
    /// Of settings as they are stored.
    ///
    /// # Errors
    /// Names the member that is wrong, and why.
    pub fn from_json(settings: &str) -> Result<Self, InvalidSettings> {
        Self::new(&serde_json::from_str(settings)?)
    }

    /// # Errors
    /// Names the member that is wrong, and why.
    pub fn new(settings: &ChannelSettings) -> Result<Self, InvalidSettings> {
        if settings.public_keys.is_empty() {
            return Err(InvalidSettings::NoKey);
        }
        if settings.allowed_ips.as_ref().is_some_and(Vec::is_empty) {
            return Err(InvalidSettings::NoAllowedIp);
        }
        if settings.batch_signature.is_empty() {
            return Err(InvalidSettings::NoBatchSignature);
        }
        let keys = settings.public_keys.iter().map(|pem| PublicKey::from_pem(pem));
        let networks =
            settings.allowed_ips.as_ref().map(|list| list.iter().map(|text| network(text)).collect());
        let limit = settings.refund_limit.as_ref().map(|text| text.parse());
        Ok(Self {
            id: settings.channel_id,
            currency: settings.currency.parse().map_err(InvalidSettings::Currency)?,
            public_keys: keys.collect::<Result<_, _>>()?,
            allowed_ips: networks.transpose()?,
            refund_limit: limit.transpose().map_err(InvalidSettings::RefundLimit)?,
            partial_refunds: settings.partial_refunds,
            enabled: settings.enabled,
            max_age: (settings.max_age > 0).then(|| Duration::from_secs(settings.max_age)),
            batch_signature: settings.batch_signature.clone(),
        })
    }

    /// Whether a caller from `address` may call; one from nowhere only if all may.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        let Some(networks) = &self.allowed_ips else { return true };
        address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
    }
}

fn network(text: &str) -> Result<IpNet, InvalidSettings> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).map_err(|_| InvalidSettings::AllowedIps(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_lowered_and_has_no_character_that_http_reserves() {
        for (text, name) in [
            ("apitest01", Some("apitest01")),
            ("ApiTest01", Some("apitest01")),
            ("jll_a.b-c~1", Some("jll_a.b-c~1")),
            ("a b", None),
            ("a/b", None),
            ("a#b", None),
            ("a%41", None),
            ("a@b", None),
            ("用户", None),
            ("", None),
            (&"a".repeat(129), None),
        ] {
            assert_eq!(text.parse::<Username>().ok().as_ref().map(Username::as_str), name, "{text:?}");
        }
    }
}
