//! Who calls, and may they? Before anything else of a request is looked at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Channel, ChannelId, Code, Members, number, text};
use crate::limits;
use crate::store::{Session, StoreError, Tenants};

/// The channels that a process has seen lately.
pub type Channels = Tenants<Channel>;

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

/// The channel that a request comes from.
///
/// `signed_texts` gives what the signature may be over, for this channel and the timestamp's own text;
/// any one of them will do.
///
/// # Errors
/// In this order: what is missing or of the wrong type among the members needed here, 202 unknown
/// channel, 4026 bad signature or too old, 4027 address not allowed, 4029 disabled.
pub async fn authenticate(
    channels: &Channels,
    session: &Session,
    members: &Members<'_>,
    source_ip: Option<IpAddr>,
    signed_texts: impl FnOnce(&Channel, &str) -> Result<Vec<String>, Code>,
) -> Result<Arc<Channel>, Fault> {
    let channel_id = number(members.channel_id.ok_or(Code::BadParameters)?)?;
    let timestamp = number(members.timestamp.ok_or(Code::BadParameters)?)?;
    let signature = text(members.signature.ok_or(Code::BadParameters)?, limits::SIGNATURE_CHARS_MAX);

    // A number that can't be a channel's is not one of ours.
    let id: ChannelId = channel_id.parse().map_err(|_| Code::UnknownChannel)?;
    let channel = channels.get(session, &id.tenant(), Channel::from_json).await?;
    let channel = channel.ok_or(Code::UnknownChannel)?;

    let signature = signature.map_err(|code| match code {
        Code::WrongType => Code::WrongType,
        _ => Code::BadSignature,
    })?;
    let signed_texts = signed_texts(&channel, timestamp)?;
    let verifies = |text: &String| channel.public_keys.iter().any(|key| key.verifies(text, &signature));
    if !signed_texts.iter().any(verifies) {
        return Err(Code::BadSignature.into());
    }
    check_age(&channel, timestamp)?;
    if !channel.allows(source_ip) {
        return Err(Code::IpDenied.into());
    }
    if !channel.enabled {
        return Err(Code::Disabled.into());
    }
    Ok(channel)
}

/// A signature does not age by itself: a captured one must not be good for ever.
fn check_age(channel: &Channel, timestamp: &str) -> Result<(), Code> {
    let milliseconds = timestamp.parse().map_err(|_| Code::BadParameters)?;
    let Some(max_age) = channel.max_age else { return Ok(()) };
    let signed_at = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).ok_or(Code::BadParameters)?;
    let age = SystemTime::now().duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
    if age > max_age { Err(Code::BadSignature) } else { Ok(()) }
}
