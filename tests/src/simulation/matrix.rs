//! Every operation, and a death at every call to the table that it makes: before the call is sent, and after it was carried
//! out; alone, and another one while it is recovered from. Exhaustively, and the same each time. Whoever recovers, the end
//! must be the one of an operation that nothing happened to.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use refundctl::application::confirm;
use refundctl::import::{self, Source};
use refundctl::self_refund;
use refundctl::send::epay::DEMO_API_KEY;
use refundctl::verify::{self, Breach, Kind};
use serde_json::{Value, json};
use settle_refunds::SWEEP;
use shared::ebet::ChannelId;
use shared::ledger::{BatchState, Confirmation, ItemState, TenantKey};
use shared::limits::simulated::ACTIONS_PER_TRANSACTION;
use shared::pingpp::{Decided, Mode, SecretKey, advance, advance_by_hand, decide_refund, tenant_of};
use shared::store::{Content, Settled, Stored};
use tempfile::NamedTempFile;

use super::ebet::signed_event;
use super::network::Script;
use super::platform::{Came, Life};
use super::weather::Fault;
use super::{Simulation, in_a_world};
use crate::epay::{BEGIN, END, merchant_line};
use crate::pingpp::{KEY, Told as Pays};
use crate::world::{channel_line, entries_event, epay_event, event_of};

/// What an attempt is told; nothing where whoever made it died.
type Told = Option<Value>;

type World = Arc<Simulation>;

/// How an operation that somebody died of goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// Whoever asked asks again, and is told the same.
    Resend,
    /// The worker's sweep finds what was left, and brings it to an end.
    Sweep,
    /// A call for something that it holds brings it on, and is told one thing or another by that.
    Rival,
    /// An operator goes on with open batches, and confirms what was confirmed.
    Operator,
}

pub struct Operation {
    pub name: &'static str,
    lines: fn() -> Vec<Value>,
    /// What happens before.
    before: for<'a> fn(&'a World) -> BoxFuture<'a, ()>,
    act: for<'a> fn(&'a World) -> BoxFuture<'a, Told>,
    /// Actions that a transaction holds here, if fewer than anywhere else.
    actions: Option<usize>,
    /// It is played with each of these.
    recoveries: &'static [Recovery],
    /// What is in the table in the end, if nothing happens to it.
    comes_to: &'static [&'static str],
    /// What `verify` may find until it is made again.
    leaves: &'static [Kind],
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
struct End {
    told: Told,
    /// What is in the table, without times and ids.
    table: Vec<String>,
    /// Whether so much was done when the first one died that whoever recovers may do nothing else than the rest.
    is_begun: bool,
}

/// How many deaths an operation was played with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Calls that it makes when nothing goes wrong.
    pub calls: usize,
    pub alone: usize,
    pub pairs: usize,
}

/// Longer than anybody has a batch for himself: an operator has, whose clock may be off.
const LONG: Duration = Duration::from_secs(40 * 60);

const DEATHS: [Fault; 2] = [Fault::DeathBefore, Fault::DeathDuring];

impl Operation {
    /// Plays it with every death and every pair of deaths, and each recovery.
    ///
    /// # Panics
    /// Where the end is another one, naming the deaths.
    pub fn play_all(&self) -> Played {
        let file = NamedTempFile::new().expect("there is a place for files");
        self.begin(file.path());
        let mut all = Played::default();
        for recovery in self.recoveries {
            let played = self.play_all_with(file.path(), *recovery);
            assert!(played.alone == DEATHS.len() * played.calls, "{}: {played:?}", self.name);
            all = Played {
                calls: played.calls,
                alone: all.alone + played.alone,
                pairs: all.pairs + played.pairs,
            };
        }
        all
    }

