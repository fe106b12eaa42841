//! The body of a call: `{"entries": [...]}`.

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::entries::{Entry, InvalidEntry};
use shared::limits;

use crate::answer::Error;

/// What an entry said it is, for the answer.
#[derive(Debug)]
pub struct Said {
    pub kind: &'static str,
    pub id: String,
}

impl Said {
    pub fn of(entry: &Entry) -> Self {
        Self { kind: entry.kind(), id: entry.id() }
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
        return Err(Error::Unreadable("it is no object".to_owned()));
    }
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|error| Error::Unreadable(error.to_string()))?;
    if !(1..=limits::ENTRIES_PER_CALL_MAX).contains(&body.entries.len()) {
        return Err(Error::Count(body.entries.len()));
    }
    Ok(body.entries.into_iter().map(|entry| Entry::read(entry.get())).collect())
}
