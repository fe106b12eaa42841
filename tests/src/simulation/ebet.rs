//! A game provider, its players and their bets: refunds asked for by single and by batch calls, sent again as eBET does,
//! also at the same time and under one number with another body; while the operator's own systems take bets, settle them,
//! pay out, and give back on their own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use futures::future::BoxFuture;
use refundctl::self_refund;
use refundctl::send::ebet::{DEMO_KEY, sign};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use shared::ebet::ChannelId;
use shared::ledger::{Debit, DebitState, RefundedBy, RequestKey};
use shared::limits;
use shared::store::{Content, SettingsChange};

use super::attempts::{Attempts, Begun};
use super::entries::{self, Entries};
use super::platform::Life;
use super::table::{Items, Moment, balance, content};
use super::weather::elsewhere;
use super::{Simulation, TABLE};
use crate::embedded::Key;
use crate::world::{channel_line, event_of};

/// A refund limit in settings that must never replace others.
const NEVER: &str = "0.12";

pub const PLAYERS: [&str; 3] = ["ann", "bob", "eve"];

/// How a bet comes on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In the beginning, as one of the past.
    Past,
    /// As one of the past, at some time.
    LatePast,
    /// Live: it takes its stake from the wallet.
    Live,
    Never,
}

#[derive(Debug, Clone)]
pub struct Bet {
    pub player: usize,
    pub id: String,
    /// In hundredths.
    pub cents: u64,
    pub way: Way,
}

/// As JSON has it, and entries' texts.
pub fn money(cents: u64) -> String {
    match (cents / 100, cents % 100) {
        (whole, 0) => whole.to_string(),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}", part / 10),
        (whole, part) => format!("{whole}.{part:02}"),
    }
}

impl Bet {
    pub fn player(&self) -> &'static str {
        PLAYERS[self.player]
    }

    fn round(&self) -> String {
        format!("R-{}", self.id)
    }

    pub fn amount(&self) -> String {
        money(self.cents)
    }

    fn wallet(&self) -> String {
        format!("ebet#1#{}", self.player())
    }

    pub fn content(&self, simulation: &Simulation) -> Option<Content> {
        simulation.table.content(&self.wallet(), &format!("PAYMENT#{}", self.id))
    }

    fn debit<'a>(&self, items: &'a Items) -> Option<&'a Debit> {
        match content(items, &self.wallet(), &format!("PAYMENT#{}", self.id)) {
            Some(Content::Debit(debit)) => Some(debit),
            _ => None,
        }
    }

    /// What its player has.
    fn balance(&self, items: &Items) -> Option<Decimal> {
        balance(items, &self.wallet())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Single,
    Batch,
}

impl Api {
    fn event(self) -> &'static str {
        match self {
            Self::Single => "refundSingleWallet",
            Self::Batch => "autoBatchRefund",
        }
    }

    fn binary(self) -> &'static str {
        match self {
            Self::Single => "refund-single-wallet",
            Self::Batch => "auto-batch-refund",
        }
    }
}

/// One refund that a body asks for.
#[derive(Debug, Clone)]
struct Item {
    bet: usize,
    cents: u64,
    is_wrong_round: bool,
}

impl Item {
    /// The round that is sent with it.
    fn round(&self, bets: &[Bet], names_rounds: bool) -> Option<String> {
        match self.is_wrong_round {
            true => Some("another".to_owned()),
            false => names_rounds.then(|| bets[self.bet].round()),
        }
    }
}

/// A request as it is sent, again and again.
struct Body {
    api: Api,
    seq_no: String,
    items: Vec<Item>,
    /// Whether the right rounds are sent, too.
    names_rounds: bool,
    event: String,
    /// Whether others are sent under its number.
    has_rivals: bool,
}

impl Body {
    fn key(&self) -> RequestKey {
        ChannelId(1).tenant().request(self.api.event(), &self.seq_no)
    }
}

/// What settings refuse that may have been in force.
struct Rules {
    refuse_parts: bool,
    /// This amount.
    refuse_amount: bool,
}

/// What an item was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// 200.
    Refunded,
    /// 209.
    ByChannel,
    Refused(u64),
    /// Nothing: the channel is disabled for now.
    Disabled,
    Unknown,
}

/// What a run's requests are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    /// A player has more bets in one request than a transaction holds.
    Large,
    /// Few requests, of as many bets as there are, which take transaction after transaction.
    Long,
    /// Records of requests are gone at any time, as they are after months: then their numbers are free again.
    Expiring,
}

impl Kind {
    fn of(rng: &mut Rng, has_small_transactions: bool) -> Self {
        match rng.u32(0..24) {
            0 if !has_small_transactions => Self::Large,
            1..=6 if has_small_transactions => Self::Expiring,
            7..=14 if has_small_transactions => Self::Long,
            _ => Self::Usual,
        }
    }
}

pub struct Scene {
    simulation: Arc<Simulation>,
    world: Arc<World>,
    actors: Mutex<Vec<BoxFuture<'static, ()>>>,
}

struct World {
    simulation: Arc<Simulation>,
    bets: Vec<Bet>,
    bodies: Vec<Body>,
    entries: Entries,
    /// Nothing that is refused could ever be refunded later: no wallet, bet of the past or setting comes late.
    is_strict: bool,
    /// Whether less than a bet may be refunded.
    allows_parts: bool,
    /// Settings change.
    has_operator: bool,
    /// Records of requests vanish.
    is_expiring: bool,
    /// In a thousand requests, those that are sent twice at once.
    twice: u32,
    attempts: Attempts,
    /// How the table was at some moments, where settings change: for a while they are gone by after they changed.
    moments: Mutex<Vec<Moment>>,
    /// The body that is executed under a record, by its number and its fingerprint.
    executed: Mutex<BTreeMap<(String, String), usize>>,
    /// How the table was when numbers were used for the first time.
    first: Mutex<BTreeMap<String, Moment>>,
    /// Bodies that were sent at all.
    sent: Mutex<HashSet<usize>>,
    /// Items that were told refused to somebody who was trying alone.
    denied: Mutex<Vec<(Begun, usize, usize)>>,
    /// What was decided of a body's item, and told.
    decided: Mutex<BTreeMap<(usize, usize), Told>>,
    /// Items that were refused for good.
    final_refusals: Mutex<BTreeSet<(usize, usize)>>,
    /// The settings that an operator was told last to be in force.
    last_settings: Mutex<Option<String>>,
    /// Bets of which somebody was told that they are not there: they must never be taken.
    never: Mutex<HashSet<usize>>,
    /// Bets that the channel gave back on its own, or tried to.
    given_back: Mutex<HashSet<usize>>,
}

