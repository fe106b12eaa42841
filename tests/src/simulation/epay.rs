//! A merchant's back office, which begins refunds of applications, and its payment provider, which confirms them;
//! customers who withdraw, and operators who record that a refund was refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::future::{BoxFuture, join};
use refundctl::send::epay::DEMO_API_KEY;
use serde_json::{Value, json};
use shared::ledger::{Amount, ApplicationState, BatchGuard, Confirmation, TradeNo};
use shared::store::{Content, Failing};

use super::Simulation;
use super::attempts::{Attempts, Begun};
use super::ebet::money;
use super::table::{Items, content};
use super::weather::elsewhere;
use crate::epay::{BEGIN, END, demo, merchant_line};
use crate::world::{entries_event, epay_event};

/// What is told of a begin to which there is no application.
const UNKNOWN_APPLICATION: i64 = 200;

/// What is told of a confirmation to which there is no refund.
const UNKNOWN_BATCH_NO: i64 = 300;

const PAID: [u64; 6] = [200, 1_050, 99, 5, 70_000, 1_000];

/// What somebody wants of the merchant's functions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Begin { autoid: i64, batch_no: String, cents: u64, account: &'static str },
    End { batch_no: String, trade_no: String, cents: u64 },
    Withdraw { autoid: i64 },
    Fail { autoid: i64, batch_no: String },
}

impl Wish {
    /// What attempts at it have in common: what may bring it about.
    fn of(&self) -> String {
        match self {
            Self::Begin { autoid, batch_no, .. } => format!("begin {autoid} {batch_no}"),
            // Any confirmation under a number completes the first that fits.
            Self::End { batch_no, .. } => format!("end {batch_no}"),
            Self::Withdraw { autoid } => format!("withdraw {autoid}"),
            Self::Fail { autoid, batch_no } => format!("fail {autoid} {batch_no}"),
        }
    }
}

impl Wish {
    fn autoid(&self) -> Option<i64> {
        match self {
            Self::Begin { autoid, .. } | Self::Withdraw { autoid } | Self::Fail { autoid, .. } => {
                Some(*autoid)
            }
            Self::End { .. } => None,
        }
    }

    fn batch_no(&self) -> Option<&str> {
        match self {
            Self::Begin { batch_no, .. } | Self::End { batch_no, .. } | Self::Fail { batch_no, .. } => {
                Some(batch_no)
            }
            Self::Withdraw { .. } => None,
        }
    }

    /// Whether both are about one application or one batch number.
    fn meets(&self, other: &Self) -> bool {
        let is_same = self.autoid().is_some() && self.autoid() == other.autoid();
        is_same || self.batch_no().is_some() && self.batch_no() == other.batch_no()
    }
}

pub struct Scene {
    world: Arc<World>,
    actors: Mutex<Vec<BoxFuture<'static, ()>>>,
}

struct World {
    simulation: Arc<Simulation>,
    applications: i64,
    wishes: Vec<Wish>,
    attempts: Attempts,
    /// Wishes that have come true: they stay so.
    granted: Mutex<BTreeMap<Wish, Value>>,
    /// Wishes that were refused, told to somebody who was trying alone.
    denied: Mutex<Vec<(Begun, Wish)>>,
    sent: Mutex<Vec<Wish>>,
    /// Whether an operator fails refunds in spite of confirmations.
    overrules: bool,
    /// Whether refunds fail, one after another.
    is_restless: bool,
    /// Whether customers withdraw: where refunds fail one after another, one does so, once.
    withdraws: bool,
    has_withdrawn: AtomicBool,
}

