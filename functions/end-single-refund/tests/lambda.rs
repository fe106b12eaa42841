//! The real binary, under Lambda's runtime interface.

use std::path::Path;

use serde_json::{Value, json};
use tests::epay::{BEGIN, begin, end};
use tests::lambda::Lambda;
use tests::world::{World, epay_event};

const KEY: &str = "demo-key-for-this-machine-only";

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_completes_a_refund_and_its_log_tells_a_confirmation_that_completed_nothing() {
    let world = World::with_applications(1).await;
    assert_eq!(world.instance_of(BEGIN).errcode(&begin(1, "B", "2")).await, 0);
    let mut lambda = Lambda::start(Path::new(env!("CARGO_BIN_EXE_end-single-refund")), &world).await;
    for (body, errcode, executed, note) in [
        (end("B", "T", "1"), 301, "no", json!("confirmation kept: otherAmount")),
        (end("B", "T", "2"), 0, "yes", Value::Null),
        (end("B", "T", "2"), 0, "no", Value::Null),
        (end("B", "T2", "2"), 302, "no", json!("confirmation kept: secondTradeNo")),
        (json!({}), 101, "no", Value::Null),
    ] {
        let headers = [("content-type", "application/json"), ("x-api-key", KEY)];
        let event = epay_event(&headers, body.to_string().as_bytes()).to_string();
        let answer = lambda.invoke(event).await.expect("never an error of the function");
        assert_eq!(answer["statusCode"], 200);
        let told: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(told["errcode"], errcode, "{body}: {told}");
        let line = lambda.log_line().await;
        assert_eq!((&line["executed"], &line["note"]), (&json!(executed), &note), "{line}");
        assert_eq!((&line["function"], &line["tenant"]), (&json!("EndSingle"), &json!("epay#demo")));
        assert!(!line.to_string().contains(KEY), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_end-single-refund"))).await;
}