impl Scene {
    pub async fn new(simulation: &Arc<Simulation>, mut rng: Rng) -> Self {
        let has_small_transactions = simulation.weather.actions.is_some();
        let kind = Kind::of(&mut rng, has_small_transactions);
        let is_expiring = kind == Kind::Expiring;
        let is_strict = rng.bool() && !is_expiring;
        // Rivals under one number are about different players then: nothing but the number brings them together.
        let players = match kind {
            Kind::Expiring => 2,
            Kind::Long => rng.usize(1..=2),
            _ => rng.usize(1..=PLAYERS.len()),
        };
        let mut bets = Vec::new();
        for (player, name) in PLAYERS.iter().enumerate().take(players) {
            let count = match kind {
                Kind::Large if player == 0 => 105,
                Kind::Expiring => [14, 6][player],
                Kind::Long => rng.usize(6..=9),
                Kind::Usual if has_small_transactions => rng.usize(2..=8),
                _ => rng.usize(2..=5),
            };
            for number in 0..count {
                let way = match rng.u32(0..10) {
                    0..=2 => Way::Past,
                    3..=6 => Way::Live,
                    7..=8 if !is_strict => Way::LatePast,
                    7..=8 => Way::Past,
                    _ => Way::Never,
                };
                let is_past = match kind {
                    Kind::Large => player == 0 && number < 100,
                    Kind::Long => number < 6,
                    Kind::Expiring => true,
                    Kind::Usual => false,
                };
                let way = if is_past { Way::Past } else { way };
                let cents = [100, 250, 1_999, 7, 5_000][rng.usize(0..5)];
                bets.push(Bet { player, id: format!("{}{number}", &name[..1]), cents, way });
            }
        }
        let bodies = bodies(&mut rng, &bets, kind, has_small_transactions);

        // In some, less than a bet may be refunded.
        let allows_parts = bets.len().is_multiple_of(3);
        let mut lines = vec![settings_line(allows_parts)];
        let mut late_wallets = HashSet::new();
        for (player, name) in PLAYERS.iter().enumerate().take(players) {
            if !is_strict && rng.u32(0..3) == 0 {
                late_wallets.insert(player);
                continue;
            }
            let balance = money([0, 500, 2_000, 100_000][rng.usize(0..4)]);
            lines.push(entries::wallet(name, &balance));
            let past = bets.iter().filter(|bet| bet.player == player && bet.way == Way::Past);
            lines.extend(past.map(|bet| entries::past_debit(bet, &bet.round())));
        }
        simulation.import(&lines).await;
        // Bets of the past whose wallet is not there yet come with it.
        for bet in &mut bets {
            if bet.way == Way::Past && late_wallets.contains(&bet.player) {
                bet.way = Way::LatePast;
            }
        }
        let entries = Entries::new(simulation, &mut rng, &bets, &late_wallets, Bet::round);
        let has_operator = !is_strict && rng.bool();
        let world = Arc::new(World {
            simulation: simulation.clone(),
            allows_parts,
            has_operator,
            bets,
            bodies,
            entries,
            is_strict,
            is_expiring,
            twice: if kind == Kind::Long { 750 } else { 250 },
            attempts: Attempts::default(),
            moments: Mutex::new(vec![simulation.table.moment()]),
            executed: Mutex::default(),
            first: Mutex::default(),
            sent: Mutex::default(),
            denied: Mutex::default(),
            decided: Mutex::default(),
            final_refusals: Mutex::default(),
            last_settings: Mutex::default(),
            never: Mutex::default(),
            given_back: Mutex::default(),
        });
        let mut actors: Vec<BoxFuture<'static, ()>> = Vec::new();
        for _ in 0..rng.usize(2..=5) {
            actors.push(Box::pin(world.clone().provider(rng.fork())));
        }
        for _ in 0..rng.usize(1..=3) {
            let (world, rng) = (world.clone(), rng.fork());
            actors.push(Box::pin(async move { world.entries.say_all(rng).await }));
        }
        if rng.u32(0..3) == 0 {
            actors.push(Box::pin(world.clone().channel(rng.fork())));
        }
        if has_operator {
            actors.push(Box::pin(world.clone().operator(rng.fork())));
        }
        if is_expiring {
            simulation.records_expire.store(true, Ordering::Relaxed);
            actors.push(Box::pin(world.clone().months(rng.fork())));
        }
        Self { simulation: simulation.clone(), world, actors: Mutex::new(actors) }
    }

    pub fn actors(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.actors.lock().unwrap())
    }

    /// Everybody asks once more, and must be told.
    pub async fn come_to_rest(&self) {
        let world = &self.world;
        world.attempts.settle();
        world.check_denied(None);
        world.entries.come_to_rest().await;
        let sent: Vec<usize> = {
            let mut sent: Vec<usize> = world.sent.lock().unwrap().iter().copied().collect();
            sent.sort_unstable();
            sent
        };
        for body in sent {
            if !world.ask(body).await {
                self.simulation
                    .breach(format!("request {} is not decided though all is well", world.name(body)));
            }
        }
    }

    pub fn check_at_rest(&self) {
        let world = &self.world;
        world.entries.check_at_rest();
        world.check_denied(None);
        world.check_settings();
        for (body, item) in &*world.final_refusals.lock().unwrap() {
            if world.is_refunded_by(*body, *item) {
                let name = world.name(*body);
                self.simulation.breach(format!("{name}: item {item} was refused for good, and is refunded"));
            }
        }
        for bet in &*world.never.lock().unwrap() {
            let bet = &world.bets[*bet];
            if let Some(Content::Debit(debit)) = bet.content(&self.simulation)
                && debit.taken.is_some()
            {
                let id = &bet.id;
                self.simulation
                    .breach(format!("bet {id} was taken after somebody was told that it is not there"));
            }
        }
        for (number, bet) in world.bets.iter().enumerate() {
            world.check_origin(number, bet);
        }
    }
}

