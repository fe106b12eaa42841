//! `application/x-www-form-urlencoded`.

use super::Unreadable;
use crate::epay::{Members, Value};

/// Reads a form's fields; of a foreign charset's what is in ASCII.
pub(super) fn read(text: &str, is_foreign: bool) -> Result<Members, Unreadable> {
    let mut members = Members::default();
    for (name, value) in form_urlencoded::parse(text.trim_end_matches(['\r', '\n']).as_bytes()) {
        if is_foreign && !(name.is_ascii() && value.is_ascii()) {
            return Err(Unreadable::Encoding);
        }
        members.add(name, Value::Text(value.into_owned()));
    }
    Ok(members)
}
