//! The permissions that template.yaml gives a function, as DynamoDB would enforce them.

use refundctl::template::{Grant, Template};
use serde_json::Value;

/// What one function may do.
#[derive(Debug, Clone)]
pub struct Permissions(Vec<Grant>);

/// One action, on one partition or several.
#[derive(Debug)]
struct Act<'a> {
    action: String,
    is_on_index: bool,
    leading_keys: Vec<&'a str>,
}

impl Permissions {
    /// Those of the function that `binary` runs.
    pub fn of(binary: &str) -> Self {
        let mut template = Template::built_in().unwrap();
        Self(template.grants.remove(binary).unwrap_or_else(|| panic!("template.yaml names no {binary}")))
    }

    /// What of a call is not allowed.
    pub fn denied(&self, operation: &str, request: &Value) -> Option<String> {
        let denied =
            acts(operation, request).into_iter().find(|act| !self.0.iter().any(|grant| allows(grant, act)));
        denied.map(|act| format!("{act:?} is not allowed"))
    }
}

fn allows(grant: &Grant, act: &Act<'_>) -> bool {
    let is_like = |key: &str| grant.leading_keys.iter().any(|pattern| is_like(key, pattern));
    grant.actions.contains(&act.action)
        && grant.is_on_index == act.is_on_index
        && act.leading_keys.iter().all(|key| is_like(key))
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