/// Requests of a run: few numbers, some of them with several bodies.
fn bodies(rng: &mut Rng, bets: &[Bet], kind: Kind, has_small_transactions: bool) -> Vec<Body> {
    let mut bodies: Vec<Body> = Vec::new();
    let is_expiring = kind == Kind::Expiring;
    let numbers = match kind {
        Kind::Expiring | Kind::Long => rng.usize(1..=2),
        _ => rng.usize(2..=6),
    };
    for number in 0..numbers {
        let seq_no = format!("n{number}");
        let api = if rng.bool() { Api::Single } else { Api::Batch };
        let count = match rng.u32(0..4) {
            // Each can come between another's transactions once.
            _ if is_expiring => 5,
            0 => 2,
            _ => 1,
        };
        for rival in 0..count {
            let mut items: Vec<Item> = Vec::new();
            let wanted = match kind {
                Kind::Large if number == 0 => bets.len(),
                // One that takes several transactions, and one that comes between them.
                Kind::Expiring => {
                    if rival == 0 {
                        30
                    } else {
                        1
                    }
                }
                Kind::Long => 2 * bets.len(),
                // So many that an account's take several transactions.
                _ if has_small_transactions && rng.u32(0..3) == 0 => rng.usize(5..=12),
                _ => rng.usize(1..=4),
            };
            let player = match is_expiring {
                true => Some(rival.min(1)),
                false => rng.bool().then(|| bets[rng.usize(0..bets.len())].player),
            };
            let of_player = |bet: &usize| !is_expiring || player == Some(bets[*bet].player);
            let pool: Vec<usize> = (0..bets.len()).filter(of_player).collect();
            for turn in 0..wanted {
                let bet = match is_expiring {
                    _ if wanted == bets.len() => turn,
                    true if rival > 0 => pool[rival % pool.len()],
                    _ => pool[rng.usize(0..pool.len())],
                };
                if api == Api::Single && player.is_some_and(|player| bets[bet].player != player) {
                    continue;
                }
                if items.iter().any(|item| item.bet == bet) && rng.u32(0..4) != 0 {
                    continue;
                }
                let cents = match rng.u32(0..12) {
                    0 => bets[bet].cents + 1,
                    1 => bets[bet].cents / 2 + 1,
                    _ => bets[bet].cents,
                };
                items.push(Item { bet, cents, is_wrong_round: rng.u32(0..24) == 0 });
            }
            if items.is_empty() {
                let bet = rng.usize(0..bets.len());
                items.push(Item { bet, cents: bets[bet].cents, is_wrong_round: false });
            }
            let names_rounds = rng.bool();
            let event = event(api, &seq_no, bets, &items, names_rounds);
            let seq_no = seq_no.clone();
            bodies.push(Body { api, seq_no, items, names_rounds, event, has_rivals: count > 1 });
        }
    }
    bodies
}

fn event(api: Api, seq_no: &str, bets: &[Bet], items: &[Item], names_rounds: bool) -> String {
    let number = |text: &str| -> Value { serde_json::from_str(text).expect("a number") };
    let list: Vec<Value> = items
        .iter()
        .map(|item| {
            let bet = &bets[item.bet];
            let mut value = match api {
                Api::Single => json!({"refundSeqNo": bet.id, "username": bet.player(),
                                      "refundMoney": number(&format!("-{}", money(item.cents)))}),
                Api::Batch => json!({"seqNo": bet.id, "username": bet.player(),
                                     "refundMoney": number(&money(item.cents))}),
            };
            if let Some(round) = item.round(bets, names_rounds) {
                value["roundCode"] = json!(round);
            }
            value
        })
        .collect();
    signed_event(api.event(), seq_no, bets[items[0].bet].player(), list)
}

/// The event of a signed call of channel 1, single or batch, for these items.
pub fn signed_event(event: &str, seq_no: &str, username: &str, items: Vec<Value>) -> String {
    let mut body =
        json!({"channelId": 1, "seqNo": seq_no, "event": event, "timestamp": TIMESTAMP, "currency": "CNY"});
    let signed = match event {
        "refundSingleWallet" => {
            body["username"] = json!(username);
            body["refundList"] = json!(items);
            username
        }
        _ => {
            body["batchRefundList"] = json!(items);
            "1"
        }
    };
    body["signature"] = json!(signature(&format!("{signed}{TIMESTAMP}")));
    let headers = [("content-type", "application/json")];
    event_of("POST", &format!("/{event}"), &headers, body.to_string().as_bytes()).to_string()
}

/// Of all calls: channels here take signatures of any age.
const TIMESTAMP: u64 = 1_577_808_000_000;

/// The demo key's signature; few texts are signed, and each takes a while.
fn signature(text: &str) -> String {
    static SIGNED: OnceLock<Mutex<BTreeMap<String, String>>> = OnceLock::new();
    let mut signed = SIGNED.get_or_init(Mutex::default).lock().unwrap();
    signed.entry(text.to_owned()).or_insert_with(|| sign(DEMO_KEY, text).expect("the demo key signs")).clone()
}

impl World {
    fn name(&self, body: usize) -> String {
        let Body { api, seq_no, items, .. } = &self.bodies[body];
        let items: Vec<String> = items
            .iter()
            .map(|item| {
                let bet = &self.bets[item.bet];
                let wrong = if item.is_wrong_round { " of another round" } else { "" };
                format!("{} {}{wrong}", bet.id, money(item.cents))
            })
            .take(12)
            .collect();
        format!("{} {seq_no} (body {body}: {})", api.event(), items.join(", "))
    }

