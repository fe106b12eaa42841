//! The embedded DynamoDB without a network before it: a client's calls are carried out where they are made. So a test
//! can have a world in one thread, in which nothing happens but by its own doing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Config;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A call: its operation, such as `GetItem`, and its body.
pub type Call = (String, String);

/// What a call came to: its HTTP status and its body, as DynamoDB has them.
pub type Answered = (u16, String);

#[derive(Clone)]
pub struct Embedded {
    pub database: Database,
}

impl Embedded {
    /// The network of a client whose table this is.
    pub fn network(&self) -> SharedHttpClient {
        let embedded = self.clone();
        network(move |operation, asked| embedded.carry_out(operation, asked))
    }

    /// One call, by the name of its operation, such as `GetItem`.
    pub fn carry_out(&self, operation: &str, body: &str) -> Answered {
        match self.try_out(operation, body) {
            Ok(answer) => (200, answer),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    fn try_out(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "GetItem" => told(&database.get_item(read(body)?)?),
            "BatchGetItem" => told(&database.batch_get_item(read(body)?)?),
            "Query" => told(&database.query(read(body)?)?),
            "Scan" => told(&database.scan(read(body)?)?),
            "PutItem" => told(&database.put_item(read(body)?)?),
            "UpdateItem" => told(&database.update_item(read(body)?)?),
            "DeleteItem" => told(&database.delete_item(read(body)?)?),
            "TransactGetItems" => told(&database.transact_get_items(read(body)?)?),
            "TransactWriteItems" => told(&database.transact_write_items(read(body)?)?),
            "CreateTable" => told(&database.create_table(read(body)?)?),
            "DescribeTable" => told(&database.describe_table(read(body)?)?),
            "UpdateTimeToLive" => told(&database.update_time_to_live(read(body)?)?),
            "DescribeTimeToLive" => told(&database.describe_time_to_live(read(body)?)?),
            "DescribeStream" => told(&database.describe_stream(read(body)?)?),
            "GetShardIterator" => told(&database.get_shard_iterator(read(body)?)?),
            "GetRecords" => told(&database.get_records(read(body)?)?),
            other => Err(DynoxideError::ValidationException(format!("nobody calls {other} here"))),
        }
    }
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| DynoxideError::SerializationException(error.to_string()))
}

fn told(answer: &impl Serialize) -> Result<String, DynoxideError> {
    serde_json::to_string(answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// An item's partition and sort key.
pub type Key = (String, String);

/// The key that an item or a key in DynamoDB's JSON has.
pub fn key_of(item: &Value) -> Key {
    let part = |name: &str| item[name]["S"].as_str().expect("a key is text").to_owned();
    (part("pk"), part("sk"))
}

/// Whether a call of this operation may change items.
pub fn is_write(operation: &str) -> bool {
    matches!(operation, "TransactWriteItems" | "PutItem" | "UpdateItem" | "DeleteItem")
}

/// What a call writes or checks: of each action its kind, such as `Put`, and its members.
pub fn actions<'a>(operation: &'a str, asked: &'a Value) -> Vec<(&'a str, &'a Map<String, Value>)> {
    let whole = || asked.as_object().expect("a call is an object");
    match operation {
        "PutItem" => vec![("Put", whole())],
        "UpdateItem" => vec![("Update", whole())],
        "DeleteItem" => vec![("Delete", whole())],
        "TransactWriteItems" => {
            let actions = asked["TransactItems"].as_array().into_iter().flatten();
            let kinds = actions.filter_map(Value::as_object).flatten();
            kinds.map(|(kind, of)| (kind.as_str(), of.as_object().expect("an action is an object"))).collect()
        }
        _ => Vec::new(),
    }
}

/// The key of what an action is about.
pub fn key_of_action(action: &Map<String, Value>) -> Key {
    key_of(action.get("Key").or(action.get("Item")).expect("an action is about an item"))
}

/// The operation that a request is for.
pub fn operation(request: &HttpRequest) -> &str {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default()
}

/// An answer as it comes over HTTP.
pub fn response(status: u16, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    response
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

/// What clients of a table in this process are made of: nobody checks their signatures, so that none are made.
pub fn unsigned(config: &Config) -> Builder {
    config.to_builder().allow_no_auth().auth_scheme_preference([AuthSchemeId::from("noAuth")])
}

/// A client's network: there is none, and `carry_out` is given each call's operation and body where it is made.
pub fn network(carry_out: impl Fn(&str, &str) -> Answered + Send + Sync + 'static) -> SharedHttpClient {
    let connector = InPlace(Arc::new(carry_out));
    http_client_fn(move |_, _| SharedHttpConnector::new(connector.clone()))
}

struct InPlace<F>(Arc<F>);

impl<F> Clone for InPlace<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for InPlace<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InPlace")
    }
}

impl<F: Fn(&str, &str) -> Answered + Send + Sync + 'static> HttpConnector for InPlace<F> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let (status, answer) = (self.0)(operation(&request), &body);
        HttpConnectorFuture::ready(Ok(response(status, answer)))
    }
}
