//! What the operator's own systems say of wallets: recorded once, whatever fails and whoever else writes, at a known
//! price.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::{join, join_all};
use futures::{StreamExt, stream};
use refundctl::import::{self, Source};
use serde_json::{Value, json};
use shared::ledger::{DebitState, FundingSource, Posted, check_funds};
use tests::entries::{bet, credit, outcomes, past_debit, settle, wallet, withdrawal};
use tests::faults::dies_at;
use tests::wire::{Attempt, Call, Fault, Faults};
use tests::world::{Instance, World, batch, entries_event, event_of, is_embedded, single};
use tests::{epay, pingpp};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// Round trips and write units of `calls`.
fn costs(calls: &[Call]) -> (usize, f64) {
    let writes = calls.iter().filter(|call| !call.operation.contains("Get"));
    (calls.len(), writes.map(|call| call.units).sum())
}

#[tokio::test]
async fn each_entry_has_its_price() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "1000", &[]).await;
    let instance = world.entries_instance();
    instance.record(&[credit("p", "warm", "1")]).await;
    for (what, entries, round_trips, units) in [
        ("a live debit, with its index entry: at most 7", vec![bet("p", "a", "1")], 2, 5.0),
        ("a credit: at most 4", vec![credit("p", "b", "1")], 2, 4.0),
        ("a withdrawal", vec![withdrawal("p", "c", "1")], 2, 4.0),
        ("a settlement, which moves no money", vec![settle("p", "a")], 2, 1.0),
        ("a debit of the past, with its index entry", vec![past_debit("p", "d", "1")], 2, 3.0),
        ("a wallet", vec![wallet("q", "0")], 3, 2.0),
        (
            "25 of one wallet, which share the account's change",
            (0..25).map(|number| credit("p", &format!("many {number}"), "1")).collect(),
            2,
            2.0 + 25.0 * 2.0,
        ),
        ("what is on record", vec![bet("p", "a", "1"), credit("p", "b", "1"), settle("p", "a")], 1, 0.0),
        ("what the balance doesn't hold: two reads, to be sure", vec![bet("p", "e", "9999")], 2, 0.0),
        ("a conflict", vec![bet("p", "a", "2")], 1, 0.0),
        ("a bad entry", vec![json!({"kind": "credit"})], 0, 0.0),
    ] {
        instance.wire.take_calls();
        let (status, _) = instance.record(&entries).await;
        assert_eq!(status, 200, "{what}");
        let cost = costs(&instance.wire.take_calls());
        if is_embedded() {
            assert_eq!(cost, (round_trips, units), "{what}");
        }
    }
}

/// A call of the table takes a while, each time another.
fn slow(most: Duration) -> Faults {
    Arc::new(move |_: Attempt<'_>| match most.mul_f64(fastrand::f64()) {
        delay if fastrand::bool() => Fault::Slow(delay),
        _ => Fault::None,
    })
}

/// Which of the two comes first.
#[derive(Debug, Clone, Copy)]
enum Order {
    DebitFirst,
    RefundFirst,
    AtOnce,
}

/// Rounds of each order.
fn rounds() -> usize {
    if is_embedded() { 1_000 } else { 100 }
}

/// A bet and its refund, in one of the two protocols' calls; what both were told.
async fn play(
    entries: &Instance,
    refunds: &Instance,
    player: &str,
    by_batch: bool,
    order: Order,
) -> (String, u64) {
    let take = async {
        let (status, told) = entries.record(&[bet(player, "bet", "10")]).await;
        assert_eq!(status, 200, "{told:?}");
        outcomes(&told)[0].to_owned()
    };
    let body = match by_batch {
        true => batch(&format!("r-{player}"), &[(player, "bet", "10")]),
        false => single(&format!("r-{player}"), player, &[("bet", "10")]),
    };
    let refund = async {
        let answer = refunds.call(&body).await;
        assert_ne!(answer["status"], 4003, "{answer}");
        match by_batch {
            false => answer["status"].as_u64().unwrap_or_else(|| panic!("{answer}")),
            // A batch names those alone that it has refunded.
            true if answer["refundResultList"][0]["refundTotalMoney"] == 10 => 200,
            true => 208,
        }
    };
    match order {
        Order::AtOnce => join(take, refund).await,
        Order::DebitFirst => {
            let taken = take.await;
            (taken, refund.await)
        }
        Order::RefundFirst => {
            let refunded = refund.await;
            (take.await, refunded)
        }
    }
}

