//! Who calls, and may they? Before anything else of a request is looked at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::{Call, Channel, ChannelId, Code, Members, number, text};
use crate::clock;
use crate::ledger::TenantKey;
use crate::limits;
use crate::mutants::{self, Decision};
use crate::store::{Session, SettingsCache, StoreError};

/// The channels that a process has seen lately.
pub type Channels = SettingsCache<TenantKey, Channel>;

/// Why a request goes no further.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("answered with status {}", .0.number())]
    Refused(Code),
    /// Our own trouble; the request may be sent again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

impl Fault {
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(code) => *code,
            Self::Store(StoreError::DeadlinePassed { .. }) => Code::Busy,
            Self::Store(_) => Code::SystemError,
        }
    }
}

/// The channel that a request for `C` comes from.
///
/// # Errors
/// In this order: what is missing or of the wrong type among the members needed here, 202 unknown
/// channel, 4026 bad signature, 4025 a timestamp that is none, 4026 too old, 4027 address not allowed,
/// 4029 disabled.
pub async fn authenticate<C: Call>(
    channels: &Channels,
    session: &Session,
    members: &Members<'_>,
    source_ip: Option<IpAddr>,
) -> Result<Arc<Channel>, Fault> {
    let id = channel_id(members);
    let timestamp = number(members.timestamp.ok_or(Code::BadParameters)?)?;
    // One that is too long is none of ours.
    let signature = match text(members.signature.ok_or(Code::BadParameters)?, limits::SIGNATURE_CHARS_MAX) {
        Err(Code::BadParameters) => String::new(),
        signature => signature?,
    };
    let tenant = id?.tenant();
    let channel = channels.get(&tenant, session.settings_as(&tenant, Channel::from_json)).await?;
    let channel = channel.ok_or(Code::UnknownChannel)?;

    let verifies = |text: &str| channel.public_keys.iter().any(|key| key.verifies(text, &signature));
    if !C::signed_texts(members, &channel, timestamp)?.any(|text| verifies(&text)) {
        return Err(Code::BadSignature.into());
    }
    check_age(&channel, timestamp)?;
    if !channel.allows(source_ip) {
        return Err(Code::IpDenied.into());
    }
    let is_wrong = mutants::is_on(Decision::DisabledIsTold) && clock::unix_now().is_multiple_of(16);
    if !channel.enabled || is_wrong {
        return Err(Code::Disabled.into());
    }
    Ok(channel)
}

/// The number of the channel that a request names.
///
/// # Errors
/// [`Code::BadParameters`] if it names none, [`Code::WrongType`] if that is no number, and
/// [`Code::UnknownChannel`] if it is a number that no channel can have.
pub fn channel_id(members: &Members<'_>) -> Result<ChannelId, Code> {
    let text = number(members.channel_id.ok_or(Code::BadParameters)?)?;
    text.parse().map_err(|_| Code::UnknownChannel)
}

/// A signature does not age by itself: a captured one must not be good for ever.
fn check_age(channel: &Channel, timestamp: &str) -> Result<(), Code> {
    let milliseconds = timestamp.parse().map_err(|_| Code::BadParameters)?;
    let Some(max_age) = channel.max_age else { return Ok(()) };
    let signed_at = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).ok_or(Code::BadParameters)?;
    let age = clock::now().duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
    if age > max_age { Err(Code::BadSignature) } else { Ok(()) }
}
