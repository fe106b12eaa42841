//! Ping++'s calls.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::ledger::RefundBatchId;
use shared::limits;
use shared::pingpp::{CreateRequest, batches_made};

use super::entries;
use super::gateway::{Gateway, Sent};
use super::grammar::{Grammar, Input, Member, list, of};
use super::sandbox::{self, Sandbox};
use super::{settle, taken};
use crate::pingpp::KEY;

pub const CREATE: &str = "create-batch-refund";
const RETRIEVE: &str = "retrieve-batch-refund";
const LIST: &str = "list-batch-refunds";

const PATH: &str = "/v1/batch_refunds";

const CHARGES: &[&str] = &[
    "\"ch_L8qn10mLmr1GS8e5OODmHaL4\"",
    "\"ch_fdOmHaLmLmr1GOD4qn1dS8e5\"",
    "\"ch_Pq8S4K5yPi1G0mHeX1qDemo0\"",
    "\"ch_new\"",
    "\"\"",
];
const DESCRIPTIONS: &[&str] = &["\"a refund\"", "null", "\"a\\tb\\nc\"", "\"a\\u001b[2J\""];
const CHARGE: &[Member] = &[
    of("charge", CHARGES),
    of("amount", &["10", "null", "1000", "1001", "0", "5000", "1.5"]),
    of("description", DESCRIPTIONS),
    of("funding_source", &["null", "\"recharge_funds\"", "\"unsettled_funds\"", "\"gold\""]),
];
const APPS: &[&str] = &["\"app_abcdefghweqzadfs\"", "\"app_abcdefghweqzadfs\"", "\"app_other\""];
const BATCH_NOS: &[&str] = &["\"batch1\"", "\"batch2\"", "\"batch1\"", "\"000\"", "\"a b\""];
const METADATA: &[&str] = &[
    "null",
    "{}",
    "{\"a\":1.10,\"b\":\"\\u9000\"}",
    "{\"b\":\"退\",\"a\":1.10}",
    "{\"a\":{}}",
    "{\"a\":1,\"a\":1}",
];
const BODY: &[Member] = &[
    of("app", APPS),
    of("batch_no", BATCH_NOS),
    list("charges", &[CHARGE]),
    of("description", DESCRIPTIONS),
    of("metadata", METADATA),
];
const BODY_OF_IDS: &[Member] = &[
    of("app", APPS),
    of("batch_no", BATCH_NOS),
    of(
        "charges",
        &[
            "[\"ch_L8qn10mLmr1GS8e5OODmHaL4\"]",
            "[\"ch_fdOmHaLmLmr1GOD4qn1dS8e5\",{\"charge\":\"ch_Pq8S4K5yPi1G0mHeX1qDemo0\"}]",
            "[]",
        ],
    ),
    of("description", DESCRIPTIONS),
    of("metadata", METADATA),
];

pub fn create_batch_refund(input: &[u8]) {
    sandbox::with(input, |sandbox| match Input::of(input) {
        Input::Text(body) => {
            create(sandbox, body, &authorization(), Gateway::HttpApi);
        }
        Input::Grammar(mut grammar) => converse(sandbox, &mut grammar, CREATE),
    });
}

/// A path with what is looked for at its end, behind a line with the Authorization header.
pub fn retrieve_batch_refund(input: &[u8]) {
    look(RETRIEVE, input);
}

/// A query, behind a line with the Authorization header.
pub fn list_batch_refunds(input: &[u8]) {
    look(LIST, input);
}

fn look(binary: &'static str, input: &[u8]) {
    sandbox::with(input, |sandbox| match Input::of(input) {
        Input::Text(text) => {
            let Ok(text) = std::str::from_utf8(text) else { return };
            let (authorization, rest) = text.split_once('\n').unwrap_or(("", text));
            let authorization = match authorization {
                "" => self::authorization(),
                other => other.to_owned(),
            };
            let (path, query) = if binary == LIST { ("", rest) } else { (rest, "") };
            get(sandbox, binary, path, query, &authorization, Gateway::HttpApi);
        }
        Input::Grammar(mut grammar) => converse(sandbox, &mut grammar, binary),
    });
}

pub fn authorization() -> String {
    format!("Bearer {KEY}")
}

