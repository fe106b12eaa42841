//! The real binary, under Lambda's runtime interface.

use std::path::Path;

use serde_json::{Value, json};
use shared::edge::hashed;
use tests::lambda::Lambda;
use tests::world::{CALLER, World, batch, event, is_embedded, signed};

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_answers_and_logs_what_operators_need_and_no_secret() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "16.85", &[("bet", "100"), ("other", "5")]).await;
    world.wallet_with_debits("q", "0", &[("bet", "1")]).await;
    let mut lambda = Lambda::start(Path::new(env!("CARGO_BIN_EXE_auto-batch-refund")), &world).await;
    let refunds = [
        ("p", "bet", "100"),
        ("p", "other", "4"),
        ("q", "bet", "1"),
        ("q", "unknown", "1"),
        ("x", "bet", "1"),
    ];
    let mut body = batch("r", &refunds);
    body["sessionToken"] = json!("a secret token");
    body["lastStartProcessTime"] = json!(1_683_785_711_005u64);
    body["batchRefundList"][0]["detail"] = json!([{"betId": "bet-80", "betType": 80, "money": 100}]);
    body["batchRefundList"][2]["detail"] = json!([{"betId": "bet-80", "betType": 80, "money": 1000}]);
    let body = signed(body);

    let answer = lambda.invoke(event(body.to_string().as_bytes(), CALLER).to_string()).await.unwrap();
    assert_eq!(answer["statusCode"], 200);
    let answer: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(world.balance("p").await, "116.85");

    let line = lambda.log_line().await;
    for (member, value) in [
        ("function", json!("autoBatchRefund")),
        ("tenant", json!("ebet#1")),
        ("authenticated", json!("yes")),
        ("key", json!("r")),
        ("outcome", json!("200")),
        ("items", json!(5)),
        ("refused", json!("unknown_account 1, unknown_debit 1, wrong_amount 1")),
        ("undecided", json!(0)),
        ("executed", json!("yes")),
        ("last_start_process_time", json!("1683785711005")),
        ("note", json!("details that disagree: 1; bet \"bet\": money does not add up to refundMoney")),
        ("session", json!(hashed("a secret token"))),
    ] {
        assert_eq!(line[member], value, "{member}: {line}");
    }
    if is_embedded() {
        // Settings, a read for each of three players, a transaction for each of two, two tombstones.
        assert_eq!(line["round_trips"], 8, "{line}");
    }
    let text = line.to_string();
    for secret in ["a secret token", body["signature"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_auto-batch-refund"))).await;
}
