//! The table as it is at one moment, past all functions, networks and clients.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use shared::store::{Content, Stored};
use tokio::time::Instant;

use super::isolation::Unfinished;
use crate::embedded::{Answered, Call, Embedded, Key, actions, is_write, item_of, key_of_action};

pub const NAME: &str = "refunds-simulated";

#[derive(Clone)]
pub struct Table {
    pub embedded: Embedded,
    read: Arc<Mutex<Read>>,
    pub unfinished: Unfinished,
    /// All calls in their order, where somebody wants them.
    calls: Option<Arc<Mutex<Vec<Call>>>>,
}

/// All items, by their keys.
pub type Items = BTreeMap<Key, Arc<Stored>>;

/// What was read of the table.
#[derive(Default)]
struct Read {
    items: Arc<Items>,
    /// What each call has made of the items that it wrote, in their order: nothing of those that it removed.
    writes: Vec<Vec<(Key, Option<Arc<Stored>>)>>,
}

/// The table as it was when it had been written so many times.
#[derive(Clone)]
pub struct Moment {
    items: Arc<Items>,
    writes: usize,
    at: Instant,
}

impl Moment {
    pub fn items(&self) -> &Items {
        &self.items
    }

    /// Whether it was at least so long before another moment.
    pub fn is_before(&self, other: &Self, ago: Duration) -> bool {
        self.at + ago <= other.at
    }
}

impl Table {
    pub fn new(embedded: Embedded, keeps_calls: bool) -> Self {
        Self {
            embedded,
            read: Arc::default(),
            unfinished: Unfinished::default(),
            calls: keeps_calls.then(Arc::default),
        }
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
            let keys = actions(operation, &asked).into_iter().map(|(_, action)| key_of_action(action));
            let mut read = self.read.lock().unwrap();
            let Read { items, writes } = &mut *read;
            let write: Vec<_> = keys.map(|key| (key.clone(), self.get(&key))).collect();
            apply(&write, Arc::make_mut(items));
            writes.push(write);
        }
        answer
    }

    /// All items.
    pub fn items(&self) -> Arc<Items> {
        self.read.lock().unwrap().items.clone()
    }

    /// All items, each of which is read again.
    pub fn items_anew(&self) -> Arc<Items> {
        let items = Arc::new(self.scan());
        self.read.lock().unwrap().items = items.clone();
        items
    }

    /// How it is now; where a transaction is not over, how it was before: some may still see it so.
    pub fn moment(&self) -> Moment {
        if let Some(before) = self.unfinished.before() {
            return Moment { at: Instant::now(), ..before };
        }
        let read = self.read.lock().unwrap();
        Moment { items: read.items.clone(), writes: read.writes.len(), at: Instant::now() }
    }

    /// Whether it was so then, or at any moment since: what a transaction writes is there at one moment.
    pub fn was_ever(&self, since: &Moment, mut is_so: impl FnMut(&Items) -> bool) -> bool {
        let read = self.read.lock().unwrap();
        let mut items = since.items.clone();
        let mut later = read.writes[since.writes..].iter();
        loop {
            if is_so(&items) {
                return true;
            }
            let Some(write) = later.next() else { return false };
            apply(write, Arc::make_mut(&mut items));
        }
    }

    fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.raw(key).map(|item| Arc::new(Stored::of(&item_of(&item))))
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
                ((stored.partition.clone(), stored.sort.clone()), Arc::new(stored))
            }));
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return items;
            }
        }
    }

    /// What the item under a key is, if there is one.
    pub fn content(&self, partition: &str, sort: &str) -> Option<Content> {
        content(&self.items(), partition, sort).cloned()
    }

    fn call(&self, operation: &str, call: &Value) -> Value {
        let (status, answer) = self.embedded.carry_out(operation, &call.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).expect("an answer is JSON")
    }
}

/// What the item under a key is, if there is one.
pub fn content<'a>(items: &'a Items, partition: &str, sort: &str) -> Option<&'a Content> {
    let stored = items.get(&(partition.to_owned(), sort.to_owned()))?;
    // What can't be read is found where the whole table is looked at.
    stored.content.as_ref().ok()
}

/// What an account has, if there is one.
pub fn balance(items: &Items, account: &str) -> Option<Decimal> {
    match content(items, account, "ACCOUNT") {
        Some(Content::Account(account)) => Some(account.balance.value()),
        _ => None,
    }
}

fn apply(write: &[(Key, Option<Arc<Stored>>)], items: &mut Items) {
    for (key, stored) in write {
        match stored {
            Some(stored) => items.insert(key.clone(), stored.clone()),
            None => items.remove(key),
        };
    }
}
