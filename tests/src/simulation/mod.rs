//! A whole world in one process and one thread, which follows from one number, its seed: many processes of the functions,
//! callers that send again as the real ones do, the worker with changes that come twice and out of order, operators, and
//! clocks. Time is simulated, so that waiting takes none; the table is the embedded one, behind a network on which
//! everything goes wrong that does on a real one.
//!
//! While it runs, and when it has come to rest, all that always holds is checked from the table alone, as `refundctl
//! verify` checks it; and whatever any caller was told is compared with the table.

mod attempts;
mod changes;
mod ebet;
mod entries;
mod epay;
mod history;
mod isolation;
#[cfg(test)]
mod late;
pub mod matrix;
pub mod mutant;
mod network;
mod operators;
mod pingpp;
mod platform;
mod table;
mod weather;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use dynoxide::Database;
use fastrand::Rng;
use futures::FutureExt;
use futures::future::{BoxFuture, join};
use refundctl::import::{self, Source};
use refundctl::local::matches;
use refundctl::template::{Template, Trigger};
use refundctl::verify::{self, Breach, Kind};
use serde_json::Value;
use shared::clock::{self, milliseconds, simulated};
use shared::limits::simulated::ACTIONS_PER_TRANSACTION;
use shared::store::Store;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::embedded::{Answered, Call, Embedded, Key, key_of, network, unsigned};
pub use history::Counts;
use history::History;
use mutant::Mutant;
use network::Script;
use pingpp::{Bus, Channel};
use platform::{Life, Platform};
use table::Table;
pub use weather::faults_by_chance;
use weather::{FROZEN_MAX, Fate, Fault, Weather, elsewhere};

pub const TABLE: &str = table::NAME;

/// When every run begins.
const BEGINNING: u64 = 1_795_000_000;

/// A seed that has something of everything, and is soon over.
const EVERYTHING: u64 = 52;

/// What breaches begin with that are the simulation's own: no mutant is found by them.
pub const ITSELF: &str = "the simulation itself";

/// How a seed's run ended.
#[derive(Debug)]
pub struct Ended {
    pub seed: u64,
    /// What was not as it must be; nothing in a good run.
    pub breaches: Vec<String>,
    /// In words, where they were asked for.
    pub history: Option<Vec<String>>,
    /// Of all that happened: the same for the same seed.
    pub digest: u64,
    pub faults: Counts,
    pub done: Counts,
    /// Items in the table at the end.
    pub items: usize,
    /// Calls to the table, in their order, where they were asked for.
    pub calls: Vec<Call>,
}

/// What is done beside running a seed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tells the history in words.
    pub tells: bool,
    /// Keeps the calls to the table.
    pub keeps_calls: bool,
    /// What is wrong with the ledger. Its writes meet worse weather than others.
    pub mutant: Option<Mutant>,
    /// The ledger is as it is, and only the weather is that mutant's.
    pub is_control: bool,
}

/// The world of one run.
pub struct Simulation {
    weather: Weather,
    table: Table,
    /// What all clients are made of.
    sdk: aws_sdk_dynamodb::Config,
    stream: String,
    began: Instant,
    rng: Mutex<Rng>,
    history: Mutex<History>,
    changes: Mutex<changes::Changes>,
    numbers: AtomicU64,
    platform: Platform,
    channel: Arc<Channel>,
    bus: Arc<Bus>,
    /// Whether records of requests are taken away in this run.
    records_expire: AtomicBool,
    /// Whether who creates batches dies half-way in every second case.
    leaves_halves: AtomicBool,
    /// The mutant whose weather it is.
    around: Option<Mutant>,
    mutant: Option<Mutant>,
    /// Whether processes die in it.
    is_deadly: bool,
    /// Whether operators give keys and end them beside all else.
    has_operators: bool,
    script: Mutex<Script>,
    /// Who has taken a batch on, by what they marked it with: a process, by where it lives.
    takers: Mutex<HashMap<String, usize>>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, options: &Options) -> Ended {
    // What is made once in a process takes of the chance of whoever comes first: that is one of whom nobody is told.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        std::thread::spawn(|| run_alone(EVERYTHING, &Options::default())).join().expect("it ends");
    });
    run_alone(seed, options)
}

