//! Thousands of bets in one call: load, contention, deadlines and partial failure meet, and still every bet is
//! credited once and every answer is true.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt, stream};
use refundctl::sample::{Bet, Sample};
use serde_json::{Value, json};
use shared::ebet::ChannelId;
use shared::ledger::{DebitState, RefundedBy, exact_decimal};
use shared::store::Content;
use tests::wire::{Attempt, Call, Fault, Faults};
use tests::world::{CALLER, Instance, World, batch, event, is_embedded, signed, single};

/// The answer to `body`, given within `duration`, as a real caller would see it.
async fn call_within(instance: &Instance, body: &Value, duration: Duration) -> Value {
    let event = event(body.to_string().as_bytes(), CALLER).to_string();
    let started = Instant::now();
    let answer = instance.call_event_within(&event, duration).await;
    assert!(started.elapsed() < duration, "answered in time");
    serde_json::from_slice(&answer.bytes()).unwrap()
}

/// The bets that an answer says are refunded, by player.
fn refunded(answer: &Value) -> Vec<(String, String)> {
    let groups = answer["refundResultList"].as_array().unwrap();
    let bets = groups.iter().flat_map(|group| {
        let list = group["sucRefundSeqNoList"].as_array().unwrap();
        list.iter().map(|bet| {
            assert_eq!(bet["seqNo"], bet["refundSeqNo"]);
            assert_eq!(bet["status"], 200);
            (group["username"].as_str().unwrap().to_owned(), bet["seqNo"].as_str().unwrap().to_owned())
        })
    });
    bets.collect()
}

/// A request for bets of a sample, as `refundctl send auto-batch-refund` makes it.
fn sample_batch(seq_no: &str, bets: &[Bet]) -> Value {
    let item = |bet: &Bet| {
        let money: Value = serde_json::from_str(&exact_decimal(&bet.amount).unwrap().to_string()).unwrap();
        json!({"seqNo": bet.seq_no, "username": bet.username, "roundCode": bet.round_code, "refundMoney": money})
    };
    let mut body = batch(seq_no, &[]);
    body["batchRefundList"] = bets.iter().map(item).collect();
    body
}

/// Checks that each bet is refunded once, with its amount, in wallets whose chains are intact.
async fn all_are_refunded_once(world: &World, bets: &[Bet]) {
    let mut by_player: BTreeMap<&str, Vec<&Bet>> = BTreeMap::new();
    for bet in bets {
        by_player.entry(&bet.username).or_default().push(bet);
    }
    stream::iter(by_player)
        .for_each_concurrent(32, |(player, bets)| async move {
            let wallet = world.wallet(player).await;
            let refunds = wallet.debits.iter().filter(|debit| matches!(debit.state, DebitState::Refunded(_)));
            assert_eq!(refunds.count(), bets.len(), "{player}");
            assert_eq!(wallet.account.sequence, bets.len() as u64, "{player}");
            let credited: rust_decimal::Decimal =
                bets.iter().map(|bet| exact_decimal(&bet.amount).unwrap()).sum();
            assert_eq!(wallet.account.balance.value() - wallet.account.opening.value(), credited, "{player}");
        })
        .await;
}

/// Where the refusals of players lie but for the leading one, for who looks a request up.
#[tokio::test(flavor = "multi_thread")]
async fn a_players_refusals_are_found_with_the_player_under_the_requests_name() {
    let world = World::with_channel().await;
    for player in ["a", "b"] {
        let bets = ["good", "other"].map(|bet| (format!("{player}-{bet}"), "5"));
        let bets: Vec<(&str, &str)> = bets.iter().map(|(bet, amount)| (bet.as_str(), *amount)).collect();
        world.wallet_with_debits(player, "0", &bets).await;
    }
    let asked = [("a", "a-good", "5"), ("b", "b-good", "5"), ("b", "b-other", "4")];
    assert_eq!(world.batch_instance().call(&batch("r", &asked)).await["status"], 200);
    let session = world.session();
    let request = ChannelId(1).tenant().request("autoBatchRefund", "r");
    let mut refused = session.request_record(&request).await.unwrap().unwrap().0.refused.len();
    for player in ["a", "b"] {
        for stored in session.stored_partition(&format!("ebet#1#{player}")).await.unwrap() {
            if let Ok(Content::RequestPart { request: part, refused: of_part, .. }) = stored.content {
                assert_eq!(part, request.within_tenant());
                refused += of_part;
            }
        }
    }
    assert_eq!(refused, 1);
}

