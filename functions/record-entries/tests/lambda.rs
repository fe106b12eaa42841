//! The real binary, under Lambda's runtime interface.
#![allow(clippy::unwrap_used)] // the allowance in clippy.toml is for tests alone, not for what they share

use std::path::Path;

use serde_json::{Value, json};
use tests::entries::{bet, credit, wallet};
use tests::events;
use tests::lambda::Lambda;
use tests::world::{World, entries_event, event_of};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_who_has_said_what_became_of_it_and_at_what_price() {
    let world = World::with_channel().await;
    let mut lambda = Lambda::start(Path::new(env!("CARGO_BIN_EXE_record-entries")), &world).await;
    let body = json!({"entries": [
        wallet("p", "10"), bet("p", "b", "4"), bet("p", "c", "7"), credit("q", "x", "1"), {"kind": "credit"},
    ]});
    let unsigned = event_of("POST", "/entries", &[], body.to_string().as_bytes());
    let signed = entries_event(body.to_string().as_bytes());
    let bad = "bad_entry 1, insufficient_balance 1, unknown_account 1";
    for (event, status, authenticated, items, refused, executed) in [
        (&unsigned, 403, false, Value::Null, Value::Null, "no"),
        (&signed, 200, true, json!(5), json!(bad), "yes"),
        (&signed, 200, true, json!(5), json!(bad), "no"),
    ] {
        let answer = lambda.invoke(event.to_string()).await.expect("never an error of the function");
        assert_eq!(answer["statusCode"], status, "{answer}");
        let line = lambda.log_line().await;
        assert_eq!(line["function"], "RecordEntries", "{line}");
        let is_authenticated = line["authenticated"] == "yes";
        assert_eq!((&line["outcome"], is_authenticated), (&json!(status.to_string()), authenticated));
        assert_eq!(
            line["signer"].as_str().is_some_and(|signer| signer.ends_with("user/local")),
            authenticated
        );
        let named = if authenticated { ("ebet#1", "wallet p, debit b, debit c, credit x") } else { ("", "") };
        assert_eq!((line["tenant"].as_str().unwrap(), line["key"].as_str().unwrap()), named);
        assert_eq!(
            (line.get("items").unwrap_or(&Value::Null), &line["executed"]),
            (&items, &json!(executed))
        );
        assert_eq!(line.get("refused").unwrap_or(&Value::Null), &refused, "{line}");
    }
    assert_eq!(world.balance("p").await, "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_developers_machine_where_no_gateway_checks_signatures_none_is_asked_for() {
    let world = World::with_channel().await;
    world.wallet_with_debits("demo", "16.85", &[]).await;
    let binary = Path::new(env!("CARGO_BIN_EXE_record-entries"));
    let mut lambda = Lambda::start_with(binary, &world, &[("AWS_SAM_LOCAL", "true")]).await;
    let sample = std::fs::read_to_string(events::path("record-entries")).unwrap();
    let mut event: Value = serde_json::from_str(&sample).unwrap();
    event["requestContext"]["authorizer"] = Value::Null;
    let answer = lambda.invoke(event.to_string()).await.expect("never an error of the function");
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!(world.balance("demo").await, "106.35");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_record-entries"))).await;
}