fn run_alone(seed: u64, options: &Options) -> Ended {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mutant = options.mutant.as_ref().filter(|_| !options.is_control);
    let _switch = mutant.map(Mutant::switch_on);
    let ended = runtime.block_on(live(seed, options));
    // What is still on its way is gone with the world.
    drop(runtime);
    ended
}

/// A world in which nothing goes wrong by chance, for as long as `work` takes.
fn in_a_world<T: Send + 'static>(
    work: impl FnOnce(Arc<Simulation>) -> BoxFuture<'static, T> + Send + 'static,
) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let _clock = simulated::start(UNIX_EPOCH + Duration::from_secs(BEGINNING));
        let simulation = Arc::new(Simulation::new(1, &mut Rng::with_seed(1), &Options::default()).await);
        simulation.weather.calm();
        ACTIONS_PER_TRANSACTION.set(None);
        simulation.channel.calm();
        let worked = work(simulation.clone()).await;
        simulation.platform.end();
        worked
    })
}

async fn live(seed: u64, options: &Options) -> Ended {
    let _clock = simulated::start(UNIX_EPOCH + Duration::from_secs(BEGINNING));
    let mut rng = Rng::with_seed(seed);
    let simulation = Arc::new(Simulation::new(seed, &mut rng, options).await);
    let life = simulation.clone();
    let lived = tokio::spawn(async move { life.live(rng).await }).await;
    if let Err(error) = lived {
        simulation.breach(format!("{ITSELF}: the world ended: {error}"));
    }
    // They know of the world as it knows of them.
    simulation.platform.end();
    let items = simulation.table.items().len();
    let mut history = simulation.history.lock().unwrap();
    let History { lines, digest, faults, done, breaches } = std::mem::take(&mut *history);
    let calls = simulation.table.take_calls();
    Ended { seed, breaches, history: lines, digest, faults, done, items, calls }
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| Template::built_in().expect("template.yaml is well-formed"))
}

/// What clients are made of but for their network: read once, for it looks into files.
async fn sdk() -> aws_sdk_dynamodb::Config {
    static SDK: OnceLock<aws_sdk_dynamodb::Config> = OnceLock::new();
    if let Some(sdk) = SDK.get() {
        return sdk.clone();
    }
    let client = shared::store::client(Some("http://127.0.0.1:1")).await;
    SDK.get_or_init(|| unsigned(client.config()).build()).clone()
}

impl Simulation {
    async fn new(seed: u64, rng: &mut Rng, options: &Options) -> Self {
        let sdk = sdk().await;
        // What is made once for all worlds has taken of the thread's chance.
        fastrand::seed(seed);
        let embedded = Embedded { database: Database::memory().expect("there is memory") };
        let client =
            aws_sdk_dynamodb::Client::from_conf(sdk.to_builder().http_client(embedded.network()).build());
        template().table.create_if_absent(&client, table::NAME).await.expect("the table can be made");
        let described = client.describe_table().table_name(table::NAME).send().await.expect("it is there");
        let stream = described.table.and_then(|table| table.latest_stream_arn).expect("it has a stream");
        let weather = Weather::of(rng);
        ACTIONS_PER_TRANSACTION.set(weather.actions);
        let history = History { lines: options.tells.then(Vec::new), ..History::default() };
        let table = Table::new(embedded, options.keeps_calls);
        let is_even = weather.is_even;
        Self {
            weather,
            table: table.clone(),
            sdk,
            stream,
            began: Instant::now(),
            rng: Mutex::new(rng.fork()),
            history: Mutex::new(history),
            changes: Mutex::default(),
            numbers: AtomicU64::new(0),
            platform: Platform::default(),
            channel: Arc::new(Channel::new(table, rng.fork())),
            bus: Arc::new(Bus::new(rng.fork())),
            records_expire: AtomicBool::default(),
            leaves_halves: AtomicBool::default(),
            // One seed in three has nothing but its own; nor has one in which all takes equally long.
            around: options.mutant.clone().filter(|_| !seed.is_multiple_of(3) && !is_even),
            mutant: options.mutant.clone().filter(|_| !options.is_control),
            is_deadly: seed.is_multiple_of(2),
            has_operators: seed.is_multiple_of(5),
            script: Mutex::default(),
            takers: Mutex::default(),
        }
    }

