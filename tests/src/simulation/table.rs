//! The table as it is at one moment, past all functions, networks and clients.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shared::store::{Content, Stored};

use crate::embedded::{Answered, Call, Embedded, item_of};

pub const NAME: &str = "refunds-simulated";

#[derive(Clone)]
pub struct Table {
    pub embedded: Embedded,
    /// All items, as they were read since the last write.
    read: Arc<Mutex<Option<Arc<Items>>>>,
    /// All calls in their order, where somebody wants them.
    calls: Option<Arc<Mutex<Vec<Call>>>>,
}

/// All items, by their keys.
pub type Items = BTreeMap<(String, String), Stored>;

impl Table {
    pub fn new(embedded: Embedded, keeps_calls: bool) -> Self {
        Self { embedded, read: Arc::default(), calls: keeps_calls.then(Arc::default) }
    }

    pub fn take_calls(&self) -> Vec<Call> {
        self.calls.as_ref().map(|calls| take(&mut *calls.lock().unwrap())).unwrap_or_default()
    }

    /// Carries a call out.
    pub fn carry_out(&self, operation: &str, asked: &str) -> Answered {
        if let Some(calls) = &self.calls {
            calls.lock().unwrap().push((operation.to_owned(), asked.to_owned()));
        }
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
