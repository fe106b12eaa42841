//! API Gateway events in and answers out.
//!
//! Events are read by `lambda_http`'s own deserialisation, from HTTP APIs (payload 2.0) and REST APIs.
//! From there on we take what we need ourselves: `lambda_http`'s conversion to an HTTP request panics
//! on a malformed Host, query or base64 body.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use lambda_http::request::LambdaRequest;
use serde::Serialize;

use super::proxies::{PROXIES, address};
use crate::clock;
use crate::limits;

/// One HTTP request, as far as functions need it.
#[derive(Debug, Clone)]
pub struct Request {
    /// As the caller sent it, with what stands before the route.
    pub path: String,
    /// As the caller sent it, escapes and all; empty where there is none. A REST API does not tell it.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The caller's address, where the gateway knows it, or the proxies before it.
    pub source_ip: Option<IpAddr>,
    /// Who signed the request by AWS's rules, as the gateway has found out: an ARN. None where it lets anyone in.
    pub signer: Option<String>,
    /// When the gateway got the request.
    pub arrived: SystemTime,
}

/// Why an event is not a request that any client could have sent through a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEvent {
    #[error("not an API Gateway event")]
    NotFromAGateway,
    #[error("the Host header is not a host")]
    Host,
    #[error("the query string has characters that must be escaped")]
    Query,
    #[error("the body is not the base64 it is said to be")]
    Body,
}

impl Request {
    /// Reads one event's JSON text.
    ///
    /// # Errors
    /// Says what of the event is malformed.
    pub fn from_event(event: &str) -> Result<Self, MalformedEvent> {
        let event: LambdaRequest =
            serde_json::from_str(event).map_err(|_| MalformedEvent::NotFromAGateway)?;
        match event {
            LambdaRequest::ApiGatewayV2(event) => {
                let authorizer = event.request_context.authorizer;
                check_host(&event.headers)?;
                check_query(event.raw_query_string.as_deref().unwrap_or_default())?;
                let peer = event.request_context.http.source_ip.as_deref().and_then(address);
                let source_ip = PROXIES.caller(peer, &event.headers);
                Ok(Self {
                    path: event.raw_path.unwrap_or_default(),
                    query: event.raw_query_string.unwrap_or_default(),
                    headers: event.headers,
                    body: body(event.body, event.is_base64_encoded)?,
                    source_ip,
                    signer: authorizer.and_then(|authorizer| signer(authorizer.iam?.user_arn)),
                    arrived: arrival(event.request_context.time_epoch),
                })
            }
            LambdaRequest::ApiGatewayV1(event) => {
                check_host(&event.headers)?;
                check_host(&event.multi_value_headers)?;
                let all = event.multi_value_headers;
                let headers = if all.is_empty() { event.headers } else { all };
                let peer = event.request_context.identity.source_ip.as_deref().and_then(address);
                Ok(Self {
                    path: event.path.unwrap_or_default(),
                    query: String::new(),
                    body: body(event.body, event.is_base64_encoded)?,
                    source_ip: PROXIES.caller(peer, &headers),
                    headers,
                    signer: signer(event.request_context.identity.user_arn),
                    arrived: arrival(event.request_context.request_time_epoch),
                })
            }
            _ => Err(MalformedEvent::NotFromAGateway),
        }
    }
}

/// A Host is a host with an optional port, and nothing else: no user, no blank, no impossible port.
fn check_host(headers: &HeaderMap) -> Result<(), MalformedEvent> {
    let Some(host) = headers.get(HOST) else { return Ok(()) };
    let text = host.to_str().map_err(|_| MalformedEvent::Host)?;
    let authority: Authority = text.parse().map_err(|_| MalformedEvent::Host)?;
    let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    if text == format!("{}{port}", authority.host()) { Ok(()) } else { Err(MalformedEvent::Host) }
}

fn check_query(query: &str) -> Result<(), MalformedEvent> {
    format!("/?{query}").parse::<PathAndQuery>().map(|_| ()).map_err(|_| MalformedEvent::Query)
}

fn body(body: Option<String>, is_base64: bool) -> Result<Vec<u8>, MalformedEvent> {
    let body = body.unwrap_or_default();
    if is_base64 { BASE64.decode(body).map_err(|_| MalformedEvent::Body) } else { Ok(body.into_bytes()) }
}

/// Who has no name is nobody.
fn signer(arn: Option<String>) -> Option<String> {
    arn.filter(|arn| !arn.is_empty())
}

/// The gateway's time (Unix milliseconds) where it is believable: a moment ago. Events that are played
/// again, as samples are, arrive now.
fn arrival(epoch: i64) -> SystemTime {
    let now = clock::now();
    let told = u64::try_from(epoch).ok().map(|epoch| UNIX_EPOCH + Duration::from_millis(epoch));
    let is_recent =
        |told: &SystemTime| now.duration_since(*told).is_ok_and(|age| age < limits::ANSWER_WITHIN);
    told.filter(is_recent).unwrap_or(now)
}