    /// From the first call to the last check.
    async fn live(self: Arc<Self>, mut rng: Rng) {
        self.tell(|| format!("{:?}", self.weather));
        // A run has something of one, two or all three providers: many about few things, so that they meet.
        let shown: Vec<bool> = loop {
            let shown: Vec<bool> = (0..3).map(|_| rng.bool()).collect();
            if shown.contains(&true) {
                break shown;
            }
        };
        let ebet = if shown[0] { Some(ebet::Scene::new(&self, rng.fork()).await) } else { None };
        let epay = if shown[1] { Some(epay::Scene::new(&self, rng.fork()).await) } else { None };
        let pingpp = if shown[2] { Some(pingpp::Scene::new(&self, rng.fork()).await) } else { None };
        let operators =
            if self.has_operators { Some(operators::Scene::new(&self, rng.fork()).await) } else { None };

        let mut actors = Vec::new();
        actors.extend(ebet.iter().flat_map(ebet::Scene::actors));
        actors.extend(epay.iter().flat_map(epay::Scene::actors));
        actors.extend(pingpp.iter().flat_map(pingpp::Scene::actors));
        actors.extend(operators.iter().flat_map(operators::Scene::actors));
        let acting = actors.into_iter().map(tokio::spawn).collect::<Vec<_>>();
        let checks = tokio::spawn(self.clone().look_now_and_then(rng.fork()));
        for actor in acting {
            if let Err(error) = actor.await {
                self.breach(format!("{ITSELF}: {error}"));
            }
        }
        checks.abort();
        if let Err(error) = checks.await
            && error.is_panic()
        {
            self.breach(format!("{ITSELF}: {error}"));
        }
        if self.has_breach() {
            return;
        }
        self.tell(|| "calm".to_owned());
        self.weather.calm();
        // What is still under way arrives, and who was working is done.
        tokio::time::sleep(FROZEN_MAX + Duration::from_secs(90)).await;
        if let Some(ebet) = &ebet {
            ebet.come_to_rest().await;
        }
        if let Some(epay) = &epay {
            epay.come_to_rest().await;
        }
        if let Some(pingpp) = &pingpp {
            pingpp.come_to_rest().await;
        }
        self.look("at the end");
        if let Some(ebet) = &ebet {
            ebet.check_at_rest();
        }
        if let Some(epay) = &epay {
            epay.check_at_rest();
        }
        if let Some(pingpp) = &pingpp {
            pingpp.check_at_rest();
        }
        if let Some(operators) = &operators {
            operators.check_at_rest();
        }
    }

    async fn look_now_and_then(self: Arc<Self>, mut rng: Rng) {
        // Most happens early, and something for minutes.
        let mut pause = 150;
        loop {
            tokio::time::sleep(Duration::from_millis(rng.u64(pause / 2..pause * 2))).await;
            self.look("at some moment");
            pause *= 2;
        }
    }

    /// All that always holds, from the table alone; and that no change of it was one that must not be.
    fn look(&self, when: &str) {
        let items = self.table.items_anew();
        self.count_done("look at the whole table");
        let breaches = verify::check_items(items.values().map(|stored| &**stored))
            .expect("facts that come from no file can be read");
        let records_expire = self.records_expire.load(Ordering::Relaxed);
        // Records that have expired here are gone long before they may be.
        let is_one = |breach: &Breach| !(records_expire && breach.kind == Kind::MissingRecord);
        for breach in breaches.into_iter().filter(is_one) {
            self.breach(format!("{when}: {}: {} {:?}", breach.kind, breach.what, breach.keys));
        }
        let wrong = self.changes().wrong();
        wrong.into_iter().for_each(|what| self.breach(what));
    }

