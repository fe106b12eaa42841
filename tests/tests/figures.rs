//! What a refund costs, from what the table itself says it consumed.

use std::sync::Arc;

use serde_json::json;
use shared::ledger::Verdict;
use shared::limits;
use tests::wire::{Attempt, Call, Fault};
use tests::world::{World, is_embedded, single};

/// Round trips, read units and write units of `calls`.
fn costs(calls: &[Call]) -> (usize, f64, f64) {
    let of = |write: bool| {
        let is_write = |call: &&Call| call.operation.contains("Get") != write;
        calls.iter().filter(is_write).map(|call| call.units).sum()
    };
    (calls.len(), of(false), of(true))
}

#[tokio::test]
async fn one_item_is_two_round_trips_and_six_write_units_and_each_further_item_two_units_and_no_call() {
    let world = World::with_channel().await;
    let bets: Vec<(String, &str)> = (0..98).map(|number| (format!("bet-{number}"), "1.50")).collect();
    let bets: Vec<(&str, &str)> = bets.iter().map(|(id, amount)| (id.as_str(), *amount)).collect();
    let instance = world.instance();
    for (items, round_trips, write_units) in
        [(1, 3, 6.0), (1, 2, 6.0), (2, 2, 8.0), (10, 2, 24.0), (98, 2, 200.0)]
    {
        let username = format!("p{items}-{round_trips}");
        world.wallet_with_debits(&username, "10", &bets[..items]).await;
        instance.wire.take_calls();
        let answer = instance.call(&single(&username, &username, &bets[..items])).await;
        assert_eq!(answer["status"], 200, "{answer}");
        let calls = instance.wire.take_calls();
        let (took, _, wrote) = costs(&calls);
        // The very first request of a process reads its channel's settings, too.
        assert_eq!(took, round_trips, "{items} items: {calls:#?}");
        if is_embedded() {
            assert_eq!(wrote, write_units, "{items} items: {calls:#?}");
        }
    }
}

#[tokio::test]
async fn a_replay_is_one_read_and_writes_nothing() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("bet", "5")]).await;
    let instance = world.instance();
    let first = instance.call(&single("r", "p", &[("bet", "5")])).await;
    for seq_no in ["r", "another request for the same bet"] {
        instance.wire.take_calls();
        let again = instance.call(&single(seq_no, "p", &[("bet", "5")])).await;
        assert_eq!(again["status"], 200);
        assert_eq!(again["moneyAfter"], first["moneyAfter"]);
        let (took, read, wrote) = costs(&instance.wire.take_calls());
        assert_eq!((took, wrote), (1, 0.0));
        if is_embedded() {
            assert_eq!(read, 3.0, "three items of less than 4 KB, read consistently: a unit each");
        }
    }
    // A cold process reads the channel's settings first.
    let cold = world.instance();
    assert_eq!(cold.call(&single("r", "p", &[("bet", "5")])).await, first);
    let (took, _, wrote) = costs(&cold.wire.take_calls());
    assert_eq!((took, wrote), (2, 0.0));
}

#[tokio::test]
async fn a_refused_request_writes_nothing() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("bet", "5")]).await;
    let instance = world.instance();
    instance.call(&single("warm", "p", &[("bet", "4")])).await;
    let bad_signature = {
        let mut body = single("r", "p", &[("bet", "5")]);
        body["signature"] = json!("AAAA");
        body
    };
    for (body, status, round_trips) in [(single("r", "p", &[("bet", "4")]), 207, 1), (bad_signature, 4026, 0)]
    {
        instance.wire.take_calls();
        assert_eq!(instance.call(&body).await["status"], status);
        let (took, _, wrote) = costs(&instance.wire.take_calls());
        assert_eq!((took, wrote), (round_trips, 0.0), "status {status}");
    }
}

