//! Merchants' servers, which ask for batches of refunds and look at them; payment channels with moods; the worker, whom
//! changes reach late, twice and out of order; and people who decide refunds by hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::future::{BoxFuture, join_all};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use settle_refunds::SWEEP;
use shared::ledger::{
    BatchEnd, BatchItem, BatchState, Charge, FundingSource, ItemRefund, ItemState, RefundBatch,
    RefundBatchKey, RefundId, TenantKey, TransactionNo,
};
use shared::pingpp::{ChannelAnswer, ChannelRefund, Decided, Event, EventBus, PaymentChannel, decide_refund};
use shared::store::{Content, Settled, Stored};

use super::Simulation;
use super::attempts::{Attempts, Begun};
use super::platform::Came;
use super::table::{Items, Moment, Table, balance, content};
use super::weather::elsewhere;
use crate::pingpp::KEY;
use crate::world::{entries_event, event_of};

fn app() -> TenantKey {
    crate::pingpp::app()
}

/// What the channel pays in the end, whatever its mood: two of three.
fn is_payable(order_no: &str) -> bool {
    order_no.bytes().map(u64::from).sum::<u64>() % 3 != 0
}

/// A payment channel that has made up its mind about each refund, and does not always say so.
pub struct Channel {
    table: Table,
    /// Whether it thinks for seconds about each.
    is_slow: bool,
    /// Whether it often wants somebody to confirm what it will not pay.
    asks_people: bool,
    rng: Mutex<Rng>,
    is_calm: Mutex<bool>,
    paid: Mutex<BTreeSet<String>>,
    /// All that it was ever asked for, by order numbers.
    known: Mutex<BTreeMap<String, ChannelRefund>>,
    /// Refunds that it is being asked for at this moment.
    asked: Mutex<BTreeSet<String>>,
    /// What should never happen to it.
    complaints: Mutex<Vec<String>>,
}

impl Channel {
    pub fn new(table: Table, mut rng: Rng) -> Self {
        Self {
            table,
            is_slow: rng.u32(0..2) == 0,
            asks_people: rng.u32(0..3) == 0,
            rng: Mutex::new(rng),
            is_calm: Mutex::default(),
            paid: Mutex::default(),
            known: Mutex::default(),
            asked: Mutex::default(),
            complaints: Mutex::default(),
        }
    }

    /// From now on it says at once what it thinks.
    pub fn calm(&self) {
        *self.is_calm.lock().unwrap() = true;
    }

    /// What was wrong with how it was asked.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    fn has_paid(&self, order_no: &str) -> bool {
        self.paid.lock().unwrap().contains(order_no)
    }

    /// Who asks has the batch for itself.
    fn check_taken(&self, order_no: &str) {
        let items = self.table.items();
        let has_it = |stored: &&Arc<Stored>| match &stored.content {
            Ok(Content::Batch(batch)) => batch.items.iter().any(|item| item.refund.order_no() == order_no),
            _ => false,
        };
        let batch = items.values().find(has_it).map(|stored| (stored.partition.clone(), stored.sort.clone()));
        let item = batch.and_then(|batch| self.table.raw(&batch)).unwrap_or_default();
        let until = item["takenUntil"]["N"].as_str().and_then(|until| until.parse().ok());
        if until.is_none_or(|until: u64| until <= super::now()) {
            let what =
                format!("refund {order_no} is asked for by somebody who does not have its batch: {item}");
            self.complaints.lock().unwrap().push(what);
        }
    }

    async fn answer(&self, refund: &ChannelRefund) -> ChannelAnswer {
        let (mood, takes) = match *self.is_calm.lock().unwrap() {
            true => (9, 1),
            false => {
                let mut rng = self.rng.lock().unwrap();
                let takes = match self.is_slow {
                    true => rng.u64(4_000..14_000),
                    false if rng.u32(0..20) == 0 => rng.u64(1_000..14_000),
                    false => rng.u64(0..40),
                };
                (rng.u32(0..10), takes)
            }
        };
        let order_no = &refund.order_no;
        tokio::time::sleep(Duration::from_millis(takes / 2)).await;
        if is_payable(order_no) && mood != 1 {
            self.paid.lock().unwrap().insert(order_no.clone());
        }
        tokio::time::sleep(Duration::from_millis(takes / 2)).await;
        match mood {
            0 | 1 => ChannelAnswer::Unknown("lost".to_owned()),
            2..=5 if !is_payable(order_no) && (mood < 4 || self.asks_people) => {
                ChannelAnswer::Confirm { url: "https://confirm.example".to_owned() }
            }
            _ if is_payable(order_no) => ChannelAnswer::Succeeded,
            _ => crate::pingpp::refused(),
        }
    }
}

/// Marks a refund as being asked for, as long as it lives.
struct Asking<'a>(&'a Channel, &'a str);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asked.lock().unwrap().remove(self.1);
    }
}

impl PaymentChannel for Channel {
    fn refund<'a>(&'a self, refund: &'a ChannelRefund) -> BoxFuture<'a, ChannelAnswer> {
        Box::pin(async move {
            if !self.asked.lock().unwrap().insert(refund.order_no.clone()) {
                let what = format!("two ask for refund {} at once", refund.order_no);
                self.complaints.lock().unwrap().push(what);
            }
            let _asking = Asking(self, &refund.order_no);
            let known =
                self.known.lock().unwrap().entry(refund.order_no.clone()).or_insert(refund.clone()).clone();
            if known != *refund {
                let what = format!("it was asked for {known:?}, and then for {refund:?}");
                self.complaints.lock().unwrap().push(what);
            }
            self.check_taken(&refund.order_no);
            let answer = self.answer(refund).await;
            self.check_taken(&refund.order_no);
            answer
        })
    }
}

/// A bus that keeps what is put on it, and does not always take it.
pub struct Bus {
    rng: Mutex<Rng>,
    is_calm: Mutex<bool>,
    told: Mutex<Vec<Event>>,
}

impl Bus {
    pub fn new(rng: Rng) -> Self {
        Self { rng: Mutex::new(rng), is_calm: Mutex::default(), told: Mutex::default() }
    }
}

