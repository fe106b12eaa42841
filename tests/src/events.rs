//! Sample events: for each route of the template, what its function gets from an HTTP API when `refundctl send`
//! plays the API document's example; and what the schedule sends.

use std::path::PathBuf;

use anyhow::{Result, bail};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use refundctl::local::{http_api_event, with_signer};
use refundctl::send::{Call, Request, batch, entries, epay, pingpp, single};
use refundctl::template::Template;
use serde_json::Value;

use crate::world::CALLER;

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