    fn play_all_with(&self, start: &Path, recovery: Recovery) -> Played {
        let (undisturbed, made) = self.play(start, recovery, &[]);
        for line in self.comes_to {
            let has_come = undisturbed.table.iter().any(|other| other == line);
            assert!(has_come, "{}: no {line} in {:#?}", self.name, undisturbed.table);
        }
        // Where nobody asks again, what was never begun may never be.
        let untouched = (recovery != Recovery::Resend).then(|| {
            let operation = Self { act: |_| Box::pin(async { None }), ..*self };
            operation.play(start, recovery, &[]).0.table
        });
        let compare = |deaths: &[(usize, Fault)], end: &End| {
            let is_told_alike = recovery != Recovery::Resend || end.told == undisturbed.told;
            let is_untouched = !end.is_begun && untouched.as_ref() == Some(&end.table);
            let name = self.name;
            assert!(
                is_told_alike && (is_untouched || end.table == undisturbed.table),
                "{name}, {recovery:?}, deaths {deaths:?}: {end:#?}\nundisturbed: {undisturbed:#?}"
            );
        };
        let calls = made[0];
        assert!(calls > 0, "{}: it makes no calls", self.name);
        let firsts: Vec<_> = (0..calls).flat_map(|call| DEATHS.map(|death| (call, death))).collect();
        let (next, alone, pairs) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let play_some = || {
            while let Some(first) = firsts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (end, made) = self.play(start, recovery, &[*first]);
                compare(&[*first], &end);
                alone.fetch_add(1, Ordering::Relaxed);
                for second in (0..made[1]).flat_map(|call| DEATHS.map(|death| (call, death))) {
                    let deaths = [*first, second];
                    compare(&deaths, &self.play(start, recovery, &deaths).0);
                    pairs.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, NonZero::get) {
                scope.spawn(play_some);
            }
        });
        Played { calls, alone: alone.into_inner(), pairs: pairs.into_inner() }
    }

    /// Keeps the table that it starts from in a file.
    fn begin(&self, file: &Path) {
        let (lines, before, actions, file) = ((self.lines)(), self.before, self.actions, file.to_owned());
        in_a_world(move |world| {
            Box::pin(async move {
                ACTIONS_PER_TRANSACTION.set(actions);
                world.import(&lines).await;
                before(&world).await;
                std::fs::remove_file(&file).unwrap();
                world.table.embedded.database.vacuum_into(file.to_str().unwrap()).unwrap();
            })
        });
    }

    /// Plays it in a new world: each attempt but the last dies so. What came of it, and how many calls each attempt made.
    fn play(&self, start: &Path, recovery: Recovery, deaths: &[(usize, Fault)]) -> (End, Vec<usize>) {
        let (name, act, actions, leaves) = (self.name, self.act, self.actions, self.leaves);
        let (start, deaths) = (start.to_owned(), deaths.to_vec());
        in_a_world(move |world| {
            Box::pin(async move {
                ACTIONS_PER_TRANSACTION.set(actions);
                world.table.embedded.database.restore_from(start.to_str().unwrap()).unwrap();
                world.table.items_anew();
                let at_first = state(&world);
                tokio::time::sleep(LONG).await;
                let (mut made, mut is_begun) = (Vec::new(), false);
                for (number, (call, death)) in deaths.iter().enumerate() {
                    world.set_script(Script::dies_at(*call, *death));
                    attempt(&world, act, recovery, number).await;
                    made.push(world.take_script());
                    assert!(made[number] > *call, "{name}, {recovery:?}, deaths {deaths:?}: made {made:?}");
                    // What was on its way arrives.
                    tokio::time::sleep(LONG).await;
                    let items = world.table.items();
                    let breaches = verify::check_items(items.values().map(|stored| &**stored)).unwrap();
                    let is_left = |breach: &&Breach| !leaves.contains(&breach.kind);
                    let left: Vec<&Breach> = breaches.iter().filter(is_left).collect();
                    assert!(left.is_empty(), "{name}, {recovery:?}, deaths {deaths:?}: {left:#?}");
                    is_begun |= number == 0 && !is_being_created(&world) && state(&world) != at_first;
                }
                world.set_script(Script::default());
                let told = attempt(&world, act, recovery, deaths.len()).await;
                made.push(world.take_script());
                match recovery {
                    Recovery::Resend => {}
                    Recovery::Sweep => come_to_rest(&world).await,
                    Recovery::Rival => drop(rival(&world).await),
                    Recovery::Operator => operate(&world).await,
                }
                world.look("after the recovery");
                let breaches = [world.breaches(), world.channel.complaints()].concat();
                assert!(breaches.is_empty(), "{name}, {recovery:?}, deaths {deaths:?}: {breaches:#?}");
                (End { told: told.map(plain), table: state(&world), is_begun }, made)
            })
        })
    }
}

async fn attempt(
    world: &World,
    act: for<'a> fn(&'a World) -> BoxFuture<'a, Told>,
    recovery: Recovery,
    number: usize,
) -> Told {
    match recovery {
        Recovery::Sweep if number > 0 => ask(world, "settle-refunds", SWEEP.to_owned()).await,
        Recovery::Rival if number > 0 => rival(world).await,
        Recovery::Operator if number > 0 => {
            operate(world).await;
            None
        }
        Recovery::Resend | Recovery::Sweep | Recovery::Rival | Recovery::Operator => act(world).await,
    }
}

/// Whether a batch is there of which nobody can say yet whether it will be.
fn is_being_created(world: &World) -> bool {
    let is_one = |stored: &Arc<Stored>| matches!(&stored.content, Ok(Content::Batch(batch)) if batch.state == BatchState::Creating);
    world.table.items().values().any(is_one)
}

