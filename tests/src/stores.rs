//! The embedded store beside another DynamoDB: both are given the same calls, one after another, and their answers
//! compared. Tests on the embedded store are worth what it has in common with DynamoDB.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::Client;
use dynoxide::Database;
use refundctl::template::Template;
use serde_json::{Map, Value, json};

use crate::embedded::{Answered, Call, Embedded};

/// How their answers may differ: what of them, how exactly, and why it is no matter.
const KNOWN: &[Known] = &[
    ("BatchGetItem: ConsumedCapacity", |here, there| units(here) > units(there), NOTHING),
    ("Query: ConsumedCapacity", |here, there| units(here) > units(there), NOTHING),
    (
        "TransactWriteItems: ConsumedCapacity",
        |_, _| true,
        "DynamoDB takes two units for an item, and one for its entry in the index; Local counts by rules of its own",
    ),
    ("BatchGetItem: Responses", |here, there| responses(here) == responses(there), CHOICE),
    ("BatchGetItem: UnprocessedKeys.TABLE.Keys[]", |_, _| true, CHOICE),
    ("Query: Count", |here, there| here.as_u64() < there.as_u64(), PAGE),
    ("Query: Items", |here, there| is_beginning(here, there), PAGE),
    ("Query: LastEvaluatedKey", |here, there| here.is_object() && there.is_object(), PAGE),
    (
        "PutItem: SerializationException here, ValidationException there",
        |_, _| true,
        "numbers that DynamoDB does not hold are refused by both; the ledger writes none",
    ),
    (
        "TransactWriteItems: ValidationException here, TransactionCanceledException None ConditionalCheckFailed there",
        |_, _| true,
        "DynamoDB refuses two actions on one item at once, as the embedded store; Local carries them out one by one",
    ),
    (
        "TransactGetItems: TransactionCanceledException ValidationError here, TransactionCanceledException there",
        |_, _| true,
        NO_KEY,
    ),
    (
        "TransactGetItems: TransactionCanceledException ValidationError here, ValidationException there",
        |_, _| true,
        NO_KEY,
    ),
    (
        "TransactGetItems: ok here, ValidationException there",
        |here, _| here.to_string().len() > 4 << 20,
        "DynamoDB reads at most 4 MB at once; the ledger reads 100 small items, and one of up to 400 KB",
    ),
];

type Known = (&'static str, fn(&Value, &Value) -> bool, &'static str);

/// More than the 16 MB of one read.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Units are asserted on the embedded store alone.
const NOTHING: &str = "DynamoDB takes half a unit or a unit for what is not there, Local nothing";

/// Of what is not the table's key.
const NO_KEY: &str = "keys that are none are refused by both, each in its words; the ledger asks for none";

/// The same number of keys is left.
const CHOICE: &str = "of keys with more than 16 MB either leaves unprocessed which it likes";

/// Who reads goes on from where a page ends.
const PAGE: &str = "a page of 1 MB ends here before the item that is too much for it, there with it";

/// How many items of all tables.
fn responses(tables: &Value) -> usize {
    let tables = tables.as_object().into_iter().flat_map(Map::values);
    tables.filter_map(Value::as_array).map(Vec::len).sum()
}

fn is_beginning(items: &Value, of: &Value) -> bool {
    let (items, of) = (items.as_array(), of.as_array());
    items.zip(of).is_some_and(|(items, of)| of.starts_with(items))
}

/// Of all tables together.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => table["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

/// Tables of the template in both stores.
pub struct Stores {
    embedded: Embedded,
    other: Other,
    table: String,
    pub compared: Compared,
}

/// What was compared.
#[derive(Default)]
pub struct Compared {
    /// How many calls, by their operation and what they came to.
    calls: BTreeMap<String, u64>,
    /// How often what differed, why that is no matter if it is known, and one example.
    differences: BTreeMap<(String, Option<&'static str>), (u64, String)>,
}

struct Other {
    agent: ureq::Agent,
    endpoint: String,
}

impl Stores {
    /// New tables of this name, here and at `endpoint`.
    pub async fn new(endpoint: &str, table: &str) -> Result<Self> {
        let embedded = Embedded { database: Database::memory()? };
        let there = shared::store::client(Some(endpoint)).await;
        let here = Client::from_conf(there.config().to_builder().http_client(embedded.network()).build());
        let template = Template::built_in()?.table;
        template.create_if_absent(&here, table).await?;
        template.create_if_absent(&there, table).await.with_context(|| format!("{endpoint} has no table"))?;
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let other = Other { agent, endpoint: endpoint.to_owned() };
        Ok(Self { embedded, other, table: table.to_owned(), compared: Compared::default() })
    }

