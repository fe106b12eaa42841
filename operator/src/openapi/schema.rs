//! The schemas that all operations are made of.

use serde_json::{Map, Value, json};
use shared::ledger::FundingSource;
use shared::limits;

/// Schemas by their names.
pub type Schemas = Map<String, Value>;

/// One of the document's schemas.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A text of at most so many characters; it may be empty.
pub fn text(chars_max: usize) -> Value {
    json!({ "type": "string", "maxLength": chars_max })
}

/// A text as the ledger's names are: not empty, without control characters.
pub fn name(chars_max: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": chars_max, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$" })
}

/// A text that matches `pattern`.
pub fn matching(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

/// A whole number, both bounds included.
pub fn integer(least: impl Into<Value>, most: impl Into<Value>) -> Value {
    json!({ "type": "integer", "minimum": least.into(), "maximum": most.into() })
}

/// An amount, more than zero, in units of its currency.
pub fn amount() -> Value {
    json!({ "type": "number", "exclusiveMinimum": 0, "maximum": limits::AMOUNT_MAX, "multipleOf": smallest_amount() })
}

fn smallest_amount() -> f64 {
    1.0 / 10_f64.powi(limits::AMOUNT_DECIMALS_MAX as i32)
}

/// An amount below zero.
pub fn negative_amount() -> Value {
    json!({ "type": "number", "exclusiveMaximum": 0, "minimum": -limits::AMOUNT_MAX, "multipleOf": smallest_amount() })
}

/// An amount in the smallest unit of its currency.
pub fn minor_units() -> Value {
    integer(1, limits::AMOUNT_MAX)
}

/// A moment or a count that JSON's other readers hold too.
pub fn unsigned() -> Value {
    integer(0, u64::MAX)
}

pub fn funding_source() -> Value {
    json!({ "enum": FundingSource::ALL.map(FundingSource::as_str) })
}

/// The same, or null.
pub fn or_null(mut schema: Value) -> Value {
    match schema.get_mut("enum").and_then(Value::as_array_mut) {
        Some(values) => values.push(Value::Null),
        None => schema["type"] = json!([schema["type"], "null"]),
    }
    schema
}

pub fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}

/// An object with all of these members and no others, of which `optional` may be left out.
pub fn exact(optional: &[&str], properties: Value) -> Value {
    let all = properties.as_object().into_iter().flat_map(Map::keys);
    let required: Vec<&String> = all.filter(|name| !optional.contains(&name.as_str())).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// An object that may have other members, too: they are ignored.
pub fn open(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

/// One object of the members of several.
pub fn merged<const N: usize>(objects: [Value; N]) -> Value {
    let members = objects.into_iter().flat_map(|object| match object {
        Value::Object(members) => members,
        _ => Default::default(),
    });
    Value::Object(members.collect())
}

/// A body of JSON, which must be there, with an example of it.
pub fn json_body(schema: Value, example: &Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema, "example": example } } })
}

/// An answer in JSON.
pub fn json_answer(description: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}
