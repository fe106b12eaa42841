//! Sample events: for each route of the template, what its function gets from an HTTP API when `refundctl send`
//! plays the API document's example, and what must be answered; besides, what the schedule sends.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::local::{http_api_event, with_signer};
use refundctl::send::{Call, Request, batch, entries, epay, pingpp, single};
use refundctl::template::Template;
use serde_json::{Value, json};

use crate::world::CALLER;

/// An event, and what its function must answer to it on the demo data.
pub struct Played {
    pub name: &'static str,
    stated: Stated,
}

enum Stated {
    /// This HTTP status, and this value at this place of the JSON body.
    Json(u16, &'static str, fn() -> Value),
    /// A document of BSON with an `errcode` of 0.
    Done,
    /// All changes are worked on.
    NoneLeft,
}

/// The functions, by their binaries, with their events, in an order in which they play: what is ended was begun before.
pub const PLAYED: &[(&str, &[Played])] = {
    use Stated::{Done, Json, NoneLeft};
    const fn event(name: &'static str, stated: Stated) -> Played {
        Played { name, stated }
    }
    &[
        ("refund-single-wallet", &[event("refund-single-wallet", Json(200, "/moneyAfter", || json!(1000)))]),
        (
            "auto-batch-refund",
            &[event("auto-batch-refund", Json(200, "/refundResultList/0/refundTotalMoney", || json!(20)))],
        ),
        ("record-entries", &[event("record-entries", Json(200, "/entries/2/outcome", || json!("recorded")))]),
        (
            "begin-single-refund",
            &[
                event("begin-single-refund", Json(200, "/errcode", || json!(0))),
                event("begin-single-refund-bson", Done),
            ],
        ),
        (
            "end-single-refund",
            &[
                event("end-single-refund", Json(200, "/errcode", || json!(0))),
                event("end-single-refund-bson", Done),
            ],
        ),
        ("create-batch-refund", &[event("create-batch-refund", Json(200, "/status", || json!("created")))]),
        ("settle-refunds", &[event("settle-refunds", NoneLeft)]),
        (
            "list-batch-refunds",
            &[event("list-batch-refunds", Json(200, "/data/0/status", || json!("succeeded")))],
        ),
        // Nobody has the batch that the document shows.
        (
            "retrieve-batch-refund",
            &[event("retrieve-batch-refund", Json(404, "/error/param", || json!("id")))],
        ),
    ]
};

impl Played {
    /// What is to be answered, for people.
    pub fn stated(&self) -> String {
        match &self.stated {
            Stated::Json(status, place, value) => format!("HTTP {status}, {place} {}", value()),
            Stated::Done => "HTTP 200, BSON with errcode 0".to_owned(),
            Stated::NoneLeft => "no change is left for later".to_owned(),
        }
    }

    /// Whether this is the stated answer, as the function gives it to its platform.
    ///
    /// # Errors
    /// Says what was answered instead.
    pub fn check(&self, answer: &Value) -> Result<()> {
        let body = answer["body"].as_str().unwrap_or_default();
        let is_stated = match &self.stated {
            Stated::Json(status, place, value) => {
                let told: Value = serde_json::from_str(body).unwrap_or_default();
                answer["statusCode"] == *status && told.pointer(place) == Some(&value())
            }
            Stated::Done => {
                // The document's length, then an int32 named errcode, which is 0.
                let bytes = BASE64.decode(body).unwrap_or_default();
                answer["statusCode"] == 200
                    && answer["headers"]["content-type"] == "application/bson"
                    && bytes.get(4..17) == Some(&b"\x10errcode\0\0\0\0\0"[..])
            }
            Stated::NoneLeft => *answer == json!({"batchItemFailures": []}),
        };
        ensure!(is_stated, "answered {answer} instead of {}", self.stated());
        Ok(())
    }
}

/// Where an event lies.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{name}.json"))
}

/// The events' names with their texts: that of the binary, and for one that speaks BSON another.
///
/// # Errors
/// If the template has a route that this knows no request for.
pub fn all() -> Result<Vec<(String, String)>> {
    let mut events = Vec::new();
    for route in Template::built_in()?.routes {
        let bson = || epay::Common { format: epay::RequestFormat::Bson, ..epay::Common::default() };
        let calls = match route.binary.as_str() {
            "auto-batch-refund" => vec![("", Call::AutoBatchRefund(batch::Options::default()))],
            "begin-single-refund" => vec![
                ("", Call::BeginSingleRefund(epay::BeginOptions::default())),
                (
                    "-bson",
                    Call::BeginSingleRefund(epay::BeginOptions {
                        common: bson(),
                        ..epay::BeginOptions::default()
                    }),
                ),
            ],
            "end-single-refund" => vec![
                ("", Call::EndSingleRefund(epay::EndOptions::default())),
                (
                    "-bson",
                    Call::EndSingleRefund(epay::EndOptions { common: bson(), ..epay::EndOptions::default() }),
                ),
            ],
            "create-batch-refund" => {
                vec![("", Call::CreateBatchRefund(pingpp::CreateOptions::default()))]
            }
            "list-batch-refunds" => vec![("", Call::ListBatchRefunds(pingpp::ListOptions::default()))],
            "retrieve-batch-refund" => {
                vec![("", Call::RetrieveBatchRefund(pingpp::RetrieveOptions::default()))]
            }
            "record-entries" => vec![("", Call::RecordEntries(entries::Options::default()))],
            "refund-single-wallet" => vec![("", Call::RefundSingleWallet(single::Options::default()))],
            other => bail!("there is no sample request for {other}"),
        };
        for (suffix, call) in calls {
            let mut event = event(&call.request()?)?;
            if route.is_signed {
                with_signer(&mut event);
            }
            events.push((format!("{}{suffix}", route.binary), format!("{event:#}\n")));
        }
    }
    events.push(("settle-refunds".to_owned(), format!("{}\n", settle_refunds::SWEEP)));
    Ok(events)
}

/// What a function gets from an HTTP API when `request` is sent.
pub fn event(request: &Request) -> Result<Value> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("refunds.example"));
    for (name, value) in &request.headers {
        headers.insert(HeaderName::from_static(name), value.parse()?);
    }
    let caller = CALLER.parse()?;
    Ok(http_api_event(request.method, &request.path.parse()?, &headers, caller, &request.body))
}