    /// eBET: asks, and asks again up to three times where it hears nothing, or that the channel is busy.
    async fn provider(self: Arc<Self>, mut rng: Rng) {
        for _ in 0..rng.usize(1..=4) {
            self.simulation.pause(rng.u64(0..400)).await;
            let body = rng.usize(0..self.bodies.len());
            if rng.u32(0..1_000) < self.twice {
                self.simulation.count_fault(elsewhere::TWICE_AT_ONCE);
                self.ask_later(body, rng.u64(0..60));
            }
            for _ in 0..4 {
                if self.ask(body).await {
                    break;
                }
                self.simulation.pause(rng.u64(10..3_000)).await;
            }
        }
    }

    fn ask_later(self: &Arc<Self>, body: usize, milliseconds: u64) {
        let world = self.clone();
        self.simulation.spawn(async move {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            world.ask(body).await;
        });
    }

    /// The channel gives back on its own.
    async fn channel(self: Arc<Self>, mut rng: Rng) {
        for _ in 0..rng.usize(1..=3) {
            self.simulation.pause(rng.u64(0..2_000)).await;
            let number = rng.usize(0..self.bets.len());
            let bet = &self.bets[number];
            self.given_back.lock().unwrap().insert(number);
            let (username, seq_no) = (bet.player().parse().unwrap(), bet.id.parse().unwrap());
            let store = self.simulation.store(&Life::new("refundctl self-refund".to_owned()));
            let before = self.simulation.table.moment();
            let told = self_refund::run(&store, ChannelId(1), &username, &seq_no).await;
            self.simulation.tell(|| format!("channel gives back {}: {told:?}", bet.id));
            let is_so = match &told {
                Ok((refund, _)) => self.refund(number).as_ref() == Some(refund),
                Err(refused) => {
                    let refused = format!("{refused:#}");
                    self.simulation.table.was_ever(&before, |items| is_not_given_back(items, bet, &refused))
                }
            };
            if !is_so {
                self.simulation.breach(format!("the channel was told of {}: {told:?}", bet.id));
            }
        }
    }

    /// Takes records of requests away, as the table does when their time is over.
    async fn months(self: Arc<Self>, mut rng: Rng) {
        for _ in 0..rng.usize(10..=40) {
            tokio::time::sleep(Duration::from_millis(rng.u64(5..100))).await;
            if rng.bool() {
                self.expire_under_way(&mut rng).await;
            } else if let Some((partition, sort)) = rng.choice(self.records("ebet#1#")) {
                self.expire(&partition, &sort);
            }
        }
    }