    /// Puts on record what there is in the beginning, when nothing goes wrong.
    async fn import(self: &Arc<Self>, lines: &[Value]) {
        let table = self.table.clone();
        let network = network(move |operation, asked| table.carry_out(operation, asked));
        let client = aws_sdk_dynamodb::Client::from_conf(self.sdk.to_builder().http_client(network).build());
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let source = Source::text(lines.join("\n"));
        let store = Store::new(client, table::NAME);
        let report =
            import::run(&store, source, &import::Settings::default()).await.expect("an import works");
        assert!(report.conflicts.is_empty(), "{report}");
    }

    // ---- chance, time, numbers ----

    /// Whether something happens that does so in so many of a thousand cases.
    fn chance(&self, in_thousand: u32) -> bool {
        self.rng.lock().unwrap().u32(0..1_000) < in_thousand
    }

    fn fate(&self, operation: &str, asked: &str) -> Fate {
        let mut rng = self.rng.lock().unwrap();
        let mut fate = self.weather.fate(&mut rng, operation, asked);
        if let Some(mutant) = self.around.as_ref().filter(|_| !self.weather.is_calm()) {
            mutant.worsen(&mut fate, &mut rng, self.is_deadly, operation, asked);
        }
        drop(rng);
        match self.script.lock().unwrap().next() {
            None => fate,
            death => Fate { fault: death, ..fate },
        }
    }

