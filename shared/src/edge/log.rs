//! Logs: JSON lines, one a request. What a request is known by goes in; no secret, signature, token or
//! whole body does.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::milliseconds;
use crate::store::Usage;

/// Logs from here on as JSON lines on stderr, from the level that `AWS_LAMBDA_LOG_LEVEL` names (INFO if
/// it names none). Libraries log errors only: at finer levels some would log whole bodies.
pub fn init_logging() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let levels = Targets::new().with_default(LevelFilter::ERROR).with_targets(
        ["shared", "settle_refunds", "refundctl"].map(|own| (own, level.unwrap_or(LevelFilter::INFO))),
    );
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_writer(std::io::stderr);
    // A second start in one process, as in tests, keeps the first's settings.
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init();
}

/// A secret as logs may show it: enough of its hash to tell two apart, and no way back.
pub fn hashed(secret: &str) -> String {
    Sha256::digest(secret).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What a request came to, for its line in the log.
#[derive(Debug)]
pub struct RequestLine<'a> {
    pub function: &'static str,
    pub request_id: &'a str,
    /// Who calls, or says so: `authenticated` tells.
    pub tenant: &'a str,
    pub authenticated: bool,
    /// Who signed the request by AWS's rules, where that is asked for.
    pub signer: Option<&'a str>,
    /// The idempotency key; of a request that has several, the first ones.
    pub key: &'a str,
    /// The answer's status in the protocol's own numbers.
    pub outcome: i32,
    /// Of a request that has several.
    pub items: Option<Items<'a>>,
    /// The caller's session, as a hash: the token itself is a secret.
    pub session: Option<&'a str>,
    /// When the caller began to look for what failed, as it says: Unix milliseconds.
    pub last_start_process_time: Option<i64>,
    /// Whether this attempt changed what it was asked to: yes, no or unknown.
    pub executed: &'static str,
    pub arrived: SystemTime,
    pub usage: Usage,
    /// What stood in the way, for operators.
    pub cause: Option<&'a str>,
    /// What is odd about the request, for people to look into.
    pub note: Option<&'a str>,
}

/// What became of a request's items.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    pub all: usize,
    /// Items refused, by the reason.
    pub refused: &'a str,
    /// Items that are neither refunded nor refused.
    pub undecided: usize,
}

/// How many of each reason: `conflict 1, unknown_account 2`.
pub fn counted<'a>(reasons: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    counts.join(", ")
}

pub fn log_request(line: &RequestLine<'_>) {
    let milliseconds = line.arrived.elapsed().map_or(0, milliseconds);
    tracing::info!(
        function = line.function,
        request_id = line.request_id,
        tenant = line.tenant,
        authenticated = line.authenticated,
        signer = line.signer,
        key = line.key,
        outcome = line.outcome,
        items = line.items.map(|items| items.all),
        refused = line.items.map(|items| items.refused),
        undecided = line.items.map(|items| items.undecided),
        session = line.session,
        last_start_process_time = line.last_start_process_time,
        executed = line.executed,
        milliseconds,
        round_trips = line.usage.round_trips,
        read_milliunits = line.usage.read_milliunits,
        write_units = line.usage.write_units,
        cause = line.cause,
        note = line.note,
        "answered"
    );
}

/// What an event that is no request came to, for its line in the log.
#[derive(Debug)]
pub struct WorkLine<'a> {
    pub function: &'static str,
    pub request_id: &'a str,
    /// What brought the event.
    pub by: &'static str,
    /// Batches that were brought on as far as they go, and those that could not be.
    pub batches: usize,
    pub batches_left: usize,
    /// Events that have arrived, and those that are to be put again.
    pub events: usize,
    pub events_left: usize,
    pub began: SystemTime,
    pub usage: Usage,
}

pub fn log_work(line: &WorkLine<'_>) {
    let milliseconds = line.began.elapsed().map_or(0, milliseconds);
    tracing::info!(
        function = line.function,
        request_id = line.request_id,
        by = line.by,
        batches = line.batches,
        batches_left = line.batches_left,
        events = line.events,
        events_left = line.events_left,
        milliseconds,
        round_trips = line.usage.round_trips,
        read_milliunits = line.usage.read_milliunits,
        write_units = line.usage.write_units,
        "worked"
    );
}
