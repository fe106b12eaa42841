//! An answer says what its caller has to know, whatever has gone wrong: nothing of how it is made, of the table, or of
//! other tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use serde_json::{Value, json};
use tests::epay::{BEGIN, END};
use tests::wire::{Attempt, Fault, Faults};
use tests::world::{Instance, World};

use super::scene::*;

/// What no answer has, in any case of letters.
const INSIDES: [&str; 24] = [
    "ebet#",
    "epay#",
    "pingpp#",
    "key#",
    "#test",
    "#live",
    "gsi1",
    "panic",
    "unwrap",
    "src/",
    ".rs",
    "rust",
    "lambda",
    "dynamo",
    "amazon",
    "aws",
    "exception",
    "conditional",
    "accessdenied",
    "throttl",
    "damaged",
    "the table",
    "made up by a test",
    "rival",
];

/// Checks an answer's text; what the caller has said itself may be told.
fn check(answer: &str, world: &World, context: &str) {
    let answer = answer.to_ascii_lowercase();
    // How an entry must be signed is no secret.
    let answer = answer.replace("signed by aws signature version 4", "");
    assert!(!answer.contains(&world.table), "{context}: {answer}");
    for inside in INSIDES {
        assert!(!answer.contains(inside), "{context}: {inside:?} in {answer}");
    }
}

async fn answer_within(call: &Call, instance: &Instance, duration: Duration) -> Answer {
    let response = instance.call_event_within(&call.event().to_string(), duration).await;
    Answer { status: response.status_code, body: String::from_utf8(response.bytes()).unwrap() }
}

