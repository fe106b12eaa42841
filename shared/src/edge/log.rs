//! Logs: JSON lines, one a request. What a request is known by goes in; no secret, signature, token or
//! whole body does. The line of a request is its metrics too, in CloudWatch's Embedded Metric Format.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use metrique_writer::format::Format;
use metrique_writer::unit::{AsCount, AsMilliseconds};
use metrique_writer::{Entry, Unit};
use metrique_writer_format_emf::{Emf, MetricDefinition, MetricDirective, NoMetric};
use rust_decimal::prelude::ToPrimitive;

use sha2::{Digest, Sha256};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::ledger::Currency;
use crate::store::{Refunded, StoreError, Usage};

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
    LINES.get_or_init(|| {
        let namespace = std::env::var(NAMESPACE).ok();
        let emf = Mutex::new(emf(namespace.as_deref().unwrap_or("none")));
        Lines { namespace, emf }
    });
    // A second start in one process, as in tests, keeps the first's settings.
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init();
}

/// A secret as logs may show it: enough of its hash to tell two apart, and no way back.
pub fn hashed(secret: &str) -> String {
    Sha256::digest(secret).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What a request came to, for its line in the log and its metrics.
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
    /// Whether it was told of what was done before.
    pub is_replay: bool,
    pub arrived: SystemTime,
    pub usage: Usage,
    pub refunded: BTreeMap<Currency, Refunded>,
    pub trouble: Trouble,
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

/// Whether something of ours stood in a request's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// The same again may go through.
    Passes,
    /// It won't pass by itself: the line's level is ERROR, and every ERROR is for people.
    Stays,
}

impl From<&StoreError> for Trouble {
    fn from(error: &StoreError) -> Self {
        if error.passes() { Self::Passes } else { Self::Stays }
    }
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

/// A request's line. What is no [`NoMetric`] and no text is a metric.
#[derive(Entry)]
struct RequestEntry<'line> {
    #[entry(timestamp)]
    at: SystemTime,
    level: &'static str,
    message: &'static str,
    function: &'static str,
    request_id: &'line str,
    tenant: &'line str,
    authenticated: &'static str,
    signer: Option<&'line str>,
    key: &'line str,
    outcome: String,
    items: Option<NoMetric<u64>>,
    refused: Option<&'line str>,
    undecided: Option<NoMetric<u64>>,
    session: Option<&'line str>,
    last_start_process_time: Option<String>,
    executed: &'static str,
    cause: Option<&'line str>,
    note: Option<&'line str>,
    /// One.
    requests: AsCount<u64>,
    /// Whether it failed by our fault, whatever its HTTP status.
    faults: AsCount<u64>,
    replays: AsCount<u64>,
    #[entry(flatten)]
    used: UsageEntry,
    #[entry(flatten)]
    refunded: Option<RefundedEntry>,
}

/// What a request, or a worker's event, has used.
#[derive(Entry)]
struct UsageEntry {
    milliseconds: AsMilliseconds<u64>,
    round_trips: AsCount<u64>,
    read_milliunits: NoMetric<u64>,
    write_units: AsCount<u64>,
}

impl UsageEntry {
    fn of(usage: Usage, began: SystemTime) -> Self {
        let milliseconds = began.elapsed().map_or(0, crate::clock::milliseconds);
        Self {
            milliseconds: milliseconds.into(),
            round_trips: usage.round_trips.into(),
            read_milliunits: usage.read_milliunits.into(),
            write_units: usage.write_units.into(),
        }
    }
}

/// Refunds that have succeeded, in one currency: metrics by function and currency, as [`emf`] says.
#[derive(Entry)]
struct RefundedEntry {
    currency: String,
    refunds: NoMetric<u64>,
    /// In the protocol's unit, as near as a double comes: for graphs. The ledger has it to the digit.
    refunded: NoMetric<f64>,
}

impl RefundedEntry {
    fn of((currency, refunded): (&Currency, &Refunded)) -> Self {
        Self {
            currency: currency.as_str().to_owned(),
            refunds: refunded.refunds.into(),
            refunded: refunded.amount.to_f64().unwrap_or_default().into(),
        }
    }
}