impl EventBus for Bus {
    fn put<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Vec<Result<(), String>>> {
        let is_calm = *self.is_calm.lock().unwrap();
        let result = |event: &Event| {
            if !is_calm && self.rng.lock().unwrap().u32(0..6) == 0 {
                return Err("the bus is away".to_owned());
            }
            self.told.lock().unwrap().push(event.clone());
            Ok(())
        };
        Box::pin(std::future::ready(events.iter().map(result).collect()))
    }
}

/// A batch as its merchant asks for it.
struct Body {
    batch_no: String,
    /// Tells its batch from one of another body with the same number.
    description: String,
    charges: Vec<Asked>,
    event: String,
}

#[derive(Debug, Clone)]
struct Asked {
    charge: String,
    /// All that is left where none is said.
    amount: Option<u64>,
    source: FundingSource,
}

pub struct Scene {
    world: Arc<World>,
    actors: Mutex<Vec<BoxFuture<'static, ()>>>,
}

struct World {
    simulation: Arc<Simulation>,
    is_contested: bool,
    bodies: Vec<Body>,
    /// Charges that come on record at some time.
    late: Vec<Value>,
    attempts: Attempts,
    /// Bodies that were accepted, with their batches' ids.
    accepted: Mutex<BTreeMap<usize, String>>,
    /// How the table was when bodies were sent for the first time.
    first: Mutex<BTreeMap<usize, Moment>>,
    /// Bodies that were refused, told to somebody who was trying alone.
    denied: Mutex<Vec<(Begun, usize)>>,
    sent: Mutex<BTreeSet<usize>>,
    /// What the operator's own systems have said, and those that were told that it is on record.
    said: Mutex<BTreeSet<String>>,
    recorded: Mutex<BTreeSet<String>>,
    /// How far the worker's changes were brought.
    brought: Mutex<usize>,
    /// Events that were told when every change had been brought once.
    told_once: Mutex<usize>,
}

impl Scene {
    pub async fn new(simulation: &Arc<Simulation>, mut rng: Rng) -> Self {
        // Now and then batches that are created by two transactions.
        let is_large = rng.u32(0..8) == 0 && simulation.weather.actions.is_none();
        // Or many want what few charges have, in several transactions.
        let is_contested = simulation.weather.actions.is_some() && rng.u32(0..3) != 2;
        let count = match (is_large, is_contested) {
            (true, _) => 100,
            // More than one transaction holds.
            (_, true) => rng.usize(2..=4) + simulation.weather.actions.unwrap_or_default().saturating_sub(4),
            _ => rng.usize(2..=8),
        };
        let amount = if is_large { 3 } else { 30 };
        let names: Vec<String> = (0..count).map(|number| format!("ch_{number}")).collect();
        let (unsettled, recharged) = match is_contested {
            true => (400, 300),
            false => ([40, 150, 400][rng.usize(0..3)], [60, 300][rng.usize(0..2)]),
        };
        let mut lines = vec![
            json!({"kind": "app", "app": "app_1", "livemode": false, "currency": "cny",
                   "unsettledFunds": unsettled, "rechargeFunds": recharged}),
            json!({"kind": "key", "secret": KEY, "apps": ["app_1"]}),
        ];
        let mut late = Vec::new();
        for name in &names {
            let line = json!({"kind": "charge", "app": "app_1", "livemode": false, "id": name, "amount": amount,
                              "currency": "cny", "channel": "wx_pub", "orderNo": format!("order{name}"),
                              "created": 1_409_634_160, "paid": true, "timePaid": 1_409_634_192,
                              "transactionNo": name});
            if rng.u32(0..8) == 0 && !is_large {
                // Some are on record before they are paid.
                if name.ends_with(['0', '3', '6']) {
                    let mut unpaid = line.clone();
                    unpaid["paid"] = json!(false);
                    let members = unpaid.as_object_mut().expect("a line is an object");
                    members.retain(|name, _| name != "timePaid" && name != "transactionNo");
                    lines.push(unpaid);
                }
                late.push(line);
            } else {
                lines.push(line);
            }
        }
        for number in 0..rng.usize(0..=2) {
            let moved = [-20, 35][rng.usize(0..2)];
            late.push(
                json!({"kind": "funds", "app": "app_1", "livemode": false, "source": "unsettled_funds",
                             "id": format!("funds{number}"), "amount": moved, "reason": "sold"}),
            );
        }
        simulation.import(&lines).await;

        let mut bodies = Vec::new();
        for number in 0..rng.usize(2..=5) {
            let rivals = if rng.u32(0..3) == 0 { 2 } else { 1 };
            for rival in 0..rivals {
                let batch_no = format!("batch{number}");
                let description = format!("batch {number}, body {rival}");
                let is_even = simulation.weather.is_even && !is_large;
                let wanted = match (is_large && rng.bool(), is_contested) {
                    (true, _) => names.len(),
                    _ if is_even => 1,
                    (_, true) => rng.usize(2..=names.len()),
                    _ => rng.usize(1..=4.min(names.len())),
                };
                let mut chosen: Vec<&String> = names.iter().collect();
                rng.shuffle(&mut chosen);
                if is_even {
                    chosen = vec![&names[bodies.len() % names.len()]];
                }
                let wanted: Vec<(String, Option<u64>)> = chosen
                    .into_iter()
                    .take(wanted)
                    .map(|name| {
                        // Two have room in a charge that many want, three seldom; or one alone.
                        let some = match is_contested {
                            true if names.len().is_multiple_of(2) => 8..=20,
                            true => 14..=28,
                            false => 1..=amount + 1,
                        };
                        let is_part = is_contested || rng.u32(0..3) == 0;
                        (name.clone(), is_part.then(|| rng.u64(some)))
                    })
                    .collect();
                // Two that take from different accounts meet at their number alone.
                let recharge = match simulation.weather.is_even {
                    true => [0, 5][bodies.len() % 2],
                    false => [0, 2, 5][rng.usize(0..3)],
                };
                let charges: Vec<Asked> = wanted
                    .into_iter()
                    .map(|(charge, amount)| {
                        let source = match rng.u32(0..5) < recharge {
                            true => FundingSource::Recharge,
                            false => FundingSource::Unsettled,
                        };
                        Asked { charge, amount, source }
                    })
                    .collect();
                let asked: Vec<Value> = charges
                    .iter()
                    .map(|Asked { charge, amount, source }| {
                        let mut asked = json!({ "charge": charge });
                        if let Some(amount) = amount {
                            asked["amount"] = json!(amount);
                        }
                        if *source == FundingSource::Recharge {
                            asked["funding_source"] = json!(source.as_str());
                        }
                        asked
                    })
                    .collect();
                let body = json!({"app": "app_1", "batch_no": batch_no, "description": description, "charges": asked});
                let headers =
                    [("authorization", &*format!("Bearer {KEY}")), ("content-type", "application/json")];
                let event = event_of("POST", "/v1/batch_refunds", &headers, body.to_string().as_bytes());
                bodies.push(Body { batch_no, description, charges, event: event.to_string() });
            }
        }
        let world = Arc::new(World {
            simulation: simulation.clone(),
            is_contested,
            bodies,
            late,
            attempts: Attempts::default(),
            accepted: Mutex::default(),
            first: Mutex::default(),
            denied: Mutex::default(),
            sent: Mutex::default(),
            said: Mutex::default(),
            recorded: Mutex::default(),
            brought: Mutex::default(),
            told_once: Mutex::default(),
        });
        let mut actors: Vec<BoxFuture<'static, ()>> = Vec::new();
        // Who all begin at the same moment make batches in the same millisecond.
        let merchants = if simulation.weather.is_even || is_contested { 3..=6 } else { 2..=4 };
        for number in 0..rng.usize(merchants) {
            actors.push(Box::pin(world.clone().merchant(number, rng.fork())));
        }
        actors.push(Box::pin(world.clone().stream(rng.fork())));
        actors.push(Box::pin(world.clone().schedule(rng.fork())));
        if rng.bool() {
            actors.push(Box::pin(world.clone().people(rng.fork())));
        }
        actors.push(Box::pin(world.clone().operators_systems(rng.fork())));
        if is_contested {
            simulation.leaves_halves.store(simulation.is_deadly, Ordering::Relaxed);
            actors.push(Box::pin(world.clone().find_half(rng.fork())));
        }
        Self { world, actors: Mutex::new(actors) }
    }

