//! EPay's calls: what they cost, many at once, and what goes wrong on the way.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;
use refundctl::application;
use refundctl::send::epay::DEMO_API_KEY;
use serde_json::{Value, json};
use shared::ledger::{ApplicationState, Mismatch, Standing};
use shared::store::{Failing, Withdrawing};
use tests::epay::{BEGIN, END, batch, begin, demo, end};
use tests::events;
use tests::wire::{Attempt, Call, Fault, Faults};
use tests::world::{Instance, World, epay_event, is_embedded};

const MANY: usize = 32;

/// What a call may have to do with the operations below.
fn operations(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.operation.as_str()).collect()
}

fn write_units(calls: &[Call]) -> f64 {
    let is_write = |call: &&Call| !call.operation.contains("Get");
    calls.iter().filter(is_write).map(|call| call.units).sum()
}

/// Sends each body to an instance of its own, all at the same time; the errcodes.
async fn at_once(instances: &[Instance], bodies: &[Value]) -> Vec<i64> {
    join_all(instances.iter().zip(bodies).map(|(instance, body)| {
        let (instance, body) = (instance.clone(), body.clone());
        async move { tokio::spawn(async move { instance.errcode(&body).await }).await.unwrap() }
    }))
    .await
}

fn count(errcodes: &[i64], wanted: i64) -> usize {
    errcodes.iter().filter(|errcode| **errcode == wanted).count()
}

async fn processing_batch_no(world: &World, autoid: i64) -> String {
    match world.application_state(autoid).await {
        ApplicationState::Processing(refund) => refund.batch_no.to_string(),
        other => panic!("application {autoid} is {other:?}"),
    }
}

// ---- what it costs ----

#[tokio::test]
async fn begin_is_one_call_and_four_write_units_and_a_refused_one_no_more_calls() {
    let world = World::with_applications(6).await;
    let instance = world.instance_of(BEGIN);
    assert_eq!(instance.errcode(&begin(1, "B1", "2")).await, 0);
    // The first request of a process reads whose key it is, and the merchant's settings.
    assert_eq!(operations(&instance.wire.take_calls()), ["GetItem", "GetItem", "TransactWriteItems"]);

    application::withdraw(&world.session(), &demo(), 3, None).await.unwrap();
    assert_eq!(instance.errcode(&begin(5, "B5", "2")).await, 0);
    world.session().fail(&demo().application(5), &"B5".parse().unwrap(), None, &[]).await.unwrap();
    assert_eq!(instance.errcode(&begin(6, "B6", "2")).await, 0);
    assert_eq!(world.instance_of(END).errcode(&end("B6", "T", "2")).await, 0);
    instance.wire.take_calls();
    for (body, errcode) in [
        (begin(2, "B2", "2"), 0),
        (begin(2, "B2", "2"), 0),
        (begin(2, "B2", "1"), 206),
        (begin(2, "B3", "2"), 201),
        (begin(3, "B3", "2"), 203),
        (begin(4, "B1", "2"), 204),
        (begin(4, "B3", "2.01"), 113),
        (begin(9, "B3", "2"), 200),
        (begin(9, "B4", "2"), 200),
        (begin(6, "B3", "2"), 202),
        (begin(6, "B6", "2"), 0),
        (begin(5, "B5", "2"), 205),
    ] {
        let is_first =
            body == begin(2, "B2", "2") && world.application_state(2).await == ApplicationState::Requested;
        assert_eq!(instance.errcode(&body).await, errcode, "{body}");
        let calls = instance.wire.take_calls();
        // That there is no such application is put on record once.
        let tombstone = (body == begin(9, "B3", "2")).then_some("UpdateItem");
        let wanted: Vec<&str> = ["TransactWriteItems"].into_iter().chain(tombstone).collect();
        assert_eq!(operations(&calls), wanted, "{body}");
        if is_first && is_embedded() {
            assert_eq!(write_units(&calls), 4.0);
        }
    }
}

