//! The permissions that template.yaml gives a function, as DynamoDB would enforce them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use refundctl::template::{Grant, Template};
use serde_json::Value;

/// What one function may do.
#[derive(Debug, Clone)]
pub struct Permissions {
    binary: String,
    grants: Vec<Grant>,
}

/// One action, on one partition or several.
#[derive(Debug)]
struct Act<'a> {
    action: String,
    is_on_index: bool,
    leading_keys: Vec<&'a str>,
}

/// One action of a function on one partition, of the table or its index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    pub binary: String,
    /// Such as `dynamodb:GetItem`.
    pub action: String,
    pub is_on_index: bool,
    pub key: String,
}

static USED: Mutex<BTreeSet<Used>> = Mutex::new(BTreeSet::new());

/// What functions were seen to do in this process.
pub fn used() -> BTreeSet<Used> {
    USED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Permissions {
    /// Those of the function that `binary` runs.
    pub fn of(binary: &str) -> Self {
        let mut template = Template::built_in().unwrap();
        let grants = template.grants.remove(binary);
        let grants = grants.unwrap_or_else(|| panic!("template.yaml names no {binary}"));
        Self { binary: binary.to_owned(), grants }
    }

    /// What of a call is not allowed. What is, is known as [`used`] from then on.
    pub fn denied(&self, operation: &str, request: &Value) -> Option<String> {
        let denied = self.refused(operation, request);
        if denied.is_some() {
            return denied;
        }
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        for act in acts(operation, request) {
            let Act { action, is_on_index, leading_keys } = act;
            used.extend(leading_keys.into_iter().map(|key| Used {
                binary: self.binary.clone(),
                action: action.clone(),
                is_on_index,
                key: key.to_owned(),
            }));
        }
        None
    }

    /// What of a call is not allowed.
    pub fn refused(&self, operation: &str, request: &Value) -> Option<String> {
        let acts = acts(operation, request);
        let denied = acts.iter().find(|act| !self.allow(act))?;
        Some(format!("{}: {denied:?} is not allowed", self.binary))
    }

    /// Whether an action on one partition is allowed.
    pub fn allows(&self, action: &str, is_on_index: bool, key: &str) -> bool {
        self.allow(&Act { action: action.to_owned(), is_on_index, leading_keys: vec![key] })
    }

    fn allow(&self, act: &Act<'_>) -> bool {
        self.grants.iter().any(|grant| allows(grant, act))
    }
}

fn allows(grant: &Grant, act: &Act<'_>) -> bool {
    let is_like = |key: &str| grant.leading_keys.iter().any(|pattern| self::is_like(key, pattern));
    let is_unlike = |key: &str| grant.unlike_keys.iter().any(|pattern| self::is_like(key, pattern));
    grant.actions.contains(&act.action)
        && grant.is_on_index == act.is_on_index
        && act.leading_keys.iter().all(|key| is_like(key) && !is_unlike(key))
}

/// `*` stands for any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|end| text.get(end..).is_some_and(|text| is_like(text, rest)))
        }),
    }
}

/// The actions that a call is made of, as policies name them.
fn acts<'a>(operation: &str, request: &'a Value) -> Vec<Act<'a>> {
    let key = |holder: &'a Value| holder["pk"]["S"].as_str().unwrap_or_else(|| panic!("no key: {request}"));
    let act = |name: &str, leading_keys| Act {
        action: format!("dynamodb:{name}"),
        is_on_index: request.get("IndexName").is_some(),
        leading_keys,
    };
    match operation {
        "GetItem" | "UpdateItem" | "DeleteItem" => vec![act(operation, vec![key(&request["Key"])])],
        "PutItem" => vec![act(operation, vec![key(&request["Item"])])],
        "Query" => {
            let partition = request["ExpressionAttributeValues"][":partition"]["S"].as_str().unwrap();
            vec![act(operation, vec![partition])]
        }
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().unwrap().values();
            let keys = tables.flat_map(|table| table["Keys"].as_array().unwrap());
            vec![act(operation, keys.map(key).collect())]
        }
        // A transaction needs the permissions of what it is made of.
        "TransactGetItems" => {
            let gets = request["TransactItems"].as_array().unwrap().iter();
            gets.map(|get| act("GetItem", vec![key(&get["Get"]["Key"])])).collect()
        }
        "TransactWriteItems" => {
            let actions = request["TransactItems"].as_array().unwrap().iter();
            let of_action = |action: &'a Value| {
                let (name, write) = action.as_object().unwrap().iter().next().unwrap();
                let item = write.get("Key").unwrap_or(&write["Item"]);
                let name = if name == "ConditionCheck" {
                    "ConditionCheckItem".to_owned()
                } else {
                    format!("{name}Item")
                };
                act(&name, vec![key(item)])
            };
            actions.map(of_action).collect()
        }
        other => panic!("no policy knows {other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_function_may_do_what_its_policy_says_and_nothing_else() {
        let get = |pk: &str| json!({"Key": {"pk": {"S": pk}, "sk": {"S": "TENANT"}}});
        let check = json!({"TransactItems": [{"ConditionCheck": get("epay#m#batchno#B")}]});
        let entries = Permissions::of("record-entries");
        let single = Permissions::of("refund-single-wallet");
        for (permissions, operation, request, is_allowed) in [
            (&entries, "GetItem", get("ebet#1"), true),
            (&entries, "GetItem", get("key#epay#0"), false),
            (&entries, "UpdateItem", get("ebet#1"), false),
            (&entries, "UpdateItem", get("ebet#1#p"), true),
            (&entries, "UpdateItem", get("pingpp#app#test"), false),
            (&entries, "UpdateItem", get("pingpp#app#test#unsettled_funds"), true),
            (&entries, "DeleteItem", get("ebet#1#p"), false),
            (&entries, "TransactWriteItems", check.clone(), true),
            (&single, "GetItem", get("ebet#1"), true),
            (&single, "GetItem", get("epay#m"), false),
            (&single, "TransactWriteItems", check, false),
        ] {
            assert_eq!(
                permissions.denied(operation, &request).is_none(),
                is_allowed,
                "{operation} {request}"
            );
        }
    }
}