/// An answer, in the form that HTTP APIs and REST APIs both take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    pub status_code: u16,
    headers: ResponseHeaders,
    body: String,
    is_base64_encoded: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ResponseHeaders {
    #[serde(rename = "content-type")]
    content_type: &'static str,
}

impl Response {
    /// HTTP 200 with a JSON body.
    pub fn json(body: String) -> Self {
        Self::text(200, "application/json", body)
    }

    /// A body that is text.
    pub fn text(status_code: u16, content_type: &'static str, body: String) -> Self {
        let headers = ResponseHeaders { content_type };
        Self { status_code, headers, body, is_base64_encoded: false }
    }

    /// A body that is no text: a gateway takes it in base64, and sends its bytes.
    pub fn binary(status_code: u16, content_type: &'static str, body: &[u8]) -> Self {
        let headers = ResponseHeaders { content_type };
        Self { status_code, headers, body: BASE64.encode(body), is_base64_encoded: true }
    }

    pub fn content_type(&self) -> &'static str {
        self.headers.content_type
    }

    /// The body as the caller gets it.
    pub fn bytes(&self) -> Vec<u8> {
        match self.is_base64_encoded {
            true => BASE64.decode(&self.body).unwrap_or_default(),
            false => self.body.clone().into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn http_api_event() -> Value {
        json!({
            "version": "2.0",
            "routeKey": "POST /refundSingleWallet",
            "rawPath": "/refundSingleWallet",
            "rawQueryString": "",
            "headers": {"host": "refunds.example", "content-type": "application/json"},
            "requestContext": {
                "http": {"method": "POST", "path": "/refundSingleWallet", "protocol": "HTTP/1.1",
                         "sourceIp": "203.0.113.9", "userAgent": "test"},
                "requestId": "r-1", "stage": "$default", "timeEpoch": 0
            },
            "body": "{}",
            "isBase64Encoded": false
        })
    }

    fn rest_event() -> Value {
        json!({
            "resource": "/refundSingleWallet",
            "path": "/refundSingleWallet",
            "httpMethod": "POST",
            "headers": {"Host": "refunds.example"},
            "multiValueHeaders": {"Host": ["refunds.example"]},
            "requestContext": {"identity": {"sourceIp": "::ffff:203.0.113.9"}, "httpMethod": "POST",
                               "requestId": "r-1", "stage": "dev", "requestTimeEpoch": 0},
            "body": "e30=",
            "isBase64Encoded": true
        })
    }

    #[test]
    fn http_api_and_rest_events_carry_the_same_request() {
        for event in [http_api_event(), rest_event()] {
            let request = Request::from_event(&event.to_string()).unwrap();
            assert_eq!((request.path.as_str(), request.query.as_str()), ("/refundSingleWallet", ""));
            assert_eq!(request.body, b"{}");
            assert_eq!(request.source_ip, Some(IpAddr::from([203, 0, 113, 9])));
        }
    }

    #[test]
    fn malformed_events_are_refused_and_nothing_panics() {
        use MalformedEvent::{Body, Host, NotFromAGateway, Query};
        for (pointer, value, refused) in [
            ("/headers/host", json!("a b"), Host),
            ("/headers/host", json!("x:99999"), Host),
            ("/headers/host", json!("user@host"), Host),
            ("/headers/host", json!("[::1"), Host),
            ("/headers/host", json!(""), Host),
            ("/rawQueryString", json!("<b>"), Query),
            ("/rawQueryString", json!("a b"), Query),
            ("/isBase64Encoded", json!(true), Body),
            ("/requestContext", json!(null), NotFromAGateway),
            ("/headers", json!({"host": "a\nb"}), NotFromAGateway),
            ("/requestContext/http/method", json!("NO METHOD"), NotFromAGateway),
        ] {
            let mut event = http_api_event();
            *event.pointer_mut(pointer).unwrap() = value.clone();
            let read = Request::from_event(&event.to_string()).map(|_| ());
            assert_eq!(read, Err(refused), "{pointer} = {value}");
        }
        for event in ["", "{}", "[]", "null", "{\"body\":1}"] {
            assert_eq!(Request::from_event(event).err(), Some(NotFromAGateway), "{event:?}");
        }
    }

    #[test]
    fn ordinary_hosts_and_queries_pass() {
        for host in [
            "a.example",
            "a.example:8787",
            "127.0.0.1:80",
            "[::1]:8787",
            "abc123.execute-api.eu-west-1.amazonaws.com",
        ] {
            let mut event = http_api_event();
            event["headers"]["host"] = json!(host);
            event["rawQueryString"] = json!("a=1&b=%20x&c[gt]=2");
            let request = Request::from_event(&event.to_string()).unwrap_or_else(|_| panic!("{host}"));
            assert_eq!(request.query, "a=1&b=%20x&c[gt]=2");
        }
    }
}