impl Scene {
    pub async fn new(simulation: &Arc<Simulation>, mut rng: Rng) -> Self {
        let mut lines = vec![merchant_line("demo", &[DEMO_API_KEY])];
        // Some have one application whose refunds fail, one after another.
        let is_restless = rng.u32(0..3) == 0;
        let overrules = rng.u32(0..3) == 0;
        let applications = match (is_restless, overrules) {
            (true, _) => 1,
            // What is done can't be overruled.
            (false, true) => PAID.len() as i64,
            (false, false) => rng.i64(1..=3),
        };
        // Who withdraws ends it all.
        let withdraws = !is_restless || rng.bool();
        // Some come when somebody has asked for them already.
        let late: Vec<i64> = (1..=applications).filter(|_| !overrules && rng.u32(0..3) == 0).collect();
        lines.extend((1..=applications).filter(|autoid| !late.contains(autoid)).map(application));
        simulation.import(&lines).await;
        // Of so many that some are wanted once.
        let numbers = match (is_restless, overrules) {
            (true, _) => 30,
            (false, true) => 10,
            (false, false) => rng.usize(1..=4),
        };
        let mut wishes = Vec::new();
        let number = |rng: &mut Rng| format!("B{}", rng.usize(0..numbers));
        let turns = match (is_restless, overrules) {
            (true, _) => numbers,
            (false, true) => 14,
            (false, false) => rng.usize(3..=8),
        };
        for turn in 0..turns {
            let autoid = rng.i64(1..=applications);
            let paid = PAID[autoid as usize - 1];
            let cents = if rng.u32(0..4) == 0 { [1, paid / 2 + 1, paid + 1][rng.usize(0..3)] } else { paid };
            let batch_no = if is_restless { format!("B{turn}") } else { number(&mut rng) };
            let account = if rng.u32(0..6) == 0 { "another" } else { "account" };
            wishes.push(Wish::Begin { autoid, batch_no: batch_no.clone(), cents, account });
            for _ in 0..if is_restless { 0 } else { rng.usize(0..=2) } {
                let trade_no = format!("T{}", rng.usize(0..3));
                let cents = if rng.u32(0..5) == 0 { cents + 1 } else { cents };
                wishes.push(Wish::End { batch_no: batch_no.clone(), trade_no, cents });
            }
            if is_restless || rng.u32(0..3) == 0 {
                wishes.push(Wish::Fail { autoid, batch_no });
            }
            if withdraws && !is_restless && rng.u32(0..5) == 0 {
                wishes.push(Wish::Withdraw { autoid });
            }
        }
        let world = Arc::new(World {
            simulation: simulation.clone(),
            applications,
            wishes,
            attempts: Attempts::default(),
            granted: Mutex::default(),
            denied: Mutex::default(),
            sent: Mutex::default(),
            overrules,
            is_restless,
            withdraws,
            has_withdrawn: AtomicBool::default(),
        });
        let mut actors: Vec<BoxFuture<'static, ()>> = Vec::new();
        for _ in 0..rng.usize(2..=5) {
            actors.push(Box::pin(world.clone().act(rng.fork())));
        }
        if overrules {
            actors.push(Box::pin(world.clone().overrule(rng.fork())));
        }
        for autoid in late {
            actors.push(Box::pin(world.clone().record(autoid, rng.fork())));
        }
        Self { world, actors: Mutex::new(actors) }
    }

    pub fn actors(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.actors.lock().unwrap())
    }

    /// Everybody asks once more, and must be told.
    pub async fn come_to_rest(&self) {
        self.world.attempts.settle();
        self.world.check_denied(None);
        let mut sent = self.world.sent.lock().unwrap().clone();
        sent.sort();
        sent.dedup();
        for wish in sent {
            if !self.world.ask(&wish).await {
                self.world.simulation.breach(format!("not decided though all is well: {wish:?}"));
            }
        }
    }

    pub fn check_at_rest(&self) {
        let world = &self.world;
        world.check_failed();
        for (wish, told) in &*world.granted.lock().unwrap() {
            if !world.is_so(wish) {
                world
                    .simulation
                    .breach(format!("{wish:?} was told to be done ({told}), and is not so any more"));
            }
        }
        world.check_denied(None);
        // What is on record somebody has asked for.
        let sent = world.sent.lock().unwrap();
        for stored in world.simulation.table.items().values() {
            let wanted = match &stored.content {
                Ok(Content::Guard { guard, .. }) => sent.iter().any(|wish| {
                    matches!(wish, Wish::Begin { autoid, batch_no, cents, .. }
                        if *autoid == guard.application.id && *batch_no == guard.refund.batch_no.as_str()
                            && money(*cents) == guard.refund.amount.to_string())
                }),
                Ok(Content::Confirmation { confirmation, .. }) => sent.iter().any(|wish| {
                    matches!(wish, Wish::End { batch_no, trade_no, cents }
                        if stored.partition == partition_of(batch_no)
                            && *trade_no == confirmation.trade_no.as_str()
                            && money(*cents) == confirmation.amount.to_string())
                }),
                _ => true,
            };
            if !wanted {
                world.simulation.breach(format!("nobody has asked for {}", stored.key()));
            }
        }
    }
}