/// Some calls one after another, most of them of one function.
fn converse(sandbox: &mut Sandbox, grammar: &mut Grammar<'_>, binary: &'static str) {
    // What can be asked for: a batch that was created here, and one that is nowhere.
    let mut ids = vec!["151608161453545122".to_owned()];
    for _ in 0..grammar.count(5) {
        let authorization = any_authorization(grammar);
        match *grammar.pick(&[binary, CREATE, binary, settle::SETTLE, entries::RECORD]) {
            entries::RECORD => entries::say_of_charges(sandbox, grammar),
            settle::SETTLE => settle::sweep(sandbox),
            CREATE => {
                let body = body(grammar);
                let gateway = Gateway::any(grammar);
                ids.extend(create(sandbox, body.as_bytes(), &authorization, gateway));
            }
            RETRIEVE => {
                let id = match grammar.is_one_in(8) {
                    true => grammar.text(),
                    false => ids[ids.len() - grammar.count(ids.len())].clone(),
                };
                let gateway = Gateway::any(grammar);
                get(sandbox, RETRIEVE, &id, "", &authorization, gateway);
            }
            other => {
                let query = query(grammar, &ids);
                // Another kind does not tell the query.
                let gateway = if grammar.is_one_in(8) { Gateway::any(grammar) } else { Gateway::HttpApi };
                get(sandbox, other, "", &query, &authorization, gateway);
            }
        }
    }
}

/// A new batch's body.
pub fn body(grammar: &mut Grammar<'_>) -> String {
    let members = if grammar.is_one_in(4) { BODY_OF_IDS } else { BODY };
    grammar.object(members)
}

fn any_authorization(grammar: &mut Grammar<'_>) -> String {
    match grammar.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5]) {
        0 => authorization(),
        1 => format!("Basic {}", BASE64.encode(format!("{KEY}:"))),
        2 => format!("Bearer {}", KEY.replace("test", "live")),
        3 => format!("Basic {}", BASE64.encode(grammar.bytes())),
        4 => "Bearer sk_test_0123456789abcdef".to_owned(),
        _ => grammar.text(),
    }
}

fn query(grammar: &mut Grammar<'_>, ids: &[String]) -> String {
    const NAMES: &[&str] = &[
        "app",
        "app[id]",
        "page",
        "per_page",
        "limit",
        "starting_after",
        "ending_before",
        "created",
        "created[gt]",
        "created[gte]",
        "created[lt]",
        "created%5Blte%5D",
        "other",
        "",
    ];
    const NUMBERS: &[&str] =
        &["1", "100", "101", "0", "1409634160", "18446744073709551615", "-1", "%31", "+1", "4102444799"];
    let pair = |grammar: &mut Grammar<'_>| {
        let name = *grammar.pick(NAMES);
        let value = match name {
            _ if grammar.is_one_in(16) => {
                form_urlencoded::byte_serialize(grammar.text().as_bytes()).collect()
            }
            "app" | "app[id]" => "app_abcdefghweqzadfs".to_owned(),
            "starting_after" | "ending_before" => ids[ids.len() - grammar.count(ids.len())].clone(),
            _ => (*grammar.pick(NUMBERS)).to_owned(),
        };
        format!("{name}={value}")
    };
    let pairs: Vec<String> = (0..grammar.count(5)).map(|_| pair(grammar)).collect();
    pairs.join("&")
}

/// The secrets of an Authorization header.
fn secrets(authorization: &str) -> Vec<&str> {
    let long = |text: &&str| text.len() >= limits::SECRET_CHARS_MIN;
    let credentials = authorization.split_once(' ').map(|(_, credentials)| credentials.trim()).filter(long);
    // As it stands in HTTP Basic, too.
    credentials.into_iter().chain([KEY]).collect()
}

/// Creates a batch twice, and checks what is told and done; its id, if it is created.
pub fn create(sandbox: &mut Sandbox, body: &[u8], authorization: &str, gateway: Gateway) -> Option<String> {
    let headers = vec![("authorization", authorization.to_owned())];
    let sent = Sent { path: PATH.to_owned(), headers, body: body.to_vec(), gateway, ..Sent::default() };
    let (event, secrets) = (sent.event(), sent.kept(secrets(authorization)));
    let called = sandbox.call(CREATE, &event, &secrets);
    let told = told(&called.response);
    assert!(
        called.writes.is_empty() || told["object"] == "batch_refund",
        "told {told}, but wrote {:?}",
        called.writes
    );
    if called.is_worth_repeating {
        let again = sandbox.call(CREATE, &event, &secrets);
        assert!(again.writes.is_empty(), "sent again, it wrote {:?}", again.writes);
        assert_eq!(self::told(&again.response), told, "sent again, it is told otherwise");
    }
    told["id"].as_str().map(str::to_owned)
}

