//! The operator's own systems, which say what happens to bets and wallets: each thing once, but sent until they know.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use shared::ledger::DebitState;
use shared::store::Content;

use super::Simulation;
use super::attempts::{Attempts, Begun};
use super::ebet::{Bet, PLAYERS, Way, money};
use super::table::{Items, Moment, balance, content};
use crate::world::entries_event;

pub fn wallet(player: &str, balance: &str) -> Value {
    json!({"kind": "wallet", "channelId": 1, "username": player, "balance": balance})
}

pub fn past_debit(bet: &Bet, round: &str) -> Value {
    json!({"kind": "debit", "channelId": 1, "username": bet.player(), "seqNo": bet.id, "roundCode": round,
           "amount": bet.amount()})
}

/// What is said of a bet or a wallet, in its order; what comes later depends on what came before.
type Story = Vec<Value>;

pub struct Entries {
    simulation: Arc<Simulation>,
    stories: Vec<Story>,
    /// Whether all is said twice at about the same time.
    is_tight: bool,
    attempts: Attempts,
    /// Entries that were refused, told to somebody who was trying alone.
    denied: Mutex<Vec<(Begun, Value)>>,
    /// Entries that were recorded, by their texts: they stay so.
    recorded: Mutex<BTreeMap<String, Value>>,
    /// Entries that were sent at all.
    sent: Mutex<HashSet<String>>,
}

/// The partition of an entry's account.
fn account_of(entry: &Value) -> String {
    format!("ebet#1#{}", entry["username"].as_str().unwrap_or_default())
}

/// Where an entry lies with its account.
fn sort_of(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    match text("kind") {
        "wallet" => "ACCOUNT".to_owned(),
        "debit" | "settle" => format!("PAYMENT#{}", text("seqNo")),
        _ => format!("MOVEMENT#{}", text("id")),
    }
}

/// What is on record of what an entry is about.
fn content_of<'a>(items: &'a Items, entry: &Value) -> Option<&'a Content> {
    content(items, &account_of(entry), &sort_of(entry))
}

/// Whether what an entry says is in the table, as it says it.
fn is_recorded(items: &Items, entry: &Value) -> bool {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    match (text("kind"), content_of(items, entry)) {
        ("wallet", Some(Content::Account(account))) => account.opening.to_string() == text("balance"),
        ("debit", Some(Content::Debit(debit))) => {
            debit.amount.to_string() == text("amount")
                && debit.round.as_str() == text("roundCode")
                && debit.taken.is_some() == (entry["live"] == true)
        }
        ("settle", Some(Content::Debit(debit))) => debit.state == DebitState::Settled,
        (kind, Some(Content::Movement(movement))) => {
            movement.direction.as_str() == kind
                && movement.amount.to_string() == text("amount")
                && movement.reason.as_str() == text("reason")
        }
        _ => false,
    }
}

/// What an entry adds to the balance when it is recorded.
fn adds(entry: &Value) -> Decimal {
    let money = |name: &str| -> Decimal { entry[name].as_str().unwrap_or_default().parse().unwrap() };
    match entry["kind"].as_str().unwrap_or_default() {
        "wallet" => money("balance"),
        "credit" => money("amount"),
        "withdrawal" => -money("amount"),
        "debit" if entry["live"] == true => -money("amount"),
        _ => Decimal::ZERO,
    }
}

/// Whether an entry must be refused for this reason where the table is so, and `earlier` ones of the same call and the
/// same account are recorded together with it.
fn is_refused(items: &Items, entry: &Value, earlier: &[&Value], reason: &str, message: &str) -> bool {
    let there = content_of(items, entry);
    match reason {
        "unknown_account" => content(items, &account_of(entry), "ACCOUNT").is_none(),
        "unknown_debit" => !matches!(there, Some(Content::Debit(_))),
        "refund_asked" => matches!(there, Some(Content::Tombstone { .. })),
        "refunded" => {
            matches!(there, Some(Content::Debit(debit)) if matches!(debit.state, DebitState::Refunded(_)))
        }
        "conflict" => !matches!(there, None | Some(Content::Tombstone { .. })) && !is_recorded(items, entry),
        "insufficient_balance" => {
            let not_yet: Vec<&Value> =
                earlier.iter().copied().filter(|entry| !is_recorded(items, entry)).collect();
            let known = balance(items, &account_of(entry));
            if known.is_none() && !not_yet.iter().any(|entry| entry["kind"] == "wallet") {
                return false;
            }
            let balance = known.unwrap_or_default() + not_yet.into_iter().map(adds).sum::<Decimal>();
            balance + adds(entry) < Decimal::ZERO
                && message == format!("the balance is {}", balance.normalize())
                && !is_recorded(items, entry)
        }
        _ => false,
    }
}

