//! The real binary, under Lambda's runtime interface, with a bus that speaks EventBridge's protocol.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // tests, their helpers too

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use shared::ledger::{BatchEnd, BatchState, RefundBatch};
use tests::lambda::Lambda;
use tests::pingpp::{new, request};
use tests::world::World;
use tokio::net::TcpListener;

/// What was put on the bus, call by call; and what the next calls come to.
#[derive(Default)]
struct Bus {
    calls: Mutex<Vec<Vec<Value>>>,
    next: Mutex<Vec<Answer>>,
}

enum Answer {
    /// The first entry of the call does not arrive.
    OneFails,
    InternalError,
}

async fn put_events(State(bus): State<Arc<Bus>>, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers["x-amz-target"], "AWSEvents.PutEvents");
    assert!(headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 "), "it is signed");
    let asked: Value = serde_json::from_str(&body).unwrap();
    let entries = asked["Entries"].as_array().unwrap().clone();
    let answer = bus.next.lock().unwrap().pop();
    if let Some(Answer::InternalError) = answer {
        let error = json!({"__type": "InternalException", "message": "made up by a test"});
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    let fails = |number: usize| number == 0 && matches!(answer, Some(Answer::OneFails));
    let result = |number: usize| match fails(number) {
        true => json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "made up by a test"}),
        false => json!({"EventId": format!("event-{number}")}),
    };
    let results: Vec<Value> = (0..entries.len()).map(result).collect();
    let failed = (0..entries.len()).filter(|number| fails(*number)).count();
    let arrived = entries.into_iter().enumerate().filter(|(number, _)| !fails(*number));
    bus.calls.lock().unwrap().push(arrived.map(|(_, entry)| entry).collect());
    json!({"FailedEntryCount": failed, "Entries": results}).to_string().into_response()
}

async fn start(world: &World) -> (Lambda, Arc<Bus>) {
    start_with(world, &[]).await
}

