//! The worker that settles batches of refunds and tells what has succeeded: on the table's changes, and by its sweep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use settle_refunds::{SWEEP, SettleRefunds};
use shared::clock::unix_milliseconds;
use shared::edge::Invocation;
use shared::ledger::{BatchEnd, BatchState, FundingSource, ItemState, RefundBatch, RefundBatchKey};
use shared::pingpp::{ChannelAnswer, Decided, LedgerChannel, decide_refund};
use shared::store::{Deadline, Found, Session, Settled};
use tests::faults::dies_at;
use tests::pingpp::{Kept, Told, new, refused, request};
use tests::wire::{Attempt, Fault, Faults};
use tests::world::World;

struct Worker {
    function: SettleRefunds,
    channel: Arc<Told>,
    bus: Arc<Kept>,
}

impl Worker {
    fn new(world: &World) -> Self {
        Self::with(world, Arc::new(|_| Fault::None))
    }

    fn with(world: &World, faults: Faults) -> Self {
        let (channel, bus) = (Arc::new(Told::default()), Arc::new(Kept::default()));
        let (store, _) = world.store_of("settle-refunds", faults);
        Self { function: SettleRefunds::new(store, channel.clone(), bus.clone()), channel, bus }
    }

    /// The sequence numbers of what it could not work on.
    async fn work(&self, event: &str) -> Vec<String> {
        let ends = SystemTime::now() + Duration::from_secs(50);
        let invocation = Invocation { request_id: "test".to_owned(), ends };
        let worked = self.function.work(event, &invocation).await.unwrap();
        worked.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }
}

/// A world with three charges of 10 each.
async fn world() -> World {
    let world = World::with_funds("1000", "500").await;
    world.charges(&[("ch_0", 10), ("ch_1", 10), ("ch_2", 10)]).await;
    world
}

async fn create(world: &World, batch_no: &str, charges: &[&str]) -> RefundBatch {
    let charges: Vec<(&str, Option<u64>)> = charges.iter().map(|charge| (*charge, None)).collect();
    world.session().create_batch(&request(batch_no, &charges), new).await.result.unwrap().unwrap()
}

async fn state(world: &World, batch: &RefundBatch) -> BatchState {
    world.session().batch(&batch.key).await.unwrap().unwrap().state
}

