//! The wire between a function and its DynamoDB: every call is recorded with what it consumed, and any
//! call can be made to fail the way the real one does now and then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::permissions::Permissions;

/// One call as it went over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Such as `TransactWriteItems`.
    pub operation: String,
    pub status: u16,
    /// What DynamoDB says the call consumed; none of a call that failed.
    pub units: f64,
    pub request: Value,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The call never arrives.
    LostRequest,
    /// The call is carried out, and its answer never arrives.
    LostAnswer,
    /// Another transaction is under way on the same item.
    TransactionConflict,
    Throttled,
    InternalError,
    /// The caller lacks a permission.
    Refused,
    /// All but the first key of a batch read are left for later.
    UnprocessedKeys,
    /// The first key of a batch read is left for later.
    UnprocessedFirstKey,
    /// The call takes this much longer.
    Slow(Duration),
    /// The call is given up by its sender, and is carried out all the same once the next one was.
    Late,
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Such as `TransactWriteItems`.
    pub operation: &'a str,
    /// How many calls of this operation were made before.
    pub number: usize,
    request: &'a str,
}

impl Attempt<'_> {
    /// Whether a key of the call is of this partition.
    pub fn is_of(&self, partition: &str) -> bool {
        self.request.contains(&json!({ "S": partition }).to_string())
    }
}

/// Decides what goes wrong with a call.
pub type Faults = Arc<dyn Fn(Attempt<'_>) -> Fault + Send + Sync>;

#[derive(Clone)]
pub struct Wire {
    inner: SharedHttpClient,
    shared: Arc<Shared>,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    started: Mutex<HashMap<String, usize>>,
    /// Calls that are still on their way.
    late: Mutex<Vec<HttpRequest>>,
    faults: Faults,
    /// What the caller may do.
    permissions: Permissions,
}

impl Wire {
    pub fn new(inner: SharedHttpClient, faults: Faults, permissions: Permissions) -> Self {
        let (calls, started, late) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Shared { calls, started, late, faults, permissions };
        Self { inner, shared: Arc::new(shared) }
    }

    /// The calls since the last time they were taken.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.shared.calls.lock().unwrap())
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, shared: self.shared.clone() })
    }
}

#[derive(Clone)]
struct Connector {
    inner: SharedHttpConnector,
    shared: Arc<Shared>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.pass_on(request).await })
    }
}

impl Connector {
    async fn pass_on(&self, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let mut asked: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
        let number = {
            let mut started = self.shared.started.lock().unwrap();
            let count = started.entry(operation.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let fault =
            (self.shared.faults)(Attempt { operation: &operation, number, request: &asked.to_string() });
        if let Some(denied) = self.shared.permissions.denied(&operation, &asked) {
            // Told so that nobody misses it: what is refused may be answered as trouble of another kind.
            panic!("{denied}");
        }
        if let Fault::Slow(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        let failure = |status: u16, kind: &str, extra: Value| {
            let mut body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "made up by a test"});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            response(status, &body)
        };
        let answer = match fault {
            Fault::Late => {
                self.shared.late.lock().unwrap().push(request);
                Err(ConnectorError::timeout("late".into()))
            }
            Fault::LostRequest => Err(ConnectorError::timeout("lost on the way there".into())),
            Fault::Throttled => Ok(failure(400, "ProvisionedThroughputExceededException", json!({}))),
            Fault::Refused => Ok(failure(400, "AccessDeniedException", json!({}))),
            Fault::InternalError => Ok(failure(500, "InternalServerError", json!({}))),
            Fault::TransactionConflict => {
                let actions = asked["TransactItems"].as_array().map_or(0, Vec::len);
                let reason =
                    |action| json!({"Code": if action == 0 { "TransactionConflict" } else { "None" }});
                let reasons: Vec<Value> = (0..actions).map(reason).collect();
                let reasons = json!({"CancellationReasons": reasons});
                Ok(failure(400, "TransactionCanceledException", reasons))
            }
            Fault::UnprocessedKeys | Fault::UnprocessedFirstKey => {
                let left = leave_keys(&mut asked, fault == Fault::UnprocessedFirstKey);
                *request.body_mut() = SdkBody::from(asked.to_string());
                request.headers_mut().insert("content-length", asked.to_string().len().to_string());
                let (status, mut body) = read(self.inner.call(request).await?).await;
                body["UnprocessedKeys"] = left;
                Ok(response(status, &body))
            }
            Fault::None | Fault::Slow(_) | Fault::LostAnswer => {
                let answer = self.inner.call(request).await?;
                let (status, body) = read(answer).await;
                self.record(&operation, status, &body, &asked);
                let late = std::mem::take(&mut *self.shared.late.lock().unwrap());
                for request in late {
                    self.inner.call(request).await?;
                }
                if fault == Fault::LostAnswer {
                    return Err(ConnectorError::timeout("lost on the way back".into()));
                }
                return Ok(response(status, &body));
            }
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        self.record(&operation, status, &Value::Null, &asked);
        answer
    }

    fn record(&self, operation: &str, status: u16, body: &Value, asked: &Value) {
        let consumed = &body["ConsumedCapacity"];
        let of = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
        let units = consumed.as_array().map_or_else(|| of(consumed), |list| list.iter().map(of).sum());
        let call = Call { operation: operation.to_owned(), status, units, request: asked.clone() };
        self.shared.calls.lock().unwrap().push(call);
    }
}

/// Cuts a batch read down to its first key, or to all but this one; returns the rest as DynamoDB reports unprocessed
/// ones.
pub(crate) fn leave_keys(asked: &mut Value, leave_first: bool) -> Value {
    let (table, request) = asked["RequestItems"].as_object_mut().unwrap().iter_mut().next().unwrap();
    let keys = request["Keys"].as_array_mut().unwrap();
    let mut rest = keys.split_off(1);
    if leave_first && !rest.is_empty() {
        std::mem::swap(keys, &mut rest);
    }
    if rest.is_empty() { json!({}) } else { json!({ table: {"Keys": rest, "ConsistentRead": true} }) }
}

async fn read(answer: HttpResponse) -> (u16, Value) {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn response(status: u16, body: &Value) -> HttpResponse {
    let mut response =
        HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body.to_string()));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    response
}
