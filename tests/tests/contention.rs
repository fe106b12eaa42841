//! Many at once, and calls that fail on the way: every bet is credited once, and every answer is true.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use shared::ledger::{AskedItem, DebitState, RefundRequest, Refusal, Verdict};
use shared::store::{Deadline, Executed, StoreError};
use tests::wire::{Attempt, Fault};
use tests::world::{CALLER, Instance, World, event, is_embedded, no_faults, single};

const MANY: usize = 64;

/// Sends each body to an instance of its own, all at the same time.
async fn at_once(instances: &[Instance], bodies: &[Value]) -> Vec<Value> {
    join_all(instances.iter().zip(bodies).map(|(instance, body)| {
        let (instance, body) = (instance.clone(), body.clone());
        async move { tokio::spawn(async move { instance.call(&body).await }).await.unwrap() }
    }))
    .await
}

/// The numbers of a wallet's postings, sorted.
async fn posting_numbers(world: &World, username: &str) -> Vec<u64> {
    let wallet = world.wallet(username).await;
    let numbers = wallet.debits.iter().filter_map(|debit| match &debit.state {
        DebitState::Refunded(refund) => Some(refund.posting.sequence),
        _ => None,
    });
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_one_request_at_once_credit_once_and_all_get_the_same_answer() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "16.85", &[("bet", "100"), ("other", "1")]).await;
    let instances: Vec<Instance> = (0..MANY).map(|_| world.instance()).collect();
    let mut bodies = vec![single("r", "p", &[("bet", "100"), ("other", "1"), ("unknown", "1")]); MANY];
    for (number, body) in bodies.iter_mut().enumerate() {
        body["sessionToken"] = json!(format!("token {number}")); // not part of what is asked
    }
    let answers = at_once(&instances, &bodies).await;
    assert_eq!(answers[0]["status"], 200, "{}", answers[0]);
    assert_eq!(answers[0]["moneyAfter"].to_string(), "117.85");
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert_eq!(world.balance("p").await, "117.85");
    assert_eq!(posting_numbers(&world, "p").await, [1, 2]);
}

async fn different_refunds_at_once(world: &World, instances: &[Instance]) {
    let bets: Vec<String> = (0..MANY).map(|number| format!("bet-{number}")).collect();
    let debits: Vec<(&str, &str)> = bets.iter().map(|bet| (bet.as_str(), "1.01")).collect();
    world.wallet_with_debits("p", "0", &debits).await;
    let bodies: Vec<Value> =
        bets.iter().map(|bet| single(&format!("request of {bet}"), "p", &[(bet, "1.01")])).collect();
    for answer in at_once(instances, &bodies).await {
        assert_eq!(answer["status"], 200, "{answer}");
    }
    assert_eq!(world.balance("p").await, "64.64");
    let numbers: Vec<u64> = (1..=MANY as u64).collect();
    assert_eq!(posting_numbers(world, "p").await, numbers);
}