pub fn log_request(line: &RequestLine<'_>) {
    write_line(&RequestEntry {
        at: SystemTime::now(),
        level: if line.trouble == Trouble::Stays { "ERROR" } else { "INFO" },
        message: "answered",
        function: line.function,
        request_id: line.request_id,
        tenant: line.tenant,
        authenticated: if line.authenticated { "yes" } else { "no" },
        signer: line.signer,
        key: line.key,
        outcome: line.outcome.to_string(),
        items: line.items.map(|items| (items.all as u64).into()),
        refused: line.items.map(|items| items.refused),
        undecided: line.items.map(|items| (items.undecided as u64).into()),
        session: line.session,
        last_start_process_time: line.last_start_process_time.map(|time| time.to_string()),
        executed: line.executed,
        cause: line.cause,
        note: line.note,
        requests: 1.into(),
        faults: u64::from(line.trouble != Trouble::None).into(),
        replays: u64::from(line.is_replay).into(),
        used: UsageEntry::of(line.usage, line.arrived),
        // A request is of one tenant, and so of one currency.
        refunded: line.refunded.iter().next().map(RefundedEntry::of),
    });
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
    pub refunded: BTreeMap<Currency, Refunded>,
}

#[derive(Entry)]
struct WorkEntry<'line> {
    #[entry(timestamp)]
    at: SystemTime,
    level: &'static str,
    message: &'static str,
    function: &'static str,
    request_id: &'line str,
    by: &'static str,
    batches: AsCount<u64>,
    batches_left: AsCount<u64>,
    events: AsCount<u64>,
    events_left: AsCount<u64>,
    #[entry(flatten)]
    used: UsageEntry,
}

/// Refunds of a worker's event in one currency.
#[derive(Entry)]
struct SettledEntry<'line> {
    #[entry(timestamp)]
    at: SystemTime,
    level: &'static str,
    message: &'static str,
    function: &'static str,
    request_id: &'line str,
    #[entry(flatten)]
    refunded: RefundedEntry,
}

/// One line, and one more for each currency in which refunds have succeeded.
pub fn log_work(line: &WorkLine<'_>) {
    let (at, function, request_id) = (SystemTime::now(), line.function, line.request_id);
    write_line(&WorkEntry {
        at,
        level: "INFO",
        message: "worked",
        function,
        request_id,
        by: line.by,
        batches: (line.batches as u64).into(),
        batches_left: (line.batches_left as u64).into(),
        events: (line.events as u64).into(),
        events_left: (line.events_left as u64).into(),
        used: UsageEntry::of(line.usage, line.began),
    });
    for refunded in line.refunded.iter().map(RefundedEntry::of) {
        write_line(&SettledEntry { at, level: "INFO", message: "refunded", function, request_id, refunded });
    }
}

/// How lines are written.
struct Lines {
    namespace: Option<String>,
    emf: Mutex<Emf>,
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// The variable that names CloudWatch's namespace for the metrics. Without it, as on a developer's machine, lines are
/// for people alone.
const NAMESPACE: &str = "METRICS_NAMESPACE";

/// Metrics are by function. Besides, requests are by what they came to, faults are counted together for an alarm, and
/// money is by currency.
fn emf(namespace: &str) -> Emf {
    const FUNCTION: &str = "function";
    let metric = |name, unit| MetricDefinition { name, unit, storage_resolution: None };
    let directive = |dimensions: &[&'static str], metrics| MetricDirective {
        namespace,
        dimensions: vec![dimensions.to_vec()],
        metrics,
    };
    Emf::builder(namespace.to_owned(), vec![vec![FUNCTION.to_owned()]])
        .directive(directive(&[FUNCTION, "outcome"], vec![metric("requests", Unit::Count)]))
        .directive(directive(&[], vec![metric("faults", Unit::Count)]))
        .directive(directive(
            &[FUNCTION, "currency"],
            vec![metric("refunds", Unit::Count), metric("refunded", Unit::None)],
        ))
        .build()
}

fn write_line(entry: &impl Entry) {
    // Before logging has started, as in a test, nobody asks for lines.
    let Some(Lines { namespace, emf }) = LINES.get() else { return };
    let mut line = Vec::new();
    let formatted = emf.lock().unwrap_or_else(PoisonError::into_inner).format(entry, &mut line);
    if let Err(error) = formatted {
        tracing::error!(%error, "a line of the log could not be written");
        return;
    }
    if namespace.is_none()
        && let Ok(mut members) = serde_json::from_slice::<serde_json::Map<_, _>>(&line)
    {
        members.remove("_aws");
        line = format!("{}\n", serde_json::Value::Object(members)).into_bytes();
    }
    // Where nobody reads the log, a request is answered all the same.
    let _ = std::io::stderr().lock().write_all(&line);
}
