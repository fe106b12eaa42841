//! `application/x-www-form-urlencoded`.

use super::Unreadable;
use crate::epay::{Members, Value};

/// Reads a form's fields.
pub(super) fn read(text: &str) -> Result<Members, Unreadable> {
    let mut members = Members::default();
    for (name, value) in form_urlencoded::parse(text.trim_end().as_bytes()) {
        // What stands for bytes that are no UTF-8 is not what was sent.
        if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Unreadable::Encoding);
        }
        members.add(name, Value::Text(value.into_owned()));
    }
    Ok(members)
}