    /// Gives both a call, which names its table `of`.
    pub fn compare(&mut self, (operation, asked): &Call, of: &str) -> Result<()> {
        let asked = asked.replace(&format!("\"{of}\""), &format!("\"{}\"", self.table));
        let asked = self.with_own_token(&asked)?;
        let here = self.embedded.carry_out(operation, &asked);
        let there = self.other.carry_out(operation, &asked)?;
        let (here, there) = (read(&here)?, read(&there)?);
        *self.compared.calls.entry(format!("{operation}: {}", outcome(&here))).or_default() += 1;
        let mut different = BTreeMap::new();
        if outcome(&here) == outcome(&there) {
            differences("", &here.1, &there.1, &mut different);
        } else {
            let outcomes = format!("{} here, {} there", outcome(&here), outcome(&there));
            different.insert(outcomes, (here.1, there.1));
        }
        for (what, (here, there)) in different {
            let what = format!("{operation}: {what}").replace(&self.table, "TABLE");
            let why = KNOWN.iter().find(|(known, is_so, _)| *known == what && is_so(&here, &there));
            let short = |text: &str| text.chars().take(400).collect::<String>();
            let example = || {
                let (here, there) = (short(&here.to_string()), short(&there.to_string()));
                format!("here {here}\n  there {there}\n  {operation} {}", short(&asked))
            };
            let place = (what, why.map(|(_, _, why)| *why));
            self.compared.differences.entry(place).or_insert_with(|| (0, example())).0 += 1;
        }
        Ok(())
    }
}

impl Stores {
    /// A transaction's token is good for ten minutes in all of a DynamoDB, whatever the table: each comparison has its own.
    fn with_own_token(&self, asked: &str) -> Result<String> {
        if !asked.contains("ClientRequestToken") {
            return Ok(asked.to_owned());
        }
        let mut asked: Value = serde_json::from_str(asked)?;
        let mut hasher = DefaultHasher::new();
        (&self.table, asked["ClientRequestToken"].as_str()).hash(&mut hasher);
        asked["ClientRequestToken"] = json!(format!("{:016x}", hasher.finish()));
        Ok(asked.to_string())
    }
}

impl Other {
    /// DynamoDB Local takes any signature for a good one.
    fn carry_out(&self, operation: &str, asked: &str) -> Result<Answered> {
        let credential = "Credential=local/20260101/us-east-1/dynamodb/aws4_request";
        let mut answer = self
            .agent
            .post(&self.endpoint)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"),
            )
            .send(asked)?;
        Ok((
            answer.status().as_u16(),
            answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?,
        ))
    }
}

fn read((status, body): &Answered) -> Result<(u16, Value)> {
    Ok((*status, serde_json::from_str(body).with_context(|| format!("an answer is JSON: {body}"))?))
}