    fn set_script(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// How many calls were made since it was set; nothing goes on by it.
    fn take_script(&self) -> usize {
        std::mem::take(&mut *self.script.lock().unwrap()).made
    }

    fn is_lost_at_gateway(&self) -> bool {
        !self.weather.is_calm() && self.chance(self.weather.gateway)
    }

    /// How long a function may work: now and then its time is over before it thinks so.
    fn time_out(&self) -> Duration {
        if self.weather.is_calm() || !self.chance(self.weather.ended) {
            return platform::TIMEOUT;
        }
        Duration::from_millis(self.rng.lock().unwrap().u64(5..400))
    }

    /// Whether somebody dies who has just put the first part of a batch on record.
    fn leaves_half(&self, asked: &str) -> bool {
        let dies = self.leaves_halves.load(Ordering::Relaxed)
            && !self.weather.is_calm()
            && asked.contains("\"state\":{\"S\":\"creating\"}");
        if dies {
            self.count_fault(Fault::DeathAfter.as_str());
        }
        dies
    }

    fn clock_off(&self) -> i64 {
        let most = if self.weather.is_calm() { 0 } else { self.weather.clocks_off };
        if most > 0 {
            self.count_fault(elsewhere::WRONG_CLOCK);
        }
        self.rng.lock().unwrap().i64(-most..=most)
    }

    /// Does something beside all else. Nobody waits for it: its panic is a breach, and not silence.
    fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let simulation = self.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                let texts =
                    (panic.downcast_ref::<String>().map(String::as_str), panic.downcast_ref::<&str>());
                let text = texts.0.or(texts.1.copied()).unwrap_or("it panicked");
                simulation.breach(format!("{ITSELF}: {text}"));
            }
        });
    }

    /// The next of the numbers that tell things apart.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits as somebody does before the next thing; where all do so in step, until all go on.
    async fn pause(&self, milliseconds: u64) {
        let jitter = self.rng.lock().unwrap().u64(0..=self.weather.jitter);
        let until = (self.at() + milliseconds).next_multiple_of(self.weather.step) + jitter;
        tokio::time::sleep_until(self.began + Duration::from_millis(until)).await;
    }

    /// What is called comes to; now and then it is called once more at about the same time.
    async fn call_twice<T, F: Future<Output = T>>(
        &self,
        rng: &mut Rng,
        one_in: u32,
        call: impl Fn() -> F,
    ) -> T {
        if rng.u32(0..one_in) != 0 {
            return call().await;
        }
        self.count_fault(elsewhere::TWICE_AT_ONCE);
        let later = Duration::from_millis(rng.u64(0..30));
        let again = async {
            tokio::time::sleep(later).await;
            call().await
        };
        join(call(), again).await.0
    }

    /// How long the run has lasted, in milliseconds.
    fn at(&self) -> u64 {
        milliseconds(self.began.elapsed())
    }

    // ---- the table ----

    /// Carries a call out, as it arrives.
    fn carry_out(&self, life: &Life, operation: &str, asked: &str) -> Answered {
        let mutated = self.mutant.as_ref().and_then(|mutant| mutant.mutate(operation, asked));
        self.carry_out_or(life, operation, asked, mutated.as_deref())
    }

    /// Carries a call out as it is; where it is refused, as a mutant makes it.
    fn carry_out_or(&self, life: &Life, operation: &str, asked: &str, mutated: Option<&str>) -> Answered {
        let taken = (operation == "UpdateItem" && asked.contains("takenBy")).then(|| self.taken_by(asked));
        let leaves_out = self.mutant.as_ref().is_some_and(Mutant::leaves_out_writes);
        let unfinished = &self.table.unfinished;
        let refused = unfinished.refuse(operation, asked);
        let mutated = mutated.filter(|_| refused.is_none());
        let mut answer = (0, String::new());
        if let Some(refused) = refused {
            answer = refused;
        } else if mutated.is_none() || !leaves_out {
            answer = unfinished.seen(operation, asked, self.table.carry_out(operation, asked));
        }
        if let Some(mutated) = mutated.filter(|_| answer.0 != 200) {
            answer = self.table.carry_out(operation, mutated);
            assert!(!answer.1.contains("ValidationException"), "no mutant: {} of {mutated}", answer.1);
            if answer.0 == 200 {
                self.tell(|| "MUTANT what follows is written, and would not be without it".to_owned());
                self.count_fault(mutant::DIFFERENCE);
            }
        }
        if let Some(taken) = taken {
            self.check_taker(life, taken, self.taken_by(asked));
        }
        let at = self.at();
        let mut history = self.history.lock().unwrap();
        for part in [at, asked.len() as u64, answer.0.into(), answer.1.len() as u64] {
            history.digest(part);
        }
        history.tell(at, || told(&life.name, operation, asked, &answer));
        drop(history);
        mutant::see(operation, asked);
        answer
    }

    /// The mark of who has the item alone that a call is about.
    fn taken_by(&self, asked: &str) -> Option<String> {
        let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        Some(self.table.raw(&key_of(&asked["Key"]))?["takenBy"]["S"].as_str()?.to_owned())
    }

    /// Who has a batch alone lets go of it, and nobody else.
    fn check_taker(&self, life: &Life, before: Option<String>, now: Option<String>) {
        let process = std::ptr::from_ref(life).addr();
        let mut takers = self.takers.lock().unwrap();
        match (before, now) {
            (before, Some(mark)) if before.as_ref() != Some(&mark) => drop(takers.insert(mark, process)),
            (Some(mark), None) if takers.get(&mark) != Some(&process) => {
                self.breach(format!("{} lets go of a batch that another has", life.name));
            }
            _ => {}
        }
    }

    /// All changes of the table until now.
    fn changes(&self) -> MutexGuard<'_, changes::Changes> {
        let mut changes = self.changes.lock().unwrap();
        changes.pull(&self.table.embedded, &self.stream);
        changes
    }

    /// Answers a query of the index as it was a few changes ago.
    fn stale_index(&self, asked: &str) -> Answered {
        let changes = self.changes();
        let behind = self.rng.lock().unwrap().usize(1..30);
        let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        (200, changes.index_behind(behind, &asked).to_string())
    }

    /// The changes that template.yaml lets through to the worker, from `from` on, and where they end.
    fn changes_from(&self, from: usize) -> (Vec<Arc<Value>>, usize) {
        let changes = self.changes();
        let filters = template().workers.iter().find_map(|worker| match &worker.trigger {
            Trigger::Stream { filters, .. } => Some(filters),
            Trigger::Schedule { .. } => None,
        });
        let filters = filters.expect("the worker follows the stream");
        let wanted = |change: &&Arc<Value>| filters.iter().any(|filter| matches(filter, change));
        // What can't be seen has not changed yet, and what comes behind it has to wait.
        let is_late =
            |change: &Arc<Value>| self.table.unfinished.is_late(&key_of(&change["dynamodb"]["Keys"]));
        let end = from + changes.log[from..].iter().take_while(|change| !is_late(change)).count();
        (changes.log[from..end].iter().filter(wanted).cloned().collect(), end)
    }

    /// Keys of all items that were put for the first time, in the order in which they were.
    fn insertions(&self) -> Vec<Key> {
        let changes = self.changes();
        let key = |change: &Arc<Value>| {
            (change["eventName"] == "INSERT").then(|| key_of(&change["dynamodb"]["Keys"]))
        };
        changes.log.iter().filter_map(key).collect()
    }

    // ---- the history ----

    fn tell(&self, what: impl FnOnce() -> String) {
        let at = self.at();
        self.history.lock().unwrap().tell(at, what);
    }

    fn breach(&self, what: String) {
        self.tell(|| format!("BREACH {what}"));
        self.history.lock().unwrap().breaches.push(what);
    }

    fn has_breach(&self) -> bool {
        !self.breaches().is_empty()
    }

    fn breaches(&self) -> Vec<String> {
        self.history.lock().unwrap().breaches.clone()
    }

    fn count_fault(&self, what: &'static str) {
        let mut history = self.history.lock().unwrap();
        history.faults.add(what);
    }

    fn count_done(&self, what: &'static str) {
        self.history.lock().unwrap().done.add(what);
    }

    fn count_call(&self, name: &str, operation: &str, fate: &Fate) {
        let at = self.at();
        let mut history = self.history.lock().unwrap();
        history.done.add("call to the table");
        history.digest(at);
        if fate.is_slow {
            history.faults.add(elsewhere::SLOW_CALL);
        }
        if let Some(fault) = fate.fault {
            history.faults.add(fault.as_str());
            history.tell(at, || format!("{name}: {operation}: {}", fault.as_str()));
        }
    }
}