    /// All who have a number want something when it is free again; then what the first of them had put on record goes.
    async fn expire_under_way(self: &Arc<Self>, rng: &mut Rng) {
        let Body { api, seq_no, .. } = &self.bodies[rng.usize(0..self.bodies.len())];
        let number = ChannelId(1).tenant().request(api.event(), seq_no);
        let records = || self.records(number.as_str());
        records().iter().for_each(|(partition, sort)| self.expire(partition, sort));
        for body in (0..self.bodies.len()).filter(|body| self.bodies[*body].key() == number) {
            self.ask_later(body, rng.u64(0..20));
        }
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some((partition, sort)) = records().first() {
                self.expire(partition, sort);
                break;
            }
        }
    }

    /// Keys of records of requests, below what their partitions begin with.
    fn records(&self, prefix: &str) -> Vec<Key> {
        let is_record = |sort: &str| sort == "REQUEST" || sort.starts_with("REQUEST#");
        let items = self.simulation.table.items();
        let keys = items.keys().filter(|(partition, sort)| partition.starts_with(prefix) && is_record(sort));
        keys.cloned().collect()
    }

    fn expire(&self, partition: &str, sort: &str) {
        self.simulation.count_fault(elsewhere::RECORD_EXPIRES);
        self.simulation.tell(|| format!("expires: {partition} {sort}"));
        let call = json!({"TableName": TABLE, "Key": {"pk": {"S": partition}, "sk": {"S": sort}}});
        let (status, answer) = self.simulation.table.carry_out("DeleteItem", &call.to_string());
        assert_eq!(status, 200, "{answer}");
    }

    /// An operator changes what is allowed, and changes it back.
    async fn operator(self: Arc<Self>, mut rng: Rng) {
        for turn in 0..rng.usize(1..=3) {
            self.simulation.pause(rng.u64(100..40_000)).await;
            // Some only want that there are settings, as an import does.
            let replaces = rng.u32(0..3) != 0;
            let mut settings = settings_line(self.allows_parts);
            if !replaces {
                settings["refundLimit"] = json!(NEVER);
            } else if turn % 2 == 0 {
                match rng.u32(0..3) {
                    0 => settings["refundLimit"] = json!("2"),
                    1 => settings["partialRefunds"] = json!(!self.allows_parts),
                    _ => settings["enabled"] = json!(false),
                }
            }
            let settings = settings_of(settings);
            let session = self.simulation.session("refundctl tenant");
            let since = self.simulation.table.moment();
            let told = session.put_settings(&ChannelId(1).tenant(), &settings, replaces).await;
            self.simulation.tell(|| format!("settings {settings}: {told:?}"));
            let were_so = || self.simulation.table.was_ever(&since, |items| has_settings(items, &settings));
            if matches!(told, Ok(told) if told != SettingsChange::Kept) && !were_so() {
                self.simulation.breach(format!("{told:?}, and never in force: {settings}"));
            }
            if !replaces && matches!(told, Ok(SettingsChange::Created | SettingsChange::Replaced)) {
                self.simulation.breach(format!("settings that were there are no more: {told:?}"));
            }
        }
        let settings = settings_of(settings_line(self.allows_parts));
        loop {
            let session = self.simulation.session("refundctl tenant");
            if session.put_settings(&ChannelId(1).tenant(), &settings, true).await.is_ok() {
                break;
            }
        }
        *self.last_settings.lock().unwrap() = Some(settings);
    }

    /// Settings that were there have not given way to those that may only be the first, nor the last ones to any.
    fn check_settings(&self) {
        let is_never = |change: &Arc<Value>| {
            let image = &change["dynamodb"]["NewImage"];
            image["sk"]["S"] == "TENANT"
                && image["settings"]["S"].as_str().is_some_and(|text| text.contains(NEVER))
        };
        if self.simulation.changes().log.iter().any(is_never) {
            self.simulation.breach("settings that were there are no more".to_owned());
        }
        if let Some(settings) = &*self.last_settings.lock().unwrap()
            && !has_settings(&self.simulation.table.items(), settings)
        {
            self.simulation.breach(format!("what was told last is not in force: {settings}"));
        }
    }

    /// The refund of a bet that is on record.
    fn refund(&self, bet: usize) -> Option<shared::ledger::Refund> {
        match self.bets[bet].content(&self.simulation)? {
            Content::Debit(debit) => match debit.state {
                DebitState::Refunded(refund) => Some(refund),
                DebitState::Open | DebitState::Settled => None,
            },
            _ => None,
        }
    }

    /// Another body under the same number may have refunded what is asked for here of another round.
    fn is_refunded_by(&self, body: usize, item: usize) -> bool {
        let (body, item) = (&self.bodies[body], &self.bodies[body].items[item]);
        !item.is_wrong_round
            && self.refund(item.bet).is_some_and(|refund| {
                refund.request == body.key() && refund.amount.to_string() == money(item.cents)
            })
    }

    /// What was refused has not happened since, where nobody has tried again: all of it, or `of` one request.
    fn check_denied(&self, of: Option<&str>) {
        for (begun, body, item) in &*self.denied.lock().unwrap() {
            if self.attempts.is_last(begun, of) && self.is_refunded_by(*body, *item) {
                let name = self.name(*body);
                self.simulation
                    .breach(format!("{name}: item {item} was told refused, and is refunded by it"));
            }
        }
    }

    /// Sends a body once, and compares what is told with the table; whether all is decided.
    async fn ask(&self, number: usize) -> bool {
        let body = &self.bodies[number];
        self.check_denied(Some(&body.key().to_string()));
        self.sent.lock().unwrap().insert(number);
        let was_refunded: Vec<bool> =
            (0..body.items.len()).map(|item| self.is_refunded_by(number, item)).collect();
        let before = self.simulation.table.moment();
        if self.has_operator {
            self.moments.lock().unwrap().push(before.clone());
        }
        let record = self.record(body);
        self.first.lock().unwrap().entry(body.key().to_string()).or_insert_with(|| before.clone());
        let begun = self.attempts.begin(&body.key().to_string(), false);
        self.simulation.tell(|| format!("asks: {}", self.name(number)));
        let called = self.simulation.call(body.api.binary(), body.event.clone()).await;
        let Some((http, answer)) = called else {
            self.simulation.tell(|| format!("hears nothing: {}", self.name(number)));
            return false;
        };
        let is_alone = self.attempts.answered(&begun);
        self.simulation.tell(|| format!("is told: {}: {answer}", self.name(number)));
        if http != 200 {
            self.simulation.breach(format!("eBET was answered HTTP {http}: {answer}"));
        }
        let status = answer["status"].as_u64().unwrap_or_default();
        let told = match body.api {
            Api::Single => self.single(body, status, &answer),
            Api::Batch => self.batch(body, status, &answer),
        };
        let is_whole = match body.api {
            Api::Single => answer["resultList"].is_null(),
            Api::Batch => answer["refundResultList"].as_array().is_none_or(Vec::is_empty),
        };
        if !is_status(body.api, is_whole, status, &told) {
            self.simulation.breach(format!("{status} is not what the items are: {answer}"));
        }
        for (item, told) in told.iter().enumerate() {
            self.check(number, item, *told, is_alone.then_some(&begun), was_refunded[item], &before);
            match told {
                Told::Refused(code) if !is_whole => self.check_reason(number, item, *code, &before),
                _ => {}
            }
        }
        if is_whole {
            self.check_whole(number, told[0], &before);
        } else if let Some(record) = record
            && told.iter().any(|told| *told != Told::Unknown)
            && self.record(body).as_ref() == Some(&record)
        {
            self.check_executed(number, record);
        }
        if status == 200 && !self.is_expiring && !self.has_operator {
            self.keep_final(number, &told);
        }
        match body.api {
            _ if status == 500 || status == 4003 => {}
            Api::Single => self.check_balances(body, &told, &answer, &before),
            Api::Batch => self.check_totals(body, &answer),
        }
        let is_decided = status != 500 && status != 4003;
        if status == 200 && told.contains(&Told::Unknown) {
            self.simulation.breach(format!("{}: {status} with undecided items: {answer}", self.name(number)));
        }
        is_decided
    }

    /// What was refused beside what was refunded for the same player is on record: no later attempt refunds it.
    fn keep_final(&self, number: usize, told: &[Told]) {
        let items = &self.bodies[number].items;
        let player = |item: &Item| self.bets[item.bet].player;
        let mut last = self.final_refusals.lock().unwrap();
        for (position, item) in items.iter().enumerate() {
            let is_once = items.iter().filter(|other| other.bet == item.bet).count() == 1;
            let is_executed = |other: usize| {
                player(&items[other]) == player(item)
                    && told[other] == Told::Refunded
                    && self.is_refunded_by(number, other)
            };
            if matches!(told[position], Told::Refused(_)) && is_once && (0..items.len()).any(is_executed) {
                last.insert((number, position));
            }
        }
    }

    fn single(&self, body: &Body, status: u64, answer: &Value) -> Vec<Told> {
        let Some(results) = answer["resultList"].as_array() else {
            return vec![whole(status); body.items.len()];
        };
        if results.len() != body.items.len() {
            self.simulation.breach(format!("not one result for each item: {answer}"));
        }
        let told = |result: &Value| match result["status"].as_u64().unwrap_or_default() {
            200 => Told::Refunded,
            209 => Told::ByChannel,
            500 | 4003 => Told::Unknown,
            code => Told::Refused(code),
        };
        results.iter().map(told).collect()
    }

    fn batch(&self, body: &Body, status: u64, answer: &Value) -> Vec<Told> {
        let groups = answer["refundResultList"].as_array().map_or(&[][..], Vec::as_slice);
        if groups.is_empty() {
            return vec![whole(status); body.items.len()];
        }
        // A bet that is asked for twice, once of another round, is told of twice.
        let mut succeeded: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
        for group in groups {
            let username = group["username"].as_str().unwrap_or_default();
            let round = group["roundCode"].as_str().unwrap_or_default();
            for refunded in group["sucRefundSeqNoList"].as_array().into_iter().flatten() {
                let status = refunded["status"].as_u64().unwrap_or_default();
                succeeded.insert((username, round, refunded["seqNo"].as_str().unwrap_or_default()), status);
            }
        }
        let told = |item: &Item| {
            let bet = &self.bets[item.bet];
            let round = item.round(&self.bets, body.names_rounds).unwrap_or_default();
            match succeeded.get(&(bet.player(), round.as_str(), bet.id.as_str())) {
                Some(200) => Told::Refunded,
                Some(209) => Told::ByChannel,
                // Of which code is not said in a batch.
                None if status == 200 => Told::Refused(0),
                _ => Told::Unknown,
            }
        };
        body.items.iter().map(told).collect()
    }

    /// What an item was told is so.
    fn check(
        &self,
        number: usize,
        position: usize,
        told: Told,
        alone: Option<&Begun>,
        was_refunded: bool,
        since: &Moment,
    ) {
        let body = &self.bodies[number];
        let item = &body.items[position];
        let bet = &self.bets[item.bet];
        let is_twice = body.items.iter().filter(|other| other.bet == item.bet).count() > 1;
        let refund = self.refund(item.bet);
        let breach = |what: &str| {
            let name = self.name(number);
            self.simulation
                .breach(format!("{name}: item {position} ({}): told {told:?}: {what}: {refund:?}", bet.id));
        };
        match (told, &refund) {
            (Told::Unknown | Told::Disabled, _) => return,
            (Told::Refunded | Told::ByChannel, Some(_)) if item.is_wrong_round => {
                breach("it was asked for of another round");
            }
            (Told::Refunded, Some(refund)) => {
                let is_so =
                    refund.by == RefundedBy::Provider && refund.amount.to_string() == money(item.cents);
                // Asked for twice, the two have one answer in a batch.
                if !is_so && !is_twice {
                    breach("it is refunded otherwise");
                }
            }
            (Told::ByChannel, Some(refund)) => {
                if refund.by != RefundedBy::Channel {
                    breach("it is refunded by the provider");
                }
            }
            (Told::Refunded | Told::ByChannel, None) => breach("it is not refunded"),
            (Told::Refused(code), _) => {
                let rivals_may = body.has_rivals && code == 4025;
                // Under a number that another body has, too, that one may do it meanwhile.
                let must_not = was_refunded || alone.is_some() || self.is_strict && !body.has_rivals;
                if self.is_refunded_by(number, position) && !rivals_may && must_not && !is_twice {
                    breach("it is refunded by this very request");
                }
                if let Some(begun) = alone.filter(|_| !is_twice && !rivals_may) {
                    self.denied.lock().unwrap().push((begun.clone(), number, position));
                }
            }
        }
        // Told once, told for ever; where settings change, what was decided under others is told otherwise.
        if !self.is_strict || body.has_rivals {
            return;
        }
        let mut decided = self.decided.lock().unwrap();
        match decided.get(&(number, position)) {
            // A refusal claims nothing: it may come to have another reason, and the channel may give back on its own.
            Some(Told::Refused(_)) if told != Told::Refunded => {}
            // Nor is one late that was decided before the channel gave back.
            Some(Told::ByChannel)
                if matches!(told, Told::Refused(_))
                    && bet.debit(since.items()).is_some_and(|debit| debit.state == DebitState::Open) => {}
            Some(before) if *before != told => {
                breach(&format!("told {before:?} before"));
            }
            Some(_) => {}
            None => {
                decided.insert((number, position), told);
            }
        }
    }

    /// What was refused whole was so because another body was executed under its number, or because nobody may ask.
    fn check_whole(&self, number: usize, told: Told, since: &Moment) {
        let body = &self.bodies[number];
        let table = &self.simulation.table;
        let is_so = match told {
            Told::Disabled => self.was_in_force(since, |settings| settings["enabled"] == false),
            Told::Refused(4025) if body.has_rivals => {
                let has_record = |items: &Items| {
                    items.contains_key(&(body.key().to_string(), "REQUEST".to_owned()))
                        || body.items.iter().any(|item| self.has_part(items, body, item))
                };
                self.is_expiring || table.was_ever(since, has_record)
            }
            Told::Refused(_) => false,
            Told::Refunded | Told::ByChannel | Told::Unknown => true,
        };
        if !is_so {
            self.simulation.breach(format!("{}: refused for nothing: {told:?}", self.name(number)));
        }
    }

    /// Whether the part of a request that is about an item's player has a record.
    fn has_part(&self, items: &Items, body: &Body, item: &Item) -> bool {
        let wallet = self.bets[item.bet].wallet();
        items.keys().any(|(partition, sort)| {
            let own = sort.strip_prefix("REQUEST#").is_some_and(|own| own.ends_with(&body.seq_no));
            own && *partition == wallet
        })
    }

    /// What tells the body apart that is on record under a number; nothing where none is.
    fn record(&self, body: &Body) -> Option<(String, String)> {
        let (number, table) = (body.key().to_string(), &self.simulation.table);
        let key = (number.clone(), "REQUEST".to_owned());
        let record = table.raw(&key).filter(|_| !table.unfinished.is_late(&key))?;
        Some((number, record["fingerprint"].to_string()))
    }

    /// Under one record that stands one body is told what became of it: others are told that the number is used.
    fn check_executed(&self, number: usize, record: (String, String)) {
        if self.is_expiring {
            return;
        }
        let other = *self.executed.lock().unwrap().entry(record).or_insert(number);
        if self.bodies[other].event != self.bodies[number].event {
            let (one, other) = (self.name(number), self.name(other));
            self.simulation
                .breach(format!("{one}: told what became of it, and the number is that of {other}"));
        }
    }

    /// Whether a function may have gone by such settings since then: for a while it does so by those that it has read.
    fn was_in_force(&self, since: &Moment, is_so: impl Fn(&Value) -> bool) -> bool {
        let is_so = |items: &Items| match content(items, ChannelId(1).tenant().as_str(), "TENANT") {
            Some(Content::Tenant { settings, .. }) => {
                serde_json::from_str(settings).is_ok_and(|settings| is_so(&settings))
            }
            _ => false,
        };
        if !self.has_operator {
            return is_so(since.items());
        }
        let moments = self.moments.lock().unwrap();
        let is_old = |moment: &&Moment| moment.is_before(since, limits::SETTINGS_CACHED);
        self.simulation.table.was_ever(moments.iter().rev().find(is_old).unwrap_or(&moments[0]), is_so)
    }

    /// The reason for which an item was refused was one at some moment since. Which it was a batch does not say: then it
    /// has the code 0.
    fn check_reason(&self, number: usize, position: usize, code: u64, since: &Moment) {
        let body = &self.bodies[number];
        let item = &body.items[position];
        let bet = &self.bets[item.bet];
        let table = &self.simulation.table;
        let has_record = |items: &Items| {
            items.contains_key(&(body.key().to_string(), "REQUEST".to_owned()))
                || self.has_part(items, body, item)
        };
        // What is on record stays so.
        let first = self.first.lock().unwrap().get(&body.key().to_string()).cloned();
        let since = match first {
            Some(first) if table.was_ever(since, has_record) => first,
            _ => since.clone(),
        };
        let rules = Rules {
            refuse_parts: self.was_in_force(&since, |settings| settings["partialRefunds"] != true),
            refuse_amount: self.was_in_force(&since, |settings| {
                let limit = settings["refundLimit"].as_str().and_then(|limit| limit.parse().ok());
                limit.is_some_and(|limit: Decimal| Decimal::new(item.cents as i64, 2) > limit)
            }),
        };
        let is_so = |items: &Items| match code {
            0 => [207, 208, 4025, 4037].iter().any(|code| self.is_refused(items, body, item, &rules, *code)),
            code => self.is_refused(items, body, item, &rules, code),
        };
        if !table.was_ever(&since, is_so) {
            self.simulation.breach(format!(
                "{}: item {position} ({}) was refused ({code}) for what was never so",
                self.name(number),
                bet.id
            ));
        }
        // If it was not refused for what it was, it was for not being there.
        let is_for_what_it_is = |items: &Items| is_so(items) && bet.debit(items).is_some();
        let is_told_of =
            matches!(code, 0 | 208 | 4037) && !self.has_operator && !self.is_contradicted(body, item);
        if is_told_of && bet.way == Way::Live && !table.was_ever(&since, is_for_what_it_is) {
            self.never.lock().unwrap().insert(item.bet);
        }
    }

    /// Whether a body asks for a bet twice, with different amounts.
    fn is_contradicted(&self, body: &Body, item: &Item) -> bool {
        body.items.iter().any(|other| other.bet == item.bet && other.cents != item.cents)
    }

    /// Whether an item must be refused, and be told this code, where the table and the rules are so.
    fn is_refused(&self, items: &Items, body: &Body, item: &Item, rules: &Rules, code: u64) -> bool {
        let bet = &self.bets[item.bet];
        let debit = bet.debit(items);
        let is_asked = |amount: &dyn ToString| amount.to_string() == money(item.cents);
        match code {
            207 => debit.is_some_and(|debit| match &debit.state {
                DebitState::Open => {
                    let is_part = item.cents < bet.cents && !rules.refuse_parts;
                    !is_asked(&debit.amount) && !is_part
                }
                DebitState::Refunded(refund) => {
                    refund.by == RefundedBy::Provider && !is_asked(&refund.amount)
                }
                DebitState::Settled => false,
            }),
            // Whether there is a wallet or not.
            208 => debit.is_none_or(|debit| item.is_wrong_round || debit.state == DebitState::Settled),
            4025 => rules.refuse_amount || self.is_contradicted(body, item),
            4037 => bet.balance(items).is_none(),
            _ => false,
        }
    }

    /// The balances of an answer are those around its postings; where there are none, the balance of some moment since
    /// at which all was given back that is told to be.
    fn check_balances(&self, body: &Body, told: &[Told], answer: &Value, since: &Moment) {
        if answer["resultList"].is_null() {
            return;
        }
        let own = &self.bets[body.items[0].bet];
        let mut postings = BTreeMap::new();
        let mut total = BTreeMap::new();
        let mut by_channel = Vec::new();
        for (item, told) in body.items.iter().zip(told) {
            if *told == Told::ByChannel && self.bets[item.bet].player == own.player {
                by_channel.push(&self.bets[item.bet]);
            }
            if *told != Told::Refunded {
                continue;
            }
            let Some(refund) = self.refund(item.bet) else { return };
            total.insert(item.bet, refund.amount.value());
            if self.bets[item.bet].player == own.player {
                postings.insert(refund.posting.sequence, refund.posting.clone());
            }
        }
        let told = |member: &str| answer[member].to_string().parse::<Decimal>().ok();
        let balances = (told("moneyBefore"), told("moneyAfter"));
        let is_so = match (postings.values().next(), postings.values().last()) {
            (Some(first), Some(last)) => balances == (Some(first.before.value()), Some(last.after.value())),
            _ => {
                let is_given_back = |bet: &Bet, items: &Items| {
                    matches!(bet.debit(items), Some(Debit { state: DebitState::Refunded(_), .. }))
                };
                balances.0 == balances.1
                    && self.simulation.table.was_ever(since, |items| {
                        own.balance(items) == balances.0
                            && by_channel.iter().all(|bet| is_given_back(bet, items))
                    })
            }
        };
        if !is_so || told("refundMoney") != Some(total.values().sum()) {
            self.simulation.breach(format!("{postings:?}, {total:?} are in the table: {answer}"));
        }
    }

    /// The sums of a batch's groups are those of their refunds. A bet that is told in several groups counts in one.
    fn check_totals(&self, body: &Body, answer: &Value) {
        let groups = answer["refundResultList"].as_array().map_or(&[][..], Vec::as_slice);
        // Of each bet its amount, and in how many groups it is told.
        let mut bets: BTreeMap<usize, (Decimal, usize)> = BTreeMap::new();
        let mut told: Vec<(Option<Decimal>, BTreeSet<usize>)> = Vec::new();
        for group in groups {
            let mut of_group = BTreeSet::new();
            for refunded in group["sucRefundSeqNoList"].as_array().into_iter().flatten() {
                let of = |item: &&Item| {
                    let bet = &self.bets[item.bet];
                    refunded["seqNo"] == bet.id.as_str() && group["username"] == bet.player()
                };
                let Some(item) = body.items.iter().find(of) else {
                    return self.simulation.breach(format!("nobody has asked for {refunded}: {answer}"));
                };
                let amount = self.refund(item.bet).map_or(Decimal::ZERO, |refund| refund.amount.value());
                if of_group.insert(item.bet) {
                    bets.entry(item.bet).or_insert((amount, 0)).1 += 1;
                }
            }
            told.push((group["refundTotalMoney"].to_string().parse().ok(), of_group));
        }
        let all: Decimal = bets.values().map(|(amount, _)| amount).sum();
        let is_one = |(total, of_group): &(Option<Decimal>, BTreeSet<usize>)| {
            let own = of_group.iter().map(|bet| bets[bet]);
            let least = own.clone().filter(|(_, groups)| *groups == 1).map(|(amount, _)| amount).sum();
            let most = own.map(|(amount, _)| amount).sum();
            total.is_some_and(|total| (least..=most).contains(&total))
        };
        if !told.iter().all(is_one) || told.iter().filter_map(|(total, _)| *total).sum::<Decimal>() != all {
            self.simulation.breach(format!("{bets:?} are in the table: {answer}"));
        }
    }

    /// A refund on record was asked for, so, by somebody.
    fn check_origin(&self, number: usize, bet: &Bet) {
        let Some(refund) = self.refund(number) else { return };
        let sent = self.sent.lock().unwrap();
        let is_asked = match refund.by {
            RefundedBy::Channel => self.given_back.lock().unwrap().contains(&number),
            RefundedBy::Provider => self.bodies.iter().enumerate().any(|(body, asked)| {
                sent.contains(&body)
                    && asked.key() == refund.request
                    && asked.items.iter().any(|item| {
                        item.bet == number
                            && money(item.cents) == refund.amount.to_string()
                            && !item.is_wrong_round
                    })
            }),
        };
        if !is_asked {
            self.simulation
                .breach(format!("bet {} is refunded, and nobody has asked for it: {refund:?}", bet.id));
        }
        // All that a number has refunded is of one body.
        let of_key: Vec<usize> = (0..self.bets.len())
            .filter(|bet| self.refund(*bet).is_some_and(|other| other.request == refund.request))
            .collect();
        let has_all = |body: &Body| {
            body.key() == refund.request
                && of_key.iter().all(|bet| body.items.iter().any(|item| item.bet == *bet))
        };
        if refund.by == RefundedBy::Provider && !self.is_expiring && !self.bodies.iter().any(has_all) {
            self.simulation
                .breach(format!("request {} has refunded what no one body asks for", refund.request));
        }
    }
}

