//! The local gateway: the routes of template.yaml. Each HTTP request becomes the event that an HTTP API
//! would send (payload 2.0), is read by the function as on Lambda, and the answer's JSON becomes HTTP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, on};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::clock::{self, unix_milliseconds};
use shared::edge::{Function, Invocation, invoke};
use shared::limits::ANSWER_BYTES_MAX;
use shared::store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::functions::function;
use crate::template::Template;

/// Largest request that an HTTP API passes on.
const GATEWAY_BODY_BYTES_MAX: usize = 10_000_000;
/// Largest event that Lambda takes for a call that waits.
const EVENT_BYTES_MAX: usize = 6_000_000;

/// How long a request may take to arrive: an HTTP API keeps nobody for longer than 30 seconds, and what sends a byte now
/// and then would have its connection for ever.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// A function as the gateway calls it.
#[derive(Clone)]
struct Target {
    function: Arc<dyn Function>,
    timeout: Duration,
    request_within: Duration,
    is_signed: bool,
}

/// The template's routes, each answered by its function; a body has to arrive within `request_within`.
pub fn routes(template: &Template, store: &Store, request_within: Duration) -> Result<Router> {
    let mut router = Router::new();
    for route in &template.routes {
        let method = Method::from_bytes(route.method.to_uppercase().as_bytes())
            .ok()
            .and_then(|method| MethodFilter::try_from(method).ok())
            .with_context(|| format!("{} {} has no HTTP method", route.method, route.path))?;
        let target = Target {
            function: function(&route.binary, store)?,
            timeout: template.timeout,
            request_within,
            is_signed: route.is_signed,
        };
        router = router.route(&route.path, on(method, answer).with_state(target));
    }
    Ok(router
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(GATEWAY_BODY_BYTES_MAX)))
}

pub async fn serve(listener: TcpListener, routes: Router, mut stopped: watch::Receiver<bool>) -> Result<()> {
    let stop = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await.context("the gateway")
}

async fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

/// An answer of the gateway's own.
fn plain(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

async fn answer(
    State(target): State<Target>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let whole = Bytes::from_request(Request::from_parts(head.clone(), body), &());
    let body = match tokio::time::timeout(target.request_within, whole).await {
        Ok(Ok(body)) => body,
        Ok(Err(unread)) => return unread.into_response(),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
    };
    let request_id = format!("local-{:016x}", fastrand::u64(..));
    let arrived = clock::now();
    let mut event = http_api_event(head.method.as_str(), &head.uri, &head.headers, caller, &body);
    let context = &mut event["requestContext"];
    context["requestId"] = json!(request_id);
    context["timeEpoch"] = json!(unix_milliseconds(arrived));
    context["http"]["protocol"] = json!(format!("{:?}", head.version));
    if target.is_signed {
        with_signer(&mut event);
    }
    let event = event.to_string();
    if event.len() > EVENT_BYTES_MAX {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
    }
    let invocation = Invocation { request_id, ends: arrived + target.timeout };
    let answer = invoke(&*target.function, &event, invocation).await;
    // Read back as the gateway would, so that an answer which is none, or too large, shows here too.
    let answer = serde_json::to_string(&answer).ok().filter(|answer| answer.len() <= ANSWER_BYTES_MAX);
    answer
        .and_then(|answer| serde_json::from_str::<FunctionAnswer>(&answer).ok())
        .and_then(http_response)
        .unwrap_or_else(|| plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
}

/// What a gateway takes from a function.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionAnswer {
    status_code: u16,
    headers: HashMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

fn http_response(answer: FunctionAnswer) -> Option<Response<Body>> {
    let body = if answer.is_base64_encoded { BASE64.decode(answer.body).ok()? } else { answer.body.into() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    *response.headers_mut() = HeaderMap::try_from(&answer.headers).ok()?;
    Some(response)
}

/// The event that an HTTP API makes of a request: headers joined, text bodies as they are, others base64, empty ones
/// left out.
pub fn http_api_event(
    method: &str,
    uri: &Uri,
    headers: &HeaderMap,
    caller: SocketAddr,
    body: &[u8],
) -> Value {
    let mut joined = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        joined.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let text = std::str::from_utf8(body).ok().filter(|_| is_text(content_type.unwrap_or_default()));
    let mut event = json!({
        "version": "2.0",
        "routeKey": format!("{method} {}", uri.path()),
        "rawPath": uri.path(),
        "rawQueryString": uri.query().unwrap_or_default(),
        "headers": joined,
        "requestContext": {
            "accountId": "local",
            "apiId": "local",
            "domainName": "localhost",
            "http": {
                "method": method,
                "path": uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": caller.ip().to_string(),
                "userAgent": joined.get("user-agent"),
            },
            "requestId": "local",
            "routeKey": format!("{method} {}", uri.path()),
            "stage": "$default",
            "timeEpoch": 0,
        },
        "isBase64Encoded": text.is_none() && !body.is_empty(),
    });
    if !body.is_empty() {
        event["body"] = json!(text.map_or_else(|| BASE64.encode(body), str::to_owned));
    }
    event
}

/// Adds who signed the request. Whoever reaches this machine's loopback interface is its developer.
pub fn with_signer(event: &mut Value) {
    event["requestContext"]["authorizer"]["iam"] = json!({
        "accessKey": "local",
        "accountId": "000000000000",
        "callerId": "local",
        "cognitoIdentity": null,
        "principalOrgId": null,
        "userArn": "arn:aws:iam::000000000000:user/local",
        "userId": "local",
    });
}

/// What an HTTP API passes on as text.
fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/javascript" | "application/xml")
}
