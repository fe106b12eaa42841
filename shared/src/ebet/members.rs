//! The members of a request's JSON body. Each is kept as it stands in the text until its meaning is
//! known: the signature is over the text of a number, and an amount must never pass through a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Code;
use crate::clock;
use crate::edge::hashed;
use crate::limits;

/// The top-level members of all calls; unknown ones are ignored, null is as good as absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Members<'a> {
    #[serde(borrow)]
    pub channel_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub username: Option<&'a RawValue>,
    #[serde(borrow)]
    pub round_code: Option<&'a RawValue>,
    #[serde(borrow)]
    pub seq_no: Option<&'a RawValue>,
    #[serde(borrow)]
    pub event: Option<&'a RawValue>,
    #[serde(borrow)]
    pub timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    pub session_token: Option<&'a RawValue>,
    #[serde(borrow)]
    pub currency: Option<&'a RawValue>,
    #[serde(borrow)]
    pub signature: Option<&'a RawValue>,
    /// Of `refundSingleWallet`.
    #[serde(borrow)]
    pub refund_list: Option<&'a RawValue>,
    /// This and the following ones are of `autoBatchRefund`.
    #[serde(borrow)]
    pub batch_refund_list: Option<&'a RawValue>,
    #[serde(borrow)]
    pub refund_threshold: Option<&'a RawValue>,
    #[serde(borrow)]
    pub last_start_process_time: Option<&'a RawValue>,
}

/// Reads the top level of a body.
///
/// # Errors
/// [`Code::BadParameters`] if it is too large, not UTF-8, not JSON, or names a member twice;
/// [`Code::WrongType`] if it is JSON, but no object.
pub fn read_members(body: &[u8]) -> Result<Members<'_>, Code> {
    if body.len() > limits::BODY_BYTES_MAX {
        return Err(Code::BadParameters);
    }
    let text = std::str::from_utf8(body).map_err(|_| Code::BadParameters)?;
    // Skips over values without recursion, so depth costs no stack.
    let value: &RawValue = serde_json::from_str(text).map_err(|_| Code::BadParameters)?;
    object(value)
}

/// Reads an object, and only an object: serde would take an array of its members too.
///
/// # Errors
/// [`Code::WrongType`] if it is none; [`Code::BadParameters`] if a member is named twice.
pub fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Code> {
    if !value.get().starts_with('{') {
        return Err(Code::WrongType);
    }
    serde_json::from_str(value.get()).map_err(|_| Code::BadParameters)
}

/// The elements of an array.
///
/// # Errors
/// [`Code::WrongType`] if it is none.
pub fn array(value: &RawValue) -> Result<Vec<&RawValue>, Code> {
    if !value.get().starts_with('[') {
        return Err(Code::WrongType);
    }
    serde_json::from_str(value.get()).map_err(|_| Code::BadParameters)
}

/// A string of at most `chars_max` characters.
///
/// # Errors
/// [`Code::WrongType`] if it is no string; [`Code::BadParameters`] if it is too long or not Unicode.
pub fn text(value: &RawValue, chars_max: usize) -> Result<String, Code> {
    if !value.get().starts_with('"') {
        return Err(Code::WrongType);
    }
    let text: String = serde_json::from_str(value.get()).map_err(|_| Code::BadParameters)?;
    if text.chars().count() > chars_max { Err(Code::BadParameters) } else { Ok(text) }
}

/// A string of at most [`limits::TEXT_CHARS_MAX`] characters, where there is one.
///
/// # Errors
/// As [`text`].
pub fn optional_text(member: Option<&RawValue>) -> Result<Option<String>, Code> {
    member.map(|value| text(value, limits::TEXT_CHARS_MAX)).transpose()
}

/// The text of a number, as it stands in the JSON text.
///
/// # Errors
/// [`Code::WrongType`] if it is no number.
pub fn number(value: &RawValue) -> Result<&str, Code> {
    let text = value.get();
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(Code::WrongType)
    }
}

/// What an authenticated request has beside its items, whichever call it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The request's number; never empty.
    pub seq_no: String,
    pub currency: Option<String>,
    /// The caller's session token, hashed.
    pub session: Option<String>,
}

impl Head {
    /// Of a request for the call named `event`.
    ///
    /// # Errors
    /// [`Code::BadParameters`] for what is missing or over-long, and for another call's name;
    /// [`Code::WrongType`] for what has another type; [`Code::NoSeqNo`] for an empty number.
    pub fn read(members: &Members<'_>, event: &str) -> Result<Self, Code> {
        let seq_no = optional_text(members.seq_no)?.ok_or(Code::BadParameters)?;
        if seq_no.is_empty() {
            return Err(Code::NoSeqNo);
        }
        if optional_text(members.event)?.is_some_and(|named| named != event) {
            return Err(Code::BadParameters);
        }
        let session = optional_text(members.session_token)?.map(|token| hashed(&token));
        Ok(Self { seq_no, currency: optional_text(members.currency)?, session })
    }
}

/// What every answer has: echoed where it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub seq_no: String,
    pub event: String,
    /// Unix milliseconds.
    pub timestamp: u64,
}

impl Numbered {
    /// Of a body that may be unreadable; `event` and the present time stand in for what is.
    pub fn of(members: Option<&Members<'_>>, event: &str) -> Self {
        let readable = |member: Option<&RawValue>| text(member?, limits::TEXT_CHARS_MAX).ok();
        Self {
            seq_no: members.and_then(|members| readable(members.seq_no)).unwrap_or_default(),
            event: members.and_then(|members| readable(members.event)).unwrap_or_else(|| event.to_owned()),
            timestamp: members
                .and_then(|members| members.timestamp?.get().parse().ok())
                .unwrap_or_else(clock::unix_now),
        }
    }
}

/// Money as a JSON number, with exactly its digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonMoney(pub Decimal);

impl Serialize for JsonMoney {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = RawValue::from_string(self.0.normalize().to_string());
        digits.map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}
