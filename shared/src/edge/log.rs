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
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sha2::{Digest, Sha256};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::aws;
use crate::clock;
use crate::ledger::Currency;
use crate::store::{Refunded, StoreError, Usage};

/// Logs from here on as JSON lines on stderr, from the level that `AWS_LAMBDA_LOG_LEVEL` names (INFO if
/// it names none); requests have their lines at any level, since those are metrics, too. Libraries log errors only: at
/// finer levels some would log whole bodies.
pub fn init_logging() {
    init_logging_to(std::io::stderr);
}

/// As [`init_logging`], with the lines to `writer`.
pub fn init_logging_to<W>(writer: W)
where
    W: for<'writer> MakeWriter<'writer> + Clone + Send + Sync + 'static,
{
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
        .with_writer(writer.clone());
    LINES.get_or_init(|| {
        let namespace = aws::variable(NAMESPACE);
        let formats = Mutex::new(formats(namespace.as_deref().unwrap_or("none")));
        // Where nobody reads the log, a request is answered all the same.
        let write = Box::new(move |line: &[u8]| drop(writer.make_writer().write_all(line)));
        Lines { namespace, formats, write }
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
    /// What is on record is not as the ledger writes it.
    Broken,
}

/// What a line says in its member `invariant`, for an alarm of its own.
pub const BROKEN: &str = "broken";

impl From<&StoreError> for Trouble {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Damaged { .. } => Self::Broken,
            _ if error.passes() => Self::Passes,
            _ => Self::Stays,
        }
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

/// What every line begins with.
#[derive(Entry)]
struct Head<'line> {
    #[entry(timestamp)]
    at: SystemTime,
    timestamp: String,
    level: &'static str,
    message: &'static str,
    function: &'static str,
    request_id: &'line str,
}

impl<'line> Head<'line> {
    fn new(
        level: &'static str,
        message: &'static str,
        function: &'static str,
        request_id: &'line str,
    ) -> Self {
        Self { at: clock::now(), timestamp: timestamp(), level, message, function, request_id }
    }
}

/// A request's line. What is no [`NoMetric`] and no text is a metric.
#[derive(Entry)]
struct RequestEntry<'line> {
    #[entry(flatten)]
    head: Head<'line>,
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
    invariant: Option<&'static str>,
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

/// Refunds that have succeeded, in one currency: metrics by function and currency, as [`Shape::Money`] says.
#[derive(Entry)]
struct RefundedEntry {
    currency: String,
    refunds: NoMetric<u64>,
    refunded_hundredths: NoMetric<u64>,
}

impl RefundedEntry {
    fn of((currency, refunded): (&Currency, &Refunded)) -> Self {
        Self {
            currency: currency.as_str().to_owned(),
            refunds: refunded.refunds.into(),
            refunded_hundredths: hundredths(refunded).into(),
        }
    }
}

/// The amount in hundredths of the protocol's unit: a metric is a number, and an amount passes through no floating point.
fn hundredths(refunded: &Refunded) -> u64 {
    refunded.amount.checked_mul(Decimal::ONE_HUNDRED).and_then(|amount| amount.to_u64()).unwrap_or(u64::MAX)
}

/// As Lambda reads it: a line without one is of level INFO to it, whatever it says.
fn timestamp() -> String {
    let mut text = String::new();
    let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

pub fn log_request(line: &RequestLine<'_>) {
    let shape = if line.refunded.is_empty() { Shape::Request } else { Shape::Money };
    write_line(shape, &entry_of(line));
}

fn entry_of<'line>(line: &'line RequestLine<'_>) -> RequestEntry<'line> {
    let level = match line.trouble {
        Trouble::None | Trouble::Passes => "INFO",
        Trouble::Stays | Trouble::Broken => "ERROR",
    };
    RequestEntry {
        head: Head::new(level, "answered", line.function, line.request_id),
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
        invariant: (line.trouble == Trouble::Broken).then_some(BROKEN),
        requests: 1.into(),
        faults: u64::from(line.trouble != Trouble::None).into(),
        replays: u64::from(line.is_replay).into(),
        used: UsageEntry::of(line.usage, line.arrived),
        // Whose requests refund is of one tenant, and so of one currency.
        refunded: line.refunded.iter().next().map(RefundedEntry::of),
    }
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
    #[entry(flatten)]
    head: Head<'line>,
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
    #[entry(flatten)]
    head: Head<'line>,
    currency: &'line str,
    refunds: AsCount<u64>,
    refunded_hundredths: AsCount<u64>,
}

/// One line, and one more for each currency in which refunds have succeeded.
pub fn log_work(line: &WorkLine<'_>) {
    write_line(Shape::Work, &work_entry(line));
    for (currency, refunded) in &line.refunded {
        write_line(Shape::Settled, &settled_entry(line, currency, refunded));
    }
}

fn work_entry<'line>(line: &'line WorkLine<'_>) -> WorkEntry<'line> {
    WorkEntry {
        head: Head::new("INFO", "worked", line.function, line.request_id),
        by: line.by,
        batches: (line.batches as u64).into(),
        batches_left: (line.batches_left as u64).into(),
        events: (line.events as u64).into(),
        events_left: (line.events_left as u64).into(),
        used: UsageEntry::of(line.usage, line.began),
    }
}

fn settled_entry<'line>(
    line: &'line WorkLine<'_>,
    currency: &'line Currency,
    refunded: &Refunded,
) -> SettledEntry<'line> {
    SettledEntry {
        head: Head::new("INFO", "refunded", line.function, line.request_id),
        currency: currency.as_str(),
        refunds: refunded.refunds.into(),
        refunded_hundredths: hundredths(refunded).into(),
    }
}

