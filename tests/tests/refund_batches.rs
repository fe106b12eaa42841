//! Batches of refunds on the ledger: what they cost, many at once, and what goes wrong on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use shared::ledger::{
    BatchEnd, BatchRefusal, BatchState, ChargeProblem, FundingSource, ItemState, RefundBatch, RefundBatchKey,
};
use shared::pingpp::ChannelAnswer;
use shared::store::{Executed, Session, StoreError};
use tests::faults::dies_at;
use tests::pingpp::{Told, new, refused, request};
use tests::wire::{Attempt, Call, Fault};
use tests::world::{World, is_embedded};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("ch_{number}")).collect()
}

fn all(names: &[String]) -> Vec<(&str, Option<u64>)> {
    names.iter().map(|name| (name.as_str(), None)).collect()
}

/// A world with so many charges of 10 each, and funds for all of them.
async fn world(charges: usize) -> (World, Vec<String>) {
    world_with_funds("1000", charges).await
}

async fn world_with_funds(unsettled: &str, charges: usize) -> (World, Vec<String>) {
    let world = World::with_funds(unsettled, "500").await;
    let names = names(charges);
    let charges: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    world.charges(&charges).await;
    (world, names)
}

/// The smaller and the larger of two batches; DynamoDB Local, which serves transactions one after another, takes
/// seconds for the larger at each attempt.
fn contended(counts: [usize; 2]) -> impl Iterator<Item = usize> {
    counts.into_iter().take(if is_embedded() { 2 } else { 1 })
}

async fn create(
    world: &World,
    batch_no: &str,
    charges: &[(&str, Option<u64>)],
) -> Result<RefundBatch, BatchRefusal> {
    world.session().create_batch(&request(batch_no, charges), new).await.result.unwrap()
}

/// Brings a batch on, a day later than ever before: nobody has it any more who had taken it on.
async fn advance(
    session: &Session,
    channel: &Told,
    key: &RefundBatchKey,
) -> Result<Option<RefundBatch>, StoreError> {
    static DAYS: AtomicU64 = AtomicU64::new(0);
    let later = DAYS.fetch_add(24 * 60 * 60 * 1_000, Ordering::SeqCst);
    let now = shared::clock::unix_milliseconds(std::time::SystemTime::now());
    shared::pingpp::advance(session, channel, key, now + later).await
}

fn operations(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut operations = BTreeMap::new();
    for call in calls {
        *operations.entry(call.operation.as_str()).or_default() += 1;
    }
    operations
}

fn written(calls: &[Call]) -> f64 {
    let is_write = |call: &&Call| !(call.operation.contains("Get") || call.operation.contains("Query"));
    calls.iter().filter(is_write).map(|call| call.units).sum()
}

// ---- what it costs ----