#[tokio::test(flavor = "multi_thread")]
async fn different_refunds_of_one_wallet_at_once_are_all_credited_in_a_chain_without_gaps() {
    let world = World::with_channel().await;
    let instances: Vec<Instance> = (0..MANY).map(|_| world.instance()).collect();
    different_refunds_at_once(&world, &instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_conflicts_change_nothing_of_that() {
    let world = World::with_channel().await;
    let conflicts = Arc::new(AtomicUsize::new(0));
    let instances: Vec<Instance> = (0..MANY)
        .map(|_| {
            let conflicts = conflicts.clone();
            // Every other transaction of an instance runs into another one.
            world.instance_with(Arc::new(move |call| {
                if call.operation == "TransactWriteItems" && call.number % 2 == 0 {
                    conflicts.fetch_add(1, Ordering::Relaxed);
                    return Fault::TransactionConflict;
                }
                Fault::None
            }))
        })
        .collect();
    different_refunds_at_once(&world, &instances).await;
    assert!(conflicts.load(Ordering::Relaxed) >= MANY, "every instance had a conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bet_asked_for_under_many_numbers_at_once_is_credited_once() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("bet", "5")]).await;
    let instances: Vec<Instance> = (0..16).map(|_| world.instance()).collect();
    let bodies: Vec<Value> =
        (0..16).map(|number| single(&format!("r{number}"), "p", &[("bet", "5")])).collect();
    for answer in at_once(&instances, &bodies).await {
        assert_eq!((answer["status"].as_u64(), answer["moneyAfter"].as_u64()), (Some(200), Some(5)));
    }
    assert_eq!(world.balance("p").await, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bodies_under_one_number_at_once_never_both_execute() {
    for round in 0..20 {
        let world = World::with_channel().await;
        world.wallet_with_debits("p", "0", &[("one", "1"), ("two", "2")]).await;
        world.wallet_with_debits("q", "0", &[("three", "3")]).await;
        let bodies = [single("r", "p", &[("one", "1")]), single("r", "q", &[("three", "3")])];
        let answers = at_once(&[world.instance(), world.instance()], &bodies).await;
        let mut statuses: Vec<u64> =
            answers.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 4025], "round {round}");
        let balances = (world.balance("p").await, world.balance("q").await);
        let one_of_them = [("1", "0"), ("0", "3")];
        assert!(one_of_them.contains(&(balances.0.as_str(), balances.1.as_str())), "{balances:?}");
    }
}

/// A bet is recorded, and a copy of the request refunds it, between another copy's read and its transaction:
/// what that other copy knows of the bet is older than what its own request has done.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_read_too_early_answers_what_its_request_has_done() {
    let world = Arc::new(World::with_channel().await);
    world.wallet_with_debits("p", "0", &[("known", "5")]).await;
    let body = single("r", "p", &[("late", "2"), ("known", "5")]);
    let in_between = {
        let (world, body) = (world.clone(), body.clone());
        async move {
            world
                .import(&[json!({"kind": "debit", "channelId": 1, "username": "p", "seqNo": "late",
                                 "roundCode": "B1-1", "amount": "2"})])
                .await;
            world.instance().call(&body).await
        }
    };
    let in_between = std::sync::Mutex::new(Some(in_between));
    let first_answer = Arc::new(std::sync::Mutex::new(Value::Null));
    let first = first_answer.clone();
    let copy = world.instance_with(Arc::new(move |call| {
        if call.operation == "TransactWriteItems"
            && let Some(in_between) = in_between.lock().unwrap().take()
        {
            let answer =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(in_between));
            *first.lock().unwrap() = answer;
        }
        Fault::None
    }));
    let answer = copy.call(&body).await;
    assert_eq!(answer["resultList"][0], json!({"refundSeqNo": "late", "status": 200}));
    assert_eq!(answer, *first_answer.lock().unwrap());
    assert_eq!(answer, world.instance().call(&body).await);
    assert_eq!(world.balance("p").await, "7");
}

/// Records of requests expire; refunds don't. A request sent again long afterwards gets its refunds as they
/// were, and what it was refused for is judged anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_record_has_expired_is_answered_from_its_refunds() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "5"), ("two", "2")]).await;
    let body = single("r", "p", &[("one", "5"), ("unknown", "1")]);
    let first = world.instance().call(&body).await;
    world.delete("ebet#1#request#refundSingleWallet#r", "REQUEST").await;
    let before = world.dump().await;
    assert_eq!(world.instance().call(&body).await, first);
    assert_eq!(world.dump().await, before, "nothing was due, so nothing is written");
}