impl World {
    async fn act(self: Arc<Self>, mut rng: Rng) {
        for _ in 0..if self.is_restless { 12 } else { rng.usize(2..=6) } {
            self.simulation.pause(rng.u64(0..500)).await;
            let wish = self.wishes[rng.usize(0..self.wishes.len())].clone();
            if rng.u32(0..4) == 0 {
                self.simulation.count_fault(elsewhere::TWICE_AT_ONCE);
                let (world, wish, again) = (self.clone(), wish.clone(), rng.u64(0..30));
                self.simulation.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(again)).await;
                    world.ask(&wish).await;
                });
            }
            // Somebody else wants something of the same at about the same time.
            let related: Vec<&Wish> = self.wishes.iter().filter(|other| other.meets(&wish)).collect();
            if rng.bool() && !related.is_empty() {
                let other = related[rng.usize(0..related.len())].clone();
                let (world, later) = (self.clone(), rng.u64(0..80));
                self.simulation.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(later)).await;
                    world.ask(&other).await;
                });
            }
            if let Wish::Begin { autoid, batch_no, .. } = &wish
                && (self.is_restless || rng.u32(0..3) == 0)
            {
                self.begin_again(&wish, Wish::Fail { autoid: *autoid, batch_no: batch_no.clone() }, &mut rng)
                    .await;
            }
            for _ in 0..4 {
                if self.ask(&wish).await {
                    break;
                }
                self.simulation.pause(rng.u64(10..2_000)).await;
            }
        }
        // What is late finds it requested again.
        for _ in 0..if self.is_restless { 3 } else { 0 } {
            let Some(ApplicationState::Processing(refund)) = self.state_of(1) else { break };
            self.ask(&Wish::Fail { autoid: 1, batch_no: refund.batch_no.as_str().to_owned() }).await;
        }
    }

    /// An operator fails refunds whose confirmations don't match them, and names these.
    async fn overrule(self: Arc<Self>, mut rng: Rng) {
        for turn in 0..rng.usize(2..=12) {
            self.simulation.pause(rng.u64(0..1_500)).await;
            if rng.u32(0..4) == 0 {
                let begin = self.wishes[rng.usize(0..self.wishes.len())].clone();
                let Wish::Begin { autoid, batch_no, .. } = &begin else { continue };
                self.fail_despite_all(*autoid, batch_no).await;
                self.begin_another(&begin, &mut rng).await;
                continue;
            }
            // One that nobody else knows of; what matches comes at the same moment, and then another one begins.
            let is_free = |autoid: &i64| self.state_of(*autoid) == Some(ApplicationState::Requested);
            let Some(autoid) = rng.choice((1..=self.applications).filter(is_free).collect::<Vec<_>>()) else {
                continue;
            };
            let cents = PAID[autoid as usize - 1];
            let begin = |batch_no: String| Wish::Begin { autoid, batch_no, cents, account: "account" };
            let batch_no = format!("O{turn}");
            let end = |trade_no: &str, cents| Wish::End {
                batch_no: batch_no.clone(),
                trade_no: trade_no.to_owned(),
                cents,
            };
            self.ask(&begin(batch_no.clone())).await;
            self.ask(&end("T0", cents + 1)).await;
            if rng.bool() {
                self.ask(&end("T2", cents + 2)).await;
            }
            let (matching, later) = (end("T1", cents), Duration::from_millis(rng.u64(0..40)));
            let (one, other) = if rng.bool() { (Duration::ZERO, later) } else { (later, Duration::ZERO) };
            let fails = async {
                tokio::time::sleep(one).await;
                self.fail_despite_all(autoid, &batch_no).await;
            };
            let ends = async {
                tokio::time::sleep(other).await;
                self.ask(&matching).await
            };
            join(fails, ends).await;
            self.ask(&begin(format!("P{turn}"))).await;
        }
    }

    /// The back office's own system says an application.
    async fn record(self: Arc<Self>, autoid: i64, mut rng: Rng) {
        let event =
            entries_event(json!({ "entries": [application(autoid)] }).to_string().as_bytes()).to_string();
        self.simulation.pause(rng.u64(0..1_500)).await;
        for _ in 0..10 {
            let say = || self.simulation.call("record-entries", event.clone());
            let told = self.simulation.call_twice(&mut rng, 3, say).await;
            self.simulation.tell(|| format!("application {autoid} is said: {told:?}"));
            match told {
                Some((200, answer))
                    if ["recorded", "unchanged"]
                        .map(Value::from)
                        .contains(&answer["entries"][0]["outcome"]) =>
                {
                    if self.state_of(autoid).is_none() {
                        self.simulation
                            .breach(format!("application {autoid} was told to be on record: {answer}"));
                    }
                    return;
                }
                Some((503, _)) | None => self.simulation.pause(rng.u64(10..1_000)).await,
                Some(told) => {
                    return self.simulation.breach(format!("application {autoid} was told {told:?}"));
                }
            }
        }
    }

    /// Begins another refund of the same application.
    async fn begin_another(&self, begin: &Wish, rng: &mut Rng) {
        let others = |other: &&Wish| {
            matches!(other, Wish::Begin { .. })
                && other.autoid() == begin.autoid()
                && other.batch_no() != begin.batch_no()
        };
        if let Some(other) = rng.choice(self.wishes.iter().filter(others).collect::<Vec<_>>()) {
            self.ask(other).await;
        }
    }

    async fn fail_despite_all(&self, autoid: i64, batch_no: &str) {
        let trade_nos = (0..3).map(|number| format!("T{number}").parse().expect("a trade number"));
        let trade_nos: Vec<TradeNo> = trade_nos.collect();
        let session = self.simulation.session("refundctl application");
        let number = batch_no.parse().expect("a batch number");
        let fail = Wish::Fail { autoid, batch_no: batch_no.to_owned() };
        let begun = self.attempts.begin(&fail.of(), self.is_in_force(&fail));
        let before = self.simulation.table.moment();
        let is_paid = is_paid(before.items(), batch_no);
        let told = session.fail(&demo().application(autoid), &number, None, &trade_nos).await;
        self.simulation.tell(|| format!("an operator overrules {batch_no}: {told:?}"));
        if told.is_ok() {
            self.attempts.answered(&begun);
        }
        if is_paid && matches!(told, Ok(Failing::Failed(_))) {
            self.simulation.breach(format!("{batch_no} was failed, and was known to be paid: {told:?}"));
        }
        let was_ever = |is_so: &dyn Fn(&Items) -> bool| self.simulation.table.was_ever(&before, is_so);
        let is_so = match &told {
            Ok(Failing::Failed(_) | Failing::Before(_)) => self.is_so(&fail),
            Ok(Failing::Confirmed(by)) => was_ever(&|items| {
                let guard = guard_of(items, batch_no);
                let is_paid = guard.is_some_and(|guard| guard.refund.amount == by.amount);
                (is_paid || !trade_nos.contains(&by.trade_no))
                    && confirmations(items, batch_no).any(|other| other == by)
            }),
            Ok(Failing::NotUnderWay(state)) => was_ever(&|items| {
                state_of(items, autoid) == Some(state)
                    && !is_under_way(items, autoid, batch_no)
                    && !has_failed(items, autoid, batch_no)
            }),
            Ok(Failing::Unknown) => was_ever(&|items| state_of(items, autoid).is_none()),
            Err(_) => true,
        };
        if !is_so {
            self.simulation.breach(format!("{fail:?} was told {told:?}"));
        }
    }

    /// Begins, is told that it failed, and begins another refund of the application at once.
    async fn begin_again(&self, begin: &Wish, fail: Wish, rng: &mut Rng) {
        self.ask(begin).await;
        let autoid = begin.autoid().unwrap_or_default();
        for _ in 0..3 {
            if self.ask(&fail).await {
                break;
            }
            self.simulation.pause(rng.u64(10..500)).await;
        }
        if self.is_restless
            && self.withdraws
            && rng.u32(0..4) == 0
            && !self.has_withdrawn.swap(true, Ordering::Relaxed)
        {
            // Who begins comes between, and fails; nobody withdraws again.
            let withdraw = Wish::Withdraw { autoid };
            let later = Duration::from_millis(rng.u64(1..20));
            let begins = async {
                tokio::time::sleep(later).await;
                self.begin_another(begin, rng).await;
            };
            join(self.ask(&withdraw), begins).await;
        } else {
            self.begin_another(begin, rng).await;
        }
    }

    /// What was refused is not so, where nobody has tried again: all of it, or `of` one thing.
    fn check_denied(&self, of: Option<&str>) {
        for (begun, wish) in &*self.denied.lock().unwrap() {
            if self.attempts.is_last(begun, of) && self.is_in_force(wish) {
                self.simulation.breach(format!("{wish:?} was told refused, and is so"));
            }
        }
    }

    /// Nothing has failed that was confirmed before: where people overrule what does not match, by one that matches.
    fn check_failed(&self) {
        let mut confirmed: BTreeMap<String, Vec<Amount>> = BTreeMap::new();
        for (partition, sort) in self.simulation.insertions() {
            match self.simulation.table.content(&partition, &sort) {
                Some(Content::Confirmation { confirmation, .. }) => {
                    confirmed.entry(partition).or_default().push(confirmation.amount);
                }
                Some(Content::Failed { failed, .. }) => {
                    let before = confirmed.get(&partition_of(failed.refund.batch_no.as_str()));
                    let counts = |amount: &&Amount| !self.overrules || **amount == failed.refund.amount;
                    if before.into_iter().flatten().any(|amount| counts(&amount)) {
                        self.simulation.breach(format!("{partition}: {sort}, which was confirmed before"));
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether a refund was on record when it was confirmed for the first time.
    fn was_begun_before_confirmed(&self, batch_no: &str) -> bool {
        let partition = partition_of(batch_no);
        let of_batch = self.simulation.insertions().into_iter().filter(|(other, _)| *other == partition);
        let sorts: Vec<String> = of_batch.map(|(_, sort)| sort).collect();
        let begun = sorts.iter().position(|sort| sort == "GUARD");
        let confirmed = sorts.iter().position(|sort| sort.starts_with("CONFIRMATION"));
        begun.zip(confirmed).is_some_and(|(begun, confirmed)| begun < confirmed)
    }

    /// Asks once, and compares what is told with the table; whether it is decided.
    async fn ask(&self, wish: &Wish) -> bool {
        self.check_denied(Some(&wish.of()));
        let before = self.simulation.table.moment();
        let begun = self.attempts.begin(&wish.of(), self.is_in_force(wish));
        self.sent.lock().unwrap().push(wish.clone());
        self.simulation.tell(|| format!("wishes: {wish:?}"));
        let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
        let (binary, event) = match wish {
            Wish::Begin { autoid, batch_no, cents, account } => {
                let body = json!({"autoid": autoid, "refundamount": money(*cents), "batch_no": batch_no,
                                  "refundaccount": account});
                (BEGIN, epay_event(&headers, body.to_string().as_bytes()))
            }
            Wish::End { batch_no, trade_no, cents } => {
                let body = json!({"batchno": batch_no, "trandeno": trade_no, "refundmoney": money(*cents)});
                (END, epay_event(&headers, body.to_string().as_bytes()))
            }
            Wish::Withdraw { autoid } => {
                let entry = json!({"kind": "withdraw", "merchant": "demo", "autoid": autoid});
                ("record-entries", entries_event(json!({ "entries": [entry] }).to_string().as_bytes()))
            }
            Wish::Fail { autoid, batch_no } => {
                let entry =
                    json!({"kind": "fail", "merchant": "demo", "autoid": autoid, "batchNo": batch_no});
                ("record-entries", entries_event(json!({ "entries": [entry] }).to_string().as_bytes()))
            }
        };
        let called = self.simulation.call(binary, event.to_string()).await;
        let Some((status, answer)) = called else { return false };
        let is_alone = self.attempts.answered(&begun);
        self.simulation.tell(|| format!("is told: {wish:?}: {status} {answer}"));
        let is_granted = match wish {
            Wish::Begin { .. } | Wish::End { .. } => match answer["errcode"].as_i64() {
                Some(0) => true,
                Some(500) => return false,
                Some(code) if code < 400 => false,
                _ => {
                    self.simulation.breach(format!("{wish:?} was told {status} {answer}"));
                    return true;
                }
            },
            Wish::Withdraw { .. } | Wish::Fail { .. } => match answer["entries"][0]["outcome"].as_str() {
                Some("recorded" | "unchanged") => true,
                Some("undecided") => return false,
                Some("refused") => false,
                _ => {
                    self.simulation.breach(format!("{wish:?} was told {status} {answer}"));
                    return true;
                }
            },
        };
        let is_so = self.is_so(wish);
        if is_granted {
            if !is_so {
                self.simulation.breach(format!("{wish:?} was told to be done, and is not"));
            }
            // A number whose refund has failed is used up.
            let has_not_failed = |items: &Items| {
                let guard = wish.batch_no().and_then(|batch_no| guard_of(items, batch_no));
                guard.is_some_and(|guard| guard.failed_at.is_none())
            };
            if matches!(wish, Wish::Begin { .. }) && !self.simulation.table.was_ever(&before, has_not_failed)
            {
                self.simulation.breach(format!("{wish:?} was told to be done, and had failed"));
            }
            let items = self.simulation.table.items();
            let guard = wish.batch_no().and_then(|batch_no| guard_of(&items, batch_no));
            if matches!(wish, Wish::Begin { .. } | Wish::End { .. })
                && answer["tag"].as_str() != guard.map(|guard| guard.refund.id.as_str())
            {
                self.simulation.breach(format!("{wish:?} was told of another refund: {answer}"));
            }
            self.granted.lock().unwrap().insert(wish.clone(), answer);
        } else {
            if self.is_in_force(wish) && (is_alone || begun.was_so) {
                self.simulation.breach(format!("{wish:?} was told refused ({answer}), and is so"));
            }
            if !self.simulation.table.was_ever(&before, |items| is_refused(items, wish, &answer)) {
                self.simulation.breach(format!("{wish:?} was told what was never so: {answer}"));
            }
            if let Wish::End { batch_no, .. } = wish
                && answer["errcode"] == UNKNOWN_BATCH_NO
                && self.was_begun_before_confirmed(batch_no)
            {
                self.simulation
                    .breach(format!("{batch_no} was told unknown, and was begun before it was confirmed"));
            }
            if is_alone {
                self.denied.lock().unwrap().push((begun, wish.clone()));
            }
        }
        true
    }

    /// Whether a wish has come true and still is: a refund that was begun may have failed since.
    fn is_in_force(&self, wish: &Wish) -> bool {
        let has_failed = match wish {
            Wish::Begin { autoid, batch_no, .. } => {
                self.is_so(&Wish::Fail { autoid: *autoid, batch_no: batch_no.clone() })
            }
            _ => false,
        };
        self.is_so(wish) && !has_failed
    }

    fn state_of(&self, autoid: i64) -> Option<ApplicationState> {
        state_of(&self.simulation.table.items(), autoid).cloned()
    }

    /// Whether a wish has come true, by the table.
    fn is_so(&self, wish: &Wish) -> bool {
        is_so(&self.simulation.table.items(), wish)
    }
}

fn application(autoid: i64) -> Value {
    json!({"kind": "application", "merchant": "demo", "autoid": autoid, "amount": money(PAID[autoid as usize - 1]),
           "orderNo": format!("order-{autoid}")})
}

fn partition_of(batch_no: &str) -> String {
    demo().batch(batch_no.parse().unwrap()).path()
}

fn state_of(items: &Items, autoid: i64) -> Option<&ApplicationState> {
    match content(items, &demo().application(autoid).path(), "PAYMENT") {
        Some(Content::Application(application)) => Some(&application.state),
        _ => None,
    }
}

fn guard_of<'a>(items: &'a Items, batch_no: &str) -> Option<&'a BatchGuard> {
    match content(items, &partition_of(batch_no), "GUARD") {
        Some(Content::Guard { guard, .. }) => Some(guard),
        _ => None,
    }
}

fn has_failed(items: &Items, autoid: i64, batch_no: &str) -> bool {
    content(items, &demo().application(autoid).path(), &format!("FAILED#{batch_no}")).is_some()
}

fn is_under_way(items: &Items, autoid: i64, batch_no: &str) -> bool {
    matches!(state_of(items, autoid), Some(ApplicationState::Processing(refund))
        if refund.batch_no.as_str() == batch_no)
}

/// Whether a wish has come true, where the table is so.
fn is_so(items: &Items, wish: &Wish) -> bool {
    match wish {
        Wish::Begin { autoid, batch_no, cents, account } => guard_of(items, batch_no).is_some_and(|guard| {
            guard.application.id == *autoid
                && guard.refund.amount.to_string() == money(*cents)
                && guard.refund.account.as_str() == *account
        }),
        Wish::End { batch_no, trade_no, cents } => {
            let Some(guard) = guard_of(items, batch_no) else { return false };
            matches!(state_of(items, guard.application.id), Some(ApplicationState::Done { refund, completion })
                if refund.batch_no.as_str() == batch_no
                    && completion.confirmation.trade_no.as_str() == trade_no
                    && completion.confirmation.amount.to_string() == money(*cents))
        }
        Wish::Withdraw { autoid } => {
            matches!(state_of(items, *autoid), Some(ApplicationState::Withdrawn(_)))
        }
        Wish::Fail { autoid, batch_no } => has_failed(items, *autoid, batch_no),
    }
}

/// Whether a wish must be refused, and be told so, where the table is so.
fn is_refused(items: &Items, wish: &Wish, answer: &Value) -> bool {
    match wish {
        Wish::Begin { autoid, batch_no, cents, account } => {
            let Some(state) = state_of(items, *autoid) else {
                return answer["errcode"] == UNKNOWN_APPLICATION;
            };
            let other = match state {
                ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. } => {
                    (refund.batch_no.as_str() != batch_no).then_some(refund.batch_no.as_str())
                }
                ApplicationState::Requested | ApplicationState::Withdrawn(_) => None,
            };
            // Of a begin that is refused for another refund it is said which.
            let names_other = || {
                let names = |other| answer["errmsg"].as_str().unwrap_or_default().ends_with(other);
                other.is_some_and(names)
            };
            let guard = guard_of(items, batch_no);
            let is_own = |guard: &&BatchGuard| guard.application.id == *autoid;
            match answer["errcode"].as_i64() {
                Some(113) => *state == ApplicationState::Requested && *cents > PAID[*autoid as usize - 1],
                Some(201) => matches!(state, ApplicationState::Processing(_)) && names_other(),
                Some(202) => matches!(state, ApplicationState::Done { .. }) && names_other(),
                Some(203) => matches!(state, ApplicationState::Withdrawn(_)),
                Some(204) => guard.is_some_and(|guard| !is_own(&guard)),
                Some(205) => guard.filter(is_own).is_some_and(|guard| guard.failed_at.is_some()),
                Some(206) => guard.filter(is_own).is_some_and(|guard| {
                    guard.failed_at.is_none()
                        && (guard.refund.amount.to_string(), guard.refund.account.as_str())
                            != (money(*cents), account)
                }),
                _ => false,
            }
        }
        Wish::End { batch_no, trade_no, cents } => {
            let guard = guard_of(items, batch_no);
            match answer["errcode"].as_i64() {
                Some(300) => guard.is_none(),
                Some(301) => guard.is_some_and(|guard| {
                    guard.failed_at.is_none() && guard.refund.amount.to_string() != money(*cents)
                }),
                Some(302) => guard.is_some_and(|guard| {
                    matches!(state_of(items, guard.application.id), Some(ApplicationState::Done { refund, completion })
                        if refund.batch_no == guard.refund.batch_no
                            && completion.confirmation.trade_no.as_str() != trade_no)
                }),
                Some(303) => guard.is_some_and(|guard| guard.failed_at.is_some()),
                _ => false,
            }
        }
        Wish::Withdraw { autoid } => {
            let state = state_of(items, *autoid);
            match answer["entries"][0]["reason"].as_str() {
                Some("unknown_application") => state.is_none(),
                Some("not_requested") => {
                    matches!(state, Some(ApplicationState::Processing(_) | ApplicationState::Done { .. }))
                }
                _ => false,
            }
        }
        Wish::Fail { autoid, batch_no } => {
            let told = &answer["entries"][0];
            match told["reason"].as_str() {
                Some("not_under_way") => {
                    !is_under_way(items, *autoid, batch_no) && !has_failed(items, *autoid, batch_no)
                }
                Some("unknown_application") => state_of(items, *autoid).is_none(),
                Some("confirmed") => confirmations(items, batch_no).any(|confirmation| {
                    let said = told["message"].as_str().unwrap_or_default();
                    said.ends_with(confirmation.trade_no.as_str())
                }),
                _ => false,
            }
        }
    }
}

/// Whether the payment provider has said that it has paid just what was to be refunded.
fn is_paid(items: &Items, batch_no: &str) -> bool {
    guard_of(items, batch_no).is_some_and(|guard| {
        confirmations(items, batch_no).any(|confirmation| confirmation.amount == guard.refund.amount)
    })
}

fn confirmations<'a>(items: &'a Items, batch_no: &str) -> impl Iterator<Item = &'a Confirmation> {
    let partition = partition_of(batch_no);
    items
        .range((partition.clone(), String::new())..)
        .map_while(move |((of, _), stored)| (*of == partition).then_some(stored))
        .filter_map(|stored| match &stored.content {
            Ok(Content::Confirmation { confirmation, .. }) => Some(&**confirmation),
            _ => None,
        })
}
