//! The real binary, under Lambda's runtime interface.

use std::path::Path;

use serde_json::{Value, json};
use tests::lambda::Lambda;
use tests::world::{CALLER, World, event, single};

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_answers_events_one_after_another_and_bad_ones_in_between() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "16.85", &[("bet", "100")]).await;
    let mut lambda = Lambda::start(Path::new(env!("CARGO_BIN_EXE_refund-single-wallet")), &world).await;
    let body = single("r", "p", &[("bet", "100")]).to_string();
    let good = event(body.as_bytes(), CALLER);
    let mut bad_host = good.clone();
    bad_host["headers"]["host"] = json!("a b");
    for (event, status) in [
        (bad_host.to_string(), 4025),
        ("{}".to_owned(), 4025),
        (event(b"", CALLER).to_string(), 4025),
        (good.to_string(), 200),
        (good.to_string(), 200),
    ] {
        let answer = lambda.invoke(event).await.expect("never an error of the function");
        assert_eq!(answer["statusCode"], 200);
        assert_eq!(answer["headers"]["content-type"], "application/json");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["status"], status, "{body}");
        if status == 200 {
            assert_eq!(body["moneyAfter"].to_string(), "116.85");
        }
    }
    assert_eq!(world.balance("p").await, "116.85");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_refund-single-wallet"))).await;
}
