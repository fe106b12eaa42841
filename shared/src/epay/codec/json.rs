//! JSON, with every number as it stands in the text.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Answer, Field, Format, Unreadable};
use crate::epay::{Members, Value};

/// Reads an object's members.
pub(super) fn read(text: &str) -> Result<Members, Unreadable> {
    let malformed = |_| Unreadable::Malformed(Format::Json);
    let Entries(entries) = serde_json::from_str(text).map_err(malformed)?;
    let mut members = Members::default();
    for (name, value) in entries {
        members.add(name, self::value(value));
    }
    Ok(members)
}

/// A text that is no Unicode is no text.
fn value(value: &RawValue) -> Value {
    let text = value.get();
    match text.bytes().next() {
        Some(b'"') => serde_json::from_str(text).map_or(Value::Other, Value::Text),
        Some(b'n') => Value::Null,
        Some(b'-' | b'0'..=b'9') => Value::Number(text.to_owned()),
        _ => Value::Other,
    }
}

/// An object's members in their order, those of one name too. Values are skipped over without recursion, so
/// depth costs no stack.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Compact.
pub(super) fn write(answer: &Answer<'_>) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, field) in &self.members {
            match field {
                Field::Null => map.serialize_entry(name, &())?,
                Field::Integer(number) => map.serialize_entry(name, number)?,
                Field::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}
