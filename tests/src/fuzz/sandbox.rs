//! What handlers are fuzzed on: the demo data in a table in this process. All that is written is seen, checked, and
//! put back before the next input, so that what an input does depends on nothing but itself.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::{Client, Config};
use refundctl::functions::{function, worker};
use refundctl::import::{self, Report, Source};
use refundctl::local::{DEMO_DATA, open_database};
use refundctl::template::Template;
use refundctl::verify;
use serde_json::{Map, Value, json};
use settle_refunds::{SWEEP, SettleRefunds, UnknownEvent, Worked};
use shared::edge::{Function, Invocation, Response, init_logging_to, invoke};
use shared::limits;
use shared::store::{self, Store, Stored};
use tokio::runtime::{Builder, Runtime};

use super::taken;
use crate::embedded::{Answered, Embedded, Key, actions, item_of, key_of, key_of_action, network, unsigned};
use crate::permissions::Permissions;

const TABLE: &str = "refunds-fuzz";

const SETTLE: &str = "settle-refunds";

thread_local! {
    static SANDBOX: Cell<Option<Sandbox>> = const { Cell::new(None) };
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Of so many inputs one is looked at with all that takes long, always the same ones: the whole table after what has
/// written, and a second time what has not.
pub static SELDOM: AtomicU64 = AtomicU64::new(1);

fn is_seldom(input: &[u8]) -> bool {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    hasher.finish().is_multiple_of(SELDOM.load(Ordering::Relaxed))
}

/// Runs an input in this thread's sandbox.
pub fn with(input: &[u8], run: impl FnOnce(&mut Sandbox)) {
    let mut sandbox = SANDBOX.take().unwrap_or_else(Sandbox::new);
    run(&mut sandbox);
    if !sandbox.touched.is_empty() {
        sandbox.tidy_up(is_seldom(input));
    }
    // After a panic it is not as it was, and is not used again.
    SANDBOX.set(Some(sandbox));
}

/// The items before any input.
pub fn untouched() -> Arc<BTreeMap<Key, Value>> {
    let sandbox = SANDBOX.take().unwrap_or_else(Sandbox::new);
    let untouched = sandbox.untouched.clone();
    SANDBOX.set(Some(sandbox));
    untouched
}

/// A write that was carried out.
#[derive(Debug, Clone)]
pub struct Write {
    key: Key,
    is_tombstone: bool,
}

/// What happens at the table.
#[derive(Debug, Default)]
struct Happened {
    writes: Vec<Write>,
    /// What was refused, since the function may not do it.
    denied: Vec<String>,
}

/// What a call came to.
pub struct Called {
    pub response: Response,
    /// What has been written, but for tombstones, which refused requests leave, too.
    pub writes: Vec<Write>,
    /// Whether the same again may come to something else, or must be seen not to.
    pub is_worth_repeating: bool,
}

pub struct Sandbox {
    runtime: Runtime,
    embedded: Embedded,
    functions: HashMap<String, Arc<dyn Function>>,
    worker: Arc<SettleRefunds>,
    /// The table for the sandbox's own use, with all permissions.
    store: Store,
    /// What has happened at the table since the last call.
    happened: Arc<Mutex<Happened>>,
    /// Keys that this input has written.
    touched: BTreeSet<Key>,
    /// The items before any input.
    untouched: Arc<BTreeMap<Key, Value>>,
}

impl Sandbox {
    fn new() -> Self {
        init_logging_to(|| LogWriter);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let embedded = Embedded { database: open_database(None).unwrap() };
        let happened = Arc::default();
        let client = |permissions: Option<Permissions>| {
            static CONFIG: OnceLock<Config> = OnceLock::new();
            let config = CONFIG.get_or_init(|| {
                let client = runtime.block_on(store::client(Some("http://in-this-process")));
                unsigned(client.config()).build()
            });
            let seen = Seen { embedded: embedded.clone(), permissions, happened: Arc::clone(&happened) };
            let network = network(move |operation, asked| seen.carry_out(operation, asked));
            Client::from_conf(config.to_builder().http_client(network).build())
        };
        let store_of = |binary: &str| Store::new(client(Some(Permissions::of(binary))), TABLE);
        let template = Template::built_in().unwrap();
        let functions = template.routes.iter().map(|route| {
            let function = function(&route.binary, &store_of(&route.binary)).unwrap();
            (route.binary.clone(), function)
        });
        let functions = functions.collect();
        let worker = worker(SETTLE, &store_of(SETTLE)).unwrap();
        let own = client(None);
        runtime.block_on(template.table.create_if_absent(&own, TABLE)).unwrap();
        // Nobody reads its stream, which is kept for a day.
        let without_stream = json!({"TableName": TABLE, "StreamSpecification": {"StreamEnabled": false}});
        embedded.database.update_table(serde_json::from_value(without_stream).unwrap()).unwrap();
        let store = Store::new(own, TABLE);
        let (touched, untouched) = Default::default();
        let mut sandbox = Self { runtime, embedded, functions, worker, store, happened, touched, untouched };
        assert!(sandbox.import(DEMO_DATA).0.is_ok_and(|report| report.conflicts.is_empty()));
        sandbox.untouched = Arc::new(sandbox.items());
        sandbox.touched.clear();
        sandbox
    }

    /// Has a function answer an event, which has these `secrets`.
    pub fn call(&mut self, binary: &str, event: &str, secrets: &[&str]) -> Called {
        let function = &self.functions[binary];
        let invocation = invocation();
        let request_id = invocation.request_id.clone();
        let response = self.runtime.block_on(invoke(&**function, event, invocation));
        assert!(response.status_code < 500, "{binary} answered {}", response.status_code);
        let answer = serde_json::to_string(&response).unwrap();
        assert!(answer.len() <= limits::ANSWER_BYTES_MAX, "no gateway passes on {} bytes", answer.len());
        let log = take_log();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_request = |line: &&Value| line["message"] == "answered" && line["request_id"] == *request_id;
        assert_eq!(lines.iter().filter(of_request).count(), 1, "a request has one line: {log}");
        for secret in secrets {
            assert!(!log.contains(secret), "the log tells a secret: {log}");
        }
        let denied = take(&mut self.happened.lock().unwrap().denied);
        assert!(denied.is_empty(), "{denied:?}");
        let has_written = !self.happened.lock().unwrap().writes.is_empty();
        let is_worth_repeating = has_written || is_seldom(event.as_bytes());
        let writes = self.take_writes();
        let only_looks = binary.starts_with("retrieve") || binary.starts_with("list");
        if !writes.is_empty() || only_looks && response.status_code == 200 {
            taken();
        }
        Called { response, writes, is_worth_repeating }
    }

    /// Has the worker work on an event. One that no stream brings may lead where the worker may not look; a sweep is in
    /// order.
    pub fn work(&mut self, event: &str) -> Result<Worked, UnknownEvent> {
        let worked = self.runtime.block_on(self.worker.work(event, &invocation()));
        let log = take_log();
        let denied = take(&mut self.happened.lock().unwrap().denied);
        if event == SWEEP {
            assert!(denied.is_empty() && !log.contains("\"ERROR\""), "{denied:?}: {log}");
        }
        if !self.take_writes().is_empty() {
            taken();
        }
        worked
    }

    /// Imports lines; what came of it, and what was written.
    pub fn import(&mut self, lines: &str) -> (anyhow::Result<Report>, Vec<Write>) {
        let settings = import::Settings::default();
        let report = self.runtime.block_on(import::run(&self.store, Source::text(lines), &settings));
        take_log();
        (report, self.take_writes())
    }

    fn take_writes(&mut self) -> Vec<Write> {
        let writes = take(&mut *self.happened.lock().unwrap()).writes;
        self.touched.extend(writes.iter().map(|write| write.key.clone()));
        writes.into_iter().filter(|write| !write.is_tombstone).collect()
    }

    /// Puts the table back as it was, after a look at it.
    fn tidy_up(&mut self, is_looked_at: bool) {
        if is_looked_at {
            self.verify();
        }
        for key in take(&mut self.touched) {
            let (operation, body) = match self.untouched.get(&key) {
                Some(item) => ("PutItem", json!({"TableName": TABLE, "Item": item})),
                None => {
                    let key = json!({"pk": {"S": key.0}, "sk": {"S": key.1}});
                    ("DeleteItem", json!({"TableName": TABLE, "Key": key}))
                }
            };
            let (status, answer) = self.embedded.carry_out(operation, &body.to_string());
            assert_eq!(status, 200, "{answer}");
        }
        assert!(!is_looked_at || self.items() == *self.untouched, "an input can't be put back");
    }

    /// Checks all that always holds of the table.
    fn verify(&self) {
        let items: Vec<Stored> = self.items().values().map(|item| Stored::of(&item_of(item))).collect();
        for item in &items {
            assert!(item.content.is_ok(), "{}: {:?}", item.key(), item.content);
        }
        let breaches = verify::check_items(&items).unwrap();
        assert!(breaches.is_empty(), "{breaches:#?}");
    }

    fn items(&self) -> BTreeMap<Key, Value> {
        let (status, answer) = self.embedded.carry_out("Scan", &json!({"TableName": TABLE}).to_string());
        assert_eq!(status, 200, "{answer}");
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let items = take(answer["Items"].as_array_mut().unwrap());
        items.into_iter().map(|item| (key_of(&item), item)).collect()
    }
}

/// With more time than any input may take.
fn invocation() -> Invocation {
    let request_id = format!("fuzz-{:016x}", fastrand::u64(..));
    Invocation { request_id, ends: SystemTime::now() + Duration::from_secs(60) }
}

/// Keeps the lines of a thread's log.
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn take_log() -> String {
    String::from_utf8(LOG.take()).unwrap()
}

/// The embedded store, which refuses what a function may not do, with all that happens seen.
struct Seen {
    embedded: Embedded,
    permissions: Option<Permissions>,
    happened: Arc<Mutex<Happened>>,
}

impl Seen {
    fn carry_out(&self, operation: &str, body: &str) -> Answered {
        let mut asked: Value = serde_json::from_str(body).unwrap();
        // No call is made twice here, and the embedded store would remember all of them.
        asked.as_object_mut().and_then(|asked| asked.remove("ClientRequestToken"));
        let body = &asked.to_string();
        let mut happened = self.happened.lock().unwrap();
        let denied = self.permissions.as_ref().and_then(|own| own.refused(operation, &asked));
        let (status, answer) = match denied {
            None => self.embedded.carry_out(operation, body),
            Some(denied) => {
                happened.denied.push(denied);
                let kind = "com.amazonaws.dynamodb.v20120810#AccessDeniedException";
                (400, json!({"__type": kind, "message": "it may not do this"}).to_string())
            }
        };
        if status == 200 {
            happened.writes.extend(writes(operation, &asked));
        }
        (status, answer)
    }
}

/// What a call writes.
fn writes(operation: &str, asked: &Value) -> Vec<Write> {
    let write = |(_, action): (&str, &Map<String, Value>)| Write {
        key: key_of_action(action),
        is_tombstone: ["Item", "ExpressionAttributeValues"].iter().any(|members| {
            let values = action.get(*members);
            values.is_some_and(|values| {
                [&values["state"], &values[":state"]].iter().any(|it| it["S"] == "refund_asked")
            })
        }),
    };
    actions(operation, asked).into_iter().filter(|(kind, _)| *kind != "ConditionCheck").map(write).collect()
}