/// A call to the table in a line.
fn told(name: &str, operation: &str, asked: &str, answer: &Answered) -> String {
    let asked: Value = serde_json::from_str(asked).unwrap_or_default();
    let key = |holder: &Value| {
        let holder = if holder["Key"].is_object() { &holder["Key"] } else { &holder["Item"] };
        format!("{} {}", holder["pk"]["S"].as_str().unwrap_or("?"), holder["sk"]["S"].as_str().unwrap_or("?"))
    };
    let keys = match operation {
        "TransactWriteItems" | "TransactGetItems" => {
            let actions = asked["TransactItems"].as_array().into_iter().flatten();
            let action = |action: &Value| {
                let (name, write) = action.as_object().and_then(|action| action.iter().next())?;
                Some(format!("{name} {}", key(write)))
            };
            actions.filter_map(action).collect::<Vec<_>>().join(", ")
        }
        "BatchGetItem" => {
            let tables = asked["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
            let mut keys: Vec<String> = tables
                .flat_map(|table| table["Keys"].as_array().into_iter().flatten())
                .map(|key| {
                    format!(
                        "{} {}",
                        key["pk"]["S"].as_str().unwrap_or("?"),
                        key["sk"]["S"].as_str().unwrap_or("?")
                    )
                })
                .collect();
            keys.sort();
            keys.join(", ")
        }
        "Query" => asked["ExpressionAttributeValues"][":partition"]["S"].as_str().unwrap_or("?").to_owned(),
        _ => key(&asked),
    };
    let outcome = match answer.0 {
        200 => "ok".to_owned(),
        _ => {
            let answer: Value = serde_json::from_str(&answer.1).unwrap_or_default();
            let kind = answer["__type"]
                .as_str()
                .unwrap_or_default()
                .rsplit('#')
                .next()
                .unwrap_or_default()
                .to_owned();
            let reasons = answer["CancellationReasons"].as_array().map(|reasons| {
                reasons
                    .iter()
                    .map(|reason| reason["Code"].as_str().unwrap_or("?"))
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            format!("{kind} {}", reasons.unwrap_or_default())
        }
    };
    let keys: String = keys.chars().take(600).collect();
    format!("{name}: {operation} {keys}: {outcome}")
}

/// Now, as the run's own clock shows it.
fn now() -> u64 {
    clock::unix_now()
}