/// Any single fault, at any of the calls of a refund, and then a resend by another process.
#[tokio::test(flavor = "multi_thread")]
async fn any_fault_at_any_call_is_survived_and_a_resend_repeats_nothing() {
    use Fault::{InternalError, LostAnswer, LostRequest, Throttled, TransactionConflict, UnprocessedKeys};
    for (operation, fault) in [
        ("GetItem", LostRequest),
        ("GetItem", Throttled),
        ("GetItem", InternalError),
        ("BatchGetItem", LostRequest),
        ("BatchGetItem", LostAnswer),
        ("BatchGetItem", Throttled),
        ("BatchGetItem", InternalError),
        ("BatchGetItem", UnprocessedKeys),
        ("TransactWriteItems", LostRequest),
        ("TransactWriteItems", LostAnswer),
        ("TransactWriteItems", Throttled),
        ("TransactWriteItems", InternalError),
        ("TransactWriteItems", TransactionConflict),
    ] {
        for times in [1, 5] {
            let world = World::with_channel().await;
            world.wallet_with_debits("p", "10", &[("one", "1"), ("two", "2")]).await;
            let faults = move |call: Attempt<'_>| {
                if call.operation == operation && call.number < times { fault } else { Fault::None }
            };
            let body = single("r", "p", &[("one", "1"), ("two", "2")]);
            let first = world.instance_with(Arc::new(faults)).call(&body).await;
            assert_eq!(first["status"], 200, "{operation} {fault:?} × {times}: {first}");
            assert_eq!(world.balance("p").await, "13", "{operation} {fault:?} × {times}");
            let again = world.instance().call(&body).await;
            assert_eq!(again, first, "{operation} {fault:?} × {times}");
            assert_eq!(posting_numbers(&world, "p").await, [1, 2]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_answer_is_lost_is_known_to_have_moved_money_once_it_is_read_again() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("bet", "1")]).await;
    // The SDK tries three times by itself, with one token: the table writes once.
    let lost = |call: Attempt<'_>| match (call.operation, call.number) {
        ("TransactWriteItems", 0..3) => Fault::LostAnswer,
        _ => Fault::None,
    };
    let (session, _) = world.session_of("refund-single-wallet", Arc::new(lost));
    let refunds = session.refund(&world.request("r", "p", &[("bet", "1")])).await.unwrap();
    assert_eq!(refunds.executed, Executed::Yes);
    assert_eq!(world.balance("p").await, "11");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_deadline_comes_first_the_answer_is_busy_and_a_resend_completes_it() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "10", &[("bet", "1")]).await;
    let body = single("r", "p", &[("bet", "1")]);
    let event = event(body.to_string().as_bytes(), CALLER).to_string();
    for broken in ["GetItem", "BatchGetItem", "TransactWriteItems"] {
        let fails = move |call: Attempt<'_>| {
            if call.operation == broken { Fault::TransactionConflict } else { Fault::None }
        };
        let throttled = move |call: Attempt<'_>| {
            if call.operation == broken { Fault::Throttled } else { Fault::None }
        };
        let fault: tests::wire::Faults =
            if broken == "TransactWriteItems" { Arc::new(fails) } else { Arc::new(throttled) };
        let started = Instant::now();
        let answer = world.instance_with(fault).call_event_within(&event, Duration::from_millis(1_600)).await;
        assert!(started.elapsed() < Duration::from_millis(1_600), "{broken}: answered in time");
        let answer: Value = serde_json::from_slice(&answer.bytes()).unwrap();
        assert_eq!(answer["status"], 4003, "{broken}: {answer}");
        assert_eq!(world.balance("p").await, "10");
    }
    assert_eq!(world.instance().call(&body).await["status"], 200);
    assert_eq!(world.balance("p").await, "11");
}

/// What is found refused beside what the request has done may come of a read that is too old. Where the second
/// look can't be had, it is undecided.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_can_not_be_looked_at_again_is_not_told() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "5")]).await;
    let body = single("r", "p", &[("one", "5"), ("unknown", "1")]);
    let first = world.instance().call(&body).await;
    world.delete("ebet#1#request#refundSingleWallet#r", "REQUEST").await;
    let only_once = |call: Attempt<'_>| match (call.operation, call.number) {
        ("TransactGetItems", _) => Fault::Throttled,
        _ => Fault::None,
    };
    let event = event(body.to_string().as_bytes(), CALLER).to_string();
    let instance = world.instance_with(Arc::new(only_once));
    let answer = instance.call_event_within(&event, Duration::from_millis(1_600)).await;
    let answer: Value = serde_json::from_slice(&answer.bytes()).unwrap();
    assert_eq!(answer["status"], 4003, "{answer}");
    assert_eq!(answer["resultList"][1]["status"], 4003, "{answer}");
    assert_eq!(world.instance().call(&body).await, first);
    for fault in [Fault::TransactionConflict, Fault::InternalError, Fault::LostRequest, Fault::LostAnswer] {
        let some = move |call: Attempt<'_>| match (call.operation, call.number) {
            ("TransactGetItems", 0..3) => fault,
            _ => Fault::None,
        };
        let again = world.instance_with(Arc::new(some)).call(&body).await;
        assert_eq!(again, first, "{fault:?}: the second look is had in the end");
    }
}