/// Whether it says that the same may be sent again, or that something is wrong here.
fn is_trouble(answer: &Answer) -> bool {
    [500, 501, 503, 4003].contains(&answer.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_a_table_that_can_not_be_used() {
    let scene = Scene::new().await;
    let faults = [
        Fault::Refused,
        Fault::Throttled,
        Fault::InternalError,
        Fault::LostRequest,
        Fault::TransactionConflict,
    ];
    let mut calls = Vec::new();
    for endpoint in ENDPOINTS {
        for fault in faults {
            for number in 0..3 {
                calls.push((endpoint, fault, number));
            }
        }
    }
    let scene = &scene;
    let answers = calls.iter().map(|&(endpoint, fault, number)| async move {
        // From some call on nothing goes as it should.
        let made = AtomicUsize::new(0);
        let faults: Faults = Arc::new(move |call: Attempt<'_>| {
            let is_late = made.fetch_add(1, Ordering::SeqCst) >= number;
            let is_of_it = fault != Fault::TransactionConflict || call.operation == "TransactWriteItems";
            if is_late && is_of_it { fault } else { Fault::None }
        });
        let call = scene.good(endpoint);
        let instance = scene.world.instance_of_with(endpoint, faults);
        let answer = answer_within(&call, &instance, Duration::from_millis(1_200)).await;
        check(&answer.body, &scene.world, &format!("{endpoint}: {fault:?} from call {number} on"));
        is_trouble(&answer)
    });
    let in_trouble = join_all(answers).await;
    for endpoint in ENDPOINTS {
        let of_endpoint = calls.iter().zip(&in_trouble).filter(|((of, ..), _)| *of == endpoint);
        assert!(
            of_endpoint.filter(|(_, is_trouble)| **is_trouble).count() >= 3,
            "{endpoint} was in no trouble"
        );
    }
}

/// Items that others have written into the table, for each endpoint those that it reads.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_what_is_wrong_with_an_item() {
    let scene = Scene::new().await;
    let planted = "rival's secret, in the wrong place";
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let settings = json!({"channelId": planted, "merchant": planted, "app": planted}).to_string();
    let month = &scene.our_batch[2..6];
    let batches = format!("pingpp#app_1#test#batches#{month}");
    for (pk, sk, attribute, value, endpoints) in [
        ("ebet#1", "TENANT", "settings", text(&settings), &[SINGLE, BATCH][..]),
        ("ebet#1", "TENANT", "settings", AttributeValue::N("1".to_owned()), &[SINGLE, BATCH]),
        ("ebet#1#p", "ACCOUNT", "balance", text(planted), &[SINGLE, BATCH, ENTRIES]),
        ("ebet#1#p", "PAYMENT#bet", "amount", text(planted), &[SINGLE, BATCH]),
        ("ebet#1#p", "PAYMENT#bet", "state", text(planted), &[SINGLE, BATCH]),
        ("epay#demo", "TENANT", "settings", text(&settings), &[BEGIN, END]),
        ("epay#demo#8801", "PAYMENT", "state", text(planted), &[BEGIN]),
        ("epay#demo#8803", "PAYMENT", "refund", text(planted), &[END]),
        ("pingpp#app_1#test", "TENANT", "settings", text(&settings), &[CREATE, RETRIEVE, LIST]),
        ("pingpp#app_1#test#unsettled_funds", "ACCOUNT", "balance", text(planted), &[CREATE]),
        ("pingpp#app_1#test#ch_a", "PAYMENT", "amount", text(planted), &[CREATE]),
        (&batches, &scene.our_batch, "state", text(planted), &[RETRIEVE, LIST]),
        (&batches, &scene.our_batch, "items", text(planted), &[RETRIEVE, LIST]),
        (&batches, &scene.our_batch, "metadata", text(planted), &[RETRIEVE, LIST]),
    ] {
        let whole = scene.world.raw(pk, sk, attribute).await;
        scene.world.set_raw(pk, sk, attribute, value).await;
        for endpoint in endpoints {
            let context = format!("{endpoint}: {attribute} of {pk} {sk}");
            let answer = scene.good(endpoint).answer(&scene.world).await;
            check(&answer.body, &scene.world, &context);
            assert!(is_trouble(&answer), "{context}: {answer:?}");
        }
        scene.world.set_raw(pk, sk, attribute, whole).await;
    }
    for endpoint in ENDPOINTS {
        let answer = scene.good(endpoint).answer(&scene.world).await;
        assert!(answer.is_success(), "{endpoint} is whole again: {answer:?}");
        check(&answer.body, &scene.world, endpoint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_what_is_wrong_with_a_request() {
    let scene = Scene::new().await;
    let before = scene.world.items().await;
    for endpoint in ENDPOINTS {
        let instance = scene.world.instance_of(endpoint);
        let event = scene.good(endpoint).event();
        let mut events = vec![json!({}), json!([]), json!(null), json!("x"), json!({"Records": []})];
        for (pointer, value) in [
            ("/headers/host", json!("a b")),
            ("/headers", json!({"host": "a\nb"})),
            ("/rawQueryString", json!("<b>")),
            ("/isBase64Encoded", json!(true)),
            ("/requestContext", json!({})),
            ("/requestContext/http/method", json!("NO METHOD")),
            ("/version", json!(2)),
        ] {
            let mut event = event.clone();
            *event.pointer_mut(pointer).unwrap() = value;
            events.push(event);
        }
        for body in ["", "x", "[]", "{}", "null", "{\"entries\":[{}]}", "{\"entries\":{}}"] {
            let mut event = event.clone();
            event["body"] = json!(body);
            events.push(event);
        }
        for event in events {
            // What reads no body is asked nothing by it.
            let is_good =
                |event: &Value| [RETRIEVE, LIST].contains(&endpoint) && event["rawPath"].is_string();
            let response = instance.call_event(&event.to_string()).await;
            let answer =
                Answer { status: response.status_code, body: String::from_utf8(response.bytes()).unwrap() };
            check(&answer.body, &scene.world, &format!("{endpoint}: {event}"));
            assert!(is_good(&event) || !answer.is_success(), "{endpoint}: {event}: {answer:?}");
            assert!(answer.status < 500, "{endpoint}: {event}: {answer:?}");
        }
    }
    assert_eq!(scene.world.items().await, before);
}