async fn the_player_loses_and_wins_nothing(order: Order) {
    let world = World::with_channel().await;
    let most = Duration::from_millis(if is_embedded() { 4 } else { 30 });
    let entries = world.instance_of_with("record-entries", slow(most));
    let (one, many) = (world.instance_with(slow(most)), world.batch_instance_with(slow(most)));
    let players: Vec<String> = (0..rounds()).map(|number| format!("player{number}")).collect();
    let wallets: Vec<Value> = players.iter().map(|player| wallet(player, "100")).collect();
    world.import(&wallets).await;
    let (entries, one, many) = (&entries, &one, &many);
    let played = stream::iter(players.iter().enumerate())
        .map(|(number, player)| async move {
            let by_batch = number % 2 == 0;
            (player, play(entries, if by_batch { many } else { one }, player, by_batch, order).await)
        })
        .buffer_unordered(16);
    let played: Vec<(&String, (String, u64))> = played.collect().await;
    let mut refunded = 0;
    for (player, (taken, status)) in &played {
        let found = world.wallet(player).await;
        assert_eq!(found.account.balance.to_string(), "100", "{player}: {taken}, {status}");
        match (taken.as_str(), status) {
            // Taken, and given back.
            ("recorded", 200) => {
                assert!(matches!(found.debits[0].state, DebitState::Refunded(_)), "{player}");
                refunded += 1;
            }
            // Neither: the caller was told that there is no such bet, and there never will be.
            ("refund_asked", 208) => assert_eq!((found.debits.len(), found.tombstones.len()), (0, 1)),
            other => panic!("{player}: {other:?}"),
        }
    }
    println!("{order:?}: {refunded} of {} bets were taken and refunded, the others not taken", played.len());
    match order {
        Order::DebitFirst => assert_eq!(refunded, played.len()),
        Order::RefundFirst => assert_eq!(refunded, 0),
        Order::AtOnce => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_before_its_refund_is_given_back() {
    the_player_loses_and_wins_nothing(Order::DebitFirst).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_before_its_debit_keeps_the_debit_from_being_taken() {
    the_player_loses_and_wins_nothing(Order::RefundFirst).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_and_its_refund_at_once_are_both_done_or_neither() {
    the_player_loses_and_wins_nothing(Order::AtOnce).await;
}

/// A player's first bet comes with the wallet. Whoever asks for its refund sees both or neither, however its reads fall.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_opens_with_a_bet_and_the_refund_of_that_bet_at_once_are_both_done_or_neither() {
    let world = World::with_channel().await;
    let most = Duration::from_millis(if is_embedded() { 4 } else { 30 });
    let entries = world.instance_of_with("record-entries", slow(most));
    let (one, many) = (world.instance_with(slow(most)), world.batch_instance_with(slow(most)));
    let (entries, one, many) = (&entries, &one, &many);
    let mut refunded = 0;
    let count = if is_embedded() { 500 } else { 100 };
    let played = stream::iter(0..count).map(|round| async move {
        let player = format!("player{round}");
        let opening = [wallet(&player, "100"), bet(&player, "bet", "10")];
        let by_batch = round % 2 == 0;
        let refund = async {
            match by_batch {
                true => many.call(&batch(&player, &[(&player, "bet", "10")])).await,
                false => one.call(&single(&player, &player, &[("bet", "10")])).await,
            }
        };
        let ((_, told), answer) = join(entries.record(&opening), refund).await;
        (player, outcomes(&told)[1].to_owned(), by_batch, answer)
    });
    let played: Vec<_> = played.buffer_unordered(16).collect().await;
    for (player, taken, by_batch, answer) in played {
        let found = world.wallet(&player).await;
        assert_eq!(found.account.balance.to_string(), "100", "{player}: {taken}, {answer}");
        let is_refunded = match by_batch {
            true => answer["refundResultList"][0]["refundTotalMoney"] == 10,
            false => answer["status"] == 200,
        };
        assert_eq!(taken, if is_refunded { "recorded" } else { "refund_asked" }, "{player}: {answer}");
        refunded += usize::from(is_refunded);
    }
    println!("{refunded} of {count} first bets were taken and refunded, the others not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bet_that_is_settled_and_refunded_at_once_is_one_of_the_two() {
    let world = World::with_channel().await;
    let most = Duration::from_millis(4);
    let entries = world.instance_of_with("record-entries", slow(most));
    let refunds = world.instance_with(slow(most));
    for round in 0..if is_embedded() { 200 } else { 30 } {
        let player = format!("player{round}");
        world.wallet_with_debits(&player, "0", &[("bet", "10")]).await;
        let body = single(&player, &player, &[("bet", "10")]);
        let settled = [settle(&player, "bet")];
        let ((_, told), answer) = join(entries.record(&settled), refunds.call(&body)).await;
        let found = world.wallet(&player).await;
        match (outcomes(&told)[0], answer["status"].as_u64(), &found.debits[0].state) {
            ("recorded", Some(208), DebitState::Settled) => {
                assert_eq!(found.account.balance.to_string(), "0")
            }
            ("refunded", Some(200), DebitState::Refunded(_)) => {
                assert_eq!(found.account.balance.to_string(), "10");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Whoever takes the last of a wallet has taken it: no copy of the same call is told that the balance is too low.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_bet_that_takes_all_are_never_told_that_the_balance_is_too_low() {
    let world = World::with_channel().await;
    let most = Duration::from_millis(4);
    let instances: Vec<Instance> =
        (0..4).map(|_| world.instance_of_with("record-entries", slow(most))).collect();
    for round in 0..if is_embedded() { 100 } else { 10 } {
        let player = format!("player{round}");
        world.wallet_with_debits(&player, "10", &[]).await;
        let entry = [bet(&player, "bet", "10")];
        let told = join_all(instances.iter().map(|instance| instance.record(&entry))).await;
        let count = |word: &str| told.iter().filter(|(_, told)| outcomes(told) == [word]).count();
        assert_eq!((count("recorded"), count("unchanged")), (1, 3), "{told:?}");
        assert_eq!(world.balance(&player).await, "0");
    }
}

/// The items of a read are not of one moment: here a copy of the call comes between that of the bet and that of the
/// account.
#[tokio::test(flavor = "multi_thread")]
async fn a_bet_that_a_copy_of_its_call_took_during_the_read_is_not_refused() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[]).await;
    let entry = [bet("p", "bet", "10")];
    let (copy, of_copy) = (world.entries_instance(), entry.clone());
    let torn = world.instance_of_with(
        "record-entries",
        Arc::new(move |call: Attempt<'_>| match (call.operation, call.number) {
            ("BatchGetItem", 0) => Fault::UnprocessedFirstKey,
            ("BatchGetItem", 1) => {
                let copy = copy.record(&of_copy);
                let (status, told) = block_in_place(|| Handle::current().block_on(copy));
                assert_eq!((status, outcomes(&told)), (200, vec!["recorded"]));
                Fault::None
            }
            _ => Fault::None,
        }),
    );
    let (status, told) = torn.record(&entry).await;
    assert_eq!((status, outcomes(&told)), (200, vec!["unchanged"]));
    assert_eq!(world.balance("p").await, "0");
}

const WRITERS: usize = 32;

/// How long each of a writer's calls took.
#[derive(Default)]
struct Took {
    entries: Vec<Duration>,
    refunds: Vec<Duration>,
}

/// Each writer's calls, all on one wallet: bets, payouts, cash-outs, settlements, and refunds of failed bets by single
/// and batch calls.
async fn write(entries: &Instance, one: &Instance, many: &Instance, writer: usize, rounds: usize) -> Took {
    let mut took = Took::default();
    for round in 0..rounds {
        let id = |what: &str| format!("{what} {writer} {round}");
        for said in [
            vec![bet("p", &id("won"), "3"), credit("p", &id("payout"), "5")],
            vec![settle("p", &id("won")), bet("p", &id("failed"), "2"), withdrawal("p", &id("out"), "1")],
        ] {
            let began = Instant::now();
            let (status, told) = entries.record(&said).await;
            took.entries.push(began.elapsed());
            assert_eq!((status, outcomes(&told)), (200, vec!["recorded"; said.len()]));
        }
        let began = Instant::now();
        let answer = match round % 2 {
            0 => one.call(&single(&id("r"), "p", &[(&id("failed"), "2")])).await,
            _ => many.call(&batch(&id("r"), &[("p", &id("failed"), "2")])).await,
        };
        took.refunds.push(began.elapsed());
        assert_eq!(answer["status"], 200, "{answer}");
    }
    took
}

/// The median and the longest.
fn spread(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_writers_on_one_wallet_record_everything_once_in_a_chain_without_gaps() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "1000", &[]).await;
    let rounds = if is_embedded() { 8 } else { 1 };
    let began = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let (entries, one, many) = (world.entries_instance(), world.instance(), world.batch_instance());
        tokio::spawn(async move { write(&entries, &one, &many, writer, rounds).await })
    });
    let written: Vec<Took> = join_all(writers).await.into_iter().map(|writer| writer.unwrap()).collect();
    let seconds = began.elapsed().as_secs_f64();

    // Each round: 3 taken, 5 paid out, 2 taken, 1 cashed out, 2 given back; a settlement posts nothing.
    let found = world.wallet("p").await;
    let count = WRITERS * rounds;
    assert_eq!(found.account.balance.to_string(), (1000 + count).to_string());
    assert_eq!(found.account.sequence, (count * 5) as u64);
    let postings = found.check().unwrap();
    let of = |is: fn(&Posted<'_>) -> bool| postings.iter().filter(|posted| is(posted)).count();
    assert_eq!(of(|posted| matches!(posted, Posted::Debit(..))), count * 2);
    assert_eq!(of(|posted| matches!(posted, Posted::Movement(_))), count * 2);
    assert_eq!(of(|posted| matches!(posted, Posted::Refund(..))), count);

    // Neither kind stands back for the other, and nobody starves.
    let (entries, refunds): (Vec<_>, Vec<_>) =
        written.into_iter().map(|took| (took.entries, took.refunds)).unzip();
    let (entry, longest_entry) = spread(entries.concat());
    let (refund, longest_refund) = spread(refunds.concat());
    println!(
        "one wallet, {WRITERS} writers: {} entries and {count} refunds in {seconds:.1} s, {:.0} a second; a call of \
         entries took {entry:.0?}, at most {longest_entry:.1?}, a refund {refund:.0?}, at most {longest_refund:.1?}",
        count * 5,
        (count * 6) as f64 / seconds
    );
    // The emulator serves transactions one after another, and takes those that come first most of its time.
    if is_embedded() {
        assert!(entry < refund * 3 && refund < entry * 3, "{entry:?}, {refund:?}");
        let longest = longest_entry.max(longest_refund);
        assert!(longest < Duration::from_secs(20), "{longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_by_the_thousand_do_not_wait_for_each_other() {
    let world = World::with_channel().await;
    let wallets = 1_000;
    let players: Vec<String> = (0..wallets).map(|number| format!("player{number}")).collect();
    let lines: Vec<Value> = players.iter().map(|player| wallet(player, "100")).collect();
    world.import(&lines).await;
    let instances: Vec<Instance> = (0..8).map(|_| world.entries_instance()).collect();
    let began = Instant::now();
    // A call of one bet each, and one of 25 players' payouts.
    let bets = stream::iter(players.iter().enumerate())
        .map(|(number, player)| {
            let instance = instances[number % instances.len()].clone();
            let player = player.clone();
            tokio::spawn(async move { instance.record(&[bet(&player, "bet", "10")]).await })
        })
        .buffer_unordered(32);
    let told: Vec<_> = bets.map(|told| told.unwrap()).collect().await;
    assert!(told.iter().all(|(status, told)| *status == 200 && outcomes(told) == ["recorded"]));
    let one_by_one = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let payouts = stream::iter(players.chunks(25).enumerate())
        .map(|(number, players)| {
            let instance = instances[number % instances.len()].clone();
            let entries: Vec<Value> = players.iter().map(|player| credit(player, "payout", "20")).collect();
            tokio::spawn(async move { instance.record(&entries).await })
        })
        .buffer_unordered(8);
    let told: Vec<_> = payouts.map(|told| told.unwrap()).collect().await;
    assert!(
        told.iter().all(|(status, told)| *status == 200 && outcomes(told) == vec!["recorded"; told.len()])
    );
    let together = began.elapsed().as_secs_f64();
    for player in players.iter().step_by(97) {
        assert_eq!(world.balance(player).await, "110");
    }
    println!(
        "{wallets} wallets: {:.0} bets a second, a call each; {:.0} payouts a second, 25 a call",
        wallets as f64 / one_by_one,
        wallets as f64 / together
    );
}

/// The entries whose faults and deaths are tried, and what the wallet holds once all are on record.
fn day(player: &str) -> Vec<Value> {
    vec![
        wallet(player, "0"),
        credit(player, "deposit", "50"),
        bet(player, "bet", "20"),
        settle(player, "bet"),
        withdrawal(player, "out", "5"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn any_fault_at_any_call_is_survived_and_nothing_is_recorded_twice() {
    let world = World::with_channel().await;
    let faults = [
        ("GetItem", Fault::LostAnswer),
        ("GetItem", Fault::Throttled),
        ("BatchGetItem", Fault::LostRequest),
        ("BatchGetItem", Fault::LostAnswer),
        ("BatchGetItem", Fault::Throttled),
        ("BatchGetItem", Fault::InternalError),
        ("BatchGetItem", Fault::UnprocessedKeys),
        ("TransactWriteItems", Fault::LostRequest),
        ("TransactWriteItems", Fault::LostAnswer),
        ("TransactWriteItems", Fault::Throttled),
        ("TransactWriteItems", Fault::InternalError),
        ("TransactWriteItems", Fault::TransactionConflict),
        ("TransactWriteItems", Fault::Late),
        ("UpdateItem", Fault::LostRequest),
        ("UpdateItem", Fault::LostAnswer),
        ("UpdateItem", Fault::Late),
    ];
    for (number, (operation, fault)) in faults.into_iter().enumerate() {
        for times in [1, 4] {
            let player = format!("player{number}x{times}");
            let instance = world.instance_of_with(
                "record-entries",
                Arc::new(move |call: Attempt<'_>| match call.operation == operation && call.number < times {
                    true => fault,
                    false => Fault::None,
                }),
            );
            let what = format!("{operation} {fault:?} {times} times");
            for entries in [day(&player), vec![bet(&player, "late", "1")], vec![settle(&player, "late")]] {
                let (status, told) = instance.record(&entries).await;
                assert_eq!(status, 200, "{what}: {told:?}");
                let is_there = |word: &&str| matches!(*word, "recorded" | "unchanged");
                assert!(outcomes(&told).iter().all(is_there), "{what}: {told:?}");
            }
            let (_, told) = world.entries_instance().record(&day(&player)).await;
            assert_eq!(outcomes(&told), ["unchanged"; 5], "{what}");
            assert_eq!(world.balance(&player).await, "24", "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_call_leaves_all_or_nothing_and_the_next_one_completes_it() {
    let world = World::with_channel().await;
    for carried_out in [false, true] {
        for number in 0..4 {
            let player = format!("player{number}{carried_out}").to_lowercase();
            let (faults, _) = dies_at(number, carried_out);
            let instance = world.instance_of_with("record-entries", faults);
            let (_, told) = instance.record(&day(&player)).await;
            let before =
                world.items().await.into_iter().filter(|item| item["pk"] == format!("ebet#1#{player}"));
            let count = before.count();
            assert!(matches!(count, 0 | 4), "an account, a debit, two movements, or none of them: {count}");
            assert!(outcomes(&told).iter().all(|word| count == 4 || *word == "undecided"), "{told:?}");
            let (status, told) = world.entries_instance().record(&day(&player)).await;
            let word = if count == 0 { "recorded" } else { "unchanged" };
            assert_eq!((status, outcomes(&told)), (200, vec![word; 5]));
            assert_eq!(world.balance(&player).await, "25");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_deadline_comes_first_the_answer_is_503_and_sending_again_completes_it() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[]).await;
    let stuck: Faults = Arc::new(|call: Attempt<'_>| match call.operation {
        "TransactWriteItems" => Fault::TransactionConflict,
        _ => Fault::None,
    });
    let instance = world.instance_of_with("record-entries", stuck);
    let body = json!({"entries": [bet("p", "bet", "1"), {"kind": "credit"}]}).to_string();
    let event = entries_event(body.as_bytes()).to_string();
    let before = world.dump().await;
    let response = instance.call_event_within(&event, Duration::from_secs(2)).await;
    let answer: Value = serde_json::from_slice(&response.bytes()).unwrap();
    assert_eq!(response.status_code, 503, "{answer}");
    assert_eq!(outcomes(answer["entries"].as_array().unwrap()), ["undecided", "bad_entry"]);
    assert_eq!(world.dump().await, before);
    let (status, told) = world.entries_instance().record(&[bet("p", "bet", "1")]).await;
    assert_eq!((status, outcomes(&told)), (200, vec!["recorded"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_on_an_entry_that_is_undecided_is_undecided_too() {
    let world = World::with_channel().await;
    world.wallet_with_debits("q", "10", &[]).await;
    let no_settings: Faults = Arc::new(|call: Attempt<'_>| match call.operation {
        "GetItem" => Fault::Throttled,
        _ => Fault::None,
    });
    let instance = world.instance_of_with("record-entries", no_settings);
    let entries = [wallet("p", "0"), credit("p", "deposit", "5"), credit("q", "deposit", "5")];
    let body = json!({ "entries": entries }).to_string();
    let event = entries_event(body.as_bytes()).to_string();
    let response = instance.call_event_within(&event, Duration::from_secs(2)).await;
    let answer: Value = serde_json::from_slice(&response.bytes()).unwrap();
    assert_eq!(response.status_code, 503, "{answer}");
    let told = answer["entries"].as_array().unwrap();
    assert_eq!(outcomes(told), ["undecided", "undecided", "recorded"]);
    let (status, told) = world.entries_instance().record(&entries).await;
    assert_eq!((status, outcomes(&told)), (200, vec!["recorded", "recorded", "unchanged"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_is_opened_though_what_it_does_not_hold_is_refused() {
    let world = World::with_channel().await;
    let instance = world.entries_instance();
    instance.record(&[wallet("warm", "0")]).await;
    instance.wire.take_calls();
    let (status, told) =
        instance.record(&[wallet("p", "5"), withdrawal("p", "out", "9"), bet("p", "bet", "6")]).await;
    assert_eq!(status, 200);
    assert_eq!(outcomes(&told), ["recorded", "insufficient_balance", "insufficient_balance"]);
    let (round_trips, _) = costs(&instance.wire.take_calls());
    assert_eq!(round_trips, 3, "two reads and a transaction");
}

/// Until its tombstone is there nobody is told that a bet is not: it could be taken a moment later.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_tombstone_could_not_be_put_is_busy_and_asked_for_again_it_finds_the_bet() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("other", "1")]).await;
    let no_put: Faults = Arc::new(|call: Attempt<'_>| match call.operation {
        "PutItem" => Fault::Throttled,
        _ => Fault::None,
    });
    for (body, instance) in [
        (single("r1", "p", &[("bet", "4")]), world.instance_with(no_put.clone())),
        (batch("r2", &[("p", "bet", "4")]), world.batch_instance_with(no_put.clone())),
        (batch("r3", &[("p", "other", "1"), ("q", "bet", "4")]), world.batch_instance_with(no_put)),
    ] {
        let event = tests::world::event(body.to_string().as_bytes(), tests::world::CALLER).to_string();
        let response = instance.call_event_within(&event, Duration::from_secs(2)).await;
        let answer: Value = serde_json::from_slice(&response.bytes()).unwrap();
        assert_eq!(answer["status"], 4003, "{answer}");
        assert!(world.tombstones().await.is_empty());
    }
    world.entries_instance().record(&[bet("p", "bet", "4"), wallet("q", "4"), bet("q", "bet", "4")]).await;
    assert_eq!(world.instance().call(&single("r1", "p", &[("bet", "4")])).await["status"], 200);
    let answer = world.batch_instance().call(&batch("r3", &[("p", "other", "1"), ("q", "bet", "4")])).await;
    assert_eq!(answer["refundResultList"][1]["refundTotalMoney"], 4, "{answer}");
    assert_eq!((world.balance("p").await, world.balance("q").await), ("11".to_owned(), "4".to_owned()));
}

/// A batch of players of whom nothing is there yet says so of each, once each has a tombstone; another body under a
/// number that is taken leaves none.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_leaves_a_tombstone_for_each_bet_that_is_not_there_unless_its_number_is_anothers() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("bet", "1")]).await;
    let players: Vec<String> = (0..60).map(|number| format!("player{number}")).collect();
    let unknown: Vec<(&str, &str, &str)> = players
        .iter()
        .flat_map(|player| [(player.as_str(), "a", "1"), (player.as_str(), "b", "1")])
        .collect();
    let of_p = [("p", "bet", "1")];
    let taken = world.batch_instance().call(&batch("taken", &of_p)).await;
    assert_eq!(taken["refundResultList"][0]["refundTotalMoney"], 1, "{taken}");
    for first in [&of_p[..], &[]] {
        // The leading part, which learns it first, is slow: the others wait for it, or look for themselves.
        for delay in [0, 200, 1_000] {
            let leading: Faults = Arc::new(move |call: Attempt<'_>| match call.operation {
                "BatchGetItem" if call.number == 0 => Fault::Slow(Duration::from_millis(delay)),
                _ => Fault::None,
            });
            let body = batch("taken", &[first, &unknown].concat());
            assert_eq!(world.batch_instance_with(leading).call(&body).await["status"], 4025);
            assert_eq!(world.tombstones().await, [""; 0], "the number is another body's");
        }
    }
    let answer = world.batch_instance().call(&batch("free", &unknown)).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(world.tombstones().await.len(), 120);
    let before = world.items().await;
    assert_eq!(world.batch_instance().call(&batch("free", &unknown)).await, answer, "sent again");
    assert_eq!(world.items().await, before);
}

#[tokio::test]
async fn tombstones_may_vanish_after_ninety_days_and_money_facts_never() {
    let world = World::with_channel().await;
    world.entries_instance().record(&day("p")).await;
    world.instance().call(&single("r", "p", &[("bet", "1"), ("gone", "1")])).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for item in world.items().await {
        let expires = item["expires"]["N"].as_str().map(|expires| expires.parse::<u64>().unwrap());
        match item["state"] == "refund_asked" {
            true => assert!(expires.unwrap().abs_diff(now + 90 * 24 * 60 * 60) < 60, "{item}"),
            false => assert!(expires.is_none() || item["sk"] == "REQUEST", "{item}"),
        }
    }
    // One that has vanished leaves the bet free; one that an import has replaced is no tombstone any more.
    world.delete("ebet#1#p", "PAYMENT#gone").await;
    world.import(&[past_debit("p", "gone", "1")]).await;
    assert!(world.tombstones().await.is_empty());
}

#[tokio::test]
async fn each_change_of_what_was_recorded_is_found() {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: &str| AttributeValue::N(number.to_owned());
    for (sk, attribute, value) in [
        ("PAYMENT#bet", "amount", number("19.99")),
        ("PAYMENT#bet", "roundCode", text("B1-2")),
        ("PAYMENT#bet", "taken.at", number("1")),
        ("PAYMENT#bet", "taken.before", number("51")),
        ("PAYMENT#bet", "taken.sequence", number("3")),
        ("PAYMENT#bet", "taken.hash", AttributeValue::B(Blob::new([0; 32]))),
        ("MOVEMENT#deposit", "amount", number("51")),
        ("MOVEMENT#deposit", "direction", text("withdrawal")),
        ("MOVEMENT#deposit", "reason", text("gift")),
        ("MOVEMENT#deposit", "at", number("1")),
        ("MOVEMENT#out", "previous", AttributeValue::B(Blob::new([0; 32]))),
        ("ACCOUNT", "balance", number("25.01")),
        ("ACCOUNT", "opening", number("0.01")),
        ("ACCOUNT", "sequence", number("2")),
    ] {
        let world = World::with_channel().await;
        world.entries_instance().record(&day("p")).await;
        let account = shared::ebet::ChannelId(1).wallet(&"p".parse().unwrap());
        world.set_raw("ebet#1#p", sk, attribute, value).await;
        let found = world.session().wallet(&account).await.unwrap().unwrap();
        assert!(found.check().is_err(), "{sk} {attribute}");
    }
    for sk in ["PAYMENT#bet", "MOVEMENT#deposit", "MOVEMENT#out"] {
        let world = World::with_channel().await;
        world.entries_instance().record(&day("p")).await;
        world.delete("ebet#1#p", sk).await;
        let account = shared::ebet::ChannelId(1).wallet(&"p".parse().unwrap());
        let found = world.session().wallet(&account).await.unwrap().unwrap();
        assert!(found.check().is_err(), "without {sk}");
    }
}

#[tokio::test]
async fn a_changed_or_missing_movement_of_an_apps_funds_is_found() {
    let funds = |id: &str, amount: i64| {
        json!({"kind": "funds", "app": "app_1", "livemode": false, "source": "unsettled_funds", "id": id,
               "amount": amount, "reason": "fee"})
    };
    let account = pingpp::app().account("unsettled_funds");
    for (attribute, value) in [
        ("amount", Some(AttributeValue::N("8".to_owned()))),
        ("reason", Some(AttributeValue::S("gift".to_owned()))),
        ("", None),
    ] {
        let world = World::with_funds("0", "0").await;
        world.entries_instance().record(&[funds("in", 9), funds("out", -2)]).await;
        let checked = async || {
            let found = world.session().wallet(&account).await.unwrap().unwrap();
            check_funds(&found.account, FundingSource::Unsettled, [], &found.movements)
                .map(|postings| postings.len())
        };
        assert_eq!(checked().await, Ok(2));
        match value {
            Some(value) => world.set_raw(account.as_str(), "MOVEMENT#in", attribute, value).await,
            None => world.delete(account.as_str(), "MOVEMENT#in").await,
        }
        assert!(checked().await.is_err(), "{attribute}");
    }
}

#[tokio::test]
async fn an_import_of_a_bet_whose_refund_was_asked_for_is_reported_until_it_is_refunded() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[]).await;
    let instance = world.instance();
    let asked = single("r", "p", &[("late", "4"), ("played", "1")]);
    assert_eq!(instance.call(&asked).await["status"], 208);
    let mut played = past_debit("p", "played", "1");
    played["state"] = json!("settled");
    let lines = format!("{}\n{played}\n{}", past_debit("p", "late", "4"), past_debit("p", "other", "1"));
    let import = async || {
        let report = import::run(&world.store(), Source::text(&lines), &import::Settings::default()).await;
        report.unwrap()
    };
    for _ in 0..2 {
        let report = import().await;
        let due: Vec<(usize, &str)> =
            report.due.iter().map(|(line, debit)| (*line, debit.as_str())).collect();
        assert_eq!(due, [(1, "late")], "of what was played nothing is due");
        assert!(report.to_string().contains("line 1: the refund of late was asked for before"), "{report}");
    }
    assert!(world.tombstones().await.is_empty());
    assert_eq!(instance.call(&asked).await["refundMoney"], 4, "nothing was executed under this number");
    assert!(import().await.due.is_empty());
    assert_eq!(world.balance("p").await, "14");
}

/// Asked for again, a tombstone that has stood for a while stands anew.
#[tokio::test]
async fn a_tombstone_is_renewed_when_its_refund_is_asked_for_again_much_later() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[]).await;
    let instance = world.instance();
    let body = single("r", "p", &[("late", "1")]);
    let (pk, sk) = ("ebet#1#p", "PAYMENT#late");
    instance.call(&body).await;
    let put = world.typed(pk, sk).await;
    assert_eq!(instance.call(&body).await["status"], 208);
    assert_eq!(world.typed(pk, sk).await, put, "a moment later it stands as it is");
    for attribute in ["at", "expires"] {
        world.set_raw(pk, sk, attribute, AttributeValue::N("1000000000".to_owned())).await;
    }
    assert_eq!(instance.call(&body).await["status"], 208);
    let now = |name: &'static str| world.raw(pk, sk, name);
    let (at, expires) = (now("at").await, now("expires").await);
    assert!(at.as_n().unwrap() >= &put["at"]["N"].as_str().unwrap().to_owned(), "{at:?}");
    assert!(expires.as_n().unwrap() >= &put["expires"]["N"].as_str().unwrap().to_owned(), "{expires:?}");
}

#[tokio::test]
async fn an_application_lives_by_what_its_merchants_system_and_the_callers_say() {
    let world = World::with_applications(0).await;
    let entries = world.entries_instance();
    let (begin, end) = (world.instance_of(epay::BEGIN), world.instance_of(epay::END));
    let application = |autoid: i64| json!({"kind": "application", "merchant": "demo", "autoid": autoid, "amount": "2.00", "orderNo": "o"});
    let withdraw = |autoid: i64| json!({"kind": "withdraw", "merchant": "demo", "autoid": autoid});
    let fail = |autoid: i64, batch_no: &str| json!({"kind": "fail", "merchant": "demo", "autoid": autoid, "batchNo": batch_no, "reason": "no account"});
    let told = entries.record(&[application(1), application(2), fail(1, "B1")]).await.1;
    assert_eq!(outcomes(&told), ["recorded", "recorded", "not_under_way"]);
    assert_eq!(begin.errcode(&epay::begin(1, "B1", "2")).await, 0);
    assert_eq!(begin.errcode(&epay::begin(2, "B2", "2")).await, 0);

    // Under way it can't be withdrawn; failed, it can be.
    let told =
        entries.record(&[withdraw(1), fail(1, "other"), fail(1, "B1"), fail(1, "B1"), withdraw(1)]).await.1;
    assert_eq!(
        outcomes(&told),
        ["not_requested", "not_under_way", "recorded", "unchanged", "recorded"],
        "{told:?}"
    );
    // What the payment provider says it paid has not failed, whatever it says it paid.
    entries.record(&[application(3)]).await;
    assert_eq!(begin.errcode(&epay::begin(3, "B4", "2")).await, 0);
    assert_ne!(end.errcode(&epay::end("B4", "T", "1")).await, 0);
    assert_eq!(outcomes(&entries.record(&[fail(3, "B4")]).await.1), ["confirmed"]);
    assert_eq!(end.errcode(&epay::end("B2", "T", "2")).await, 0);
    let told = entries.record(&[fail(2, "B2"), withdraw(2)]).await.1;
    assert_eq!(outcomes(&told), ["not_under_way", "not_requested"]);
    assert_eq!(begin.errcode(&epay::begin(1, "B3", "2")).await, 203, "withdrawn");
}

#[tokio::test]
async fn a_batch_refunds_what_was_recorded_as_paid_from_what_was_recorded_as_funds() {
    let world = World::with_funds("0", "0").await;
    world.with_keys().await;
    let entries = world.entries_instance();
    let charge = |paid: bool| {
        json!({"kind": "charge", "app": "app_1", "livemode": false, "id": "ch_1", "amount": 10, "currency": "cny",
               "channel": "wx", "orderNo": "o", "created": 1, "paid": paid})
    };
    let funds = |id: &str, amount: i64| {
        json!({"kind": "funds", "app": "app_1", "livemode": false, "source": "unsettled_funds", "id": id,
               "amount": amount, "reason": "charge paid"})
    };
    let create = async |batch_no: &str| {
        let asked = pingpp::request(batch_no, &[("ch_1", Some(4))]);
        world.session().create_batch(&asked, pingpp::new).await.result.unwrap()
    };
    for (said, is_accepted) in [
        (vec![charge(false)], false),
        (vec![funds("in", 5)], false),
        (vec![charge(true), charge(false)], true),
        (vec![funds("out", -1)], false),
        (vec![funds("in again", 4)], true),
    ] {
        let (status, told) = entries.record(&said).await;
        assert!(status == 200 && outcomes(&told).iter().all(|word| *word != "conflict"), "{told:?}");
        let accepted = create(&format!("batch-{}", said[0]["id"].as_str().unwrap())).await;
        assert_eq!(accepted.is_ok(), is_accepted, "{said:?}: {accepted:?}");
    }
    world.check_batches("entries and batches").await;
    // Over-drawn by one; what the batches took is not there any more.
    let told = entries.record(&[funds("too much", -1)]).await.1;
    assert_eq!(outcomes(&told), ["insufficient_balance"]);
}

#[tokio::test]
async fn who_is_not_signed_in_is_refused_and_the_table_is_not_asked() {
    let world = World::with_channel().await;
    let instance = world.entries_instance();
    let body = json!({"entries": [wallet("p", "1")]}).to_string();
    let unsigned = event_of("POST", "/entries", &[("content-type", "application/json")], body.as_bytes());
    let mut jwt = unsigned.clone();
    jwt["requestContext"]["authorizer"] = json!({"jwt": {"claims": {}, "scopes": null}});
    let mut nobody = entries_event(body.as_bytes());
    nobody["requestContext"]["authorizer"]["iam"]["userArn"] = json!(null);
    let mut nameless = nobody.clone();
    nameless["requestContext"]["authorizer"]["iam"]["userArn"] = json!("");
    // A caller's own signature, which no gateway has checked.
    let authorization =
        "AWS4-HMAC-SHA256 Credential=AKIA/20261128/eu-west-1/execute-api/aws4_request, Signature=0";
    let unchecked = event_of("POST", "/entries", &[("authorization", authorization)], body.as_bytes());
    for (event, status) in [
        (unsigned, 403),
        (jwt, 403),
        (nobody, 403),
        (nameless, 403),
        (unchecked, 403),
        (json!({"not": "an event"}), 400),
        (json!(null), 400),
    ] {
        let response = instance.call_event(&event.to_string()).await;
        assert_eq!(response.status_code, status, "{event}");
        let answer: Value = serde_json::from_slice(&response.bytes()).unwrap();
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    assert_eq!(costs(&instance.wire.take_calls()), (0, 0.0));
}

#[tokio::test]
async fn bodies_of_any_size_and_depth_are_answered() {
    let world = World::with_channel().await;
    let instance = world.entries_instance();
    let before = world.items().await;
    let deep = format!("{{\"entries\":[{}1{}]}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_entry = format!("{{\"entries\":[{{\"kind\":{}1{}}}]}}", "[".repeat(1_000), "]".repeat(1_000));
    let long = format!("{{\"entries\":[\"{}\"]}}", "x".repeat(256 * 1024));
    let twice = r#"{"entries":[],"entries":[]}"#.to_owned();
    let member_twice =
        r#"{"entries":[{"kind":"settle","channelId":1,"channelId":1,"username":"p","seqNo":"b"}]}"#;
    for (body, status) in [
        (deep, 200),
        (deep_entry, 200),
        (long, 413),
        (twice, 400),
        (member_twice.to_owned(), 200),
        ("\u{feff}{}".to_owned(), 400),
    ] {
        let response = instance.call_event(&entries_event(body.as_bytes()).to_string()).await;
        assert_eq!(response.status_code, status, "{}", &body[..60.min(body.len())]);
    }
    let long_id = json!({"entries": [credit("p", &"x".repeat(100_000), "1")]}).to_string();
    let long_member = json!({"y".repeat(100_000): 1}).to_string();
    for body in [long_id, long_member] {
        let response = instance.call_event(&entries_event(body.as_bytes()).to_string()).await;
        assert!(response.bytes().len() < 1_000, "what is wrong is quoted in part");
    }
    // Bytes that are no text arrive in base64.
    let response = instance.call_event(&entries_event(b"{\"entries\":[\"\xff\"]}").to_string()).await;
    assert_eq!(response.status_code, 400);
    assert_eq!(world.items().await, before);
}