/// Looks for batches, which changes nothing.
fn get(sandbox: &mut Sandbox, binary: &str, id: &str, query: &str, authorization: &str, gateway: Gateway) {
    let path = if binary == LIST { PATH.to_owned() } else { format!("{PATH}/{id}") };
    let headers = vec![("authorization", authorization.to_owned())];
    let sent = Sent { path, query: query.to_owned(), headers, gateway, ..Sent::default() };
    let called = sandbox.call(binary, &sent.event(), &sent.kept(secrets(authorization)));
    assert!(called.writes.is_empty(), "a look has written {:?}", called.writes);
    let told = told(&called.response);
    match called.response.status_code {
        200 if binary == LIST => {
            let batches = told["data"].as_array().expect("a list has data");
            assert!(told["object"] == "list" && batches.len() <= limits::PAGE_BATCHES_MAX, "{told}");
            let ids: Vec<&str> = batches.iter().filter_map(|batch| batch["id"].as_str()).collect();
            assert!(ids.len() == batches.len() && ids.is_sorted_by(|one, next| one > next), "{told}");
        }
        200 => assert_eq!(told["id"].as_str(), id.rsplit('/').next(), "{told}"),
        _ => {}
    }
}

/// The answer, after checking that it is one.
fn told(response: &shared::edge::Response) -> Value {
    assert_eq!(response.content_type(), "application/json");
    let told: Value = serde_json::from_slice(&response.bytes()).expect("an answer is JSON");
    if response.status_code == 200 {
        assert!(told["object"].is_string(), "{told}");
        return told;
    }
    let status = response.status_code;
    assert!([400, 401, 403, 404].contains(&status), "HTTP {status}: {told}");
    let error = told["error"].as_object().expect("an error says what it is");
    assert!(error["type"] == "invalid_request_error" && error["message"].is_string(), "{told}");
    assert!(error.values().all(|member| !member.is_null()), "SDKs can't read {told}");
    told
}

/// A new batch's body: what is read is within its limits, and printed is the same request. And ids, and times.
pub fn bodies(input: &[u8]) {
    let body = match Input::of(input) {
        Input::Text(body) => body.to_vec(),
        Input::Grammar(mut grammar) => body(&mut grammar).into_bytes(),
    };
    if let Ok(text) = std::str::from_utf8(&body) {
        ids(text);
    }
    let Ok(asked) = CreateRequest::read(&body) else { return };
    taken();
    assert!((1..=limits::CHARGES_PER_BATCH_MAX).contains(&asked.items.len()));
    let no = asked.batch_no.as_str();
    let length = limits::MERCHANT_BATCH_NO_CHARS_MIN..=limits::MERCHANT_BATCH_NO_CHARS_MAX;
    assert!(length.contains(&no.len()) && no.bytes().all(|byte| byte.is_ascii_alphanumeric()) && no != "000");
    assert!((1..=limits::DESCRIPTION_CHARS_MAX).contains(&asked.description.chars().count()));
    assert!(asked.metadata.chars().count() <= limits::METADATA_CHARS_MAX);
    // It goes back as it came, with numbers that no program here could hold.
    let metadata: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&asked.metadata).unwrap();
    assert!(metadata.len() <= limits::METADATA_PAIRS_MAX);
    assert!(metadata.values().all(|value| !value.get().starts_with(['{', '['])));
    let items = asked.items.iter().map(|item| {
        json!({"charge": item.charge.as_str(), "amount": item.amount.map(|amount| amount.value()),
               "description": item.description,
               "funding_source": item.funding_source.map(|source| source.as_str())})
    });
    let printed = json!({"app": asked.app, "batch_no": no, "description": asked.description,
                         "charges": items.collect::<Vec<_>>(), "metadata": "metadata"});
    let printed =
        printed.to_string().replace("\"metadata\":\"metadata\"", &format!("\"metadata\":{}", asked.metadata));
    let again = CreateRequest::read(printed.as_bytes()).expect("what was read is read again");
    assert_eq!(again, asked, "printed, it is another request");
    assert!(again.fingerprint() == asked.fingerprint());
}

fn ids(text: &str) {
    if let Ok(id) = text.parse::<RefundBatchId>() {
        assert_eq!(id.as_str(), text);
        assert!(id.next().is_none_or(|next| next > id && next.previous().as_ref() == Some(&id)));
    }
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    if let (Some(from), Some(to)) = (numbers.next(), numbers.next())
        && let Some(range) = batches_made(from, to)
    {
        assert!(from <= to && range.least <= range.most);
    }
}
