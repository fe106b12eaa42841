//! Sample events, one for each route of the template: what its function gets from an HTTP API when
//! `refundctl send` plays the API document's example.

use std::path::PathBuf;

use anyhow::{Result, bail};
use axum::http::{HeaderMap, HeaderValue, header};
use refundctl::local::http_api_event;
use refundctl::send;
use refundctl::template::Template;

/// Where the events lie, by the name of the function's binary.
pub fn path(binary: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{binary}.json"))
}

/// The binaries' names with their events' texts.
///
/// # Errors
/// If the template has a route that this knows no request for.
pub fn all() -> Result<Vec<(String, String)>> {
    let mut events = Vec::new();
    for route in Template::built_in()?.routes {
        let body = match route.binary.as_str() {
            "auto-batch-refund" => send::batch::body(&send::batch::Options::default())?,
            "refund-single-wallet" => send::single::body(&send::single::Options::default())?,
            other => bail!("there is no sample request for {other}"),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("refunds.example"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let caller = "203.0.113.9:4711".parse()?;
        let event = http_api_event(
            &route.method.to_uppercase(),
            &route.path.parse()?,
            &headers,
            caller,
            body.as_bytes(),
        );
        events.push((route.binary, format!("{event:#}\n")));
    }
    Ok(events)
}