/// An operator goes on with each open batch until it has ended, and confirms what is on record as confirmed; or dies.
async fn operate(world: &World) {
    let life = Life::new("refundctl".to_owned());
    let work = async {
        let session = world.session_of(&life);
        for _ in 0..3 {
            for stored in world.table.items().values() {
                match &stored.content {
                    Ok(Content::Batch(batch)) if batch.state.is_open() => {
                        advance_by_hand(&session, &*world.channel, &batch.key, super::now()).await.unwrap();
                    }
                    Ok(Content::Confirmation { path, confirmation, .. }) => {
                        let (merchant, batch_no) = path.rsplit_once("#batchno#").unwrap();
                        let merchant = merchant.strip_prefix("epay#").unwrap().parse().unwrap();
                        let Confirmation { trade_no, amount, .. } = &**confirmation;
                        // One that does not match the refund is refused.
                        confirm(&session, &merchant, &batch_no.parse().unwrap(), trade_no, *amount)
                            .await
                            .ok();
                    }
                    _ => {}
                }
            }
        }
    };
    life.unless_ended(work).await;
}

/// Somebody else asks for the first charge.
async fn rival(world: &World) -> Told {
    create(world, "rival", 0..1).await
}

/// The worker goes on until nothing is open.
async fn come_to_rest(world: &World) {
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(25 * 60 * 60)).await;
        let is_open = |stored: &Arc<Stored>| matches!(&stored.content, Ok(Content::Batch(batch)) if batch.state.is_open());
        if !world.table.items().values().any(is_open) {
            return;
        }
        world.run("settle-refunds", SWEEP.to_owned()).await;
    }
}

/// An answer without what differs from attempt to attempt.
fn plain(mut told: Value) -> Value {
    match &mut told {
        Value::Object(members) => {
            for name in ["id", "created", "refund"] {
                if members.get(name).is_some_and(|value| !value.is_null()) {
                    members.insert(name.to_owned(), json!("…"));
                }
            }
            // What they tell is as it is now.
            members.retain(|name, _| name != "message" && name != "state");
            if members.get("outcome") == Some(&json!("recorded")) {
                members.insert("outcome".to_owned(), json!("unchanged"));
            }
            for value in members.values_mut() {
                *value = plain(value.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = plain(value.take());
            }
        }
        _ => {}
    }
    told
}

/// What is in the table, without times and ids, and without batches that were taken back.
fn state(world: &World) -> Vec<String> {
    let mut state = Vec::new();
    for stored in world.table.items().values() {
        let key = stored.key();
        state.push(match stored.content.as_ref().unwrap() {
            Content::Account(account) => format!("{key}: {}, posting {}", account.balance, account.sequence),
            Content::Debit(debit) => format!("{key}: {}", debit.state.as_str()),
            Content::Charge(charge) => {
                let paid = if charge.paid { "" } else { ", not paid" };
                format!("{key}: {} refunded, {} held{paid}", charge.refunded, charge.held())
            }
            Content::Batch(batch) => match batch.state {
                BatchState::Void => continue,
                BatchState::Ended { end, .. } => format!("batch {}: {end:?}", batch.batch_no),
                state => format!("batch {}: {state:?}", batch.batch_no),
            },
            Content::Refund(refund) => match &refund.state {
                ItemState::Succeeded { .. } => format!("refund of {}: succeeded", refund.charge.id),
                ItemState::Failed { .. } => format!("refund of {}: failed", refund.charge.id),
                ItemState::Pending { .. } => format!("refund of {}: pending", refund.charge.id),
            },
            Content::Application(application) => {
                let state = format!("{:?}", application.state);
                format!("{key}: {}", state.split(['(', ' ', '{']).next().unwrap_or_default())
            }
            // A void batch has freed its number, and may have named its month.
            Content::Months { .. } => continue,
            Content::Tenant { settings, .. } => format!("{key}: {settings}"),
            Content::SharedCredential { ids } => {
                let hash = stored.partition.rsplit('#').next().unwrap();
                format!("key {}: {}", &hash[..8], ids.join(" "))
            }
            Content::KeyOfTenant { tenant, hash } => format!("{} key {}", tenant.as_str(), &hash[..8]),
            _ => key,
        });
    }
    state.sort();
    state
}

// ---- the operations ----

fn nothing(_: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {})
}

fn players() -> Vec<Value> {
    let mut lines = vec![channel_line(1)];
    for player in ["ann", "bob", "eve"] {
        lines.push(json!({"kind": "wallet", "channelId": 1, "username": player, "balance": "100"}));
        for number in 0..3 {
            lines.push(json!({"kind": "debit", "channelId": 1, "username": player, "seqNo": format!("{player}{number}"),
                              "roundCode": "R", "amount": "10"}));
        }
    }
    lines
}