/// Whether the channel must be told this of a bet that it gives back, where the table is so: that nothing was changed, or
/// that it is not known.
fn is_not_given_back(items: &Items, bet: &Bet, told: &str) -> bool {
    let debit = bet.debit(items);
    let refunded_by = |debit: &Debit| match &debit.state {
        DebitState::Refunded(refund) => Some(refund.by),
        DebitState::Open | DebitState::Settled => None,
    };
    if told.contains("the bet was played") {
        debit.is_some_and(|debit| debit.state == DebitState::Settled)
    } else if told.contains("its provider has had it refunded") {
        debit.and_then(refunded_by) == Some(RefundedBy::Provider)
    } else if told.contains("has no bet") {
        debit.is_none()
    } else if told.contains("has no wallet") {
        bet.balance(items).is_none()
    } else {
        !told.contains("nothing was changed")
    }
}

/// Whether the status of a request is what its items make it.
fn is_status(api: Api, is_whole: bool, status: u64, told: &[Told]) -> bool {
    let all_refused = told.iter().all(|told| matches!(told, Told::Refused(_)));
    match told[0] {
        _ if is_whole => status != 200,
        _ if told.contains(&Told::Unknown) => matches!(status, 500 | 4003),
        Told::Refused(code) if api == Api::Single && all_refused => status == code,
        _ => status == 200,
    }
}

/// What all items are told by an answer that has none.
fn whole(status: u64) -> Told {
    match status {
        500 | 4003 => Told::Unknown,
        4029 => Told::Disabled,
        status => Told::Refused(status),
    }
}

/// The channel's import line.
fn settings_line(allows_parts: bool) -> Value {
    let mut line = channel_line(1);
    if allows_parts {
        line["partialRefunds"] = json!(true);
    }
    line
}

fn has_settings(items: &Items, settings: &str) -> bool {
    let there = content(items, ChannelId(1).tenant().as_str(), "TENANT");
    matches!(there, Some(Content::Tenant { settings: there, .. }) if there == settings)
}

/// A channel's settings, as its import line has them.
pub fn settings_of(mut line: Value) -> String {
    let members = line.as_object_mut().expect("a line is an object");
    members.remove("kind");
    line.to_string()
}