#[tokio::test]
async fn a_batch_is_one_round_of_reads_and_one_transaction_and_two_above_96_charges() {
    for (count, transactions) in [(1, 1), (96, 1), (97, 2), (100, 2)] {
        let (world, names) = world(count).await;
        // The month is on record already.
        world.charges(&[("ch_before", 1)]).await;
        let mut before = request("before", &[("ch_before", None)]);
        before.items[0].funding_source = Some(FundingSource::Recharge);
        world.session().create_batch(&before, new).await.result.unwrap().unwrap();
        let (session, wire) = world.session_of("create-batch-refund", Arc::new(|_| Fault::None));
        let accepted = session.create_batch(&request("batch1", &all(&names)), new).await;
        let batch = accepted.result.unwrap().unwrap();
        assert_eq!((accepted.executed, batch.state), (Executed::Yes, BatchState::Created));
        let calls = wire.take_calls();
        // 101 keys and more are two calls, at the same time.
        let reads = (count + 4).div_ceil(100);
        let expected = [("BatchGetItem", reads), ("TransactWriteItems", transactions)];
        assert_eq!(operations(&calls), BTreeMap::from(expected), "{count}");
        world.check_batches(&format!("{count} charges")).await;
        let replay = session.create_batch(&request("batch1", &all(&names)), new).await;
        assert_eq!((replay.executed, replay.result.unwrap().unwrap()), (Executed::No, batch));
        let calls = wire.take_calls();
        assert_eq!(written(&calls), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_costs_two_calls_and_above_96_charges_two_to_four_more() {
    for (count, funds, calls) in
        [(1, "1000", 2), (96, "1000", 2), (96, "5", 2), (100, "1000", 4), (100, "5", 6)]
    {
        let (world, names) = world_with_funds(funds, count).await;
        let is_poor = funds == "5";
        let mut asked = all(&names);
        if !is_poor {
            asked[0].1 = Some(11);
        }
        let (session, wire) = world.session_of("create-batch-refund", Arc::new(|_| Fault::None));
        let refused =
            session.create_batch(&request("batch1", &asked), new).await.result.unwrap().unwrap_err();
        assert_eq!(matches!(refused, BatchRefusal::InsufficientFunds { .. }), is_poor, "{refused:?}");
        let made = wire.take_calls();
        assert_eq!(made.len(), calls, "{count} {funds}: {:?}", operations(&made));
        let outdated = usize::from(count > 96);
        assert_eq!(operations(&made).get("UpdateItem").copied().unwrap_or_default(), outdated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_costs_two_write_units_to_hold_and_five_to_settle() {
    let mut costs = Vec::new();
    for count in [1, 11] {
        let (world, names) = world(count).await;
        let (session, wire) = world.session_of("create-batch-refund", Arc::new(|_| Fault::None));
        let batch =
            session.create_batch(&request("batch1", &all(&names)), new).await.result.unwrap().unwrap();
        let held = written(&wire.take_calls());
        let (session, wire) = world.session_of("settle-refunds", Arc::new(|_| Fault::None));
        let ended = advance(&session, &Told::default(), &batch.key).await.unwrap().unwrap();
        assert!(matches!(ended.state, BatchState::Ended { end: BatchEnd::Succeeded, .. }));
        let calls = wire.take_calls();
        let transactions = calls.iter().filter(|call| call.operation == "TransactWriteItems").count();
        assert_eq!(transactions, count + 1, "one a charge, and one that ends the batch");
        assert_eq!(calls.len(), count + 5, "{calls:?}");
        costs.push((held, written(&calls)));
        world.check_batches("settled").await;
    }
    if is_embedded() {
        let [(held_one, settled_one), (held_many, settled_many)] = costs[..] else { panic!("two batches") };
        // The refund stands in an index, too; the batch grows with its charges.
        println!("hold {held_one} and {held_many}, settle {settled_one} and {settled_many} write units");
        assert!((held_many - held_one) / 10.0 < 2.5, "{costs:?}");
        assert!((settled_many - settled_one) / 10.0 < 5.5, "{costs:?}");
    }
}

// ---- what is refused ----

#[tokio::test]
async fn a_batch_is_accepted_whole_or_not_at_all_and_the_first_offender_is_named() {
    let (world, _) = world(3).await;
    let before = world.dump().await;
    for (charges, position, problem) in [
        (vec![("ch_0", None), ("unknown", None)], 1, ChargeProblem::Unknown),
        (vec![("ch_0", Some(11)), ("unknown", None)], 0, ChargeProblem::AboveRefundable { refundable: 10 }),
        (
            vec![("ch_0", Some(1)), ("ch_1", Some(10)), ("ch_2", Some(12))],
            2,
            ChargeProblem::AboveRefundable { refundable: 10 },
        ),
    ] {
        let refused = create(&world, "batch1", &charges).await;
        assert_eq!(refused, Err(BatchRefusal::Charge { position, problem }));
        assert_eq!(world.dump().await, before);
    }
    create(&world, "batch1", &[("ch_0", Some(4))]).await.unwrap();
    for (charges, refusal) in [(
        vec![("ch_0", Some(7))],
        BatchRefusal::Charge { position: 0, problem: ChargeProblem::AboveRefundable { refundable: 6 } },
    )] {
        assert_eq!(create(&world, "batch2", &charges).await, Err(refusal));
    }
    assert_eq!(create(&world, "batch1", &[("ch_1", None)]).await, Err(BatchRefusal::BatchNoReused));
    let rest = create(&world, "batch2", &[("ch_0", None)]).await.unwrap();
    assert_eq!(rest.items[0].amount.value(), 6, "all that is left");
    let nothing_left = create(&world, "batch3", &[("ch_0", None)]).await;
    assert_eq!(
        nothing_left,
        Err(BatchRefusal::Charge { position: 0, problem: ChargeProblem::FullyRefunded })
    );
    world.check_batches("refused ones").await;
}

#[tokio::test]
async fn charges_and_funds_of_another_currency_are_not_refunded() {
    let (world, _) = world(1).await;
    world.charge_in("ch_usd", 10, "USD").await;
    let problem = ChargeProblem::WrongCurrency;
    let refused = create(&world, "batch1", &[("ch_0", None), ("ch_usd", None)]).await;
    assert_eq!(refused, Err(BatchRefusal::Charge { position: 1, problem }));
    let mut in_usd = request("batch1", &[("ch_usd", None)]);
    in_usd.currency = "USD".parse().unwrap();
    let refused = world.session().create_batch(&in_usd, new).await.result.unwrap();
    assert_eq!(refused, Err(BatchRefusal::FundsCurrency { source: FundingSource::Unsettled }));
    world.check_batches("currencies").await;
}

#[tokio::test]
async fn a_batch_that_the_funds_do_not_hold_is_refused_and_nothing_is_held() {
    let world = World::with_funds("19", "500").await;
    world.charges(&[("ch_0", 10), ("ch_1", 10)]).await;
    let before = world.dump().await;
    let refused = create(&world, "batch1", &[("ch_0", None), ("ch_1", None)]).await;
    assert_eq!(refused, Err(BatchRefusal::InsufficientFunds { source: FundingSource::Unsettled }));
    assert_eq!(world.dump().await, before);
    let mut from_both = request("batch1", &[("ch_0", None), ("ch_1", None)]);
    from_both.items[1].funding_source = Some(FundingSource::Recharge);
    let batch = world.session().create_batch(&from_both, new).await.result.unwrap().unwrap();
    assert_eq!(batch.holds.len(), 2);
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "9");
    assert_eq!(world.funds(FundingSource::Recharge).await.balance.to_string(), "490");
    world.check_batches("from both").await;
}

// ---- what payment channels say ----

#[tokio::test(flavor = "multi_thread")]
async fn refused_refunds_free_their_charges_and_their_money_goes_back_in_one_posting() {
    let (world, names) = world(100).await;
    let batch = create(&world, "batch1", &all(&names)).await.unwrap();
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "0");
    let refuse: Vec<&str> = names.iter().map(String::as_str).collect();
    let ended = advance(&world.session(), &Told::refuses(&refuse), &batch.key).await.unwrap().unwrap();
    assert!(matches!(ended.state, BatchState::Ended { end: BatchEnd::Failed, .. }), "{:?}", ended.state);
    assert_eq!(ended.releases.len(), 1);
    let funds = world.funds(FundingSource::Unsettled).await;
    assert_eq!((funds.balance.to_string().as_str(), funds.sequence), ("1000", 2));
    world.check_batches("all refused").await;

    let again = create(&world, "batch2", &all(&names[..3])).await.unwrap();
    let ended = advance(&world.session(), &Told::refuses(&["ch_1"]), &again.key).await.unwrap().unwrap();
    assert!(matches!(ended.state, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }));
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "980");
    world.check_batches("partly refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_answer_releases_nothing_and_is_asked_again() {
    let (world, names) = world(3).await;
    let batch = create(&world, "batch1", &all(&names)).await.unwrap();
    let channel = Told::default();
    channel.tell("ch_1", ChannelAnswer::Unknown("a time-out".to_owned()));
    for _ in 0..2 {
        let open = advance(&world.session(), &channel, &batch.key).await.unwrap().unwrap();
        assert_eq!(open.state, BatchState::Settling);
        assert_eq!(world.charge("ch_1").await.refundable(), 0, "held");
        world.check_batches("unknown").await;
    }
    channel.tell("ch_1", refused());
    let ended = advance(&world.session(), &channel, &batch.key).await.unwrap().unwrap();
    assert!(matches!(ended.state, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }));
    let asked = channel.asked.lock().unwrap().clone();
    let count = |charge: &str| asked.iter().filter(|asked| *asked == charge).count();
    assert_eq!((count("ch_0"), count("ch_1"), count("ch_2")), (1, 3, 1));
    world.check_batches("refused at last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_someone_must_confirm_stays_pending_until_it_is_settled_and_holds_up_no_other_money() {
    let (world, names) = world(3).await;
    let batch = create(&world, "batch1", &all(&names)).await.unwrap();
    let channel = Told::default();
    channel.tell("ch_1", ChannelAnswer::Confirm { url: "https://confirm.example".to_owned() });
    channel.tell("ch_2", refused());
    let open = advance(&world.session(), &channel, &batch.key).await.unwrap().unwrap();
    assert_eq!(open.state, BatchState::Settling);
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "980", "ch_2's is back");
    world.check_batches("pending").await;
    // The channel is asked again for what is pending: someone may have confirmed it.
    let before = world.dump().await.len();
    advance(&world.session(), &channel, &batch.key).await.unwrap();
    let asked = channel.asked.lock().unwrap().clone();
    assert_eq!((asked.len(), asked.last().unwrap().as_str()), (4, "ch_1"));
    assert_eq!(world.dump().await.len(), before);
    let batch = open;

    let item = &batch.items[1];
    let settled =
        shared::pingpp::decide(&world.session(), &batch, item, ItemState::Succeeded { at: 1 }).await;
    assert_eq!(settled.unwrap(), shared::store::Settled::AsSaid);
    let ended = advance(&world.session(), &channel, &batch.key).await.unwrap().unwrap();
    assert!(matches!(ended.state, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }));
    assert_eq!(ended.releases.len(), 1, "given back once");
    // A no after the yes changes nothing, and is put on record.
    let failed = ItemState::Failed { at: 2, code: "late".to_owned(), message: "no".to_owned() };
    let settled = shared::pingpp::decide(&world.session(), &batch, item, failed).await.unwrap();
    assert!(matches!(settled, shared::store::Settled::Otherwise(_)));
    let refund = format!("REFUND#{}", item.refund);
    let contradiction = world.raw("pingpp#app_1#test#ch_1", &refund, "contradiction").await;
    assert_eq!(contradiction.as_s().unwrap(), "failed: late: no (at 2 Unix milliseconds)");
    world.check_batches("contradicted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_channel_says_itself_that_someone_has_confirmed() {
    for (said, end) in [(ChannelAnswer::Succeeded, BatchEnd::Succeeded), (refused(), BatchEnd::Failed)] {
        let (world, names) = world(1).await;
        let batch = create(&world, "batch1", &all(&names)).await.unwrap();
        let channel = Told::default();
        channel.tell("ch_0", ChannelAnswer::Confirm { url: "https://confirm.example".to_owned() });
        advance(&world.session(), &channel, &batch.key).await.unwrap();
        channel.tell("ch_0", said);
        let ended = advance(&world.session(), &channel, &batch.key).await.unwrap().unwrap();
        assert!(matches!(ended.state, BatchState::Ended { end: found, .. } if found == end), "{ended:?}");
        world.check_batches("confirmed").await;
    }
}

// ---- many at once ----

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_one_request_at_once_make_one_batch() {
    for count in contended([3, 100]) {
        let (world, names) = world(count).await;
        let asked = all(&names);
        let copies = (0..if is_embedded() { 16 } else { 4 }).map(|_| create(&world, "batch1", &asked));
        let batches = join_all(copies).await;
        let first = batches[0].as_ref().unwrap();
        for batch in &batches {
            assert_eq!(batch.as_ref().unwrap().key, first.key);
        }
        let kept = world.batches().await;
        assert_eq!(kept.iter().filter(|batch| batch.state != BatchState::Void).count(), 1);
        world.check_batches("copies").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_batches_over_the_same_charges_one_wins_each_and_no_funds_are_lost() {
    for count in contended([5, 100]) {
        // Funds for more than one of them: whoever comes second is refused for its charges, not for the money.
        let (world, names) = world_with_funds("2000", count).await;
        let names = Arc::new(names);
        let attempts = (0..6).map(|number| {
            let (world, names) = (&world, names.clone());
            async move {
                // Each has the charges in another order.
                let mut charges = all(&names);
                charges.rotate_left(number * count / 6);
                create(world, &format!("batch{number}"), &charges).await
            }
        });
        let made = join_all(attempts).await;
        let accepted: Vec<&RefundBatch> = made.iter().filter_map(|batch| batch.as_ref().ok()).collect();
        assert_eq!(accepted.len(), 1, "{count}: one has all of them");
        for refused in made.iter().filter_map(|batch| batch.as_ref().err()) {
            assert!(
                matches!(refused, BatchRefusal::Charge { problem: ChargeProblem::FullyRefunded, .. }),
                "{refused:?}"
            );
        }
        world.check_batches("overlapping").await;
        advance(&world.session(), &Told::refuses(&["ch_0"]), &accepted[0].key).await.unwrap();
        world.check_batches("overlapping, settled").await;
    }
}

/// No account is common to them that would make one wait for the other.
#[tokio::test(flavor = "multi_thread")]
async fn of_batches_from_different_funds_over_one_charge_one_wins_it() {
    for round in 0..if is_embedded() { 20 } else { 5 } {
        let (world, _) = world(1).await;
        let attempts = FundingSource::ALL.map(|source| {
            let mut asked = request(&format!("from{}", source.as_str().len()), &[("ch_0", Some(6))]);
            asked.items[0].funding_source = Some(source);
            let session = world.session();
            async move { session.create_batch(&asked, new).await.result.unwrap() }
        });
        let made = join_all(attempts).await;
        let accepted = made.iter().filter(|batch| batch.is_ok()).count();
        assert_eq!(accepted, 1, "round {round}: {made:?}");
        world.check_batches(&format!("round {round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_who_bring_on_one_batch_at_once_one_asks_the_payment_channel() {
    let (world, names) = world(20).await;
    let batch = create(&world, "batch1", &all(&names)).await.unwrap();
    let channel = Told::refuses(&["ch_1", "ch_7"]);
    let now = shared::clock::unix_milliseconds(std::time::SystemTime::now());
    let ends = (0..6).map(|_| {
        let (world, channel, key) = (&world, &channel, &batch.key);
        async move { shared::pingpp::advance(&world.session(), channel, key, now).await.unwrap().unwrap() }
    });
    let brought_on = join_all(ends).await;
    let ended = brought_on.iter().filter(|batch| matches!(batch.state, BatchState::Ended { .. })).count();
    assert!(ended >= 1, "whoever took it on has ended it");
    assert_eq!(channel.asked.lock().unwrap().len(), 20, "each refund was asked for once");
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "820");
    world.check_batches("several at once").await;
}

// ---- what goes wrong on the way ----

/// Dies at each call of `create` in turn; then either the same is sent again, or the sweep finds what there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_of_create_leaves_the_whole_batch_or_none_of_it() {
    for count in contended([2, 100]) {
        for is_carried_out in [false, true] {
            for by_sweep in [false, true] {
                for number in 0.. {
                    let context = format!(
                        "{count} charges, call {number}, carried out: {is_carried_out}, sweep: {by_sweep}"
                    );
                    let (world, names) = world(count).await;
                    let (faults, made) = dies_at(number, is_carried_out);
                    let (session, _wire) = world.session_of("create-batch-refund", faults);
                    let asked = request("batch1", &all(&names));
                    let died = session.create_batch(&asked, new).await;
                    if made.load(Ordering::SeqCst) <= number {
                        assert!(died.result.unwrap().is_ok(), "{context}: nothing went wrong");
                        break;
                    }
                    world.check_batches(&context).await;
                    if by_sweep {
                        for key in world.session().open_batches(u64::MAX >> 16, 1_000).await.unwrap() {
                            advance(&world.session(), &Told::default(), &key).await.unwrap();
                        }
                        world.check_batches(&format!("{context}, swept")).await;
                        for batch in world.batches().await {
                            assert!(
                                matches!(batch.state, BatchState::Ended { .. } | BatchState::Void),
                                "{context}"
                            );
                        }
                    }
                    let again = world.session().create_batch(&asked, new).await.result.unwrap().unwrap();
                    let ended =
                        advance(&world.session(), &Told::default(), &again.key).await.unwrap().unwrap();
                    assert!(
                        matches!(ended.state, BatchState::Ended { end: BatchEnd::Succeeded, .. }),
                        "{context}"
                    );
                    world.check_batches(&format!("{context}, sent again")).await;
                    assert_eq!(world.charge("ch_0").await.refunded, 10, "{context}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_of_settling_loses_and_doubles_nothing() {
    for is_carried_out in [false, true] {
        for number in 0.. {
            let context = format!("call {number}, carried out: {is_carried_out}");
            let (world, names) = world(4).await;
            let batch = create(&world, "batch1", &all(&names)).await.unwrap();
            let (faults, made) = dies_at(number, is_carried_out);
            let (session, _wire) = world.session_of("settle-refunds", faults);
            let channel = Told::refuses(&["ch_1", "ch_2"]);
            let died = advance(&session, &channel, &batch.key).await;
            if made.load(Ordering::SeqCst) <= number {
                assert!(died.is_ok(), "{context}: nothing went wrong");
                break;
            }
            world.check_batches(&context).await;
            let ended = advance(&world.session(), &channel, &batch.key).await.unwrap().unwrap();
            assert!(
                matches!(ended.state, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }),
                "{context}"
            );
            world.check_batches(&format!("{context}, brought on")).await;
            assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "980", "{context}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_further_charges_are_taken_meanwhile_is_taken_back_and_its_number_is_free() {
    let (world, names) = world(100).await;
    let asked: Vec<(&str, Option<u64>)> = names.iter().map(|name| (name.as_str(), Some(10))).collect();
    // It dies before its second transaction: the first 96 charges are held.
    let (faults, _) = dies_at(3, true);
    let (session, _wire) = world.session_of("create-batch-refund", faults);
    assert!(session.create_batch(&request("batch1", &asked), new).await.result.is_err());
    assert_eq!(world.batches().await[0].state, BatchState::Creating);
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "0");
    world.check_batches("being created").await;

    // A charge of the second one is taken by another, and one of the first is asked for.
    let taken = request("batch2", &[("ch_99", Some(1))]);
    let refused = world.session().create_batch(&taken, new).await.result.unwrap();
    assert_eq!(refused, Err(BatchRefusal::InsufficientFunds { source: FundingSource::Unsettled }));
    let mut taken = request("batch2", &[("ch_99", Some(1))]);
    taken.items[0].funding_source = Some(FundingSource::Recharge);
    world.session().create_batch(&taken, new).await.result.unwrap().unwrap();
    let freed = create(&world, "batch3", &[("ch_5", None)]).await.unwrap();
    assert_eq!(freed.items[0].amount.value(), 10, "the batch that held it could not be created");
    let states: Vec<BatchState> = world.batches().await.iter().map(|batch| batch.state).collect();
    assert!(states.contains(&BatchState::Void), "{states:?}");
    world.check_batches("taken back").await;

    let position = 5;
    let problem = ChargeProblem::FullyRefunded;
    assert_eq!(create(&world, "batch1", &asked).await, Err(BatchRefusal::Charge { position, problem }));
    create(&world, "batch1", &[("ch_6", None)]).await.expect("its number is free again");
    world.check_batches("free again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_of_taking_back_gives_back_to_both_accounts_once() {
    // Transactions of 100 actions take DynamoDB Local its time.
    for is_carried_out in [true, false].into_iter().take(if is_embedded() { 2 } else { 1 }) {
        for number in 0.. {
            let context = format!("call {number}, carried out: {is_carried_out}");
            let (world, names) = world(100).await;
            world.half_created(&names).await;
            // What is needed of the last charge is taken: the batch can't be completed.
            world.refund_elsewhere("ch_99", 1).await;
            let key = world.batches().await[0].key.clone();
            let (faults, made) = dies_at(number, is_carried_out);
            let by = if number % 2 == 0 { "create-batch-refund" } else { "settle-refunds" };
            let (session, _wire) = world.session_of(by, faults);
            let died = session.bring_on(&key).await;
            world.check_batches(&context).await;
            let brought_on = world.session().bring_on(&key).await.unwrap().unwrap();
            assert_eq!((brought_on.state, brought_on.releases.len()), (BatchState::Void, 2), "{context}");
            world.check_batches(&context).await;
            let funds = [FundingSource::Unsettled, FundingSource::Recharge];
            for (source, opening) in funds.into_iter().zip(["1000", "500"]) {
                assert_eq!(world.funds(source).await.balance.to_string(), opening, "{context}");
            }
            if made.load(Ordering::SeqCst) <= number {
                assert!(died.is_ok(), "{context}: nothing went wrong");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lands_after_it_was_given_up_makes_no_second_batch() {
    for count in contended([3, 100]) {
        // Of the transactions of one call, the SDK's own tries among them.
        for late in 0..2 {
            let (world, names) = world(count).await;
            let faults = Arc::new(move |attempt: Attempt<'_>| match attempt.operation {
                "TransactWriteItems" if attempt.number == 3 * late => Fault::Late,
                "TransactWriteItems" if attempt.number / 3 == late && attempt.number < 3 * late + 3 => {
                    Fault::LostRequest
                }
                _ => Fault::None,
            });
            let (session, _wire) = world.session_of("create-batch-refund", faults);
            let asked = request("batch1", &all(&names));
            let accepted = session.create_batch(&asked, new).await;
            let context = format!("{count} charges, transaction {late}: {:?}", accepted.executed);
            if let Ok(batch) = accepted.result {
                let batch = batch.unwrap_or_else(|refusal| panic!("{context}: {refusal:?}"));
                assert_eq!(batch.state, BatchState::Created, "{context}");
            }
            let again = world.session().create_batch(&asked, new).await.result.unwrap().unwrap();
            let kept = world.batches().await;
            let kept: Vec<_> = kept.iter().filter(|batch| batch.state != BatchState::Void).collect();
            assert_eq!((kept.len(), &kept[0].key), (1, &again.key), "{context}");
            world.check_batches(&context).await;
        }
    }
}

/// Reads of many keys are not of one moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_comes_in_pieces_accepts_and_refuses_the_same() {
    let (world, names) = world(5).await;
    for (batch_no, is_accepted) in [("batch1", true), ("batch1", true), ("batch2", false)] {
        let (session, _wire) = world.session_of(
            "create-batch-refund",
            Arc::new(|attempt: Attempt<'_>| match attempt.number {
                0..3 if attempt.operation == "BatchGetItem" => Fault::UnprocessedKeys,
                _ => Fault::None,
            }),
        );
        let accepted = session.create_batch(&request(batch_no, &all(&names)), new).await.result.unwrap();
        assert_eq!(accepted.is_ok(), is_accepted, "{accepted:?}");
    }
    world.check_batches("in pieces").await;
}

/// A ledger whose facts disagree is said to be damaged, at once, and the other refunds are settled.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_without_the_hold_that_its_batch_says_it_has_is_reported_and_holds_up_no_other() {
    let (world, names) = world(3).await;
    let batch = create(&world, "batch1", &all(&names)).await.unwrap();
    world.forget_holds("ch_1").await;
    let settled = advance(&world.session(), &Told::refuses(&["ch_2"]), &batch.key).await;
    assert!(matches!(&settled, Err(StoreError::Damaged { .. })), "{settled:?}");
    assert_eq!(world.charge("ch_0").await.refunded, 10);
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "980", "ch_2's is back");
}
