//! BSON, as .NET writes and reads it.

use bson::raw::{CStr, RawDocument, RawDocumentBuf};
use bson::{Decimal128, RawBson, RawBsonRef};

use super::{Answer, Field, Format, Unreadable};
use crate::epay::{Members, Value};
use crate::limits;

/// Reads a document's members. What is nested in them is skipped over by its length, never entered.
pub(super) fn read(body: &[u8]) -> Result<Members, Unreadable> {
    let malformed = |_| Unreadable::Malformed(Format::Bson);
    let document = RawDocument::from_bytes(body).map_err(malformed)?;
    let mut members = Members::default();
    for element in document {
        let (name, value) = element.map_err(malformed)?;
        members.add(name.as_str(), self::value(value));
    }
    Ok(members)
}

fn value(value: RawBsonRef<'_>) -> Value {
    match value {
        RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
        RawBsonRef::String(text) => Value::Text(text.to_owned()),
        RawBsonRef::Int32(number) => Value::Number(number.to_string()),
        RawBsonRef::Int64(number) => Value::Number(number.to_string()),
        RawBsonRef::Decimal128(number) => exact_decimal128(number),
        RawBsonRef::Double(number) => exact_double(number).map_or(Value::Other, Value::Number),
        _ => Value::Other,
    }
}

/// Its digits, as they would stand in JSON. What is no number has a text too, and bits that stand for none are shown as 0.
fn exact_decimal128(number: Decimal128) -> Value {
    let text = number.to_string();
    let [coefficient @ .., middle, high] = number.bytes();
    let is_zero = coefficient == [0; 14] && middle & 1 == 0 && high & 0x60 != 0x60;
    let is_number = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    let digits = text.split('E').next().unwrap_or_default();
    let shows_zero = !digits.contains(|c| matches!(c, '1'..='9'));
    if is_number && (is_zero || !shows_zero) { Value::Number(text) } else { Value::Other }
}

/// The decimal that was meant by a double: .NET sends decimals so. The shortest one that reads as this double is
/// it, as long as its digits are so few that no other one reads as the same.
fn exact_double(number: f64) -> Option<String> {
    let text = format!("{number}");
    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    (number.is_finite() && digits <= limits::DOUBLE_DIGITS_MAX).then_some(text)
}

pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let mut document = RawDocumentBuf::new();
    for (name, field) in &answer.members {
        let Ok(name) = <&CStr>::try_from(*name) else { continue };
        match field {
            Field::Null => document.append(name, RawBson::Null),
            Field::Integer(number) => document.append(name, *number),
            Field::Text(text) => document.append(name, *text),
        }
    }
    document.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_double_is_the_decimal_that_was_meant_or_none() {
        for (number, meant) in [
            (2.0, Some("2")),
            (16.85, Some("16.85")),
            (0.1, Some("0.1")),
            (-0.01, Some("-0.01")),
            (1234567890123.45, Some("1234567890123.45")),
            (999999999999999.0, Some("999999999999999")),
            (0.1 + 0.2, None),
            (1e15, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(exact_double(number).as_deref(), meant, "{number}");
        }
    }

    #[test]
    fn a_decimal128_is_read_as_its_digits_stand_in_json_however_large_it_is() {
        for (text, read) in [
            ("2.50", Some("2.50")),
            ("-0.00", Some("-0.00")),
            ("79228162514264337593543950336", Some("79228162514264337593543950336")),
            ("NaN", None),
            ("-Infinity", None),
        ] {
            let wanted = read.map_or(Value::Other, |text| Value::Number(text.to_owned()));
            assert_eq!(exact_decimal128(text.parse().unwrap()), wanted, "{text}");
        }
        // Bits that stand for no number, which are shown as 0.
        let mut bytes = [0xff; 16];
        bytes[15] = 0x6c;
        assert_eq!(exact_decimal128(Decimal128::from_bytes(bytes)), Value::Other);
    }

    proptest! {
        #[test]
        fn every_amount_of_fifteen_digits_survives_as_a_double(cents in 1i64..1_000_000_000_000_000) {
            let text = rust_decimal::Decimal::new(cents, 2).normalize().to_string();
            let double: f64 = text.parse().unwrap();
            prop_assert_eq!(exact_double(double), Some(text));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_change_of_a_document_makes_the_reader_panic(at in 0usize..60, byte: u8) {
            let mut document = RawDocumentBuf::new();
            document.append(bson::cstr!("autoid"), 1);
            document.append(bson::cstr!("refundamount"), 2.0);
            document.append(bson::cstr!("batch_no"), "sample");
            let mut bytes = document.into_bytes();
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            let _ = read(&bytes);
        }
    }
}
