//! What others see of a transaction while its items change one after another. For all that writes, and for a read of
//! several items in a transaction, it happens at one moment: they are refused until it is over. A read of an item by
//! itself, or of many that are each by themselves, sees some as they are and others as they were, whenever it is begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::network::failure;
use super::table::{Moment, Table};
use crate::embedded::{Answered, Key, actions, is_write, key_of, key_of_action};

/// Transactions that are not over.
#[derive(Clone, Default)]
pub struct Unfinished(Arc<Mutex<Vec<Transaction>>>);

struct Transaction {
    token: Value,
    until: Instant,
    /// How the table was before it.
    before: Moment,
    keys: Vec<Key>,
    /// Those of its items that are seen as they were: each as it was, if it was there.
    old: BTreeMap<Key, Option<Value>>,
}

impl Unfinished {
    /// Carries a transaction out by `carry_out`. For so long then, which of its items are seen as they were is said by
    /// `is_late`: some are, and some are not.
    pub fn begin(
        &self,
        table: &Table,
        asked: &str,
        lasts: Duration,
        mut is_late: impl FnMut() -> bool,
        carry_out: impl FnOnce() -> Answered,
    ) -> Answered {
        let call: Value = serde_json::from_str(asked).expect("a call is JSON");
        let keys: Vec<Key> = keys("TransactWriteItems", &call);
        let read = |key: &Key| (key.clone(), table.raw(key));
        let (mut old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = keys.iter().map(read).partition(|_| is_late());
        if new.is_empty() {
            old.pop_first();
        } else if old.is_empty() {
            old.extend(new.into_iter().next());
        }
        let before = table.moment();
        let answer = carry_out();
        if answer.0 == 200 {
            let token = call["ClientRequestToken"].clone();
            let until = Instant::now() + lasts;
            self.0.lock().unwrap().push(Transaction { token, until, before, keys, old });
        }
        answer
    }

    /// How the table was before the first of them.
    pub fn before(&self) -> Option<Moment> {
        self.still().first().map(|transaction| transaction.before.clone())
    }

    /// What a call is told that can't be carried out beside them.
    pub fn refuse(&self, operation: &str, asked: &str) -> Option<Answered> {
        let transactions = self.still();
        if transactions.is_empty() || !is_write(operation) && operation != "TransactGetItems" {
            return None;
        }
        let call: Value = serde_json::from_str(asked).expect("a call is JSON");
        let is_in_one = |key: &Key| transactions.iter().any(|transaction| transaction.keys.contains(key));
        let is_itself = |transaction: &Transaction| {
            !transaction.token.is_null() && transaction.token == call["ClientRequestToken"]
        };
        let asked = keys(operation, &call);
        let (kind, reasons) = if transactions.iter().any(is_itself) {
            ("TransactionInProgressException", Value::Null)
        } else if !asked.iter().any(is_in_one) {
            return None;
        } else if operation.starts_with("Transact") {
            let code = |key| json!({"Code": if is_in_one(key) { "TransactionConflict" } else { "None" }});
            ("TransactionCanceledException", asked.iter().map(code).collect())
        } else {
            ("TransactionConflictException", Value::Null)
        };
        Some(failure(400, kind, reasons))
    }

    /// The answer of a read, as items are seen.
    pub fn seen(&self, operation: &str, asked: &str, answer: Answered) -> Answered {
        let transactions = self.still();
        if transactions.is_empty() || answer.0 != 200 {
            return answer;
        }
        let old: BTreeMap<&Key, &Option<Value>> =
            transactions.iter().flat_map(|transaction| &transaction.old).collect();
        let call: Value = serde_json::from_str(asked).expect("a call is JSON");
        let mut told: Value = serde_json::from_str(&answer.1).expect("an answer is JSON");
        match operation {
            "GetItem" => match old.get(&key_of(&call["Key"])) {
                None => {}
                Some(Some(item)) => told["Item"] = item.clone(),
                Some(None) => drop(told.as_object_mut().and_then(|told| told.remove("Item"))),
            },
            "BatchGetItem" => {
                for (table, items) in told["Responses"].as_object_mut().into_iter().flatten() {
                    let items = items.as_array_mut().expect("a table's items");
                    items.retain(|item| !old.contains_key(&key_of(item)));
                    let keys = call["RequestItems"][table]["Keys"].as_array().into_iter().flatten();
                    items.extend(keys.filter_map(|key| old.get(&key_of(key))?.as_ref()).cloned());
                }
            }
            "Query" => {
                let items = told["Items"].as_array_mut().expect("a query has items");
                items.retain_mut(|item| match old.get(&key_of(item)) {
                    None => true,
                    // The index has it for as long as it has nothing else.
                    Some(Some(_)) if asked.contains(r#""IndexName""#) => true,
                    Some(Some(was)) => {
                        *item = was.clone();
                        true
                    }
                    Some(None) => false,
                });
            }
            _ => return answer,
        }
        (answer.0, told.to_string())
    }

    /// Whether an item is seen as it was.
    pub fn is_late(&self, key: &Key) -> bool {
        self.still().iter().any(|transaction| transaction.old.contains_key(key))
    }

    fn still(&self) -> MutexGuard<'_, Vec<Transaction>> {
        let mut transactions = self.0.lock().unwrap();
        let now = Instant::now();
        transactions.retain(|transaction| now < transaction.until);
        transactions
    }
}

fn keys(operation: &str, call: &Value) -> Vec<Key> {
    match operation {
        "TransactGetItems" => {
            let gets = call["TransactItems"].as_array().into_iter().flatten();
            gets.map(|get| key_of(&get["Get"]["Key"])).collect()
        }
        _ => actions(operation, call).into_iter().map(|(_, action)| key_of_action(action)).collect(),
    }
}
