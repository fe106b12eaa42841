//! Every answer that a test gets is held against the OpenAPI document that `refundctl openapi` writes.

use std::collections::HashMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use refundctl::openapi::document;
use refundctl::template::Template;
use serde_json::{Value, json};
use shared::edge::Response;

/// What an answer is like, by function, HTTP status and media type.
static ANSWERS: LazyLock<HashMap<(String, u16, String), Validator>> = LazyLock::new(|| {
    let template = Template::built_in().unwrap();
    let document = document(&template, "http://127.0.0.1").unwrap();
    let mut answers = HashMap::new();
    for route in &template.routes {
        let operation = &document["paths"][&route.path][route.method.to_lowercase()];
        for (status, answer) in operation["responses"].as_object().unwrap() {
            for (media_type, content) in answer["content"].as_object().unwrap() {
                let schema = json!({ "allOf": [content["schema"]], "components": document["components"] });
                let key = (route.binary.clone(), status.parse().unwrap(), media_type.clone());
                answers.insert(key, jsonschema::validator_for(&schema).unwrap());
            }
        }
    }
    answers
});

/// Panics with what of a function's answer is other than documented. Of what is no JSON the members are not looked at.
pub fn check(function: &str, answer: &Response) {
    let media_type = answer.content_type().split(';').next().unwrap_or_default();
    let body = answer.bytes();
    let text = String::from_utf8_lossy(&body);
    let key = (function.to_owned(), answer.status_code, media_type.to_owned());
    let validator = ANSWERS.get(&key).unwrap_or_else(|| panic!("{key:?} is not documented: {text}"));
    if media_type.ends_with("/json") {
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let wrong: Vec<String> =
            validator.iter_errors(&told).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{key:?} is documented otherwise: {wrong:?}: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(function: &str, status: u16, body: &Value) -> String {
        let answer = Response::text(status, "application/json", body.to_string());
        let panic = std::panic::catch_unwind(|| check(function, &answer)).err();
        *panic.map(|panic| panic.downcast::<String>().unwrap()).unwrap_or_default()
    }

    #[test]
    fn every_schema_of_the_document_is_one() {
        let document = document(&Template::built_in().unwrap(), "http://127.0.0.1").unwrap();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let wrong = jsonschema::meta::validate(schema).err();
            assert!(wrong.is_none(), "{name}: {wrong:?}");
        }
    }

    #[test]
    fn an_answer_is_wrong_that_has_what_is_not_documented_or_lacks_what_is() {
        let good = json!({"status": 4026, "seqNo": "r", "event": "refundSingleWallet", "timestamp": 1});
        assert_eq!(wrong("refund-single-wallet", 200, &good), "");
        for (member, value, why) in [
            ("balance", json!(1), "'balance' was unexpected"),
            ("status", json!(299), "299"),
            ("moneyBefore", json!(1), "moneyAfter"),
        ] {
            let mut other = good.clone();
            other[member] = value;
            let told = wrong("refund-single-wallet", 200, &other);
            assert!(told.contains("otherwise") && told.contains(why), "{member}: {told}");
        }
        assert!(wrong("refund-single-wallet", 200, &json!({"status": 200})).contains("seqNo"));
        assert!(wrong("refund-single-wallet", 202, &good).contains("not documented"));
        assert!(wrong("auto-batch-refund", 200, &good).contains("refundResultList"));
    }
}