/// What an entry was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// Recorded now, or before.
    OnRecord,
    Refused(String),
    Undecided,
}

impl Entries {
    pub fn new(
        simulation: &Arc<Simulation>,
        rng: &mut Rng,
        bets: &[Bet],
        late_wallets: &HashSet<usize>,
        round: impl Fn(&Bet) -> String,
    ) -> Self {
        let mut stories: Vec<Story> = Vec::new();
        let mut late: Vec<&usize> = late_wallets.iter().collect();
        late.sort_unstable();
        for player in late {
            // Money comes with it at once.
            let deposit = json!({"kind": "credit", "channelId": 1, "username": PLAYERS[*player],
                                 "id": "first", "amount": "20", "reason": "deposit"});
            let mut story = vec![wallet(PLAYERS[*player], "10")];
            // Its bets of the past come with it.
            let past = bets.iter().filter(|bet| bet.player == *player && bet.way == Way::LatePast);
            story.extend(past.map(|bet| past_debit(bet, &round(bet))));
            story.insert(if rng.bool() { 1 } else { story.len() }, deposit);
            stories.push(story);
        }
        for bet in bets {
            let credit = |id: &str, amount: &str| {
                json!({"kind": "credit", "channelId": 1, "username": bet.player(), "id": format!("{id}-{}", bet.id),
                       "amount": amount, "reason": "payout"})
            };
            let settle = json!({"kind": "settle", "channelId": 1, "username": bet.player(), "seqNo": bet.id});
            match bet.way {
                Way::Live => {
                    let mut live = past_debit(bet, &round(bet));
                    live["live"] = json!(true);
                    let mut story = vec![live];
                    if rng.bool() {
                        story.extend([settle, credit("payout", "12.5")]);
                    }
                    stories.push(story);
                }
                Way::Past if rng.u32(0..4) == 0 => stories.push(vec![settle]),
                Way::LatePast if !late_wallets.contains(&bet.player) => {
                    stories.push(vec![past_debit(bet, &round(bet))]);
                }
                Way::Past | Way::LatePast | Way::Never => {}
            }
        }
        // In some there is money for each of them once, and whoever says so says it twice.
        let is_tight = rng.u32(0..3) == 0;
        for number in 0..if is_tight { rng.usize(3..=7) } else { rng.usize(0..=3) } {
            let player = bets[rng.usize(0..bets.len())].player();
            let kind = if !is_tight && rng.bool() { "credit" } else { "withdrawal" };
            let amounts = if is_tight { [251, 1_050, 50_001] } else { [100, 1_050, 3] };
            let amount = money(amounts[rng.usize(0..3)]);
            // Some ids are used twice, for different things.
            let id = format!("m{}", if is_tight { number } else { number / 2 });
            stories.push(vec![json!({"kind": kind, "channelId": 1, "username": player, "id": id,
                                     "amount": amount, "reason": "deposit"})]);
        }
        rng.shuffle(&mut stories);
        Self {
            simulation: simulation.clone(),
            stories,
            is_tight,
            attempts: Attempts::default(),
            denied: Mutex::default(),
            recorded: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    /// Says everything, each story in its order; two systems may say the same.
    pub async fn say_all(&self, mut rng: Rng) {
        for story in &self.stories {
            self.simulation.pause(rng.u64(0..400)).await;
            if rng.u32(0..6) == 0 {
                continue;
            }
            let mut rest = &story[..];
            while !rest.is_empty() {
                // Several things at once where they don't depend on each other.
                let one_in = if rest[0]["kind"] == "wallet" { 2 } else { 4 };
                let together = if rng.u32(0..one_in) == 0 { rng.usize(1..=rest.len().min(25)) } else { 1 };
                let (said, later) = rest.split_at(together);
                if !self.say_until_known(said, &mut rng).await {
                    break;
                }
                rest = later;
            }
        }
    }

    /// Sends entries until their outcomes are known, or nobody wants to any more; whether all are on record.
    async fn say_until_known(&self, entries: &[Value], rng: &mut Rng) -> bool {
        for _ in 0..5 {
            let one_in = if self.is_tight { 1 } else { 4 };
            let told = self.simulation.call_twice(rng, one_in, || self.say(entries)).await;
            if !told.contains(&Told::Undecided) {
                return told.iter().all(|told| *told == Told::OnRecord);
            }
            self.simulation.pause(rng.u64(10..2_000)).await;
        }
        false
    }

    /// Sends entries once, and compares what is told with the table.
    async fn say(&self, entries: &[Value]) -> Vec<Told> {
        let texts: Vec<String> = entries.iter().map(Value::to_string).collect();
        texts.iter().for_each(|text| self.check_denied(Some(text)));
        let begun: Vec<Begun> = entries
            .iter()
            .zip(&texts)
            .map(|(entry, text)| self.attempts.begin(text, self.is_on_record(entry)))
            .collect();
        self.sent.lock().unwrap().extend(texts.iter().cloned());
        let before = self.simulation.table.moment();
        self.simulation.tell(|| format!("says: {}", texts.join(" ")));
        let event = entries_event(json!({ "entries": entries }).to_string().as_bytes()).to_string();
        let Some((status, answer)) = self.simulation.call("record-entries", event).await else {
            return vec![Told::Undecided; entries.len()];
        };
        let alone: Vec<bool> = begun.iter().map(|begun| self.attempts.answered(begun)).collect();
        self.simulation.tell(|| format!("is told: {status} {answer}"));
        let Some(outcomes) = answer["entries"].as_array().filter(|outcomes| outcomes.len() == entries.len())
        else {
            self.simulation.breach(format!("entries were told {status} {answer}"));
            return vec![Told::Undecided; entries.len()];
        };
        let told: Vec<Told> = outcomes
            .iter()
            .map(|outcome| match outcome["outcome"].as_str().unwrap_or_default() {
                "recorded" | "unchanged" => Told::OnRecord,
                "undecided" => Told::Undecided,
                "refused" => Told::Refused(outcome["message"].as_str().unwrap_or_default().to_owned()),
                other => {
                    self.simulation.breach(format!("an entry was told {other}"));
                    Told::Undecided
                }
            })
            .collect();
        if (status == 503) != told.contains(&Told::Undecided) || (status != 200 && status != 503) {
            self.simulation.breach(format!("entries were told {status}: {answer}"));
        }
        for (((entry, begun), told), is_alone) in entries.iter().zip(&begun).zip(&told).zip(alone) {
            self.check(entry, begun, told, is_alone);
        }
        let mut earlier: Vec<&Value> = Vec::new();
        for ((entry, outcome), told) in entries.iter().zip(outcomes).zip(&told) {
            self.check_reason(entry, &earlier, outcome, &before, entries.len() == 1);
            if *told == Told::OnRecord {
                earlier.push(entry);
            }
        }
        told
    }

    /// What is told of an entry beside its outcome was so, at some moment since: of several, each is on top of those
    /// before it.
    fn check_reason(
        &self,
        entry: &Value,
        earlier: &[&Value],
        outcome: &Value,
        since: &Moment,
        is_single: bool,
    ) {
        let text = |name: &str| outcome[name].as_str().unwrap_or_default();
        let was_ever = |is_so: &dyn Fn(&Items) -> bool| self.simulation.table.was_ever(since, is_so);
        let is_so = match text("outcome") {
            "refused" => {
                was_ever(&|items| is_refused(items, entry, earlier, text("reason"), text("message")))
            }
            "recorded" | "unchanged" => {
                let items = self.simulation.table.items();
                let posting = match content_of(&items, entry) {
                    Some(Content::Debit(debit)) if entry["kind"] == "debit" => {
                        debit.taken.as_ref().map(|taking| &taking.posting)
                    }
                    Some(Content::Movement(movement)) => Some(&movement.posting),
                    _ => None,
                };
                let posting = posting.map(|posting| {
                    json!({"sequence": posting.sequence, "before": posting.before.to_string(),
                           "after": posting.after.to_string()})
                });
                let state = |items: &Items| match content_of(items, entry) {
                    Some(Content::Debit(debit)) => Some(debit.state.as_str()),
                    _ => None,
                };
                outcome["posting"] == json!(posting)
                    && (!is_single || was_ever(&|items| json!(state(items)) == outcome["state"]))
            }
            _ => true,
        };
        if !is_so {
            self.simulation.breach(format!("told what was never so: {entry}: {outcome}"));
        }
    }

    fn check(&self, entry: &Value, begun: &Begun, told: &Told, is_alone: bool) {
        let text = &begun.of;
        let is_on_record = self.is_on_record(entry);
        match told {
            Told::Undecided => {}
            Told::OnRecord => {
                if !is_on_record {
                    self.simulation.breach(format!("told to be on record, and is not: {text}"));
                }
                self.recorded.lock().unwrap().insert(text.clone(), entry.clone());
            }
            Told::Refused(reason) => {
                if is_on_record && (is_alone || begun.was_so) && self.is_its_own(entry) {
                    self.simulation.breach(format!("told refused ({reason}), and is on record: {text}"));
                }
                if is_alone {
                    self.denied.lock().unwrap().push((begun.clone(), entry.clone()));
                }
            }
        }
    }

    /// Whether nobody else says the same in other words.
    fn is_its_own(&self, entry: &Value) -> bool {
        entry["kind"] != "settle"
    }

    fn is_on_record(&self, entry: &Value) -> bool {
        is_recorded(&self.simulation.table.items(), entry)
    }

    /// Whatever was sent is known in the end.
    pub async fn come_to_rest(&self) {
        self.attempts.settle();
        self.check_denied(None);
        for story in &self.stories {
            for entry in story {
                if self.sent.lock().unwrap().contains(&entry.to_string())
                    && self.say(std::slice::from_ref(entry)).await[0] == Told::Undecided
                {
                    self.simulation.breach(format!("not decided though all is well: {entry}"));
                }
            }
        }
    }

    /// What was refused is not on record, where nobody has said it again: all of it, or `of` one entry.
    fn check_denied(&self, of: Option<&str>) {
        for (begun, entry) in &*self.denied.lock().unwrap() {
            if self.attempts.is_last(begun, of) && self.is_its_own(entry) && self.is_on_record(entry) {
                self.simulation.breach(format!("was told refused, and is on record: {}", begun.of));
            }
        }
    }

    pub fn check_at_rest(&self) {
        for (text, entry) in &*self.recorded.lock().unwrap() {
            if !self.is_on_record(entry) {
                self.simulation.breach(format!("was on record, and is no more: {text}"));
            }
        }
        self.check_denied(None);
        // What is on record was said.
        let sent = self.sent.lock().unwrap();
        let items = self.simulation.table.items();
        let said: HashSet<String> = self
            .stories
            .iter()
            .flatten()
            .filter(|entry| sent.contains(&entry.to_string()) && is_recorded(&items, entry))
            .map(|entry| format!("{} {}", account_of(entry), sort_of(entry)))
            .collect();
        for stored in items.values() {
            let is_ours = match &stored.content {
                Ok(Content::Movement(_)) => stored.partition.starts_with("ebet#"),
                Ok(Content::Debit(debit)) => debit.taken.is_some() || debit.state == DebitState::Settled,
                _ => false,
            };
            if is_ours && !said.contains(&stored.key()) {
                self.simulation.breach(format!("nobody has said {}", stored.key()));
            }
        }
    }
}