    pub fn actors(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.actors.lock().unwrap())
    }

    /// Merchants ask once more and are told; the worker brings all to its end.
    pub async fn come_to_rest(&self) {
        let world = &self.world;
        let simulation = &world.simulation;
        simulation.channel.calm();
        *simulation.bus.is_calm.lock().unwrap() = true;
        world.attempts.settle();
        world.check_denied(None);
        let sent = world.sent.lock().unwrap().clone();
        for body in sent {
            if !world.create(body).await {
                simulation.breach(format!("batch {body} is not decided though all is well"));
            }
        }
        world.bring_rest().await;
        for _ in 0..40 {
            let open = world.batches().iter().any(|batch| batch.state.is_open());
            if !open {
                break;
            }
            // What waits for people is looked at once a day.
            tokio::time::sleep(Duration::from_secs(25 * 60 * 60)).await;
            simulation.run("settle-refunds", SWEEP.to_owned()).await;
        }
        world.bring_rest().await;
        let accepted = world.accepted.lock().unwrap().clone();
        for (body, id) in accepted {
            world.retrieve(body, &id).await;
        }
        world.list().await;
        // Whatever is brought once more is told under the same ids, if at all.
        *world.told_once.lock().unwrap() = simulation.bus.told.lock().unwrap().len();
        *world.brought.lock().unwrap() = 0;
        world.bring_rest().await;
    }

    pub fn check_at_rest(&self) {
        let world = &self.world;
        let simulation = &world.simulation;
        for what in &simulation.channel.complaints() {
            simulation.breach(what.clone());
        }
        let items = simulation.table.items();
        let batches = world.batches();
        for (body, id) in &*world.accepted.lock().unwrap() {
            if !batches.iter().any(|batch| batch.key.id.as_str() == id && batch.state != BatchState::Void) {
                simulation.breach(format!("batch {id} (body {body}) was accepted, and is not there"));
            }
        }
        world.check_denied(None);
        let mut paid = BTreeSet::new();
        let mut facts = BTreeSet::new();
        let mut out: HashMap<FundingSource, u64> = HashMap::new();
        for batch in &batches {
            match batch.state {
                BatchState::Void => {
                    simulation.count_done("batch taken back");
                    continue;
                }
                BatchState::Ended { .. } => {}
                state => simulation.breach(format!("batch {} is {state:?} at rest", batch.key.id)),
            }
            let sent = world.sent.lock().unwrap();
            if !sent.iter().any(|body| world.is_of(batch, *body)) {
                simulation.breach(format!("nobody has asked for {batch:?}"));
            }
            if batch.state == (BatchState::Ended { end: BatchEnd::Succeeded, at: ended_at(batch) }) {
                facts.insert(("batch_refund.succeeded", batch.key.id.as_str().to_owned()));
            }
            let known = simulation.channel.known.lock().unwrap();
            for item in &batch.items {
                let is_as_asked = known.get(item.refund.order_no()).is_none_or(|known| {
                    (known.amount, &known.channel, &known.transaction_no)
                        == (item.amount.value(), &item.channel, &item.transaction_no)
                });
                if !is_as_asked {
                    simulation.breach(format!("{item:?} was asked of its channel as {known:?}"));
                }
                let Some(refund) = refund(&items, item.refund.as_str()) else {
                    simulation.breach(format!("refund {} has no outcome at rest", item.refund));
                    continue;
                };
                if let Some(contradiction) = &refund.contradiction {
                    simulation.breach(format!("refund {} is contradicted: {contradiction}", item.refund));
                }
                let is_paid = matches!(refund.state, ItemState::Succeeded { .. });
                if is_paid != is_payable(item.refund.order_no()) {
                    simulation
                        .breach(format!("refund {} is {:?} against its channel", item.refund, refund.state));
                }
                if is_paid {
                    paid.insert(item.refund.order_no().to_owned());
                    facts.insert(("refund.succeeded", item.refund.as_str().to_owned()));
                    *out.entry(item.source()).or_default() += item.amount.value();
                }
            }
        }
        let by_channel = simulation.channel.paid.lock().unwrap();
        if paid != *by_channel {
            simulation.breach(format!("the channel has paid {by_channel:?}, on record are {paid:?}"));
        }
        world.check_funds(&items, &out);
        world.check_events(&facts);
    }
}

fn ended_at(batch: &RefundBatch) -> u64 {
    match batch.state {
        BatchState::Ended { at, .. } => at,
        _ => 0,
    }
}