fn now() -> u64 {
    unix_milliseconds(SystemTime::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_batch_is_settled_and_each_success_told_under_an_id_of_its_own() {
    let world = world().await;
    let mut stream = world.stream().await;
    let batch = create(&world, "batch1", &["ch_0", "ch_1", "ch_2"]).await;
    let worker = Worker::new(&world);
    let accepted = world.changes(&mut stream).await.unwrap();
    assert_eq!(worker.work(&accepted).await, [""; 0]);
    assert!(matches!(state(&world, &batch).await, BatchState::Ended { end: BatchEnd::Succeeded, .. }));
    assert!(worker.bus.events.lock().unwrap().is_empty(), "told by the changes that it made");

    let settled = world.changes(&mut stream).await.unwrap();
    for _ in 0..2 {
        assert_eq!(worker.work(&settled).await, [""; 0]);
    }
    let events = worker.bus.events.lock().unwrap().clone();
    assert_eq!(events[..4], events[4..], "brought again, the same events");
    let kinds: Vec<&str> = worker.bus.facts().iter().map(|(kind, _)| *kind).collect();
    let refunds = ["refund.succeeded"; 3];
    assert_eq!(kinds, [&["batch_refund.succeeded"][..], &refunds].concat());
    for event in &events {
        let envelope: Value = serde_json::from_str(&event.json).unwrap();
        let object = &envelope["data"]["object"];
        assert_eq!((&envelope["id"], &envelope["type"]), (&json!(event.id), &json!(event.kind)));
        assert_eq!((&object["status"], &envelope["livemode"]), (&json!("succeeded"), &json!(false)));
    }
    // What was settled before is not asked for again.
    assert_eq!(worker.work(&accepted).await, [""; 0]);
    assert_eq!(worker.channel.asked.lock().unwrap().len(), 3);
    world.check_batches("told").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_succeed_is_not_told() {
    let world = world().await;
    let mut stream = world.stream().await;
    create(&world, "batch1", &["ch_0", "ch_1"]).await;
    let worker = Worker::new(&world);
    worker.channel.tell("ch_1", refused());
    for _ in 0..2 {
        let changes = world.changes(&mut stream).await.unwrap();
        assert_eq!(worker.work(&changes).await, [""; 0]);
    }
    let facts = worker.bus.facts();
    assert_eq!(facts.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["refund.succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_do_not_arrive_are_brought_again_by_their_changes() {
    let world = world().await;
    let mut stream = world.stream().await;
    create(&world, "batch1", &["ch_0", "ch_1"]).await;
    let worker = Worker::new(&world);
    worker.work(&world.changes(&mut stream).await.unwrap()).await;
    let changes = world.changes(&mut stream).await.unwrap();
    *worker.bus.refuses.lock().unwrap() = 2;
    let failed = worker.work(&changes).await;
    assert_eq!((failed.len(), worker.bus.facts().len()), (2, 1));
    let event: Value = serde_json::from_str(&changes).unwrap();
    let number = |record: &Value| record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
    let numbers: BTreeSet<String> = event["Records"].as_array().unwrap().iter().map(number).collect();
    assert!(failed.iter().all(|number| numbers.contains(number)), "{failed:?}");
    assert_eq!(worker.work(&changes).await, [""; 0]);
    assert_eq!(worker.bus.facts().len(), 3);
}

/// Bringing it again would not mend it, and all that comes behind it would wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_is_not_brought_again_and_keeps_nothing_from_being_told() {
    let world = world().await;
    let mut stream = world.stream().await;
    let bad = create(&world, "bad", &["ch_0"]).await;
    create(&world, "good", &["ch_1"]).await;
    let worker = Worker::new(&world);
    worker.work(&world.changes(&mut stream).await.unwrap()).await;
    let settled = world.changes(&mut stream).await.unwrap();
    let number = AttributeValue::N("7".to_owned());
    world.set_raw(&bad.key.path(), bad.key.id.as_str(), "metadata", number).await;
    assert_eq!(worker.work(&settled).await, [""; 0]);
    let kinds: Vec<&str> = worker.bus.facts().iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["batch_refund.succeeded", "refund.succeeded"], "the good one's");
}

/// Its permissions may be wrong for a while: a fact is told once they are right.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_refuses_to_have_read_is_brought_again() {
    let world = world().await;
    let mut stream = world.stream().await;
    create(&world, "batch1", &["ch_0"]).await;
    let worker = Worker::new(&world);
    worker.work(&world.changes(&mut stream).await.unwrap()).await;
    let settled = world.changes(&mut stream).await.unwrap();
    let refuses =
        |call: Attempt<'_>| if call.operation.contains("Get") { Fault::Refused } else { Fault::None };
    let refused = Worker::with(&world, Arc::new(refuses));
    assert_eq!(refused.work(&settled).await.len(), 2, "the batch and its refund have succeeded");
    assert!(refused.bus.facts().is_empty());
    assert_eq!(worker.work(&settled).await, [""; 0]);
    assert_eq!(worker.bus.facts().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_brings_on_what_was_left_and_leaves_alone_what_waits() {
    let world = world().await;
    let left = create(&world, "left", &["ch_0"]).await;
    let waits = create(&world, "waits", &["ch_1"]).await;
    let worker = Worker::new(&world);
    worker.channel.tell("ch_1", ChannelAnswer::Unknown("a time-out".to_owned()));
    for _ in 0..2 {
        assert_eq!(worker.work(SWEEP).await, [""; 0]);
    }
    assert!(matches!(state(&world, &left).await, BatchState::Ended { .. }));
    assert_eq!(state(&world, &waits).await, BatchState::Settling);
    let asked = worker.channel.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|charge| *charge == "ch_1").count(), 1, "it has its time: {asked:?}");
    world.check_batches("swept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_can_not_be_worked_on_keeps_no_other_from_it() {
    let world = world().await;
    let bad = create(&world, "bad", &["ch_0"]).await;
    let good = create(&world, "good", &["ch_1"]).await;
    let number = AttributeValue::N("7".to_owned());
    world.set_raw(&bad.key.path(), bad.key.id.as_str(), "metadata", number).await;
    let worker = Worker::new(&world);
    assert_eq!(worker.work(SWEEP).await, [""; 0]);
    assert!(matches!(state(&world, &good).await, BatchState::Ended { .. }));
    let mut stream = world.stream().await;
    let another = create(&world, "another", &["ch_2"]).await;
    assert_eq!(worker.work(&world.changes(&mut stream).await.unwrap()).await, [""; 0]);
    assert!(matches!(state(&world, &another).await, BatchState::Ended { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_put_off_if_nobody_has_it_and_it_is_open() {
    let world = world().await;
    let ended = create(&world, "ended", &["ch_2"]).await;
    Worker::new(&world).work(SWEEP).await;
    assert!(matches!(state(&world, &ended).await, BatchState::Ended { .. }));
    let free = create(&world, "free", &["ch_0"]).await;
    let mut taken = create(&world, "taken", &["ch_1"]).await;
    let (session, now) = (world.session(), now());
    assert!(session.take_on(&mut taken, now, now + 50).await.unwrap().is_some());

    let before = world.items().await;
    for batch in [&taken, &ended] {
        session.put_off(&batch.key, now, now + 100).await.unwrap();
    }
    assert_eq!(world.items().await, before, "it is somebody's, or no one's any more");
    session.put_off(&free.key, now, now + 100).await.unwrap();
    assert_eq!(due(&session, now).await, []);
    assert_eq!(due(&session, now + 100).await, [taken.key.clone(), free.key.clone()]);

    // Whoever had it may be gone.
    session.put_off(&taken.key, now + 51, now + 200).await.unwrap();
    assert_eq!(due(&session, now + 100).await, std::slice::from_ref(&free.key));
    assert_eq!(due(&session, now + 200).await, [free.key, taken.key]);
}

/// Batches that are to be brought on by then.
async fn due(session: &Session, now: u64) -> Vec<RefundBatchKey> {
    session.open_batches(now, 100).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_something_else_is_refused_and_changes_nothing() {
    let world = world().await;
    create(&world, "batch1", &["ch_0"]).await;
    let before = world.dump().await;
    let worker = Worker::new(&world);
    for event in ["{}", "[]", "", "{\"sweep\":false}", "{\"Records\":{}}", "{\"Records\":[{}]}"] {
        let invocation =
            Invocation { request_id: "test".to_owned(), ends: SystemTime::now() + Duration::from_secs(50) };
        assert!(worker.function.work(event, &invocation).await.is_err(), "{event}");
    }
    let other = json!({"Records": [{"dynamodb": {"SequenceNumber": "1", "Keys": {}, "NewImage": {"pk": {"S": "ebet#1#p"}}}}]});
    assert_eq!(worker.work(&other.to_string()).await, [""; 0]);
    assert_eq!(world.dump().await, before);
}

/// The worker dies at each of its calls in turn, with the batch's creation and with its settling; its event is brought
/// again, as a stream does, to one that lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_of_the_worker_loses_and_doubles_nothing_and_all_is_told() {
    for is_carried_out in [false, true] {
        for number in 0.. {
            let context = format!("call {number}, carried out: {is_carried_out}");
            let world = world().await;
            let mut stream = world.stream().await;
            let batch = create(&world, "batch1", &["ch_0", "ch_1", "ch_2"]).await;
            let (faults, made) = dies_at(number, is_carried_out);
            let (dying, living) = (Worker::with(&world, faults), Worker::new(&world));
            for worker in [&dying, &living] {
                worker.channel.tell("ch_1", refused());
            }
            let accepted = world.changes(&mut stream).await.unwrap();
            dying.work(&accepted).await;
            let settled = world.changes(&mut stream).await;
            if let Some(settled) = &settled {
                dying.work(settled).await;
            }
            world.check_batches(&context).await;
            if made.load(std::sync::atomic::Ordering::SeqCst) <= number {
                assert!(matches!(state(&world, &batch).await, BatchState::Ended { .. }), "{context}");
                break;
            }
            living.work(&accepted).await;
            // Who has died has the batch for two minutes; then the sweep takes it on.
            shared::pingpp::advance(&world.session(), &*living.channel, &batch.key, now() + 3_600_000)
                .await
                .unwrap();
            let mut due = settled;
            while let Some(changes) = match due.take() {
                Some(changes) => Some(changes),
                None => world.changes(&mut stream).await,
            } {
                assert_eq!(living.work(&changes).await, [""; 0], "{context}");
            }
            let ended = state(&world, &batch).await;
            assert!(
                matches!(ended, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }),
                "{context}: {ended:?}"
            );
            world.check_batches(&context).await;
            let told: BTreeSet<_> = dying.bus.facts().union(&living.bus.facts()).cloned().collect();
            assert_eq!(told.len(), 2, "{context}: the two refunds that succeeded: {told:?}");
        }
    }
}

// ---- what people decide ----

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_found_by_its_id_alone_and_decided_by_an_operator_once() {
    let world = world().await;
    let batch = create(&world, "batch1", &["ch_0", "ch_1", "ch_2"]).await;
    let worker = Worker::new(&world);
    worker.channel.tell("ch_1", ChannelAnswer::Confirm { url: "https://confirm.example".to_owned() });
    worker.channel.tell("ch_2", ChannelAnswer::Unknown("a time-out".to_owned()));
    worker.work(SWEEP).await;
    let session = world.session();
    for item in &batch.items {
        let Found::Here(found) = session.batch_of_refund(&item.refund).await.unwrap() else {
            panic!("{item:?}")
        };
        assert_eq!(found.key, batch.key, "one of which nothing is known, too");
    }
    let unknown = shared::ledger::RefundId::recorded("re_nobodys");
    assert_eq!(session.batch_of_refund(&unknown).await.unwrap(), Found::Nowhere);

    let failed = ItemState::Failed { at: 1, code: "c".to_owned(), message: "m".to_owned() };
    let decide = |item: usize, state: ItemState| {
        let (session, batch) = (&session, &batch);
        async move {
            let refund = &batch.items[item].refund;
            match decide_refund(session, &batch.key, refund, state, now()).await.unwrap() {
                Some(Decided::Done { settled, batch }) => (settled, batch.state),
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(decide(1, failed.clone()).await, (Settled::AsSaid, BatchState::Settling));
    assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "980", "its money is back");
    world.check_batches("one failed").await;
    let (settled, ended) = decide(2, ItemState::Succeeded { at: 2 }).await;
    assert_eq!(settled, Settled::AsSaid);
    assert!(matches!(ended, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }), "{ended:?}");
    for (item, state) in [(1, failed.clone()), (2, ItemState::Succeeded { at: 3 })] {
        assert_eq!(decide(item, state).await.0, Settled::AsSaid, "again");
    }
    let (settled, _) = decide(2, failed).await;
    let Settled::Otherwise(recorded) = settled else { panic!("{settled:?}") };
    assert_eq!(recorded.state, ItemState::Succeeded { at: 2 });
    let refunds = session.refunds_of(&batch).await.unwrap();
    assert!(refunds[&batch.items[2].refund].contradiction.is_some());
    world.check_batches("decided").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_refund_is_being_asked_for_nobody_else_decides_it() {
    let world = world().await;
    let batch = create(&world, "batch1", &["ch_0"]).await;
    let worker = Worker::new(&world);
    worker.channel.keep_silent("ch_0");
    let (session, refund) = (world.session(), &batch.items[0].refund);
    let settling = shared::pingpp::advance(&session, &*worker.channel, &batch.key, now());
    let meanwhile = async {
        while worker.channel.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let failed = ItemState::Failed { at: 1, code: "c".to_owned(), message: "m".to_owned() };
        let session = world.session();
        let decided = decide_refund(&session, &batch.key, refund, failed, now()).await.unwrap();
        assert!(matches!(decided, Some(Decided::Busy)), "{decided:?}");
        worker.channel.speak();
    };
    let (settled, ()) = tokio::join!(settling, meanwhile);
    assert!(matches!(settled.unwrap().unwrap().state, BatchState::Ended { end: BatchEnd::Succeeded, .. }));
    world.check_batches("busy").await;
}

// ---- payment channels that are slow ----

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_channel_that_does_not_answer_in_time_holds_up_no_other_refund() {
    let world = world().await;
    let batch = create(&world, "batch1", &["ch_0", "ch_1"]).await;
    let channel = Told::default();
    channel.keep_silent("ch_0");
    // Four seconds of it are kept for putting answers on record, and for coming to an end.
    let session = world.store().session(Deadline::after(Duration::from_secs(7)));
    let open = shared::pingpp::advance(&session, &channel, &batch.key, now()).await.unwrap().unwrap();
    assert_eq!(open.state, BatchState::Settling);
    assert_eq!((world.charge("ch_0").await.refundable(), world.charge("ch_1").await.refunded), (0, 10));
    world.check_batches("silent").await;
    channel.speak();
    let ended = shared::pingpp::advance(&world.session(), &channel, &batch.key, now()).await.unwrap();
    assert!(matches!(ended.unwrap().state, BatchState::Ended { end: BatchEnd::Succeeded, .. }));
}

/// One that settles is held up so long that another takes the batch on; then both come to their ends.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_late_changes_nothing_that_another_has_decided() {
    let confirm = ChannelAnswer::Confirm { url: "https://confirm.example".to_owned() };
    for (late, is_contradiction) in [(ChannelAnswer::Succeeded, true), (refused(), false), (confirm, false)] {
        let world = world().await;
        let batch = create(&world, "batch1", &["ch_0", "ch_1"]).await;
        let (slow, quick) = (Told::default(), Told::refuses(&["ch_0"]));
        slow.keep_silent("ch_0");
        slow.tell("ch_0", late);
        let session = world.session();
        let first = shared::pingpp::advance(&session, &slow, &batch.key, now());
        let second = async {
            while slow.asked.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            let session = world.session();
            let later = now() + 24 * 3_600_000;
            let ended = shared::pingpp::advance(&session, &quick, &batch.key, later).await.unwrap().unwrap();
            assert!(matches!(ended.state, BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }));
            world.check_batches("the second one").await;
            slow.speak();
        };
        let (first, ()) = tokio::join!(first, second);
        assert!(matches!(
            first.unwrap().unwrap().state,
            BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. }
        ));
        world.check_batches("both").await;
        let refunds = world.session().refunds_of(&batch).await.unwrap();
        let contradiction = &refunds[&batch.items[0].refund].contradiction;
        assert_eq!(contradiction.is_some(), is_contradiction, "{contradiction:?}");
        assert_eq!(world.funds(FundingSource::Unsettled).await.balance.to_string(), "990");
    }
}

#[test]
fn the_built_in_payment_channel_pays_all_but_what_someone_must_confirm() {
    let answer = |channel: &str| {
        let refund = shared::pingpp::ChannelRefund {
            order_no: "order".to_owned(),
            channel: channel.parse().unwrap(),
            transaction_no: None,
            amount: 1,
            description: "d".to_owned(),
        };
        futures::executor::block_on(shared::pingpp::PaymentChannel::refund(&LedgerChannel, &refund))
    };
    for channel in ["wx_pub", "upacp", "cmb_wallet"] {
        assert_eq!(answer(channel), ChannelAnswer::Succeeded);
    }
    for channel in ["alipay", "alipay_wap", "alipay_pc_direct"] {
        assert!(matches!(answer(channel), ChannelAnswer::Confirm { .. }));
    }
}