/// How lines are written.
struct Lines {
    namespace: Option<String>,
    formats: Mutex<[Emf; 4]>,
    write: Box<Sink>,
}

/// Where lines go.
type Sink = dyn Fn(&[u8]) + Send + Sync;

static LINES: OnceLock<Lines> = OnceLock::new();

/// The variable that names CloudWatch's namespace for the metrics. Without it, as on a developer's machine, lines are
/// for people alone.
const NAMESPACE: &str = "METRICS_NAMESPACE";

/// Which metrics a line has: CloudWatch wants those, and no others, named in it.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// By function; requests by what they came to, too; faults of all functions together, for an alarm.
    Request,
    /// The same, and money by function and currency.
    Money,
    Work,
    Settled,
}

/// One for each [`Shape`], in their order.
fn formats(namespace: &str) -> [Emf; 4] {
    const FUNCTION: &str = "function";
    const CURRENCY: &str = "currency";
    let metric = |name, unit| MetricDefinition { name, unit, storage_resolution: None };
    let directive = |dimensions: &[&'static str], metrics| MetricDirective {
        namespace,
        dimensions: vec![dimensions.to_vec()],
        metrics,
    };
    let by = |dimensions: &[&str]| {
        let dimensions = dimensions.iter().map(|name| (*name).to_owned()).collect();
        Emf::builder(namespace.to_owned(), vec![dimensions])
    };
    let request = || {
        by(&[FUNCTION])
            .directive(directive(&[FUNCTION, "outcome"], vec![metric("requests", Unit::Count)]))
            .directive(directive(&[], vec![metric("faults", Unit::Count)]))
    };
    let money = vec![metric("refunds", Unit::Count), metric("refunded_hundredths", Unit::Count)];
    [
        request().build(),
        request().directive(directive(&[FUNCTION, CURRENCY], money)).build(),
        by(&[FUNCTION]).build(),
        by(&[FUNCTION, CURRENCY]).build(),
    ]
}