fn refund<'a>(items: &'a Items, id: &str) -> Option<&'a ItemRefund> {
    items.values().find_map(|stored| match &stored.content {
        Ok(Content::Refund(refund)) if refund.id.as_str() == id => Some(&**refund),
        _ => None,
    })
}

impl World {
    /// A merchant's server: creates batches, again where its SDK would, and looks at them.
    async fn merchant(self: Arc<Self>, own: usize, mut rng: Rng) {
        let is_even = self.simulation.weather.is_even;
        for turn in 0..if self.is_contested { 8 } else { rng.usize(1..=5) } {
            let begins = is_even && turn == 0;
            let most = if self.is_contested { 60 } else { 3_000 };
            self.simulation.pause(if begins { 0 } else { rng.u64(0..most) }).await;
            let body = if begins { own % self.bodies.len() } else { rng.usize(0..self.bodies.len()) };
            match rng.u32(0..if is_even { 30 } else { 6 }) {
                0 => {
                    let accepted = self.accepted.lock().unwrap().get(&body).cloned();
                    if let Some(id) = accepted {
                        self.retrieve(body, &id).await;
                    }
                    continue;
                }
                1 => {
                    self.list().await;
                    continue;
                }
                _ => {}
            }
            if rng.u32(0..4) == 0 {
                self.simulation.count_fault(elsewhere::TWICE_AT_ONCE);
                let (world, again) = (self.clone(), rng.u64(0..30));
                self.simulation.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(again)).await;
                    world.create(body).await;
                });
            }
            for _ in 0..4 {
                if self.create(body).await {
                    break;
                }
                self.simulation.pause(rng.u64(10..2_000)).await;
            }
        }
    }

    /// What was refused is not there, where nobody has tried again: all of it, or `of` one body.
    fn check_denied(&self, of: Option<&str>) {
        for (begun, body) in &*self.denied.lock().unwrap() {
            if self.attempts.is_last(begun, of) && self.is_there(*body) {
                self.simulation.breach(format!("{} was told refused, and is there", begun.of));
            }
        }
    }

    /// Whether a body's batch is accepted.
    fn is_there(&self, body: usize) -> bool {
        self.owner(body).is_some_and(|batch| !matches!(batch.state, BatchState::Creating | BatchState::Void))
    }

    /// Asks for a batch once; whether it is decided.
    async fn create(&self, number: usize) -> bool {
        let body = &self.bodies[number];
        self.check_denied(Some(&body.description));
        let begun = self.attempts.begin(&body.description, self.is_there(number));
        let before = self.simulation.table.moment();
        self.first.lock().unwrap().entry(number).or_insert_with(|| before.clone());
        self.sent.lock().unwrap().insert(number);
        self.simulation.tell(|| format!("asks for {} with {:?}", body.description, body.charges));
        let called = self.simulation.call("create-batch-refund", body.event.clone()).await;
        let Some((status, answer)) = called else { return false };
        let is_alone = self.attempts.answered(&begun);
        self.simulation.tell(|| format!("is told: {}: {status} {answer}", body.description));
        match status {
            200 => {
                let id = answer["id"].as_str().unwrap_or_default().to_owned();
                let batch = self.owner(number);
                let is_so = batch.as_ref().is_some_and(|batch| {
                    batch.key.id.as_str() == id
                        && !matches!(batch.state, BatchState::Void | BatchState::Creating)
                });
                if !is_so {
                    let state = batch.map(|batch| (batch.key.id, batch.state));
                    self.simulation.breach(format!("{} was accepted as {id}: {state:?}", body.description));
                }
                self.accepted.lock().unwrap().insert(number, id);
                self.check_told(&answer, &before);
                true
            }
            400 => {
                if self.is_there(number) && (is_alone || begun.was_so) {
                    self.simulation.breach(format!("{} was told {answer}, and is there", body.description));
                }
                let is_refused = |items: &Items| is_refused(items, body, &answer["error"]);
                if !self.simulation.table.was_ever(&before, is_refused) {
                    let what = format!("{} was told {answer}, which it never was", body.description);
                    self.simulation.breach(what);
                }
                if is_alone {
                    self.denied.lock().unwrap().push((begun, number));
                }
                true
            }
            500 | 503 => false,
            _ => {
                self.simulation.breach(format!("{} was told {status} {answer}", body.description));
                true
            }
        }
    }

    /// Whether a batch is what a body asks for.
    fn is_of(&self, batch: &RefundBatch, number: usize) -> bool {
        let body = &self.bodies[number];
        let first = self.first.lock().unwrap().get(&number).cloned();
        let is_of = |(item, asked): (&BatchItem, &Asked)| {
            let was_left = || {
                first.as_ref().is_some_and(|first| {
                    self.simulation
                        .table
                        .was_ever(first, |items| left(items, &asked.charge) == Some(item.amount.value()))
                })
            };
            item.charge.as_str() == asked.charge
                && item.source() == asked.source
                && asked.amount.map_or_else(was_left, |amount| amount == item.amount.value())
        };
        body.batch_no == batch.batch_no.as_str()
            && body.description == batch.description
            && body.charges.len() == batch.items.len()
            && batch.items.iter().zip(&body.charges).all(is_of)
    }

    /// What is told of a batch is so, or was since: its charges, its refunds, and what became of them.
    fn check_told(&self, told: &Value, since: &Moment) {
        let id = told["id"].as_str().unwrap_or_default();
        let breach = |what: &str| self.simulation.breach(format!("batch {id}: {what}: {told}"));
        let batches = self.batches();
        let Some(batch) = batches.iter().find(|batch| batch.key.id.as_str() == id) else {
            return breach("there is none");
        };
        let was_ever = |is_so: &dyn Fn(&Items) -> bool| self.simulation.table.was_ever(since, is_so);
        if !was_ever(&|items| batch_of(items, &batch.key).is_some_and(|batch| is_shown(told, batch.state))) {
            breach("it was never so");
        }
        if told["description"] != batch.description.as_str() || told["batch_no"] != batch.batch_no.as_str() {
            breach("it is another one");
        }
        let charges = told["charges"].as_array().map_or(&[][..], Vec::as_slice);
        if charges.len() != batch.items.len() {
            return breach("it has other charges");
        }
        for (charge, item) in charges.iter().zip(&batch.items) {
            let asked = (json!(item.charge.as_str()), json!(item.amount.value()));
            if (&charge["charge"], &charge["amount"]) != (&asked.0, &asked.1) {
                breach("a charge is another one");
            }
            let is_so = |items: &Items| {
                let of = refund(items, item.refund.as_str());
                let (id, status, message) = match of.map(|refund| &refund.state) {
                    None => (Value::Null, "", None),
                    Some(state) => {
                        let (status, message) = match state {
                            ItemState::Pending { .. } => ("pending", None),
                            ItemState::Succeeded { .. } => ("succeeded", None),
                            ItemState::Failed { message, .. } => ("failed", Some(message.as_str())),
                        };
                        (json!(item.refund.as_str()), status, message)
                    }
                };
                let is_status = match status {
                    "" => charge["status"] == "created" || charge["status"] == "pending",
                    status => charge["status"] == status,
                };
                charge["refund"] == id && is_status && charge["failure_msg"] == json!(message)
            };
            if !was_ever(&is_so) {
                breach(&format!("of {} it never was so", item.charge));
            }
        }
        // A list says where the refunds are.
        let refunds = &told["refunds"];
        if refunds["has_more"] == true {
            return;
        }
        let shown = refunds["data"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let shown =
            shown.map(|refund| (&refund["id"], &refund["status"], &refund["amount"], &refund["charge"]));
        let on_record = charges.iter().filter(|charge| !charge["refund"].is_null());
        let wanted = on_record
            .map(|charge| (&charge["refund"], &charge["status"], &charge["amount"], &charge["charge"]));
        if !shown.eq(wanted) {
            breach("its refunds are not those of its charges");
        }
    }

    fn get(&self, uri: &str) -> String {
        let headers = [("authorization", &*format!("Bearer {KEY}"))];
        event_of("GET", uri, &headers, b"").to_string()
    }

    async fn retrieve(&self, body: usize, id: &str) {
        let event = self.get(&format!("/v1/batch_refunds/{id}"));
        let before = self.simulation.table.moment();
        match self.simulation.call("retrieve-batch-refund", event).await {
            None | Some((500 | 503, _)) if !self.simulation.weather.is_calm() => {}
            Some((200, answer)) if answer["id"] == *id => self.check_told(&answer, &before),
            None => self.simulation.breach(format!("batch {id} was not told though all is well")),
            Some((status, answer)) => {
                self.simulation.breach(format!("batch {id} of body {body} was told: {status} {answer}"));
            }
        }
    }

    /// What was accepted before is in the list, and what is in the list has been accepted.
    async fn list(&self) {
        let before: Vec<String> = self.accepted.lock().unwrap().values().cloned().collect();
        let event = self.get("/v1/batch_refunds?app=app_1&per_page=100");
        let moment = self.simulation.table.moment();
        match self.simulation.call("list-batch-refunds", event).await {
            None | Some((500 | 503, _)) if !self.simulation.weather.is_calm() => {}
            None => self.simulation.breach("no list was told though all is well".to_owned()),
            Some((200, answer)) => {
                let listed: Vec<&Value> = answer["data"].as_array().into_iter().flatten().collect();
                for id in &before {
                    if !listed.iter().any(|batch| batch["id"] == json!(id)) {
                        self.simulation
                            .breach(format!("batch {id} was accepted, and is not listed: {answer}"));
                    }
                }
                for batch in listed {
                    self.check_told(batch, &moment);
                }
            }
            Some((status, answer)) => self.simulation.breach(format!("a list was told: {status} {answer}")),
        }
    }

    /// The platform brings the table's changes to the worker: those of one item in their order, others as it comes; what
    /// the worker could not do again, and some of it though it could.
    async fn stream(self: Arc<Self>, mut rng: Rng) {
        // What somebody holds is soon decided where many want it.
        let (times, pause) = match self.is_contested {
            true => (60, 5..100),
            false => (rng.usize(2..=12), 50..2_500),
        };
        for _ in 0..times {
            self.simulation.pause(rng.u64(pause.clone())).await;
            let from = *self.brought.lock().unwrap();
            let (mut changes, end) = self.simulation.changes_from(from);
            *self.brought.lock().unwrap() = end;
            if rng.u32(0..3) == 0 && changes.len() > 1 {
                self.simulation.count_fault(elsewhere::CHANGES_OUT_OF_ORDER);
                // As two shards do, each in its own order.
                let (mut one, mut other): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
                for change in changes {
                    let key = change["dynamodb"]["Keys"]["pk"]["S"].to_string();
                    let shard = key.bytes().map(u32::from).sum::<u32>() % 2;
                    if shard == 0 { one.push(change) } else { other.push(change) }
                }
                changes = [other, one].concat();
            }
            let mut rest: &[Arc<Value>] = &changes;
            let mut tries = 0;
            while !rest.is_empty() && tries < 30 {
                let (some, later) = rest.split_at(rng.usize(1..=rest.len().min(10)));
                let failed = self.bring(some).await;
                if rng.u32(0..8) == 0 {
                    self.simulation.count_fault(elsewhere::CHANGES_TWICE);
                    self.bring(some).await;
                }
                match failed {
                    None => rest = later,
                    Some(first) => {
                        tries += 1;
                        rest = &rest[first..];
                        self.simulation.pause(rng.u64(100..2_000)).await;
                    }
                }
            }
            if !rest.is_empty() {
                // They stay in the stream.
                let mut brought = self.brought.lock().unwrap();
                *brought = from;
            }
        }
    }

    /// Brings changes to the worker; the first that is to be brought again.
    async fn bring(&self, changes: &[Arc<Value>]) -> Option<usize> {
        let event = json!({ "Records": changes.iter().map(|change| (**change).clone()).collect::<Vec<_>>() });
        self.simulation.count_done("settle-refunds");
        match self.simulation.run("settle-refunds", event.to_string()).await {
            Came::Worked(worked) => {
                let is_failed = |change: &Arc<Value>| {
                    let number = change["dynamodb"]["SequenceNumber"].as_str();
                    worked.batch_item_failures.iter().any(|failure| Some(&*failure.item_identifier) == number)
                };
                changes.iter().position(is_failed)
            }
            Came::Answered(_) | Came::Nothing => Some(0),
        }
    }

    /// All that was not brought yet.
    async fn bring_rest(&self) {
        let from = *self.brought.lock().unwrap();
        let (changes, end) = self.simulation.changes_from(from);
        *self.brought.lock().unwrap() = end;
        for some in changes.chunks(100) {
            if self.bring(some).await.is_some() {
                self.simulation.breach("the worker could not work on changes though all is well".to_owned());
            }
        }
    }

    async fn schedule(self: Arc<Self>, mut rng: Rng) {
        // Some come back until who had a batch before has let go of it.
        let sweeps = if rng.bool() { 12 } else { rng.usize(1..=4) };
        for _ in 0..sweeps {
            tokio::time::sleep(Duration::from_secs(rng.u64(1..=80))).await;
            self.simulation.count_done("settle-refunds");
            self.simulation.run("settle-refunds", SWEEP.to_owned()).await;
        }
    }

    /// Waits until the channel is asked for a refund that it will never pay, and a moment more.
    async fn asked(&self, rng: &mut Rng) -> Option<String> {
        for _ in 0..1_000 {
            let asked = self.simulation.channel.asked.lock().unwrap().clone();
            if let Some(order_no) = asked.into_iter().find(|order_no| !is_payable(order_no)) {
                tokio::time::sleep(Duration::from_millis(rng.u64(0..20))).await;
                return Some(order_no);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// Waits until a refund is on record that somebody has to confirm, and a moment more.
    async fn pending(&self, rng: &mut Rng) -> Option<String> {
        for _ in 0..200 {
            let items = self.simulation.table.items();
            let pending = items.values().find_map(|stored| match &stored.content {
                Ok(Content::Refund(refund)) if refund.state.is_pending() => Some(refund.id.clone()),
                _ => None,
            });
            if let Some(refund) = pending {
                tokio::time::sleep(Duration::from_millis(rng.u64(0..300))).await;
                return Some(refund.order_no().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        None
    }

    /// People say what the channel has told them: that it has paid, or never will; now and then several at once of one
    /// batch.
    async fn people(self: Arc<Self>, mut rng: Rng) {
        for _ in 0..rng.usize(1..=6) {
            self.simulation.pause(rng.u64(100..30_000)).await;
            let met = match rng.u32(0..3) {
                0 => self.asked(&mut rng).await,
                1 => self.pending(&mut rng).await,
                _ => None,
            };
            let batches = self.batches();
            if batches.is_empty() {
                continue;
            }
            let is_met = |batch: &&RefundBatch| {
                batch.items.iter().any(|item| met.as_deref() == Some(item.refund.order_no()))
            };
            let found = batches.iter().find(is_met);
            let batch = found.unwrap_or_else(|| &batches[rng.usize(0..batches.len())]);
            let world = &self;
            let mut decided: Vec<BoxFuture<'_, ()>> = Vec::new();
            let mut items: Vec<&BatchItem> = batch.items.iter().collect();
            rng.shuffle(&mut items);
            items.sort_by_key(|item| met.as_deref() != Some(item.refund.order_no()));
            for item in items.into_iter().take(rng.usize(1..=3)) {
                let order_no = item.refund.order_no();
                let is_paid = is_payable(order_no);
                if !is_paid || self.simulation.channel.has_paid(order_no) {
                    let later = Duration::from_millis(rng.u64(0..30));
                    decided.push(Box::pin(async move {
                        tokio::time::sleep(later).await;
                        world.decide(&batch.key, &item.refund, is_paid).await;
                    }));
                }
            }
            join_all(decided).await;
        }
    }

    /// Several find a batch at once of which only the first part is there, while others let go of what it lacks, or after
    /// others have taken it.
    async fn find_half(self: Arc<Self>, mut rng: Rng) {
        for _ in 0..150 {
            tokio::time::sleep(Duration::from_millis(rng.u64(5..40))).await;
            let batches = self.batches();
            let Some(half) = batches.iter().find(|batch| batch.state == BatchState::Creating) else {
                continue;
            };
            if let Some(last) = half.items.last().filter(|_| rng.bool()) {
                let wants_it = |body: &Body| {
                    let mut charges = body.charges.iter();
                    body.batch_no != half.batch_no.as_str()
                        && charges.any(|asked| asked.charge == last.charge.as_str())
                };
                let rivals = (0..self.bodies.len()).filter(|body| wants_it(&self.bodies[*body]));
                if let Some(rival) = rng.choice(rivals.collect::<Vec<_>>()) {
                    self.create(rival).await;
                }
            }
            let mut work: Vec<BoxFuture<'static, ()>> = Vec::new();
            for _ in 0..3 {
                let (world, key, later) = (self.clone(), half.key.clone(), rng.u64(0..80));
                work.push(Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(later)).await;
                    let before = world.simulation.table.moment();
                    let brought_on = world.simulation.session("refundctl batch").bring_on(&key).await;
                    world.simulation.tell(|| format!("{} is found, and is {brought_on:?}", key.id));
                    let is_so = match &brought_on {
                        Ok(Some(batch)) => batch.state != BatchState::Creating && world.was(&before, batch),
                        // Before the transaction that puts it is over.
                        Ok(None) => world.simulation.table.was_ever(&before, |items| {
                            let is_it = |stored: &Arc<Stored>| {
                                matches!(&stored.content, Ok(Content::Batch(batch)) if batch.key == key)
                            };
                            !items.values().any(is_it)
                        }),
                        Err(_) => true,
                    };
                    if !is_so {
                        world
                            .simulation
                            .breach(format!("{} was brought on, and told {brought_on:?}", key.id));
                    }
                }));
            }
            let holds =
                |batch: &&RefundBatch| matches!(batch.state, BatchState::Created | BatchState::Settling);
            for batch in batches.iter().filter(holds) {
                let refused = batch.items.iter().find(|item| !is_payable(item.refund.order_no()));
                if let Some(item) = refused {
                    let (world, key, refund) = (self.clone(), batch.key.clone(), item.refund.clone());
                    let later = rng.u64(0..80);
                    work.push(Box::pin(async move {
                        tokio::time::sleep(Duration::from_millis(later)).await;
                        world.decide(&key, &refund, false).await;
                    }));
                }
            }
            join_all(work).await;
        }
    }

    /// People decide a refund.
    async fn decide(&self, batch: &RefundBatchKey, refund: &RefundId, is_paid: bool) {
        // Their clocks are off by minutes, either way.
        let off = if self.simulation.weather.is_calm() { 0 } else { 10 * 60 * 1_000 };
        let off = self.simulation.rng.lock().unwrap().i64(-off..=off);
        let at = super::now().saturating_add_signed(off);
        let state = match is_paid {
            true => ItemState::Succeeded { at },
            false => ItemState::Failed { at, code: "no".to_owned(), message: "no".to_owned() },
        };
        let session = self.simulation.session("refundctl refund");
        let before = self.simulation.table.moment();
        for _ in 0..6 {
            let told = decide_refund(&session, batch, refund, state.clone(), at).await;
            self.simulation.tell(|| format!("people decide {refund}: {told:?}"));
            let items = self.simulation.table.items();
            let there = self::refund(&items, refund.as_str());
            let is_as_said = there.map(|refund| &refund.state).is_some_and(|state| match state {
                ItemState::Pending { .. } => false,
                ItemState::Succeeded { .. } => is_paid,
                ItemState::Failed { .. } => !is_paid,
            });
            let is_so = match &told {
                Ok(Some(Decided::Done { settled, batch })) => {
                    self.was(&before, batch)
                        && match settled {
                            Settled::AsSaid => is_as_said,
                            Settled::Otherwise(other) => !is_as_said && there == Some(other),
                        }
                }
                // Its refund is one of it, so it was taken back.
                Ok(None) => self.simulation.table.was_ever(&before, |items| {
                    batch_of(items, batch).is_some_and(|batch| batch.state == BatchState::Void)
                }),
                Ok(Some(Decided::Busy)) | Err(_) => true,
            };
            if !is_so {
                self.simulation.breach(format!("{refund} was decided, and told {told:?}: {there:?}"));
            }
            if !matches!(told, Ok(Some(Decided::Busy))) {
                break;
            }
            // Somebody may be about to let go of it.
            self.simulation.pause(500).await;
        }
    }

    /// Whether a batch was as somebody was told, at some moment since.
    fn was(&self, since: &Moment, told: &RefundBatch) -> bool {
        let is_so = |items: &Items| {
            batch_of(items, &told.key)
                .is_some_and(|batch| batch.state == told.state && batch.items == told.items)
        };
        self.simulation.table.was_ever(since, is_so)
    }

    /// Charges and movements of funds come on record.
    async fn operators_systems(self: Arc<Self>, mut rng: Rng) {
        for entry in &self.late {
            self.simulation.pause(rng.u64(0..4_000)).await;
            self.said.lock().unwrap().insert(entry.to_string());
            for _ in 0..4 {
                if self.simulation.call_twice(&mut rng, 3, || self.say(entry)).await {
                    break;
                }
                self.simulation.pause(rng.u64(10..2_000)).await;
            }
        }
    }

    /// Says what there is, and compares what is told with the table; whether it is decided.
    async fn say(&self, entry: &Value) -> bool {
        let before = self.simulation.table.moment();
        let event = entries_event(json!({ "entries": [entry] }).to_string().as_bytes()).to_string();
        let told = self.simulation.call("record-entries", event).await;
        self.simulation.tell(|| format!("says {entry}: {told:?}"));
        let Some((status, answer)) = told else { return false };
        let outcome = &answer["entries"][0];
        let is_so = match (status, outcome["outcome"].as_str().unwrap_or_default()) {
            (503, "undecided") => return false,
            (200, "recorded" | "unchanged") => {
                self.recorded.lock().unwrap().insert(entry.to_string());
                is_recorded(&self.simulation.table.items(), entry)
            }
            (200, "refused") => self.simulation.table.was_ever(&before, |items| {
                let Some(balance) = funds_of(items, FundingSource::Unsettled) else { return false };
                outcome["message"] == format!("the balance is {balance}")
                    && balance + Decimal::from(entry["amount"].as_i64().unwrap_or_default()) < Decimal::ZERO
                    && !is_recorded(items, entry)
            }),
            _ => false,
        };
        if !is_so {
            self.simulation.breach(format!("{entry} was told {status} {answer}, and it is not so"));
        }
        true
    }

    // ---- the table ----

    fn batches(&self) -> Vec<RefundBatch> {
        let batch = |stored: &Arc<Stored>| match &stored.content {
            Ok(Content::Batch(batch)) => Some((**batch).clone()),
            _ => None,
        };
        self.simulation.table.items().values().filter_map(batch).collect()
    }

    /// The batch that has a body's number, if it is this body's.
    fn owner(&self, body: usize) -> Option<RefundBatch> {
        let body = &self.bodies[body];
        let table = &self.simulation.table;
        let guard = table.content(&format!("{}#batchno#{}", app(), body.batch_no), "GUARD")?;
        let Content::Number { batch, .. } = guard else { return None };
        let key = RefundBatchKey { tenant: app(), id: batch };
        let partition = format!("{}#batches#{}", app(), key.id.month());
        match table.content(&partition, key.id.as_str())? {
            Content::Batch(batch) => Some(*batch).filter(|batch| batch.description == body.description),
            _ => None,
        }
    }

    /// What the app has is what it had, with what was moved, without what was refunded.
    fn check_funds(&self, items: &Items, out: &HashMap<FundingSource, u64>) {
        for entry in &self.late {
            let text = entry.to_string();
            let is_recorded = is_recorded(items, entry);
            if is_recorded != self.recorded.lock().unwrap().contains(&text)
                && (!is_recorded || !self.said.lock().unwrap().contains(&text))
            {
                self.simulation.breach(format!("on record is it {is_recorded}: {entry}"));
            }
        }
        for source in FundingSource::ALL {
            let key = app().account(source.as_str());
            let mut moved = Decimal::ZERO;
            let mut account = None;
            for stored in items.values() {
                match &stored.content {
                    Ok(Content::Account(found)) if found.key == key => account = Some(found),
                    Ok(Content::Movement(movement)) if movement.key.account == key => {
                        let is_it = |entry: &&Value| entry["id"] == movement.key.id.as_str();
                        if !self.late.iter().find(is_it).is_some_and(|entry| is_recorded(items, entry)) {
                            self.simulation.breach(format!("nobody has said {}", stored.key()));
                        }
                        moved += movement.posting.after.value() - movement.posting.before.value();
                    }
                    _ => {}
                }
            }
            let Some(account) = account else { continue };
            let out = Decimal::from(out.get(&source).copied().unwrap_or_default());
            if account.opening.value() + moved - out != account.balance.value() {
                self.simulation.breach(format!(
                    "{}: opened with {}, moved {moved}, refunded {out}, and holds {}",
                    source.as_str(),
                    account.opening,
                    account.balance
                ));
            }
        }
        for stored in items.values() {
            if let Ok(Content::Charge(charge)) = &stored.content {
                self.check_charge(charge);
            }
        }
    }

    fn check_charge(&self, charge: &Charge) {
        if !charge.holds.is_empty() {
            self.simulation.breach(format!("charge {} is held at rest: {:?}", charge.key.id, charge.holds));
        }
    }

    /// Every fact was told, and nothing that is none; one fact by one event.
    fn check_events(&self, facts: &BTreeSet<(&'static str, String)>) {
        let (mut told, mut told_again) = (BTreeSet::new(), BTreeSet::new());
        let told_once = *self.told_once.lock().unwrap();
        let mut ids: BTreeMap<(&'static str, String), String> = BTreeMap::new();
        for (number, event) in self.simulation.bus.told.lock().unwrap().iter().enumerate() {
            let body: Value = serde_json::from_str(&event.json).expect("an event is JSON");
            let fact = (event.kind, body["data"]["object"]["id"].as_str().unwrap_or_default().to_owned());
            let id = ids.entry(fact.clone()).or_insert_with(|| event.id.clone());
            if *id != event.id {
                self.simulation.breach(format!("{fact:?} was told as {id} and as {}", event.id));
            }
            if number < told_once {
                told.insert(fact)
            } else {
                told_again.insert(fact)
            };
        }
        if told != *facts || !told_again.is_subset(facts) {
            self.simulation
                .breach(format!("told were {told:?}, and then {told_again:?}; true are {facts:?}"));
        }
    }
}

// ---- what is so where the table is as given ----

fn charge_of<'a>(items: &'a Items, charge: &str) -> Option<&'a Charge> {
    match content(items, &format!("{}#{charge}", app()), "PAYMENT") {
        Some(Content::Charge(charge)) => Some(charge),
        _ => None,
    }
}

/// What of a charge can be refunded.
fn left(items: &Items, charge: &str) -> Option<u64> {
    charge_of(items, charge).map(Charge::refundable)
}

fn funds_of(items: &Items, source: FundingSource) -> Option<Decimal> {
    balance(items, app().account(source.as_str()).as_str())
}

fn batch_of<'a>(items: &'a Items, key: &RefundBatchKey) -> Option<&'a RefundBatch> {
    let partition = format!("{}#batches#{}", app(), key.id.month());
    match content(items, &partition, key.id.as_str()) {
        Some(Content::Batch(batch)) => Some(batch),
        _ => None,
    }
}

/// Whether a batch of this state is shown so.
fn is_shown(told: &Value, state: BatchState) -> bool {
    let (status, at) = match state {
        BatchState::Creating | BatchState::Void => return false,
        BatchState::Created => ("created", None),
        BatchState::Settling => ("pending", None),
        BatchState::Ended { end: BatchEnd::Succeeded, at } => ("succeeded", Some(at / 1_000)),
        BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. } => ("partially_succeeded", None),
        BatchState::Ended { end: BatchEnd::Failed, .. } => ("failed", None),
    };
    told["status"] == status && told["time_succeeded"] == json!(at)
}