fn many_bets() -> Vec<Value> {
    let debit = |number| {
        json!({"kind": "debit", "channelId": 1, "username": "ann", "seqNo": format!("bet{number}"), "roundCode": "R",
               "amount": "1"})
    };
    players().into_iter().chain((0..100).map(debit)).collect()
}

fn application(autoid: i64) -> Value {
    json!({"kind": "application", "merchant": "demo", "autoid": autoid, "amount": "2.00",
           "orderNo": format!("order-{autoid}")})
}

fn merchant() -> Vec<Value> {
    [merchant_line("demo", &[DEMO_API_KEY])].into_iter().chain((1..=2).map(application)).collect()
}

/// A second key of the app of all tests.
const OTHER_KEY: &str = "sk_test_anotherKeyOfTheSameApp";

fn charges(count: usize) -> Vec<Value> {
    let charge = |number: usize| {
        json!({"kind": "charge", "app": "app_1", "livemode": false, "id": format!("ch_{number}"), "amount": 30,
               "currency": "cny", "channel": "wx_pub", "orderNo": format!("order{number}"), "created": 1_409_634_160,
               "paid": true, "timePaid": 1_409_634_192, "transactionNo": format!("t{number}")})
    };
    let app = json!({"kind": "app", "app": "app_1", "livemode": false, "currency": "cny", "unsettledFunds": 10_000,
                     "rechargeFunds": 10_000});
    let key = json!({"kind": "key", "secret": KEY, "apps": ["app_1"]});
    [app, key].into_iter().chain((0..count).map(charge)).collect()
}

async fn single(world: &World, seq_no: &str, items: &[(&str, &str, &str)]) -> Told {
    let list = items
        .iter()
        .map(|(player, bet, amount)| {
            json!({"refundSeqNo": bet, "username": player, "refundMoney": number(&format!("-{amount}"))})
        })
        .collect();
    ask(world, "refund-single-wallet", signed_event("refundSingleWallet", seq_no, items[0].0, list)).await
}

async fn batch(world: &World, seq_no: &str, items: &[(&str, &str, &str)]) -> Told {
    let list = items
        .iter()
        .map(|(player, bet, amount)| json!({"seqNo": bet, "username": player, "refundMoney": number(amount)}))
        .collect();
    ask(world, "auto-batch-refund", signed_event("autoBatchRefund", seq_no, items[0].0, list)).await
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn ask(world: &World, binary: &'static str, event: String) -> Told {
    match world.run(binary, event).await {
        Came::Answered(answer) => Some(serde_json::from_slice(&answer.bytes()).unwrap()),
        Came::Worked(_) => Some(Value::Null),
        Came::Nothing => None,
    }
}

async fn entries(world: &World, entries: &[Value]) -> Told {
    let event = entries_event(json!({ "entries": entries }).to_string().as_bytes());
    ask(world, "record-entries", event.to_string()).await
}

async fn epay(world: &World, binary: &'static str, body: Value) -> Told {
    let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
    ask(world, binary, epay_event(&headers, body.to_string().as_bytes()).to_string()).await
}

async fn begin(world: &World, autoid: i64, batch_no: &str) -> Told {
    let body =
        json!({"autoid": autoid, "refundamount": "2", "batch_no": batch_no, "refundaccount": "account"});
    epay(world, BEGIN, body).await
}

async fn end(world: &World, batch_no: &str, trade_no: &str, amount: &str) -> Told {
    epay(world, END, json!({"batchno": batch_no, "trandeno": trade_no, "refundmoney": amount})).await
}

async fn create(world: &World, batch_no: &str, charges: std::ops::Range<usize>) -> Told {
    let charges: Vec<String> = charges.map(|number| format!("ch_{number}")).collect();
    let body = json!({"app": "app_1", "batch_no": batch_no, "description": "a batch", "charges": charges});
    let headers = [("authorization", &*format!("Bearer {KEY}")), ("content-type", "application/json")];
    let event = event_of("POST", "/v1/batch_refunds", &headers, body.to_string().as_bytes());
    ask(world, "create-batch-refund", event.to_string()).await
}

fn app() -> TenantKey {
    tenant_of("app_1", Mode::Test)
}

/// Settings of the app.
const DISABLED: &str = r#"{"app":"app_1","livemode":false,"currency":"cny","enabled":false}"#;

/// People decide the first refund of the only batch; whether it is decided as they say.
async fn decide(world: &World, state: ItemState) -> Told {
    let life = Life::new("refundctl refund".to_owned());
    let session = world.session_of(&life);
    let batch = world.table.items().values().find_map(|stored| match &stored.content {
        Ok(Content::Batch(batch)) => Some((**batch).clone()),
        _ => None,
    })?;
    let decided = decide_refund(&session, &batch.key, &batch.items[0].refund, state, super::now());
    let decided = life.unless_ended(decided).await?.unwrap();
    Some(json!(matches!(decided, Some(Decided::Done { settled: Settled::AsSaid, .. }))))
}

/// So many that a batch's first transaction holds two charges, and its second one the third.
const FEW_ACTIONS: Option<usize> = Some(6);

/// A batch of three charges whose creation died half-way.
fn half_a_batch(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        // The credential, the app, the reads, the month, the first transaction.
        // The month is named by one of them, and is there for the next: each twice.
        for call in (0..10).flat_map(|call| [call; 2]) {
            world.set_script(Script::dies_at(call, Fault::DeathDuring));
            create(world, "large", 0..3).await;
            world.take_script();
            tokio::time::sleep(Duration::from_secs(1)).await;
            if is_being_created(world) {
                break;
            }
        }
        assert!(is_being_created(world));
    })
}

