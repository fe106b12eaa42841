//! The body of a call: `{"entries": [...]}`.

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::edge::MalformedEvent;
use shared::entries::{Entry, InvalidEntry};
use shared::ledger::TenantKey;
use shared::limits;

/// Why no entry of a call was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the request is malformed: {0}")]
    Malformed(MalformedEvent),
    #[error("the request must be signed by AWS Signature Version 4, for the service execute-api")]
    Unsigned,
    #[error("the body has more than {} bytes", limits::ENTRIES_BODY_BYTES_MAX)]
    TooLarge,
    #[error("the body must be {{\"entries\": [...]}}: {0}")]
    Unreadable(InvalidEntry),
    #[error("a call has 1 to {max} entries, and this one has {0}", max = limits::ENTRIES_PER_CALL_MAX)]
    Count(usize),
}

impl Error {
    /// For the log, which quotes no body.
    pub fn in_log(&self) -> String {
        match self {
            Self::Unreadable(_) => "the body can't be read".to_owned(),
            told => told.to_string(),
        }
    }
}

/// What an entry said it is, for the answer.
#[derive(Debug)]
pub struct Said {
    pub tenant: TenantKey,
    pub kind: &'static str,
    pub id: String,
}

impl Said {
    pub fn of(entry: &Entry) -> Self {
        Self { tenant: entry.tenant(), kind: entry.kind(), id: entry.id() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

/// The entries of a body; of those that can't be read, why not.
///
/// # Errors
/// If the body is none, or has too many entries: then none of them is looked at.
pub fn read(body: &[u8]) -> Result<Vec<Result<Entry, InvalidEntry>>, Error> {
    if body.len() > limits::ENTRIES_BODY_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    // An array would be read as a struct's members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::Unreadable(InvalidEntry::new("it is no object".to_owned())));
    }
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|error| Error::Unreadable(InvalidEntry::new(error.to_string())))?;
    if !(1..=limits::ENTRIES_PER_CALL_MAX).contains(&body.entries.len()) {
        return Err(Error::Count(body.entries.len()));
    }
    Ok(body.entries.into_iter().map(|entry| Entry::read(entry.get())).collect())
}
