//! Text in the encoding it came in: UTF-8 or UTF-16.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::Unreadable;
use super::negotiate::charset;

/// The text of `body`. A byte order mark tells the encoding, else the charset does; any other charset than UTF-16
/// is read as UTF-8, as the documented service does, so what is ASCII is read whatever it is said to be.
///
/// # Errors
/// If it is not of that encoding; nothing is replaced.
pub(super) fn decode(body: &[u8], content_type: &str) -> Result<String, Unreadable> {
    let (encoding, mark) = Encoding::for_bom(body).unwrap_or_else(|| {
        let said = charset(content_type).and_then(|charset| Encoding::for_label(charset.as_bytes()));
        (said.filter(|said| [UTF_16LE, UTF_16BE].contains(said)).unwrap_or(UTF_8), 0)
    });
    let text = body.get(mark..).unwrap_or_default();
    let decoded = encoding.decode_without_bom_handling_and_without_replacement(text);
    decoded.map(|text| text.into_owned()).ok_or(Unreadable::Encoding)
}