async fn start_with(world: &World, more: &[(&str, &str)]) -> (Lambda, Arc<Bus>) {
    let bus = Arc::new(Bus::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(put_events).with_state(bus.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let variables = [("AWS_ENDPOINT_URL_EVENTBRIDGE", url.as_str()), ("EVENT_BUS", "refunds-test")];
    let binary = Path::new(env!("CARGO_BIN_EXE_settle-refunds"));
    (Lambda::start_with(binary, world, &[&variables[..], more].concat()).await, bus)
}

async fn world_with_a_batch() -> (World, RefundBatch, tests::world::Stream) {
    let world = World::with_funds("1000", "0").await;
    let names: Vec<String> = (0..12).map(|number| format!("ch_{number}")).collect();
    let charges: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    world.charges(&charges).await;
    let stream = world.stream().await;
    let asked: Vec<(&str, Option<u64>)> = names.iter().map(|name| (name.as_str(), None)).collect();
    let batch = world.session().create_batch(&request("batch1", &asked), new).await;
    (world, batch.result.unwrap().unwrap(), stream)
}

fn failures(answer: &Value) -> usize {
    answer["batchItemFailures"].as_array().expect("a partial batch response").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_settles_what_the_stream_brings_and_puts_each_success_on_the_bus() {
    let (world, batch, mut stream) = world_with_a_batch().await;
    let (mut lambda, bus) = start(&world).await;
    let accepted = world.changes(&mut stream).await.unwrap();
    assert_eq!(failures(&lambda.invoke(accepted).await.unwrap()), 0);
    let state = world.session().batch(&batch.key).await.unwrap().unwrap().state;
    assert!(matches!(state, BatchState::Ended { end: BatchEnd::Succeeded, .. }), "{state:?}");
    let line = lambda.log_line().await;
    assert_eq!((&line["function"], &line["by"]), (&json!("SettleRefunds"), &json!("stream")), "{line}");
    assert_eq!((&line["batches"], &line["batches_left"]), (&json!(1), &json!(0)), "{line}");
    let line = lambda.log_line().await;
    assert_eq!((&line["message"], &line["currency"]), (&json!("refunded"), &json!("CNY")), "{line}");
    assert_eq!((&line["refunds"], &line["refunded_hundredths"]), (&json!(12), &json!(12_000)), "{line}");

    let settled = world.changes(&mut stream).await.unwrap();
    assert_eq!(failures(&lambda.invoke(settled.clone()).await.unwrap()), 0);
    let calls = std::mem::take(&mut *bus.calls.lock().unwrap());
    let mut sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 10], "12 refunds and their batch, 10 a call");
    let entries: Vec<Value> = calls.into_iter().flatten().collect();
    for entry in &entries {
        assert_eq!(
            (&entry["EventBusName"], &entry["Source"]),
            (&json!("refunds-test"), &json!("refunds.pingpp"))
        );
        let envelope: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        assert_eq!(envelope["type"], entry["DetailType"]);
    }

    // What does not arrive is told by the changes that are to be brought again.
    let _ = lambda.log_line().await;
    *bus.next.lock().unwrap() = vec![Answer::OneFails];
    assert_eq!(failures(&lambda.invoke(settled.clone()).await.unwrap()), 1);
    assert_eq!(lambda.log_line().await["message"], "an event has not arrived; it is put again");
    assert_eq!(lambda.log_line().await["events_left"], 1);
    // The SDK itself tries a call three times.
    *bus.next.lock().unwrap() = (0..6).map(|_| Answer::InternalError).collect();
    assert_eq!(failures(&lambda.invoke(settled.clone()).await.unwrap()), 13);
    bus.calls.lock().unwrap().clear();
    assert_eq!(failures(&lambda.invoke(settled).await.unwrap()), 0);
    let id = |entry: &Value| {
        let envelope: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        envelope["id"].as_str().unwrap().to_owned()
    };
    let again: BTreeSet<String> = bus.calls.lock().unwrap().iter().flatten().map(id).collect();
    assert_eq!(again, entries.iter().map(id).collect(), "the same ids");
    world.check_batches("told").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_sweeps_and_reports_what_it_does_not_know_as_an_error() {
    let (world, batch, _) = world_with_a_batch().await;
    let (mut lambda, _) = start(&world).await;
    let sweep = std::fs::read_to_string(tests::events::path("settle-refunds")).unwrap();
    assert_eq!(lambda.invoke(sweep).await.unwrap(), json!({"batchItemFailures": []}));
    let line = lambda.log_line().await;
    assert_eq!((&line["by"], &line["batches"]), (&json!("sweep"), &json!(1)), "{line}");
    let state = world.session().batch(&batch.key).await.unwrap().unwrap().state;
    assert!(matches!(state, BatchState::Ended { .. }), "{state:?}");
    let error = lambda.invoke("{\"detail-type\":\"something else\"}".to_owned()).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("neither of a DynamoDB stream"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_merchant_has_said_is_logged_with_what_was_worked_on() {
    let world = World::with_funds("1000", "0").await;
    world.charges(&[("ch_planted", 10)]).await;
    let mut stream = world.stream().await;
    let mut asked = request("batch1", &[("ch_planted", None)]);
    (asked.description, asked.metadata) = ("planted".to_owned(), r#"{"note":"planted"}"#.to_owned());
    asked.items[0].description = Some("planted".to_owned());
    world.session().create_batch(&asked, new).await.result.unwrap().unwrap();
    let (mut lambda, bus) =
        start_with(&world, &[("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")]).await;
    let accepted = world.changes(&mut stream).await.unwrap();
    assert!(accepted.contains("planted"));
    assert_eq!(failures(&lambda.invoke(accepted).await.unwrap()), 0);
    let settled = world.changes(&mut stream).await.unwrap();
    *bus.next.lock().unwrap() = (0..6).map(|_| Answer::InternalError).collect();
    assert_eq!(failures(&lambda.invoke(settled.clone()).await.unwrap()), 2);
    bus.next.lock().unwrap().clear();
    assert_eq!(failures(&lambda.invoke(settled).await.unwrap()), 0);
    lambda.invoke(json!({"planted": "planted"}).to_string()).await.unwrap_err();
    let lines = lambda.stop().await;
    assert!(lines.len() >= 4, "{lines:?}");
    for line in lines {
        assert!(line.is_object() && !line.to_string().contains("planted"), "{line}");
    }
}
