//! `application/x-www-form-urlencoded`.

use crate::epay::{Members, Value};

/// Reads a form's fields.
pub(super) fn read(text: &str) -> Members {
    let mut members = Members::default();
    for (name, value) in form_urlencoded::parse(text.trim_end_matches(['\r', '\n']).as_bytes()) {
        members.add(name, Value::Text(value.into_owned()));
    }
    members
}