/// What a call came to: `ok`, or the error, with the reasons of a transaction.
fn outcome((status, answer): &(u16, Value)) -> String {
    if *status == 200 {
        return "ok".to_owned();
    }
    let kind = answer["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default();
    let mut reasons: Vec<&str> = answer["CancellationReasons"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|reason| reason["Code"].as_str().unwrap_or("?"))
        .collect();
    reasons.dedup();
    format!("{kind} {}", reasons.join(" ")).trim_end().to_owned()
}

/// How two answers differ, by where in them.
fn differences(place: &str, here: &Value, there: &Value, found: &mut BTreeMap<String, (Value, Value)>) {
    match (here, there) {
        // An item's attributes are the item's own affair.
        (Value::Object(one), Value::Object(other)) if !is_item(one) && !is_item(other) => {
            let names: Vec<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let inner = format!("{place}.{name}").trim_start_matches('.').to_owned();
                let value = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                let (one, other) = (value(one), value(other));
                let is_same = match name.as_str() {
                    // Texts are for people.
                    "message" | "Message" => true,
                    // Keys of a batch come in any order, under the table's name.
                    "Responses" => in_order(&one) == in_order(&other),
                    "ConsumedCapacity" => one == other,
                    _ => {
                        differences(&inner, &one, &other, found);
                        true
                    }
                };
                if !is_same {
                    found.insert(inner, (one, other));
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (one, other) in one.iter().zip(other) {
                differences(&format!("{place}[]"), one, other, found);
            }
        }
        _ => {
            if here != there {
                found.insert(place.to_owned(), (here.clone(), there.clone()));
            }
        }
    }
}

fn is_item(object: &Map<String, Value>) -> bool {
    object.contains_key("pk")
        || object.values().any(|value| value.get("S").is_some() || value.get("N").is_some())
}

fn in_order(responses: &Value) -> Value {
    let mut responses = responses.clone();
    for items in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(items) = items.as_array_mut() {
            items.sort_by_key(|item| item["pk"].to_string() + &item["sk"].to_string());
        }
    }
    responses
}

impl Compared {
    pub fn add(&mut self, other: Self) {
        for (what, count) in other.calls {
            *self.calls.entry(what).or_default() += count;
        }
        for (what, (count, example)) in other.differences {
            self.differences.entry(what).or_insert((0, example)).0 += count;
        }
    }

    /// # Errors
    /// A difference that is not known.
    pub fn judge(&self) -> Result<()> {
        let unknown: Vec<&str> =
            self.differences.keys().filter(|(_, why)| why.is_none()).map(|(what, _)| what.as_str()).collect();
        ensure!(unknown.is_empty(), "the stores differ in what nobody has looked at: {}", unknown.join("; "));
        Ok(())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (call, count) in &self.calls {
            writeln!(f, "{count:>9}  {call}")?;
        }
        for ((what, why), (count, example)) in &self.differences {
            writeln!(f, "{count:>9}  DIFFERENT {what}: {}", why.unwrap_or("WHO KNOWS WHY"))?;
            if why.is_none() {
                writeln!(f, "  {example}")?;
            }
        }
        Ok(())
    }
}

/// Calls that no function makes in a good run, which name their table `TABLE`: what functions rely on, at its edges.
pub fn probes() -> Vec<Call> {
    let probes: Value =
        serde_json::from_str(include_str!("../stores.json")).expect("tests/stores.json is JSON");
    let calls = probes.as_array().into_iter().flatten().flat_map(|probe| probe["calls"].as_array());
    let call = |call: &Value| {
        let (operation, body) = call.as_object().and_then(|call| call.iter().next()).expect("a call");
        let mut body = body.clone();
        let names_tables_itself = ["BatchGetItem", "TransactGetItems", "TransactWriteItems"];
        if !names_tables_itself.contains(&operation.as_str()) && body["TableName"].is_null() {
            body["TableName"] = json!("TABLE");
        }
        (operation.clone(), body.to_string())
    };
    calls.flatten().map(call).chain(limits()).collect()
}

/// At the limits of sizes and numbers, and beyond.
fn limits() -> impl Iterator<Item = Call> {
    let item = |sort: usize, bytes: usize| json!({"pk": {"S": "large"}, "sk": {"S": format!("{sort:04}")}, "t": {"S": "x".repeat(bytes)}});
    let put = move |sort: usize, bytes: usize| {
        ("PutItem", json!({"TableName": "TABLE", "Item": item(sort, bytes)}))
    };
    let transaction = move |actions: usize, bytes: usize| {
        let put = |sort: usize| json!({"Put": {"TableName": "TABLE", "Item": item(sort, bytes)}});
        let actions: Vec<Value> = (0..actions).map(put).collect();
        ("TransactWriteItems", json!({ "TransactItems": actions }))
    };
    let key = |sort: usize| json!({"pk": {"S": "large"}, "sk": {"S": format!("{sort:04}")}});
    let read = |keys: usize| {
        let keys: Vec<Value> = (0..keys).map(key).collect();
        ("BatchGetItem", json!({"RequestItems": {"TABLE": {"Keys": keys}}}))
    };
    let read_at_once = |keys: std::ops::Range<usize>| {
        let get = |sort: usize| json!({"Get": {"TableName": "TABLE", "Key": key(sort)}});
        let gets: Vec<Value> = keys.map(get).collect();
        ("TransactGetItems", json!({ "TransactItems": gets }))
    };
    let page = |from: usize| {
        let values = json!({":p": {"S": "large"}, ":s": {"S": format!("{from:04}")}});
        let condition = "pk = :p AND sk >= :s";
        let query = json!({"TableName": "TABLE", "KeyConditionExpression": condition, "ExpressionAttributeValues": values});
        ("Query", query)
    };
    // The names and the other values of the item have 22 bytes.
    let most = 400 * 1024 - 22;
    let calls = [put(0, most - 3), put(0, most + 10)]
        .into_iter()
        .chain([transaction(100, 10), transaction(101, 10), read(100), read(101)])
        .chain([read_at_once(0..100), read_at_once(0..101), read_at_once(0..0)])
        // A transaction has at most 4 MB.
        .chain([transaction(10, 390 * 1024), transaction(11, 390 * 1024)])
        // A page of a query has about 1 MB, and 100 keys are read in parts of 16 MB.
        .chain([page(0), page(8)])
        .chain((10..60).map(move |sort| put(sort, 390 * 1024)))
        .chain([read(60)])
        // What is read at once has at most 4 MB.
        .chain([read_at_once(10..20), read_at_once(10..21)]);
    calls.map(|(operation, body)| (operation.to_owned(), body.to_string()))
}