#[tokio::test]
async fn end_is_three_calls_of_which_two_are_at_once_and_three_write_units() {
    let world = World::with_applications(1).await;
    world.instance_of(BEGIN).errcode(&begin(1, "B", "2")).await;
    let instance = world.instance_of(END);
    assert_eq!(instance.errcode(&end("other", "T", "2")).await, 300);
    instance.wire.take_calls();
    assert_eq!(instance.errcode(&end("B", "T", "2")).await, 0);
    let calls = instance.wire.take_calls();
    let mut operations = operations(&calls);
    assert_eq!(
        operations.pop(),
        Some("UpdateItem"),
        "the refund is completed after the confirmation is there"
    );
    operations.sort_unstable();
    assert_eq!(operations, ["GetItem", "PutItem"]);
    if is_embedded() {
        // The confirmation, its entry in the index, the application.
        assert_eq!(write_units(&calls), 3.0);
    }
}

// ---- many at once ----

#[tokio::test(flavor = "multi_thread")]
async fn of_many_begins_for_one_application_under_different_batch_numbers_one_wins() {
    let world = World::with_applications(1).await;
    let instances: Vec<Instance> = (0..MANY).map(|_| world.instance_of(BEGIN)).collect();
    let bodies: Vec<Value> = (0..MANY).map(|number| begin(1, &format!("B{number}"), "2")).collect();
    let errcodes = at_once(&instances, &bodies).await;
    assert_eq!((count(&errcodes, 0), count(&errcodes, 201)), (1, MANY - 1), "{errcodes:?}");
    let winner = errcodes.iter().position(|errcode| *errcode == 0).unwrap();
    assert_eq!(processing_batch_no(&world, 1).await, format!("B{winner}"));
    // What lost has claimed nothing, and everybody is told the same again.
    for number in 0..MANY {
        let guard = world.session().batch_history(&batch(&format!("B{number}"))).await.unwrap().guard;
        assert_eq!(guard.is_some(), number == winner, "B{number}");
    }
    assert_eq!(at_once(&instances, &bodies).await, errcodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_one_begin_at_once_all_get_the_same_tag() {
    let world = World::with_applications(1).await;
    let instances: Vec<Instance> = (0..MANY).map(|_| world.instance_of(BEGIN)).collect();
    let body = begin(1, "B", "2");
    let answers = join_all(instances.iter().map(|instance| instance.epay(&body))).await;
    assert_eq!(answers[0]["errcode"], 0);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_applications_one_gets_a_batch_number() {
    let world = World::with_applications(MANY as i64).await;
    let instances: Vec<Instance> = (0..MANY).map(|_| world.instance_of(BEGIN)).collect();
    let bodies: Vec<Value> = (1..=MANY as i64).map(|autoid| begin(autoid, "B", "2")).collect();
    let errcodes = at_once(&instances, &bodies).await;
    assert_eq!((count(&errcodes, 0), count(&errcodes, 204)), (1, MANY - 1), "{errcodes:?}");
    for (autoid, errcode) in (1..).zip(&errcodes) {
        let is_processing = matches!(world.application_state(autoid).await, ApplicationState::Processing(_));
        assert_eq!(is_processing, *errcode == 0, "application {autoid}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_begin_and_withdraw_at_once_exactly_one_wins() {
    let world = Arc::new(World::with_applications(MANY as i64).await);
    let instance = world.instance_of(BEGIN);
    let mut begun = 0;
    for autoid in 1..=MANY as i64 {
        let (world_then, instance) = (world.clone(), instance.clone());
        let first = fastrand::bool();
        let beginning = tokio::spawn(async move {
            if first {
                tokio::task::yield_now().await;
            }
            instance.errcode(&begin(autoid, &format!("B{autoid}"), "2")).await
        });
        let withdrawing =
            tokio::spawn(
                async move { application::withdraw(&world_then.session(), &demo(), autoid, None).await },
            );
        let (errcode, withdrawn) = (beginning.await.unwrap(), withdrawing.await.unwrap());
        match (errcode, withdrawn) {
            (0, Err(error)) => {
                begun += 1;
                assert!(error.to_string().contains("being processed"), "{error}");
                assert_eq!(processing_batch_no(&world, autoid).await, format!("B{autoid}"));
            }
            (203, Ok(_)) => {
                assert!(matches!(world.application_state(autoid).await, ApplicationState::Withdrawn(_)));
            }
            both => panic!("application {autoid}: {both:?}"),
        }
    }
    println!("{begun} of {MANY} were begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_trade_numbers_at_once_one_completes_and_the_other_is_flagged() {
    let world = World::with_applications(1).await;
    world.instance_of(BEGIN).errcode(&begin(1, "B", "2")).await;
    let instances: Vec<Instance> = (0..MANY).map(|_| world.instance_of(END)).collect();
    let bodies: Vec<Value> = (0..MANY).map(|number| end("B", &format!("T{number}"), "2")).collect();
    let errcodes = at_once(&instances, &bodies).await;
    assert_eq!((count(&errcodes, 0), count(&errcodes, 302)), (1, MANY - 1), "{errcodes:?}");
    let kept = world.session().batch_history(&batch("B")).await.unwrap().confirmations;
    assert_eq!(kept.len(), MANY, "all are kept");
    for kept in kept {
        let number: usize = kept.confirmation.trade_no.as_str()[1..].parse().unwrap();
        let wanted = match errcodes[number] {
            0 => Standing::Completed,
            _ => Standing::Mismatched(Mismatch::SecondTradeNo),
        };
        assert_eq!(kept.standing, wanted, "T{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_end_and_fail_at_once_exactly_one_wins_and_nothing_is_both_paid_and_free_to_be_paid_again() {
    let world = Arc::new(World::with_applications(MANY as i64).await);
    let (begins, ends) = (world.instance_of(BEGIN), world.instance_of(END));
    let mut done = 0;
    for autoid in 1..=MANY as i64 {
        let batch_no = format!("B{autoid}");
        assert_eq!(begins.errcode(&begin(autoid, &batch_no, "2")).await, 0);
        let (world_then, ends, no) = (world.clone(), ends.clone(), batch_no.clone());
        let ending = tokio::spawn(async move { ends.errcode(&end(&no, "T", "2")).await });
        let key = demo().application(autoid);
        let no = batch_no.parse().unwrap();
        let failing =
            tokio::spawn(async move { world_then.session().fail(&key, &no, None, &[]).await.unwrap() });
        let (errcode, failing) = (ending.await.unwrap(), failing.await.unwrap());
        let state = world.application_state(autoid).await;
        match (errcode, failing) {
            (0, Failing::Confirmed(_) | Failing::NotUnderWay(ApplicationState::Done { .. })) => {
                done += 1;
                assert!(matches!(state, ApplicationState::Done { .. }));
            }
            (303, Failing::Failed(_)) => assert_eq!(state, ApplicationState::Requested),
            both => panic!("application {autoid}: {both:?}"),
        }
    }
    println!("{done} of {MANY} were done");
}

/// Whichever comes first, the one that is told of the other's work sees it: a refund whose confirmation is on
/// record is completed by the next call for it.
#[tokio::test(flavor = "multi_thread")]
async fn begin_and_end_at_once_leave_nothing_that_sending_again_does_not_complete() {
    let world = World::with_applications(MANY as i64).await;
    let (begins, ends) = (world.instance_of(BEGIN), world.instance_of(END));
    for autoid in 1..=MANY as i64 {
        let no = format!("B{autoid}");
        let (beginning, ending) = (begin(autoid, &no, "2"), end(&no, "T", "2"));
        let (begun, ended) = tokio::join!(begins.errcode(&beginning), ends.errcode(&ending));
        assert_eq!(begun, 0);
        assert!([0, 300].contains(&ended), "{ended}");
        let is_done = matches!(world.application_state(autoid).await, ApplicationState::Done { .. });
        assert_eq!(is_done, ended == 0, "application {autoid}");
        assert_eq!(ends.errcode(&ending).await, 0);
    }
}

// ---- what goes wrong on the way ----

/// The fault for one call of a process, by the order of its calls; from then on, if the process dies, none of its
/// calls gets through.
fn at_call(number: usize, fault: Fault, dies: bool) -> Faults {
    let made = std::sync::atomic::AtomicUsize::new(0);
    Arc::new(move |_: Attempt<'_>| {
        let this = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match this {
            this if this == number => fault,
            this if this > number && dies => Fault::LostRequest,
            _ => Fault::None,
        }
    })
}

const FAULTS: [Fault; 6] = [
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::TransactionConflict,
    Fault::Throttled,
    Fault::InternalError,
    Fault::Refused,
];

/// Sends `body` with little time, so that a dying process gives up soon.
async fn errcode_in_time(instance: &Instance, body: &Value) -> i64 {
    let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
    let event = epay_event(&headers, body.to_string().as_bytes()).to_string();
    let answer = instance.call_event_within(&event, Duration::from_millis(1_400)).await;
    assert_eq!(answer.status_code, 200);
    let answer: Value = serde_json::from_slice(&answer.bytes()).unwrap();
    answer["errcode"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_call_of_begin_the_same_sent_again_is_begun_once() {
    let world = World::with_applications(100).await;
    let mut autoid = 0;
    for fault in FAULTS {
        for number in 0..3 {
            if fault == Fault::TransactionConflict && number < 2 {
                continue; // these are reads
            }
            for dies in [false, true] {
                autoid += 1;
                let batch_no = format!("B{autoid}");
                let body = begin(autoid, &batch_no, "2");
                let instance = world.instance_of_with(BEGIN, at_call(number, fault, dies));
                let first = errcode_in_time(&instance, &body).await;
                let context = format!("{fault:?} at call {number}, dies: {dies}: {first}");
                let refused = if fault == Fault::Refused { 501 } else { 500 };
                assert!([0, refused].contains(&first), "{context}");
                let state = world.application_state(autoid).await;
                if first == 0 {
                    assert!(matches!(state, ApplicationState::Processing(_)), "{context}");
                }
                assert_eq!(world.instance_of(BEGIN).errcode(&body).await, 0, "{context}");
                assert_eq!(processing_batch_no(&world, autoid).await, batch_no, "{context}");
                let other = begin(autoid, "other", "2");
                assert_eq!(world.instance_of(BEGIN).errcode(&other).await, 201, "{context}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_call_of_end_the_confirmation_is_there_before_the_refund_is_done() {
    let world = World::with_applications(100).await;
    let begins = world.instance_of(BEGIN);
    let (mut autoid, mut between) = (0, 0);
    for fault in FAULTS {
        for number in 0..5 {
            for dies in [false, true] {
                autoid += 1;
                let batch_no = format!("B{autoid}");
                assert_eq!(begins.errcode(&begin(autoid, &batch_no, "2")).await, 0);
                let body = end(&batch_no, "T", "2");
                let instance = world.instance_of_with(END, at_call(number, fault, dies));
                let first = errcode_in_time(&instance, &body).await;
                let context = format!("{fault:?} at call {number}, dies: {dies}: {first}");
                assert!([0, 500, 501].contains(&first), "{context}");

                let kept = world.session().batch_history(&batch(&batch_no)).await.unwrap().confirmations;
                let is_done = match world.application_state(autoid).await {
                    ApplicationState::Done { .. } => true,
                    ApplicationState::Processing(_) => false,
                    other => panic!("{context}: {other:?}"),
                };
                assert!(!is_done || kept.len() == 1, "{context}: done without a confirmation");
                assert!(first != 0 || is_done, "{context}: told done, and is not");
                if let (false, [kept]) = (is_done, &kept[..]) {
                    assert_eq!(kept.standing, Standing::Pending, "{context}");
                    // Between the two: what is confirmed can be neither failed nor withdrawn.
                    between += 1;
                    let key = demo().application(autoid);
                    let failing =
                        world.session().fail(&key, &batch_no.parse().unwrap(), None, &[]).await.unwrap();
                    assert!(matches!(failing, Failing::Confirmed(_)), "{context}: {failing:?}");
                    let withdrawing = world.session().withdraw(&key, None).await.unwrap();
                    assert!(matches!(withdrawing, Withdrawing::Refused(_)), "{context}: {withdrawing:?}");
                }
                assert_eq!(world.instance_of(END).errcode(&body).await, 0, "{context}");
                let history = world.application(autoid).await;
                assert!(matches!(history.application.state, ApplicationState::Done { .. }), "{context}");
                let kept = &history.batches[0].confirmations;
                assert!(
                    matches!(&kept[..], [kept] if kept.standing == Standing::Completed),
                    "{context}: {kept:?}"
                );
            }
        }
    }
    assert!(between > 0, "some died between the two");
}

/// What was recorded first completes the refund, whoever comes to complete it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_trade_number_does_not_overtake_a_first_one_that_died_before_it_completed() {
    let world = World::with_applications(20).await;
    let begins = world.instance_of(BEGIN);
    let mut overtaken = 0;
    for number in 2..6 {
        let autoid = number as i64;
        let batch_no = format!("B{autoid}");
        assert_eq!(begins.errcode(&begin(autoid, &batch_no, "2")).await, 0);
        let (first, second) = (end(&batch_no, "T1", "2"), end(&batch_no, "T2", "2"));
        let dies = world.instance_of_with(END, at_call(number, Fault::LostRequest, true));
        let died = errcode_in_time(&dies, &first).await;
        let kept = world.session().batch_history(&batch(&batch_no)).await.unwrap().confirmations;
        let is_first = kept.len() == 1;
        overtaken += usize::from(is_first && died != 0);
        let (first_code, second_code) = if is_first { (0, 302) } else { (302, 0) };
        assert_eq!(world.instance_of(END).errcode(&second).await, second_code, "call {number}");
        assert_eq!(world.instance_of(END).errcode(&first).await, first_code, "call {number}");
        assert_eq!(world.instance_of(END).errcode(&second).await, second_code, "call {number}");
        let history = world.application(autoid).await;
        let standings: Vec<Standing> =
            history.batches[0].confirmations.iter().map(|kept| kept.standing).collect();
        assert_eq!(standings, [Standing::Completed, Standing::Mismatched(Mismatch::SecondTradeNo)]);
    }
    assert!(overtaken > 0, "some died between the two");
}

#[tokio::test]
async fn a_confirmation_of_another_amount_is_overruled_by_its_trade_number_alone() {
    let world = World::with_applications(1).await;
    world.instance_of(BEGIN).errcode(&begin(1, "B", "2")).await;
    assert_eq!(world.instance_of(END).errcode(&end("B", "T1", "1.99")).await, 301);
    assert_eq!(world.instance_of(END).errcode(&end("B", "T2", "1.98")).await, 301);
    let (key, no) = (demo().application(1), "B".parse().unwrap());
    let name = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    for named in [&[][..], &["T1"], &["T2"], &["B"]] {
        let failing = world.session().fail(&key, &no, None, &name(named)).await.unwrap();
        assert!(matches!(failing, Failing::Confirmed(_)), "{named:?}: {failing:?}");
    }
    let failing = world.session().fail(&key, &no, None, &name(&["T1", "T2"])).await.unwrap();
    assert!(matches!(failing, Failing::Failed(_)), "{failing:?}");
    assert_eq!(world.instance_of(BEGIN).errcode(&begin(1, "C", "2")).await, 0);
    // One that matches is never overruled.
    assert_eq!(
        errcode_in_time(
            &world.instance_of_with(END, at_call(4, Fault::LostRequest, true)),
            &end("C", "T3", "2")
        )
        .await,
        500
    );
    let no = "C".parse().unwrap();
    let failing = world.session().fail(&key, &no, None, &name(&["T3"])).await.unwrap();
    assert!(matches!(failing, Failing::Confirmed(_)), "{failing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_call_of_fail_it_is_recorded_once_and_whole() {
    let world = World::with_applications(100).await;
    let begins = world.instance_of(BEGIN);
    let mut autoid = 0;
    for fault in FAULTS {
        for number in 0..4 {
            autoid += 1;
            let batch_no = format!("B{autoid}");
            assert_eq!(begins.errcode(&begin(autoid, &batch_no, "2")).await, 0);
            let (key, no) = (demo().application(autoid), batch_no.parse().unwrap());
            let (session, _wire) = world.session_of("record-entries", at_call(number, fault, false));
            let first = session.fail(&key, &no, Some("no such account"), &[]).await;
            let context = format!("{fault:?} at call {number}: {first:?}");
            assert!(matches!(first, Ok(Failing::Failed(_)) | Err(_)), "{context}");
            let again = world.session().fail(&key, &no, None, &[]).await.unwrap();
            assert!(matches!(again, Failing::Before(_)) || first.is_err(), "{context}: {again:?}");
            let history = world.application(autoid).await;
            assert_eq!(history.application.state, ApplicationState::Requested, "{context}");
            assert_eq!(history.failed.len(), 1, "{context}");
            assert!(history.batches[0].guard.as_ref().unwrap().failed_at.is_some(), "{context}");
            assert_eq!(begins.errcode(&begin(autoid, &batch_no, "2")).await, 205, "{context}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begin_that_is_undecided_in_time_says_busy_and_the_same_again_completes_it() {
    let world = World::with_applications(2).await;
    for (autoid, fault) in [(1, Fault::TransactionConflict), (2, Fault::Throttled)] {
        let body = begin(autoid, &format!("B{autoid}"), "2");
        let contended = Arc::new(move |call: Attempt<'_>| match call.operation {
            "TransactWriteItems" => fault,
            _ => Fault::None,
        });
        let instance = world.instance_of_with(BEGIN, contended);
        assert_eq!(errcode_in_time(&instance, &body).await, 500);
        assert_eq!(world.application_state(autoid).await, ApplicationState::Requested);
        assert_eq!(world.instance_of(BEGIN).errcode(&body).await, 0);
    }
}

#[tokio::test]
async fn a_key_that_is_taken_from_its_merchant_or_a_merchant_that_is_disabled_is_no_longer_good() {
    use tests::epay::merchant_line;
    let world = World::with_applications(1).await;
    let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
    let event = epay_event(&headers, begin(1, "B", "2").to_string().as_bytes()).to_string();
    let mut disabled = merchant_line("demo", &[DEMO_API_KEY]);
    disabled["enabled"] = false.into();
    for line in [merchant_line("demo", &["another-key-of-demo"]), disabled] {
        world.import_replacing(&[line]).await;
        assert_eq!(world.instance_of(BEGIN).call_event(&event).await.status_code, 401);
        assert_eq!(world.application_state(1).await, ApplicationState::Requested);
    }
    world.import_replacing(&[merchant_line("demo", &[DEMO_API_KEY])]).await;
    assert_eq!(world.instance_of(BEGIN).call_event(&event).await.status_code, 200);
}

// ---- what events and headers may be ----

#[tokio::test]
async fn headers_that_come_twice_are_one_list_and_of_keys_none_is_taken() {
    let world = World::with_applications(1).await;
    let body = begin(1, "B", "2").to_string();
    let json = ("content-type", "application/json");
    let key = ("x-api-key", DEMO_API_KEY);
    let call = async |headers: &[(&'static str, &str)]| {
        let event = epay_event(headers, body.as_bytes()).to_string();
        world.instance_of(BEGIN).call_event(&event).await
    };
    for keys in [&[key, key][..], &[("x-api-key", "kéy-with-an-accent-in-it")], &[]] {
        assert_eq!(call(&[&[json], keys].concat()).await.status_code, 401, "{keys:?}");
    }
    assert_eq!(world.application_state(1).await, ApplicationState::Requested);
    let accepts =
        [("accept", "image/png"), ("accept", "text/xml;q=0.5"), ("accept", "application/json;q=0.4")];
    let answer = call(&[&[json, key], &accepts[..]].concat()).await;
    assert_eq!((answer.status_code, answer.content_type()), (200, "text/xml; charset=utf-8"));
    let strange = call(&[("content-type", "application/jsön"), key]).await;
    assert_eq!(strange.status_code, 415);
}

#[tokio::test]
async fn a_rest_event_is_as_good_as_an_http_apis_and_bson_comes_through_it_unharmed() {
    let world = World::with_applications(1).await;
    let sample = std::fs::read_to_string(events::path("begin-single-refund-bson")).unwrap();
    let sample: Value = serde_json::from_str(&sample).unwrap();
    let rest = json!({
        "resource": "/x", "path": "/x", "httpMethod": "POST",
        "headers": {"Host": "refunds.example"},
        "multiValueHeaders": {
            "Host": ["refunds.example"], "X-Api-Key": [DEMO_API_KEY],
            "Content-Type": ["application/bson"], "Accept": ["image/png", "application/json"],
        },
        "requestContext": {"identity": {"sourceIp": "203.0.113.9"}, "httpMethod": "POST", "requestId": "r",
                           "stage": "dev", "requestTimeEpoch": 0},
        "body": sample["body"], "isBase64Encoded": true,
    });
    let answer = world.instance_of(BEGIN).call_event(&rest.to_string()).await;
    assert_eq!(answer.status_code, 200);
    let answer: Value = serde_json::from_slice(&answer.bytes()).unwrap();
    assert_eq!(answer["errcode"], 0, "{answer}");
    assert_eq!(processing_batch_no(&world, 1).await, "sample string 3");
}

#[tokio::test]
async fn a_body_may_have_64_kb_and_no_more() {
    let world = World::with_applications(1).await;
    let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
    for (length, status) in [(65_537, 400), (65_536, 200)] {
        let mut body = begin(1, "B", "2").to_string();
        body.push_str(&" ".repeat(length - body.len()));
        let event = epay_event(&headers, body.as_bytes()).to_string();
        assert_eq!(world.instance_of(BEGIN).call_event(&event).await.status_code, status, "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_of_any_type_get_an_answer_and_change_nothing(
        body in prop::collection::vec(any::<u8>(), 0..200),
        content_type in prop::sample::select(vec![
            "application/json", "text/xml", "application/x-www-form-urlencoded", "application/bson", "", "a/b;c",
        ]),
        accept in "[a-z*/;,=q0-9. \"]{0,40}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::with_applications(1).await;
            let before = world.dump().await;
            let headers = [("content-type", content_type), ("accept", &accept), ("x-api-key", DEMO_API_KEY)];
            let event = epay_event(&headers, &body).to_string();
            for function in [BEGIN, END] {
                let answer = world.instance_of(function).call_event(&event).await;
                assert!([200, 400, 415].contains(&answer.status_code), "{}", answer.status_code);
                assert!(!answer.bytes().is_empty());
            }
            assert_eq!(world.dump().await, before);
        });
    }
}

// ---- what is documented ----

#[test]
fn every_errcode_is_documented_and_has_a_case_or_a_test_and_no_other_is() {
    let documented: BTreeSet<i32> = include_str!("../../docs/epay.md")
        .split("## `errcode`")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    // What a fault must be injected for, above.
    let mut shown: BTreeSet<i32> = BTreeSet::from([500, 501]);
    for function in [BEGIN, END] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(function);
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let codes = text.split("\"errcode\":").skip(1);
            shown.extend(codes.filter_map(|code| code.split(',').next()?.parse::<i32>().ok()));
        }
    }
    assert_eq!(documented, shown);
}