fn write_line(shape: Shape, entry: &impl Entry) {
    // Before logging has started, as in a test, nobody asks for lines.
    let Some(Lines { namespace, formats, write }) = LINES.get() else { return };
    let mut line = Vec::new();
    let [request, money, work, settled] = &mut *formats.lock().unwrap_or_else(PoisonError::into_inner);
    let format = match shape {
        Shape::Request => request,
        Shape::Money => money,
        Shape::Work => work,
        Shape::Settled => settled,
    };
    if let Err(error) = format.format(entry, &mut line) {
        tracing::error!(%error, "a line of the log could not be written");
        return;
    }
    if namespace.is_none()
        && let Ok(mut members) = serde_json::from_slice::<serde_json::Map<_, _>>(&line)
    {
        members.remove("_aws");
        line = format!("{}\n", serde_json::Value::Object(members)).into_bytes();
    }
    write(&line);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn request<'line>(trouble: Trouble, refunded: BTreeMap<Currency, Refunded>) -> RequestLine<'line> {
        RequestLine {
            function: "f",
            request_id: "r",
            tenant: "ebet#1\"}\n",
            authenticated: true,
            signer: None,
            key: "_aws",
            outcome: 200,
            items: None,
            session: None,
            last_start_process_time: None,
            executed: "yes",
            is_replay: false,
            arrived: clock::now(),
            usage: Usage::default(),
            refunded,
            trouble,
            cause: None,
            note: None,
        }
    }

    fn refunded() -> BTreeMap<Currency, Refunded> {
        let amount = "10.50".parse().unwrap();
        BTreeMap::from([("CNY".parse().unwrap(), Refunded { refunds: 2, amount })])
    }

    /// A line as it is written where metrics have a namespace.
    fn written(shape: Shape, entry: &impl Entry) -> Value {
        let mut line = Vec::new();
        formats("refunds-test")[shape as usize].format(entry, &mut line).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_line_has_every_metric_and_dimension_that_it_names_and_a_time() {
        let work = WorkLine {
            function: "f",
            request_id: "r",
            by: "stream",
            batches: 1,
            batches_left: 0,
            events: 2,
            events_left: 1,
            began: clock::now(),
            usage: Usage::default(),
            refunded: refunded(),
        };
        let money = refunded();
        let (currency, of_currency) = money.iter().next().unwrap();
        for (line, wanted) in [
            (
                written(Shape::Request, &entry_of(&request(Trouble::None, BTreeMap::new()))),
                &["requests", "faults", "replays", "round_trips", "write_units", "milliseconds"][..],
            ),
            (
                written(Shape::Money, &entry_of(&request(Trouble::None, refunded()))),
                &["requests", "faults", "refunds", "refunded_hundredths"],
            ),
            (written(Shape::Work, &work_entry(&work)), &["batches", "batches_left", "events_left"]),
            (
                written(Shape::Settled, &settled_entry(&work, currency, of_currency)),
                &["refunds", "refunded_hundredths"],
            ),
        ] {
            let mut named = Vec::new();
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                assert_eq!(directive["Namespace"], "refunds-test");
                for dimension in
                    directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap())
                {
                    assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}: {line}");
                }
                let metrics = directive["Metrics"].as_array().unwrap();
                assert!(!metrics.is_empty(), "{line}");
                for metric in metrics {
                    let name = metric["Name"].as_str().unwrap();
                    assert!(line[name].is_number(), "{name}: {line}");
                    named.push(name.to_owned());
                }
            }
            for metric in wanted {
                assert!(named.iter().any(|name| name == metric), "{metric}: {line}");
            }
            if named.iter().any(|name| name == "refunds") {
                assert_eq!((&line["refunds"], &line["refunded_hundredths"]), (&2.into(), &1_050.into()));
            }
            let time = line["timestamp"].as_str().unwrap();
            assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        }
    }

    #[test]
    fn what_is_for_people_is_an_error_and_what_is_broken_says_so() {
        for (trouble, level, invariant, faults) in [
            (Trouble::None, "INFO", Value::Null, 0),
            (Trouble::Passes, "INFO", Value::Null, 1),
            (Trouble::Stays, "ERROR", Value::Null, 1),
            (Trouble::Broken, "ERROR", Value::from("broken"), 1),
        ] {
            let line = written(Shape::Request, &entry_of(&request(trouble, BTreeMap::new())));
            assert_eq!(
                (&line["level"], &line["invariant"], &line["faults"]),
                (&level.into(), &invariant, &faults.into())
            );
            assert_eq!(line["tenant"], "ebet#1\"}\n", "text stays what it is");
        }
    }
}
