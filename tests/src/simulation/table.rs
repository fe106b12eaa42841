//! The table as it is at one moment, past all functions, networks and clients.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shared::store::{Content, Stored};

use crate::embedded::{Answered, Call, Embedded, Key, actions, is_write, item_of, key_of_action};

pub const NAME: &str = "refunds-simulated";

#[derive(Clone)]
pub struct Table {
    pub embedded: Embedded,
    read: Arc<Mutex<Read>>,
    /// All calls in their order, where somebody wants them.
    calls: Option<Arc<Mutex<Vec<Call>>>>,
}

/// All items, by their keys.
pub type Items = BTreeMap<Key, Stored>;

/// What was read of the table; nothing in the beginning.
#[derive(Default)]
struct Read {
    items: Option<Arc<Items>>,
    /// Keys that were written since.
    written: BTreeSet<Key>,
}

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
        let answer = self.embedded.carry_out(operation, asked);
        if answer.0 == 200 && is_write(operation) {
            let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
            let written = actions(operation, &asked).into_iter().map(|(_, action)| key_of_action(action));
            self.read.lock().unwrap().written.extend(written);
        }
        answer
    }

    /// All items: those that were written since the last time are read again.
    pub fn items(&self) -> Arc<Items> {
        let mut read = self.read.lock().unwrap();
        let Read { items, written } = &mut *read;
        let items = items.get_or_insert_with(|| {
            written.clear();
            Arc::new(self.scan())
        });
        for key in take(written) {
            let items = Arc::make_mut(items);
            match self.get(&key) {
                Some(stored) => items.insert(key, stored),
                None => items.remove(&key),
            };
        }
        items.clone()
    }

    /// All items, each of which is read again.
    pub fn items_anew(&self) -> Arc<Items> {
        *self.read.lock().unwrap() = Read::default();
        self.items()
    }

    fn get(&self, key: &Key) -> Option<Stored> {
        self.raw(key).map(|item| Stored::of(&item_of(&item)))
    }

    /// The item under a key, as it is stored.
    pub fn raw(&self, (partition, sort): &Key) -> Option<Value> {
        let key = json!({"pk": {"S": partition}, "sk": {"S": sort}});
        let mut found = self.call("GetItem", &json!({"TableName": NAME, "Key": key, "ConsistentRead": true}));
        found.get_mut("Item").filter(|item| item.is_object()).map(Value::take)
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
