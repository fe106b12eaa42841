//! The table as it is at one moment, past all functions, networks and clients.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use shared::store::{Content, Stored};

use crate::embedded::{Answered, Embedded};

pub const NAME: &str = "refunds-simulated";

pub struct Table {
    pub embedded: Embedded,
    /// All items, as they were read since the last write.
    read: Mutex<Option<Arc<Items>>>,
}

/// All items, by their keys.
pub type Items = BTreeMap<(String, String), Stored>;

impl Table {
    pub fn new(embedded: Embedded) -> Self {
        Self { embedded, read: Mutex::default() }
    }

    /// Carries a call out.
    pub fn carry_out(&self, operation: &str, asked: &str) -> Answered {
        if !matches!(operation, "GetItem" | "BatchGetItem" | "Query") {
            self.read.lock().unwrap().take();
        }
        self.embedded.carry_out(operation, asked)
    }

    /// All items.
    pub fn items(&self) -> Arc<Items> {
        self.read.lock().unwrap().get_or_insert_with(|| Arc::new(self.scan())).clone()
    }

    fn scan(&self) -> Items {
        let mut items = Items::new();
        let mut start = Value::Null;
        loop {
            let mut call = json!({"TableName": NAME, "ConsistentRead": true});
            if !start.is_null() {
                call["ExclusiveStartKey"] = start;
            }
            let mut page = self.call("Scan", &call);
            let found = page["Items"].as_array().expect("a scan has items");
            items.extend(found.iter().map(|item| {
                let stored = Stored::of(&item_of(item));
                ((stored.partition.clone(), stored.sort.clone()), stored)
            }));
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return items;
            }
        }
    }

    /// What the item under a key is, if there is one.
    pub fn content(&self, partition: &str, sort: &str) -> Option<Content> {
        let items = self.items();
        let stored = items.get(&(partition.to_owned(), sort.to_owned()))?;
        // What can't be read is found where the whole table is looked at.
        stored.content.clone().ok()
    }

    fn call(&self, operation: &str, call: &Value) -> Value {
        let (status, answer) = self.embedded.carry_out(operation, &call.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).expect("an answer is JSON")
    }
}

/// An item in DynamoDB's JSON, as the SDK has it.
pub fn item_of(item: &Value) -> HashMap<String, AttributeValue> {
    let members = item.as_object().expect("an item is an object");
    members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().and_then(|value| value.iter().next()).expect("a typed value");
    let text = || value.as_str().expect("a text").to_owned();
    let list = || value.as_array().expect("a list").iter();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(Blob::new(BASE64.decode(text()).expect("bytes in Base64"))),
        "BOOL" => AttributeValue::Bool(value.as_bool().expect("true or false")),
        "M" => AttributeValue::M(item_of(value)),
        "L" => AttributeValue::L(list().map(attribute).collect()),
        "SS" => AttributeValue::Ss(list().map(|text| text.as_str().expect("a text").to_owned()).collect()),
        other => panic!("the ledger writes no {other}"),
    }
}
