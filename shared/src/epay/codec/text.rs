//! Text in the encoding it came in: UTF-8 or UTF-16.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::Unreadable;
use super::negotiate::charset;

fn is_unicode(encoding: &'static Encoding) -> bool {
    [UTF_8, UTF_16LE, UTF_16BE].contains(&encoding)
}

/// Whether only ASCII can be read of what is said to be in `label`.
pub(super) fn is_foreign(label: &str) -> bool {
    !Encoding::for_label(label.as_bytes()).is_some_and(is_unicode)
}

/// The text of `body`. A byte order mark tells the encoding, else the charset does, else it is UTF-8. What is in
/// ASCII is read whatever charset it is said to be of; other texts in other charsets are not guessed at.
///
/// # Errors
/// If it is not of that encoding; nothing is replaced.
pub(super) fn decode(body: &[u8], content_type: &str) -> Result<String, Unreadable> {
    let (encoding, mark) = Encoding::for_bom(body).unwrap_or_else(|| {
        let said = charset(content_type).map(|charset| Encoding::for_label(charset.as_bytes()));
        (said.unwrap_or(Some(UTF_8)).unwrap_or(WINDOWS_1252), 0)
    });
    if !is_unicode(encoding) && !body.is_ascii() {
        return Err(Unreadable::Encoding);
    }
    let text = body.get(mark..).unwrap_or_default();
    let decoded = encoding.decode_without_bom_handling_and_without_replacement(text);
    decoded.map(|text| text.into_owned()).ok_or(Unreadable::Encoding)
}
