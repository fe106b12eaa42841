//! API Gateway's events: made of requests, and made up.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::local::with_signer;
use refundctl::send::epay::DEMO_API_KEY;
use serde_json::{Map, Value, json};
use shared::edge::Request;
use shared::epay::codec::AnswerType;

use super::grammar::{Grammar, Input};
use super::{sandbox, taken};
use crate::pingpp::KEY;
use crate::{events, world::CALLER};

/// A request, on its way through any gateway.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub path: String,
    pub query: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Whether it is signed by AWS's rules.
    pub is_signed: bool,
    pub gateway: Gateway,
}

/// What a gateway makes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gateway {
    #[default]
    HttpApi,
    HttpApiInBase64,
    RestApi,
    RestApiInBase64,
}

impl Gateway {
    pub fn any(grammar: &mut Grammar<'_>) -> Self {
        use Gateway::{HttpApi, HttpApiInBase64, RestApi, RestApiInBase64};
        *grammar.pick(&[HttpApi, HttpApi, HttpApiInBase64, RestApi, RestApiInBase64])
    }

    /// A REST API does not tell the query as it was sent.
    pub fn tells_query(self) -> bool {
        matches!(self, Self::HttpApi | Self::HttpApiInBase64)
    }
}

impl Sent {
    pub fn event(&self) -> String {
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in &self.headers {
            headers.insert((*name).to_owned(), json!(value));
        }
        headers.insert("host".to_owned(), json!("refunds.example"));
        let wants_base64 = matches!(self.gateway, Gateway::HttpApiInBase64 | Gateway::RestApiInBase64);
        let text = std::str::from_utf8(&self.body).ok().filter(|_| !wants_base64);
        let body = text.map_or_else(|| BASE64.encode(&self.body), str::to_owned);
        let caller = CALLER.split(':').next();
        let mut event = if self.gateway.tells_query() {
            json!({
                "version": "2.0", "routeKey": "$default",
                "rawPath": self.path, "rawQueryString": self.query, "headers": headers,
                "requestContext": {
                    "http": {"method": "POST", "path": self.path, "protocol": "HTTP/1.1", "sourceIp": caller},
                    "requestId": "r", "stage": "$default", "timeEpoch": 0
                },
            })
        } else {
            let lists: Map<String, Value> =
                headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
            json!({
                "resource": self.path, "path": self.path, "httpMethod": "POST",
                "headers": headers, "multiValueHeaders": lists,
                "requestContext": {"identity": {"sourceIp": caller}, "httpMethod": "POST", "stage": "prod",
                                   "requestId": "r", "requestTimeEpoch": 1},
            })
        };
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(text.is_none());
        if self.is_signed && self.gateway.tells_query() {
            with_signer(&mut event);
        } else if self.is_signed {
            event["requestContext"]["identity"]["userArn"] = json!("arn:aws:iam::000000000000:user/local");
        }
        event.to_string()
    }
}

impl Sent {
    /// Those of `secrets` that stand where they belong alone: who puts one elsewhere, too, has told it already.
    pub fn kept<'s>(&self, secrets: impl IntoIterator<Item = &'s str>) -> Vec<&'s str> {
        let body = String::from_utf8_lossy(&self.body);
        let headers = self.headers.iter().map(|(_, value)| value.as_str());
        let parts: Vec<&str> = headers.chain([self.path.as_str(), &self.query, &body]).collect();
        let places = |secret: &str| parts.iter().map(|part| part.matches(secret).count()).sum::<usize>();
        secrets.into_iter().filter(|secret| places(secret) <= 1).collect()
    }
}

/// Whether an answer is one in the words of the protocol that a function speaks.
fn check_answer(binary: &str, content_type: &str, body: &[u8]) {
    if binary.ends_with("single-refund") {
        let known = [
            AnswerType::ApplicationJson,
            AnswerType::TextJson,
            AnswerType::ApplicationXml,
            AnswerType::TextXml,
            AnswerType::ApplicationBson,
        ];
        assert!(known.into_iter().any(|answer| answer.header() == content_type), "{content_type}");
        assert!(!body.is_empty());
    } else {
        assert_eq!(content_type, "application/json");
        let answer: Value = serde_json::from_slice(body).expect("an answer is JSON");
        assert!(answer.is_object());
    }
}

const FUNCTIONS: [&str; 8] = [
    "refund-single-wallet",
    "auto-batch-refund",
    "begin-single-refund",
    "end-single-refund",
    "create-batch-refund",
    "retrieve-batch-refund",
    "list-batch-refunds",
    "record-entries",
];

/// A function's sample event, as one kind of gateway or another has it.
fn sample(grammar: &mut Grammar<'_>, binary: &str) -> String {
    static SAMPLES: LazyLock<HashMap<&str, String>> = LazyLock::new(|| {
        let read = |binary| std::fs::read_to_string(events::path(binary)).expect("there is a sample");
        FUNCTIONS.into_iter().map(|binary| (binary, read(binary))).collect()
    });
    let text = &SAMPLES[binary];
    let gateway = Gateway::any(grammar);
    if grammar.is_one_in(2) {
        return text.clone();
    }
    let sample: Value = serde_json::from_str(text).expect("a sample is JSON");
    let part = |name: &str| sample[name].as_str().unwrap_or_default();
    let body = match sample["isBase64Encoded"] == true {
        true => BASE64.decode(part("body")).expect("a sample's body is in Base64"),
        false => part("body").as_bytes().to_vec(),
    };
    let known = ["content-type", "authorization", "x-api-key", "accept"];
    let header = |name: &'static str| Some((name, sample["headers"][name].as_str()?.to_owned()));
    let sent = Sent {
        path: part("rawPath").to_owned(),
        query: part("rawQueryString").to_owned(),
        headers: known.into_iter().filter_map(header).collect(),
        body,
        is_signed: binary == "record-entries",
        gateway,
    };
    sent.event()
}

/// Whatever a function's platform gives it, it answers in its protocol's words, and what is no event changes nothing.
/// The first byte names the function; or a sample event, of which something is changed.
pub fn events(input: &[u8]) {
    let (binary, event) = match Input::of(input) {
        Input::Text([]) => return,
        Input::Text([function, event @ ..]) => {
            let binary = FUNCTIONS[usize::from(*function) % FUNCTIONS.len()];
            (binary, String::from_utf8_lossy(event).into_owned())
        }
        Input::Grammar(mut grammar) => {
            let binary = *grammar.pick(&FUNCTIONS);
            let mut event = sample(&mut grammar, binary);
            for _ in 1..grammar.count(4) {
                event = grammar.changed_json(&event);
            }
            (binary, event)
        }
    };
    let event = event.as_str();
    let secrets: Vec<&str> =
        [KEY, DEMO_API_KEY].into_iter().filter(|secret| event.matches(secret).count() == 1).collect();
    let read = Request::from_event(event);
    if let Ok(request) = &read {
        taken();
        let is_signed = event.contains("Arn");
        assert!(request.signer.is_none() || is_signed, "nobody has signed it");
    }
    sandbox::with(input, |sandbox| {
        let called = sandbox.call(binary, event, &secrets);
        check_answer(binary, called.response.content_type(), &called.response.bytes());
        assert!(read.is_ok() || called.writes.is_empty(), "a malformed event has changed something");
    });
}