/// More than is read at one moment is read until nothing more is done; that its wallet moves all the time is no matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_more_items_than_are_read_at_one_moment_is_answered_beside_other_refunds_of_its_wallet()
{
    let world = Arc::new(World::with_channel().await);
    let bets: Vec<String> = (0..120).map(|number| format!("bet-{number}")).collect();
    let others: Vec<String> = (0..20).map(|number| format!("other-{number}")).collect();
    let of = |ids: &[String]| -> Vec<(String, &str)> { ids.iter().map(|id| (id.clone(), "1")).collect() };
    let debits = [of(&bets), of(&others)].concat();
    let debits: Vec<(&str, &str)> = debits.iter().map(|(id, amount)| (id.as_str(), *amount)).collect();
    world.wallet_with_debits("p", "0", &debits).await;
    let body = single("r", "p", &[&debits[..bets.len()], &[("unknown", "1")]].concat());
    let first = world.instance().call(&body).await;
    world.delete("ebet#1#request#refundSingleWallet#r", "REQUEST").await;

    let others = std::sync::Mutex::new(others.into_iter());
    let of_channel = world.clone();
    let again = world.instance_with(Arc::new(move |call| {
        if call.operation == "TransactGetItems" {
            let other = others.lock().unwrap().next().expect("it is not read that often");
            let given_back = of_channel.self_refund(1, "p", &other);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(given_back));
        }
        Fault::None
    }));
    assert_eq!(again.call(&body).await, first);
    let calls = again.wire.take_calls();
    let read_again = calls.iter().filter(|call| call.operation == "TransactGetItems" && call.status == 200);
    assert_eq!(read_again.count(), 2, "{calls:#?}");
}

/// The channel gives a bet back between the reading of its wallet and that of the bet: the wallet is without the refund.
#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_can_not_be_looked_at_again_is_not_told_beside_a_refund() {
    for (number, may_look_again) in [true, false].into_iter().enumerate() {
        let world = Arc::new(World::with_channel().await);
        let username = format!("p{number}");
        world.wallet_with_debits(&username, "10", &[("bet", "5")]).await;
        let event = event(single("r", &username, &[("bet", "5")]).to_string().as_bytes(), CALLER).to_string();
        let (of_channel, player) = (world.clone(), username.clone());
        let instance = world.instance_with(Arc::new(move |call| match (call.operation, call.number) {
            // The wallet alone is read.
            ("BatchGetItem", 0) => Fault::UnprocessedKeys,
            ("BatchGetItem", 1) => {
                let given_back = of_channel.self_refund(1, &player, "bet");
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(given_back));
                Fault::None
            }
            ("TransactGetItems", _) if !may_look_again => Fault::Throttled,
            _ => Fault::None,
        }));
        let patience = Duration::from_millis(if may_look_again { 25_000 } else { 1_600 });
        let answer = instance.call_event_within(&event, patience).await;
        let answer: Value = serde_json::from_slice(&answer.bytes()).unwrap();
        let told = (&answer["status"], &answer["resultList"][0]["status"], &answer["moneyAfter"]);
        let so_far = (json!(4003), json!(4003), json!(10));
        let at_last = (json!(200), json!(209), json!(15));
        let expected = if may_look_again { &at_last } else { &so_far };
        assert_eq!(told, (&expected.0, &expected.1, &expected.2), "{answer}");
    }
}