/// A thousand bets of the highest amount are one more than a wallet of that amount can get back.
#[tokio::test]
async fn a_wallet_that_would_become_too_rich_gets_back_what_fits_and_a_replay_is_reads_alone() {
    const HIGHEST: &str = "1000000000000000";
    let world = World::with_channel().await;
    let bets: Vec<String> = (0..1_000).map(|number| format!("bet-{number}")).collect();
    let bets: Vec<(&str, &str)> = bets.iter().map(|id| (id.as_str(), HIGHEST)).collect();
    world.wallet_with_debits("p", HIGHEST, &bets).await;
    let instance = world.instance();
    let body = single("r", "p", &bets);
    let first = instance.call(&body).await;
    let told = |bet: usize| first["resultList"][bet]["status"].as_u64().unwrap();
    assert!((0..999).all(|bet| told(bet) == 200), "{first}");
    assert_eq!((first["status"].as_u64(), told(999)), (Some(200), 4025));
    assert_eq!(world.balance("p").await, "1000000000000000000");

    // The wallet, a thousand bets and the record.
    let reads = 1_002_usize.div_ceil(limits::KEYS_PER_READ_MAX);
    instance.wire.take_calls();
    assert_eq!(instance.call(&body).await, first);
    let operations =
        || -> Vec<String> { instance.wire.take_calls().into_iter().map(|call| call.operation).collect() };
    assert_eq!(operations(), vec!["BatchGetItem"; reads]);
    // Under another number it is asked for anew, and read a second time, in transactions.
    let other = instance.call(&single("other", "p", &bets)).await;
    assert_eq!(other["resultList"], first["resultList"]);
    assert_eq!(operations(), [vec!["BatchGetItem"; reads], vec!["TransactGetItems"; reads]].concat());
}

#[tokio::test]
async fn a_debit_that_is_not_there_costs_a_tombstone_once() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("bet", "5")]).await;
    let instance = world.instance();
    instance.call(&single("warm", "p", &[("bet", "4")])).await;
    for (username, status) in [("p", 208), ("nobody", 4037)] {
        for (round_trips, units) in [(2, 1.0), (1, 0.0)] {
            instance.wire.take_calls();
            assert_eq!(instance.call(&single("r", username, &[("nothing", "5")])).await["status"], status);
            let (took, _, wrote) = costs(&instance.wire.take_calls());
            assert_eq!((took, wrote), (round_trips, units), "status {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_lost_a_race_tries_again_with_what_the_refusal_showed_and_reads_no_more() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("bet", "5"), ("other", "1")]).await;
    // Another refund of the wallet comes in between this one's read and its transaction.
    let other = world.instance();
    let late = world.instance_with(Arc::new(move |call| {
        if call.operation == "TransactWriteItems" && call.number == 0 {
            let body = single("r2", "p", &[("other", "1")]);
            let refund = other.call(&body);
            let answer = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(refund));
            assert_eq!(answer["status"], 200);
        }
        Fault::None
    }));
    let answer = late.call(&single("r", "p", &[("bet", "5")])).await;
    let calls = late.wire.take_calls();
    assert_eq!((answer["moneyBefore"].as_u64(), answer["moneyAfter"].as_u64()), (Some(11), Some(16)));
    let operations: Vec<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(operations, ["GetItem", "BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
}

#[tokio::test]
async fn several_players_of_one_request_are_refunded_in_one_transaction() {
    let world = World::with_channel().await;
    world.wallet_with_debits("a", "0", &[("one", "1")]).await;
    world.wallet_with_debits("b", "0", &[("two", "2")]).await;
    let instance = world.instance();
    let mut body = single("r", "a", &[("one", "1"), ("two", "2")]);
    body["refundList"][1]["username"] = json!("b");
    let answer = instance.call(&body).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let operations: Vec<String> = instance.wire.take_calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, ["GetItem", "BatchGetItem", "TransactWriteItems"]);
    assert_eq!((world.balance("a").await, world.balance("b").await), ("1".to_owned(), "2".to_owned()));
}

/// A refused transaction is billed by its items' sizes, which no answer tells; the function counts it
/// itself. It counts right if it comes to what the table says of the same transaction once written.
#[tokio::test]
async fn a_refused_transaction_is_counted_by_its_items_sizes() {
    let world = World::with_channel().await;
    let long = "x".repeat(128);
    let many: Vec<String> =
        (0..60).map(|number| format!("{number}-{long}").chars().take(128).collect()).collect();
    let cases: [&[String]; 3] = [&["bet".to_owned()], std::slice::from_ref(&long), &many];
    for (number, bets) in cases.into_iter().enumerate() {
        let username = format!("p{number}-{}", &long[..100]);
        let debits: Vec<(&str, &str)> = bets.iter().map(|bet| (bet.as_str(), "5")).collect();
        world.wallet_with_debits(&username, "0", &debits).await;
        let first_conflicts = |call: Attempt<'_>| match (call.operation, call.number) {
            ("TransactWriteItems", 0) => Fault::TransactionConflict,
            _ => Fault::None,
        };
        let (session, wire) = world.session_of("refund-single-wallet", Arc::new(first_conflicts));
        let refunds =
            session.refund(&world.request(&format!("{long}{number}"), &username, &debits)).await.unwrap();
        assert!(refunds.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Refunded(_))));
        let (_, _, written) = costs(&wire.take_calls());
        if is_embedded() {
            assert_eq!(session.usage().write_units as f64, 2.0 * written, "once refused, once written");
        }
    }
}