/// And of which another has taken a charge since.
fn half_a_batch_that_lacks_a_charge(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        half_a_batch(world).await;
        assert_eq!(create(world, "small", 2..3).await.unwrap()["status"], "created");
        // That one is settled by a change of the table, so that the sweep finds the other alone.
        let batch = world.table.items().values().find_map(|stored| match &stored.content {
            Ok(Content::Batch(batch)) if batch.state == BatchState::Created => Some(batch.key.clone()),
            _ => None,
        });
        let session = world.session("settle-refunds");
        let pays = Pays::default();
        advance(&session, &pays, &batch.unwrap(), super::now()).await.unwrap();
        assert!(state(world).contains(&"refund of ch_2: succeeded".to_owned()));
    })
}

/// All operations that write; but for marks of one write that are the same whenever they are made: what an operator did
/// and why, what a payment channel said against what was decided, until when a damaged batch is left alone.
pub fn operations() -> Vec<Operation> {
    use Recovery::{Operator, Resend, Rival, Sweep};
    vec![
        Operation {
            name: "a single refund",
            lines: players,
            before: nothing,
            act: |world| Box::pin(single(world, "n", &[("ann", "ann0", "10")])),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann ACCOUNT: 110, posting 1", "ebet#1#ann PAYMENT#ann0: refunded"],
            leaves: &[],
        },
        Operation {
            name: "a single call for two players' bets, one that is not there, and a wrong amount",
            lines: players,
            before: nothing,
            act: |world| {
                Box::pin(single(
                    world,
                    "n",
                    &[
                        ("ann", "ann0", "10"),
                        ("ann", "ann1", "9"),
                        ("bob", "bob0", "10"),
                        ("ann", "never", "1"),
                    ],
                ))
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &[
                "ebet#1#ann PAYMENT#ann1: open",
                "ebet#1#ann PAYMENT#never",
                "ebet#1#bob ACCOUNT: 110, posting 1",
            ],
            leaves: &[],
        },
        Operation {
            name: "a single call for more bets than a transaction holds",
            lines: many_bets,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let names: Vec<String> = (0..100).map(|number| format!("bet{number}")).collect();
                    let items: Vec<(&str, &str, &str)> =
                        names.iter().map(|name| ("ann", &**name, "1")).collect();
                    single(world, "n", &items).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann ACCOUNT: 200, posting 100"],
            leaves: &[],
        },
        Operation {
            name: "a batch of three players",
            lines: players,
            before: nothing,
            act: |world| {
                Box::pin(batch(
                    world,
                    "n",
                    &[
                        ("ann", "ann0", "10"),
                        ("bob", "bob0", "10"),
                        ("bob", "never", "1"),
                        ("eve", "eve0", "10"),
                        ("eve", "eve1", "10"),
                    ],
                ))
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &[
                "ebet#1#ann ACCOUNT: 110, posting 1",
                "ebet#1#bob ACCOUNT: 110, posting 1",
                "ebet#1#eve ACCOUNT: 120, posting 2",
            ],
            leaves: &[],
        },
        Operation {
            name: "a refund by the channel",
            lines: players,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let life = Life::new("refundctl self-refund".to_owned());
                    let store = world.store(&life);
                    let (username, bet) = ("ann".parse().unwrap(), "ann0".parse().unwrap());
                    let refund = self_refund::run(&store, ChannelId(1), &username, &bet);
                    let (refund, _) = life.unless_ended(refund).await?.unwrap();
                    Some(json!(refund.posting.after.to_string()))
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann ACCOUNT: 110, posting 1"],
            leaves: &[],
        },
        Operation {
            name: "entries of a wallet",
            lines: || vec![channel_line(1)],
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let said = [
                        json!({"kind": "wallet", "channelId": 1, "username": "ann", "balance": "0"}),
                        json!({"kind": "credit", "channelId": 1, "username": "ann", "id": "in", "amount": "50", "reason": "deposit"}),
                        json!({"kind": "debit", "channelId": 1, "username": "ann", "seqNo": "bet", "roundCode": "R", "amount": "20", "live": true}),
                        json!({"kind": "settle", "channelId": 1, "username": "ann", "seqNo": "bet"}),
                        json!({"kind": "withdrawal", "channelId": 1, "username": "ann", "id": "out", "amount": "5", "reason": "cash out"}),
                    ];
                    entries(world, &said).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann ACCOUNT: 25, posting 3", "ebet#1#ann PAYMENT#bet: settled"],
            leaves: &[],
        },
        Operation {
            name: "a bet that the wallet does not hold, and one that it does",
            lines: players,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let bet = |id: &str, amount: &str| {
                        json!({"kind": "debit", "channelId": 1, "username": "ann", "seqNo": id, "roundCode": "R",
                               "amount": amount, "live": true})
                    };
                    entries(world, &[bet("large", "1000"), bet("small", "100")]).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann ACCOUNT: 0, posting 1", "ebet#1#ann PAYMENT#small: open"],
            leaves: &[],
        },
        Operation {
            name: "a settlement by itself",
            lines: players,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let settle =
                        json!({"kind": "settle", "channelId": 1, "username": "ann", "seqNo": "ann0"});
                    entries(world, &[settle]).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann PAYMENT#ann0: settled"],
            leaves: &[],
        },
        Operation {
            name: "begin",
            lines: merchant,
            before: nothing,
            act: |world| Box::pin(begin(world, 1, "B1")),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#1 PAYMENT: Processing"],
            leaves: &[],
        },
        Operation {
            name: "end",
            lines: merchant,
            before: |world| Box::pin(async move { drop(begin(world, 1, "B1").await) }),
            act: |world| Box::pin(end(world, "B1", "T1", "2")),
            actions: None,
            recoveries: &[Resend, Operator],
            comes_to: &["epay#demo#1 PAYMENT: Done"],
            leaves: &[],
        },
        Operation {
            name: "an end after one of another amount",
            lines: merchant,
            before: |world| {
                Box::pin(async move {
                    begin(world, 1, "B1").await;
                    end(world, "B1", "T0", "1").await;
                })
            },
            act: |world| Box::pin(end(world, "B1", "T1", "2")),
            actions: None,
            recoveries: &[Resend, Operator],
            comes_to: &["epay#demo#1 PAYMENT: Done", "epay#demo#batchno#B1 CONFIRMATION#2#T1"],
            leaves: &[],
        },
        Operation {
            name: "a withdrawal of an application",
            lines: merchant,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    entries(world, &[json!({"kind": "withdraw", "merchant": "demo", "autoid": 1})]).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#1 PAYMENT: Withdrawn"],
            leaves: &[],
        },
        Operation {
            name: "a failed refund of an application",
            lines: merchant,
            before: |world| Box::pin(async move { drop(begin(world, 1, "B1").await) }),
            act: |world| {
                Box::pin(async move {
                    let fail = json!({"kind": "fail", "merchant": "demo", "autoid": 1, "batchNo": "B1"});
                    entries(world, &[fail]).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#1 FAILED#B1", "epay#demo#1 PAYMENT: Requested"],
            leaves: &[],
        },
        Operation {
            name: "a batch of charges",
            lines: || charges(3),
            before: nothing,
            act: |world| Box::pin(create(world, "batch1", 0..3)),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["batch batch1: Created", "pingpp#app_1#test#ch_0 PAYMENT: 0 refunded, 30 held"],
            leaves: &[],
        },
        Operation {
            name: "a batch of charges that two transactions hold",
            lines: || charges(100),
            before: nothing,
            act: |world| Box::pin(create(world, "batch1", 0..100)),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["batch batch1: Created", "pingpp#app_1#test#ch_99 PAYMENT: 0 refunded, 30 held"],
            leaves: &[],
        },
        Operation {
            name: "a batch of charges that two transactions hold, and whose first one another asks for",
            lines: || charges(3),
            before: nothing,
            act: |world| Box::pin(create(world, "batch1", 0..3)),
            actions: FEW_ACTIONS,
            recoveries: &[Rival, Sweep, Operator],
            comes_to: &["pingpp#app_1#test#batchno#batch1 GUARD"],
            leaves: &[],
        },
        Operation {
            name: "half a batch that is taken back",
            lines: || charges(3),
            before: half_a_batch_that_lacks_a_charge,
            act: |world| Box::pin(async move { ask(world, "settle-refunds", SWEEP.to_owned()).await }),
            actions: FEW_ACTIONS,
            recoveries: &[Sweep],
            comes_to: &["pingpp#app_1#test#ch_0 PAYMENT: 0 refunded, 0 held"],
            leaves: &[],
        },
        Operation {
            name: "half a batch that is completed",
            lines: || charges(3),
            before: half_a_batch,
            act: |world| Box::pin(async move { ask(world, "settle-refunds", SWEEP.to_owned()).await }),
            actions: FEW_ACTIONS,
            recoveries: &[Sweep],
            comes_to: &["batch large: PartiallySucceeded"],
            leaves: &[],
        },
        Operation {
            name: "the settling of a batch by its change of the table",
            lines: || charges(3),
            before: |world| Box::pin(async move { drop(create(world, "batch1", 0..3).await) }),
            act: |world| {
                Box::pin(async move {
                    let changes: Vec<Value> =
                        world.changes_from(0).0.iter().map(|change| (**change).clone()).collect();
                    ask(world, "settle-refunds", json!({ "Records": changes }).to_string()).await
                })
            },
            actions: None,
            recoveries: &[Sweep],
            comes_to: &["batch batch1: PartiallySucceeded"],
            leaves: &[],
        },
        Operation {
            name: "the settling of a batch",
            lines: || charges(3),
            before: |world| Box::pin(async move { drop(create(world, "batch1", 0..3).await) }),
            act: |world| Box::pin(ask(world, "settle-refunds", SWEEP.to_owned())),
            actions: None,
            recoveries: &[Sweep, Operator],
            comes_to: &["batch batch1: PartiallySucceeded"],
            leaves: &[],
        },
        Operation {
            name: "a refund that people decide",
            lines: || charges(2),
            before: |world| Box::pin(async move { drop(create(world, "batch1", 0..2).await) }),
            act: |world| {
                let failed = ItemState::Failed { at: 1, code: "no".to_owned(), message: "no".to_owned() };
                Box::pin(decide(world, failed))
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["refund of ch_0: failed"],
            leaves: &[],
        },
        Operation {
            name: "a refund that people confirm",
            lines: || charges(2),
            before: |world| Box::pin(async move { drop(create(world, "batch1", 0..2).await) }),
            act: |world| Box::pin(decide(world, ItemState::Succeeded { at: 1 })),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["refund of ch_0: succeeded"],
            leaves: &[],
        },
        Operation {
            name: "a begin of an application that is not there",
            lines: merchant,
            before: nothing,
            act: |world| Box::pin(begin(world, 9, "B")),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#9 PAYMENT"],
            leaves: &[],
        },
        Operation {
            name: "a withdrawal of an application that is not there",
            lines: merchant,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    entries(world, &[json!({"kind": "withdraw", "merchant": "demo", "autoid": 9})]).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#9 PAYMENT"],
            leaves: &[],
        },
        Operation {
            name: "an application that comes after somebody asked for it",
            lines: merchant,
            before: |world| Box::pin(async move { drop(begin(world, 9, "B").await) }),
            act: |world| Box::pin(async move { entries(world, &[application(9)]).await }),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#9 PAYMENT: Requested"],
            leaves: &[],
        },
        Operation {
            name: "a large batch that is refused for its last charge",
            lines: || charges(3),
            before: |world| Box::pin(async move { drop(create(world, "small", 2..3).await) }),
            act: |world| Box::pin(create(world, "large", 0..3)),
            actions: FEW_ACTIONS,
            recoveries: &[Resend],
            comes_to: &["pingpp#app_1#test#ch_0 PAYMENT: 0 refunded, 0 held", "batch small: Created"],
            leaves: &[],
        },
        Operation {
            name: "settings in the place of others",
            lines: || charges(0),
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let life = Life::new("refundctl import".to_owned());
                    let session = world.session_of(&life);
                    let app = app();
                    let put = session.put_settings(&app, DISABLED, true);
                    life.unless_ended(put).await?.unwrap();
                    Some(Value::Null)
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &[
                r#"pingpp#app_1#test TENANT: {"app":"app_1","livemode":false,"currency":"cny","enabled":false}"#,
            ],
            leaves: &[],
        },
        Operation {
            name: "settings that are changed as they were read",
            lines: || charges(0),
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let life = Life::new("refundctl tenant disable".to_owned());
                    let session = world.session_of(&life);
                    let app = app();
                    let read = life.unless_ended(session.settings(&app)).await?.unwrap().unwrap();
                    let change = session.change_settings(&app, &read, DISABLED);
                    Some(json!(life.unless_ended(change).await?.unwrap()))
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &[
                r#"pingpp#app_1#test TENANT: {"app":"app_1","livemode":false,"currency":"cny","enabled":false}"#,
            ],
            leaves: &[],
        },
        Operation {
            name: "an import of a channel, an app and a merchant with all that they have",
            lines: Vec::new,
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let life = Life::new("refundctl import".to_owned());
                    let store = world.store(&life);
                    let lines = [players()[..2].to_vec(), charges(1), merchant()[..1].to_vec()].concat();
                    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
                    let settings = import::Settings::default();
                    let run = import::run(&store, Source::text(&lines), &settings);
                    let report = life.unless_ended(run).await?.unwrap();
                    Some(json!(report.conflicts.len()))
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &[
                "ebet#1#ann ACCOUNT: 100, posting 0",
                "pingpp#app_1#test#recharge_funds ACCOUNT: 10000, posting 0",
            ],
            leaves: &[Kind::WithoutTenant],
        },
        Operation {
            name: "a key that names another app, too",
            lines: || {
                let app = json!({"kind": "app", "app": "app_2", "livemode": false, "currency": "cny"});
                charges(0).into_iter().chain([app]).collect()
            },
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let life = Life::new("refundctl tenant".to_owned());
                    let session = world.session_of(&life);
                    let key: SecretKey = KEY.parse().unwrap();
                    let both = |_: &[String]| vec!["app_1".to_owned(), "app_2".to_owned()];
                    let tenant_of = |id: &str| tenant_of(id, Mode::Test);
                    let change = session.change_shared_credential(&key.credential, both, tenant_of, None);
                    life.unless_ended(change).await?.unwrap();
                    Some(Value::Null)
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["key a2d1e60c: app_1 app_2", "pingpp#app_2#test key a2d1e60c"],
            leaves: &[],
        },
        Operation {
            name: "a past bet that comes after somebody asked for it",
            lines: players,
            before: |world| Box::pin(async move { drop(single(world, "n", &[("ann", "late", "10")]).await) }),
            act: |world| {
                Box::pin(async move {
                    let late = json!({"kind": "debit", "channelId": 1, "username": "ann", "seqNo": "late",
                                      "roundCode": "R", "amount": "10"});
                    entries(world, &[late]).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["ebet#1#ann ACCOUNT: 100, posting 0", "ebet#1#ann PAYMENT#late: open"],
            leaves: &[],
        },
        Operation {
            name: "an application",
            lines: merchant,
            before: nothing,
            act: |world| Box::pin(async move { entries(world, &[application(9)]).await }),
            actions: None,
            recoveries: &[Resend],
            comes_to: &["epay#demo#9 PAYMENT: Requested"],
            leaves: &[],
        },
        Operation {
            name: "entries of an app: a charge, that another is paid, and funds",
            lines: || {
                let mut lines = charges(1);
                let unpaid = lines[2].as_object_mut().unwrap();
                unpaid.insert("paid".to_owned(), json!(false));
                unpaid.retain(|name, _| name != "timePaid" && name != "transactionNo");
                lines
            },
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let mut said = charges(2).split_off(2);
                    said.push(json!({"kind": "funds", "app": "app_1", "livemode": false,
                                     "source": "unsettled_funds", "id": "f1", "amount": -20, "reason": "sold"}));
                    entries(world, &said).await
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &[
                "pingpp#app_1#test#ch_0 PAYMENT: 0 refunded, 0 held",
                "pingpp#app_1#test#ch_1 PAYMENT: 0 refunded, 0 held",
                "pingpp#app_1#test#unsettled_funds ACCOUNT: 9980, posting 1",
            ],
            leaves: &[],
        },
        Operation {
            name: "a key that is ended, if another stays",
            lines: || {
                let other = json!({"kind": "key", "secret": OTHER_KEY, "apps": ["app_1"]});
                charges(0).into_iter().chain([other]).collect()
            },
            before: nothing,
            act: |world| {
                Box::pin(async move {
                    let life = Life::new("refundctl tenant".to_owned());
                    let session = world.session_of(&life);
                    let [key, other]: [SecretKey; 2] = [KEY, OTHER_KEY].map(|key| key.parse().unwrap());
                    let none = |_: &[String]| Vec::new();
                    let tenant_of = |id: &str| tenant_of(id, Mode::Test);
                    let app = tenant_of("app_1");
                    let stays = Some((&app, other.credential.hash()));
                    let change = session.change_shared_credential(&key.credential, none, tenant_of, stays);
                    life.unless_ended(change).await?.unwrap();
                    let has = life.unless_ended(session.keys_of_tenant(&app)).await?.unwrap();
                    Some(json!(has == [other.credential.hash()]))
                })
            },
            actions: None,
            recoveries: &[Resend],
            comes_to: &["key 0774b3de: app_1", "pingpp#app_1#test key 0774b3de"],
            leaves: &[],
        },
    ]
}