/// A limit is lowered when some of a request has been carried out, and raised again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_that_was_carried_out_in_part_is_refused_later_stays_refused() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "5"), ("two", "7")]).await;
    let whole = world.request("r", "p", &[("one", "5"), ("two", "7")]);
    let [one, two] = &whole.items[..] else { panic!("two items") };
    let barred = AskedItem::Barred(two.asked().unwrap().clone(), Refusal::AboveLimit);
    let first = RefundRequest { items: vec![one.clone()], ..whole.clone() };
    let limited = RefundRequest { items: vec![one.clone(), barred], ..whole.clone() };
    assert_eq!(world.session().refund(&first).await.unwrap().executed, Executed::Yes);

    // As long as it can't be put on record it is not told: with other settings the next one could be told otherwise.
    for fault in [Fault::Throttled, Fault::TransactionConflict, Fault::LostRequest] {
        let no_writes = move |call: Attempt<'_>| match call.operation {
            "TransactWriteItems" => fault,
            _ => Fault::None,
        };
        let (store, _) = world.store_of("refund-single-wallet", Arc::new(no_writes));
        let session = store.session(Deadline::after(Duration::from_millis(300)));
        let told = session.refund(&limited).await.unwrap();
        assert!(matches!(told.trouble, Some(StoreError::DeadlinePassed { .. })), "{told:?}");
        assert_eq!(told.verdicts[1], Verdict::Due, "{fault:?}");
        assert!(told.verdicts[0].is_executed_by(&limited));
    }

    let (session, wire) = world.session_of("refund-single-wallet", no_faults());
    let told = session.refund(&limited).await.unwrap();
    assert_eq!(told.verdicts[1], Verdict::Refused(Refusal::AboveLimit));
    assert_eq!(told.executed, Executed::No, "it has moved no money");
    let operations: Vec<String> = wire.take_calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, ["BatchGetItem", "TransactGetItems", "TransactWriteItems"]);

    let before = world.dump().await;
    for request in [&limited, &whole] {
        let again = world.session().refund(request).await.unwrap();
        assert_eq!(again.verdicts, told.verdicts);
    }
    assert_eq!(world.dump().await, before, "nothing is written twice");
    assert_eq!(world.balance("p").await, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_items_than_a_transaction_holds_survive_a_stop_between_any_two_transactions() {
    let bets: Vec<String> = (0..250).map(|number| format!("bet-{number}")).collect();
    let bets: Vec<(&str, &str)> = bets.iter().map(|bet| (bet.as_str(), "1")).collect();
    for survived in 0..3 {
        let world = World::with_channel().await;
        world.wallet_with_debits("p", "0", &bets).await;
        let body = single("r", "p", &bets);
        let stops = move |call: Attempt<'_>| {
            let is_after = call.operation == "TransactWriteItems" && call.number >= survived;
            if is_after { Fault::TransactionConflict } else { Fault::None }
        };
        let event = event(body.to_string().as_bytes(), CALLER).to_string();
        let instance = world.instance_with(Arc::new(stops));
        let patience = Duration::from_secs(if is_embedded() { 3 } else { 12 });
        let answer = instance.call_event_within(&event, patience).await;
        let answer: Value = serde_json::from_slice(&answer.bytes()).unwrap();
        assert_eq!(answer["status"], 4003, "what is undecided is said to be");
        let done = answer["resultList"].as_array().unwrap().iter().filter(|item| item["status"] == 200);
        assert_eq!((done.count(), world.balance("p").await), (98 * survived, (98 * survived).to_string()));

        let answer = world.instance().call(&body).await;
        assert_eq!(answer["status"], 200);
        assert_eq!((answer["moneyBefore"].as_u64(), answer["moneyAfter"].as_u64()), (Some(0), Some(250)));
        assert_eq!(world.balance("p").await, "250");
        assert_eq!(posting_numbers(&world, "p").await, (1..=250).collect::<Vec<u64>>());
    }
}