/// Whether a body must be refused, and be told so, where the table is so.
fn is_refused(items: &Items, body: &Body, error: &Value) -> bool {
    let batches = || {
        items.values().filter_map(|stored| match &stored.content {
            Ok(Content::Batch(batch)) => Some(batch),
            _ => None,
        })
    };
    let is_own = |batch: &RefundBatch| batch.description == body.description;
    let param = error["param"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    if param == "batch_no" {
        return batches().any(|batch| {
            batch.batch_no.as_str() == body.batch_no
                && !is_own(batch)
                && !matches!(batch.state, BatchState::Creating | BatchState::Void)
        });
    }
    // What the body's own batch has taken is no reason to refuse it.
    if batches().any(|batch| is_own(batch) && batch.state != BatchState::Void) {
        return false;
    }
    if error["code"] == "insufficient_funds" {
        return FundingSource::ALL.into_iter().any(|source| {
            let of_source = body.charges.iter().filter(|asked| asked.source == source);
            let wanted =
                of_source.map(|asked| asked.amount.or_else(|| left(items, &asked.charge)).unwrap_or(0));
            message.contains(source.as_str())
                && funds_of(items, source).is_none_or(|balance| balance < Decimal::from(wanted.sum::<u64>()))
        });
    }
    body.charges.iter().enumerate().any(|(position, Asked { charge, amount, .. })| {
        let at_fault = format!("charges[{position}]");
        let (why, param_at_fault) = match charge_of(items, charge) {
            None => (format!("No such charge: {charge}."), at_fault),
            Some(found) if !found.paid => (format!("Charge {charge} is not paid."), at_fault),
            Some(found) => match found.refundable() {
                0 => (format!("Nothing of charge {charge} is left to be refunded."), at_fault),
                left if amount.is_some_and(|amount| amount > left) => {
                    (format!("Charge {charge} has {left} left to be refunded."), format!("{at_fault}.amount"))
                }
                _ => return false,
            },
        };
        message == why && param == param_at_fault
    })
}

/// Whether what an entry says is in the table, as it says it.
fn is_recorded(items: &Items, entry: &Value) -> bool {
    let id = entry["id"].as_str().unwrap_or_default();
    if entry["kind"] == "charge" {
        return charge_of(items, id).is_some_and(|charge| {
            json!(charge.amount.value()) == entry["amount"]
                && entry["orderNo"] == charge.order_no.as_str()
                && entry["paid"] == charge.paid
                && entry["transactionNo"] == json!(charge.transaction_no.as_ref().map(TransactionNo::as_str))
        });
    }
    let account = app().account(entry["source"].as_str().unwrap_or_default());
    match content(items, account.as_str(), &format!("MOVEMENT#{id}")) {
        Some(Content::Movement(movement)) => {
            let moved = movement.posting.after.value() - movement.posting.before.value();
            moved == Decimal::from(entry["amount"].as_i64().unwrap_or_default())
                && entry["reason"] == movement.reason.as_str()
        }
        _ => false,
    }
}