fn writes(calls: &[Call]) -> f64 {
    calls.iter().filter(|call| !call.operation.contains("Get")).map(|call| call.units).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_bets_of_two_thousand_players_are_two_calls_a_player() {
    let world = World::with_channel().await;
    let players = if is_embedded() { 2_000 } else { 100 };
    let sample = Sample { channel: 1, players, seed: 1 };
    let bets: Vec<Bet> = (0..5 * players).map(|number| sample.bet(number)).collect();
    world.import_sample(sample, bets.len() as u64).await;
    let instance = world.batch_instance();
    instance.call(&batch("warm", &[("nobody", "nothing", "1")])).await;
    instance.wire.take_calls();

    let body = sample_batch("r", &bets);
    let answer = instance.call(&body).await;
    assert_eq!(answer["status"], 200);
    assert_eq!(refunded(&answer).len(), bets.len());
    let calls = instance.wire.take_calls();
    let count = |operation: &str| calls.iter().filter(|call| call.operation == operation).count() as u64;
    // A store that takes long for the leading player has the request's record put by itself.
    if is_embedded() {
        assert_eq!((count("BatchGetItem"), count("TransactWriteItems")), (players, players));
        assert_eq!(calls.len() as u64, 2 * players, "and no other calls");
        // An account and five debits a player, and one record of the request.
        assert_eq!(writes(&calls), (players * 12 + 2) as f64);
    }
    all_are_refunded_once(&world, &bets).await;

    let again = instance.call(&body).await;
    assert_eq!(again, answer);
    let calls = instance.wire.take_calls();
    assert!(calls.iter().all(|call| call.operation == "BatchGetItem"), "a replay writes nothing");
    // The first ones read for themselves; from the first that is found done on, 14 players fit into a call.
    let at_most = 64 + players.div_ceil(14);
    println!("sent again: {} calls for {players} players", calls.len());
    assert!(calls.len() as u64 <= at_most, "{} calls", calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_costs_is_what_its_players_cost() {
    let world = World::with_channel().await;
    let debits = ["a", "b", "c", "d"].map(|bet| (bet, "1"));
    for player in ["p", "q", "s", "t", "u"] {
        world.wallet_with_debits(player, "0", &debits).await;
    }
    let instance = world.batch_instance();
    instance.call(&batch("warm", &[("nobody", "nothing", "1")])).await;
    for (what, bets, reads, transactions, puts, units) in [
        ("one bet", &[("p", "a", "1")][..], 1, 1, 0, 6.0),
        ("the same bet again", &[("p", "a", "1")], 1, 0, 0, 0.0),
        ("two bets", &[("p", "b", "1"), ("p", "c", "1")], 1, 1, 0, 8.0),
        ("three players", &[("q", "a", "1"), ("s", "a", "1"), ("t", "a", "1")], 3, 3, 0, 6.0 + 4.0 + 4.0),
        (
            "a refusal of another player than the first: it has a record",
            &[("q", "b", "1"), ("s", "b", "1"), ("s", "unknown", "1")],
            2,
            2,
            1,
            6.0 + 6.0 + 1.0,
        ),
        (
            "nothing to write for the first player: another one puts the request's record",
            &[("q", "unknown", "1"), ("s", "c", "1"), ("t", "c", "1")],
            3,
            2,
            1 + 1,
            4.0 + 4.0 + 1.0 + 1.0,
        ),
        (
            "bets that are not there: a tombstone each, and a look whether the number is another's",
            &[("q", "never", "1"), ("s", "never", "1")],
            2 + 1,
            0,
            2,
            2.0,
        ),
        ("asked for again, nothing to write", &[("q", "never", "1"), ("s", "never", "1")], 2, 0, 0, 0.0),
    ] {
        instance.wire.take_calls();
        let answer = instance.call(&batch(what, bets)).await;
        assert_eq!(answer["status"], 200, "{what}: {answer}");
        let calls = instance.wire.take_calls();
        let count = |operation: &str| calls.iter().filter(|call| call.operation == operation).count();
        let counts =
            (count("BatchGetItem") + count("GetItem"), count("TransactWriteItems"), count("PutItem"));
        if is_embedded() {
            assert_eq!(counts, (reads, transactions, puts), "{what}");
            assert_eq!(calls.len(), reads + transactions + puts, "{what}");
            assert_eq!(writes(&calls), units, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_deadline_comes_first_the_answer_is_busy_and_resends_complete_it() {
    let world = World::with_channel().await;
    let sample = Sample { channel: 1, players: 180, seed: 2 };
    let bets: Vec<Bet> = (0..360).map(|number| sample.bet(number)).collect();
    world.import_sample(sample, 360).await;
    let body = sample_batch("r", &bets);
    let (delay, patience) = if is_embedded() { (250, 3) } else { (600, 5) };
    let slow: Faults = Arc::new(move |_| Fault::Slow(Duration::from_millis(delay)));
    let patience = Duration::from_secs(patience);

    let mut sent = 0;
    let done = loop {
        sent += 1;
        let answer = call_within(&world.batch_instance_with(slow.clone()), &body, patience).await;
        let told = refunded(&answer);
        for (player, bet) in told.iter().step_by(20) {
            let wallet = world.wallet(player).await;
            let debit = wallet.debits.iter().find(|debit| debit.key.id.as_str() == bet).unwrap();
            assert!(matches!(debit.state, DebitState::Refunded(_)), "what was told has happened");
        }
        let done = told.len();
        if answer["status"] == 200 {
            break done;
        }
        assert_eq!(answer["status"], 4003);
        assert!(0 < done && done < bets.len() && sent < 20, "{done} are done after {sent} sendings");
    };
    assert!(sent > 1, "the store was slow enough");
    assert_eq!(done, bets.len());
    all_are_refunded_once(&world, &bets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn players_that_are_throttled_or_hang_or_are_contended_do_not_hold_up_the_others() {
    // The trouble is made on the wire, so one kind of it is enough for another DynamoDB.
    let faults = [Fault::Throttled, Fault::Slow(Duration::from_secs(60)), Fault::TransactionConflict];
    for fault in faults.into_iter().take(if is_embedded() { 3 } else { 0 }) {
        let troubled = [0..1, 1..2, 40..41];
        join_all(troubled.into_iter().map(|players| trouble_with(fault, players))).await;
    }
    // More of them than are worked on at once, and ahead of all others.
    trouble_with(Fault::Throttled, 0..40).await;
}

/// A batch of many players, where the calls for some of them go wrong.
async fn trouble_with(fault: Fault, troubled: Range<usize>) {
    let at = format!("{fault:?} {troubled:?}");
    // Many enough that all would wait too long if each of them waited for the first one.
    let count = if matches!(fault, Fault::Slow(_)) && is_embedded() { 200 } else { 80 };
    let players: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
    let world = World::with_channel().await;
    let lines = players.iter().flat_map(|player| {
        let debit = json!({"kind": "debit", "channelId": 1, "username": player, "seqNo": "bet",
                           "roundCode": "B1-1", "amount": "1"});
        [json!({"kind": "wallet", "channelId": 1, "username": player, "balance": "0"}), debit]
    });
    world.import(&lines.collect::<Vec<Value>>()).await;
    let bets: Vec<(&str, &str, &str)> = players.iter().map(|player| (player.as_str(), "bet", "1")).collect();
    let body = batch("r", &bets);
    let accounts: Vec<String> = troubled.clone().map(|number| format!("ebet#1#p{number}")).collect();
    let faults: Faults = Arc::new(move |call| {
        let is_meant = call.operation == "TransactWriteItems" || fault != Fault::TransactionConflict;
        if is_meant && accounts.iter().any(|account| call.is_of(account)) { fault } else { Fault::None }
    });
    let patience = Duration::from_secs(if is_embedded() { 4 } else { 8 });
    for sending in ["first", "again"] {
        let answer = call_within(&world.batch_instance_with(faults.clone()), &body, patience).await;
        assert_eq!(answer["status"], 4003, "{at}, {sending}");
        let told = refunded(&answer);
        assert_eq!(told.len(), players.len() - troubled.len(), "{at}, {sending}");
        let is_troubled = |player: &str| players[troubled.clone()].iter().any(|other| other == player);
        assert!(!told.iter().any(|(player, _)| is_troubled(player)), "{at}, {sending}");
    }

    let answer = world.batch_instance().call(&body).await;
    assert_eq!((answer["status"].as_u64(), refunded(&answer).len()), (Some(200), players.len()), "{at}");
    for player in &players {
        assert_eq!(world.balance(player).await, "1", "{at}: {player}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn players_whose_trouble_passes_are_refunded_in_the_same_call() {
    let world = World::with_channel().await;
    let sample = Sample { channel: 1, players: 80, seed: 4 };
    let bets: Vec<Bet> = (0..80).map(|number| sample.bet(number)).collect();
    world.import_sample(sample, 80).await;
    // Half of them are throttled, for longer than a part is worked on at once.
    let started = Instant::now();
    let faults: Faults = Arc::new(move |call| {
        let is_troubled = (0..40).any(|number| call.is_of(&format!("ebet#1#player{number:06}")));
        let is_over = started.elapsed() > Duration::from_millis(2_500);
        if is_troubled && !is_over { Fault::Throttled } else { Fault::None }
    });
    let answer = world.batch_instance_with(faults).call(&sample_batch("r", &bets)).await;
    assert_eq!((answer["status"].as_u64(), refunded(&answer).len()), (Some(200), 80));
    assert!(started.elapsed() > Duration::from_millis(2_500), "the trouble was met");
    all_are_refunded_once(&world, &bets).await;
}

/// What a player was refused stands on record beside the player's refunds; one of whom nothing was refunded is
/// judged anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_player_of_whom_nothing_was_refunded_is_judged_anew_when_the_batch_is_sent_again() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "1")]).await;
    world.wallet_with_debits("q", "0", &[]).await;
    let body = batch("r", &[("p", "one", "1"), ("q", "late", "2")]);
    assert_eq!(refunded(&world.batch_instance().call(&body).await).len(), 1);
    world
        .import(&[json!({"kind": "debit", "channelId": 1, "username": "q", "seqNo": "late",
                         "roundCode": "B1-1", "amount": "2"})])
        .await;
    assert_eq!(refunded(&world.batch_instance().call(&body).await).len(), 2);
    assert_eq!((world.balance("p").await, world.balance("q").await), ("1".to_owned(), "2".to_owned()));
}

/// A process that dies in the middle: its next transaction never leaves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_player_of_500_bets_survives_a_crash_between_any_two_of_the_transactions() {
    let bets: Vec<String> = (0..500).map(|number| format!("bet-{number}")).collect();
    let debits: Vec<(&str, &str)> = bets.iter().map(|bet| (bet.as_str(), "1.01")).collect();
    let of_p: Vec<(&str, &str, &str)> = bets.iter().map(|bet| ("p", bet.as_str(), "1.01")).collect();
    for is_leading in [true, false] {
        for survived in (0..6).step_by(if is_embedded() { 1 } else { 3 }) {
            let world = World::with_channel().await;
            world.wallet_with_debits("p", "10", &debits).await;
            world.wallet_with_debits("first", "0", &[("bet", "7")]).await;
            let items =
                if is_leading { of_p.clone() } else { [&[("first", "bet", "7")], &of_p[..]].concat() };
            let body = batch("r", &items);
            let transactions = std::sync::atomic::AtomicUsize::new(0);
            let (died, dies) = tokio::sync::oneshot::channel();
            let died = std::sync::Mutex::new(Some(died));
            let faults: Faults = Arc::new(move |call| {
                let is_of_p = call.operation == "TransactWriteItems" && call.is_of("ebet#1#p");
                if !is_of_p || transactions.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < survived {
                    return Fault::None;
                }
                if let Some(died) = died.lock().unwrap().take() {
                    let _ = died.send(());
                }
                Fault::Slow(Duration::from_secs(3_600))
            });
            let instance = world.batch_instance_with(faults);
            let sent = body.clone();
            let process = tokio::spawn(async move { instance.call(&sent).await });
            dies.await.unwrap();
            process.abort();
            assert!(process.await.unwrap_err().is_cancelled());
            let done = 98 * survived;
            assert_eq!(world.wallet("p").await.account.sequence, done as u64, "as far as it came");

            let answer = world.batch_instance().call(&body).await;
            assert_eq!((answer["status"].as_u64(), refunded(&answer).len()), (Some(200), items.len()));
            let group = answer["refundResultList"].as_array().unwrap().last().unwrap();
            assert_eq!(group["refundTotalMoney"].to_string(), "505");
            assert_eq!(world.balance("p").await, "515");
            assert_eq!(world.wallet("p").await.account.sequence, 500, "each once");
            assert_eq!(world.batch_instance().call(&body).await, answer);

            // The last bet's balances, as the other call tells them.
            let replay = world.instance().call(&single("s", "p", &[("bet-499", "1.01")])).await;
            assert_eq!(
                (replay["moneyBefore"].to_string(), replay["moneyAfter"].to_string()),
                ("513.99".to_owned(), "515".to_owned())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_batches_and_single_calls_at_once_credit_each_bet_once() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let world = World::with_channel().await;
    let players = if is_embedded() { 40 } else { 4 };
    let sample = Sample { channel: 1, players, seed: 3 };
    let bets: Vec<Bet> = (0..5 * players).map(|number| sample.bet(number)).collect();
    world.import_sample(sample, bets.len() as u64).await;

    let mut calls: Vec<(Instance, Value)> = Vec::new();
    for number in 0..10 {
        let mut some: Vec<Bet> = bets.iter().filter(|_| chance.f32() < 0.7).cloned().collect();
        chance.shuffle(&mut some);
        calls.push((world.batch_instance(), sample_batch(&format!("b{number}"), &some)));
    }
    // One copy of a batch, too, and single calls for a fifth of the bets.
    calls.push((world.batch_instance(), calls[0].1.clone()));
    for bet in bets.iter().step_by(5) {
        let body = single(&format!("s{}", bet.seq_no), &bet.username, &[(&bet.seq_no, &bet.amount)]);
        calls.push((world.instance(), body));
    }
    chance.shuffle(&mut calls);
    let answers = join_all(calls.iter().cloned().map(|(instance, body)| async move {
        tokio::spawn(async move { instance.call(&body).await }).await.unwrap()
    }))
    .await;
    for ((_, body), answer) in calls.iter().zip(&answers) {
        assert_eq!(answer["status"], 200, "{answer}");
        if let Some(items) = body["batchRefundList"].as_array() {
            assert_eq!(refunded(answer).len(), items.len(), "all it asked for");
        }
    }
    let asked: Vec<Bet> = bets
        .iter()
        .filter(|bet| calls.iter().any(|(_, body)| body.to_string().contains(&bet.seq_no)))
        .cloned()
        .collect();
    all_are_refunded_once(&world, &asked).await;
    for ((_, body), answer) in calls.iter().zip(&answers) {
        let instance =
            if body.get("refundList").is_some() { world.instance() } else { world.batch_instance() };
        assert_eq!(&instance.call(body).await, answer, "sent again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bet_by_both_calls_at_once_is_refunded_once() {
    for round in 0..20 {
        let world = World::with_channel().await;
        world.wallet_with_debits("p", "1", &[("bet", "5")]).await;
        let (one, many) = (world.instance(), world.batch_instance());
        let (first, second) = (single("r", "p", &[("bet", "5")]), batch("r", &[("p", "bet", "5")]));
        let (one, many) = tokio::join!(one.call(&first), many.call(&second));
        assert_eq!((&one["status"], &one["moneyAfter"]), (&json!(200), &json!(6)), "round {round}");
        assert_eq!(refunded(&many), [("p".to_owned(), "bet".to_owned())], "round {round}");
        assert_eq!(world.balance("p").await, "6");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bodies_under_one_number_at_once_never_both_execute() {
    for round in 0..20 {
        let world = World::with_channel().await;
        for player in ["a", "b", "c", "d"] {
            world.wallet_with_debits(player, "0", &[("bet", "1")]).await;
        }
        // In some rounds the first players have nothing to refund, so others put the request's record.
        let first = if round % 2 == 0 { "bet" } else { "unknown" };
        let bodies = [
            batch("r", &[("a", first, "1"), ("b", "bet", "1")]),
            batch("r", &[("c", first, "1"), ("d", "bet", "1")]),
        ];
        let instances = [world.batch_instance(), world.batch_instance()];
        let (one, two) = tokio::join!(instances[0].call(&bodies[0]), instances[1].call(&bodies[1]));
        let mut statuses = [&one, &two].map(|answer| answer["status"].as_u64().unwrap());
        let executed = if statuses[0] == 200 { ["a", "b"] } else { ["c", "d"] };
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 4025], "round {round}");
        for player in ["a", "b", "c", "d"] {
            let balance = world.balance(player).await;
            if executed[1] == player || (executed[0] == player && first == "bet") {
                assert_eq!(balance, "1", "round {round}: {player}");
            } else {
                assert_eq!(balance, "0", "round {round}: {player}");
            }
        }
    }
}

/// Any fault at the first, the second, the third or all first calls of a kind, and then a resend by another
/// process.
#[tokio::test(flavor = "multi_thread")]
async fn faults_are_survived_and_a_resend_repeats_nothing() {
    use Fault::{InternalError, LostAnswer, LostRequest, Throttled, TransactionConflict, UnprocessedKeys};
    for (operation, faults) in [
        ("GetItem", &[LostRequest, Throttled][..]),
        ("BatchGetItem", &[LostRequest, LostAnswer, Throttled, InternalError, UnprocessedKeys]),
        ("PutItem", &[LostRequest, LostAnswer, Throttled, InternalError]),
        ("TransactWriteItems", &[LostRequest, LostAnswer, Throttled, InternalError, TransactionConflict]),
    ] {
        for fault in faults.iter().copied() {
            for numbers in [0..1, 1..2, 2..3, 0..5] {
                let at = format!("{operation} {fault:?} at {numbers:?}");
                let world = World::with_channel().await;
                for player in ["p", "q", "s"] {
                    world.wallet_with_debits(player, "10", &[("one", "1"), ("two", "2")]).await;
                }
                let first = if operation == "PutItem" { "unknown" } else { "one" };
                let body = batch(
                    "r",
                    &[
                        ("p", first, "1"),
                        ("q", "one", "1"),
                        ("q", "unknown", "1"),
                        ("s", "one", "1"),
                        ("s", "two", "2"),
                    ],
                );
                let fails = move |call: Attempt<'_>| {
                    let is_meant = call.operation == operation && numbers.contains(&call.number);
                    if is_meant { fault } else { Fault::None }
                };
                let answer = world.batch_instance_with(Arc::new(fails)).call(&body).await;
                assert_eq!(answer["status"], 200, "{at}: {answer}");
                let again = world.batch_instance().call(&body).await;
                assert_eq!(again, answer, "{at}");
                for (player, balance) in
                    [("p", if first == "one" { "11" } else { "10" }), ("q", "11"), ("s", "13")]
                {
                    assert_eq!(world.balance(player).await, balance, "{at}: {player}");
                }
            }
        }
    }
}

/// What an operator must hear of (here: permissions) is not "busy", and what was done before is told.
#[tokio::test(flavor = "multi_thread")]
async fn trouble_that_does_not_pass_is_a_system_error_with_what_succeeded() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("bet", "1")]).await;
    world.wallet_with_debits("q", "0", &[("bet", "1")]).await;
    let faults: Faults = Arc::new(|call| {
        if call.operation == "TransactWriteItems" && call.is_of("ebet#1#q") {
            Fault::Refused
        } else {
            Fault::None
        }
    });
    let body = batch("r", &[("p", "bet", "1"), ("q", "bet", "1")]);
    let answer = world.batch_instance_with(faults).call(&body).await;
    assert_eq!(answer["status"], 500);
    assert_eq!(refunded(&answer), [("p".to_owned(), "bet".to_owned())]);
    assert_eq!(refunded(&world.batch_instance().call(&body).await).len(), 2);
}

/// Records of requests expire; refunds don't.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_records_have_expired_is_answered_from_its_refunds_and_its_number_is_free() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "1"), ("two", "2")]).await;
    world.wallet_with_debits("q", "0", &[("one", "1"), ("two", "2")]).await;
    let body = batch("r", &[("p", "one", "1"), ("q", "one", "1"), ("q", "unknown", "1")]);
    let first = world.batch_instance().call(&body).await;
    world.delete("ebet#1#request#autoBatchRefund#r", "REQUEST").await;
    let before = world.dump().await;
    assert_eq!(world.batch_instance().call(&body).await, first);
    assert_eq!(world.dump().await, before, "nothing was due, so nothing is written");

    // A player's record may outlast the request's: it says nothing about another request.
    let other = batch("r", &[("p", "two", "2"), ("q", "two", "2"), ("q", "unknown", "1")]);
    let answer = world.batch_instance().call(&other).await;
    assert_eq!((answer["status"].as_u64(), refunded(&answer).len()), (Some(200), 2));
    assert_eq!(world.batch_instance().call(&other).await, answer);
    assert_eq!(world.batch_instance().call(&body).await["status"], 4025);
    assert_eq!((world.balance("p").await, world.balance("q").await), ("3".to_owned(), "3".to_owned()));
}

/// What a part of a request was refused stays so when it is sent again, whichever player it is of.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_beside_a_refund_stays_refused_when_the_batch_is_sent_again() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "1")]).await;
    world.wallet_with_debits("q", "0", &[("one", "1")]).await;
    let body = batch("r", &[("p", "one", "1"), ("p", "late", "2"), ("q", "one", "1"), ("q", "late", "2")]);
    let first = world.batch_instance().call(&body).await;
    assert_eq!(refunded(&first).len(), 2);
    for player in ["p", "q"] {
        world
            .import(&[json!({"kind": "debit", "channelId": 1, "username": player, "seqNo": "late",
                             "roundCode": "B1-1", "amount": "2"})])
            .await;
    }
    assert_eq!(world.batch_instance().call(&body).await, first);
    let answer = world.batch_instance().call(&batch("r2", &[("p", "late", "2"), ("q", "late", "2")])).await;
    assert_eq!(refunded(&answer).len(), 2, "a new request refunds it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channels_own_refund_and_a_batch_at_once_credit_the_bet_once() {
    for round in 0..20 {
        let world = World::with_channel().await;
        world.wallet_with_debits("p", "0", &[("bet", "5")]).await;
        let instance = world.batch_instance();
        let body = batch("r", &[("p", "bet", "5")]);
        let (store, player, bet) = (world.store(), "p".parse().unwrap(), "bet".parse().unwrap());
        let own = refundctl::self_refund::run(&store, ChannelId(1), &player, &bet);
        let (own, answer) = tokio::join!(own, instance.call(&body));
        let status = &answer["refundResultList"][0]["sucRefundSeqNoList"][0]["status"];
        match own {
            Ok((refund, _)) => {
                assert_eq!((refund.by, status), (RefundedBy::Channel, &json!(209)), "round {round}");
            }
            Err(_) => assert_eq!(status, &json!(200), "round {round}"),
        }
        assert_eq!(world.balance("p").await, "5", "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_a_batchs_own_and_a_single_calls_own() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "1"), ("two", "2")]).await;
    let one = world.instance().call(&single("r", "p", &[("one", "1")])).await;
    let many = world.batch_instance().call(&batch("r", &[("p", "two", "2")])).await;
    assert_eq!((&one["status"], &many["status"]), (&json!(200), &json!(200)));
    let mut unsigned = batch("r2", &[("p", "two", "2")]);
    unsigned["timestamp"] = json!(1);
    assert_eq!(world.batch_instance().call(&unsigned).await["status"], 4026);
    assert_eq!(world.batch_instance().call(&signed(unsigned)).await["status"], 200);
    assert_eq!(world.balance("p").await, "3");
}
