//! The real binary, under Lambda's runtime interface.

use std::path::Path;

use serde_json::{Value, json};
use tests::lambda::Lambda;
use tests::pingpp::KEY;
use tests::world::{World, event_of};

fn event(key: &str, body: &Value) -> Value {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    event_of("POST", "/v1/batch_refunds", &headers, body.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_a_batch_by_its_number_with_its_costs_and_no_secret() {
    let world = World::with_funds("1000", "0").await;
    world.with_keys().await;
    world.charges(&[("ch_a", 10), ("ch_b", 20)]).await;
    let mut lambda = Lambda::start(Path::new(env!("CARGO_BIN_EXE_create-batch-refund")), &world).await;
    let body = |charges: Value| json!({"app": "app_1", "batch_no": "batch1", "description": "said to nobody else", "charges": charges});
    let nobodys = "sk_test_nobodysLGCi5rzfH4OqPW9";
    let mut bad_host = event(KEY, &body(json!(["ch_a"])));
    bad_host["headers"]["host"] = json!("a b");
    for (event, status, executed, round_trips, write_units, key) in [
        (bad_host, 400, "no", 0, 0, ""),
        (event(nobodys, &body(json!(["ch_a"]))), 401, "no", 1, 0, ""),
        // The key and its app are read once a process; a refusal looks at the number again before it is told.
        (event(KEY, &body(json!(["ch_a", "ch_x"]))), 400, "no", 4, 0, "batch1"),
        // 1 write unit names the month, once; the batch 3, with its index entry; guard, account and charges 2 each.
        (event(KEY, &body(json!(["ch_a", "ch_b"]))), 200, "yes", 3, 12, "batch1"),
        (event(KEY, &body(json!(["ch_a", "ch_b"]))), 200, "no", 2, 0, "batch1"),
        (event(KEY, &body(json!(["ch_a"]))), 400, "no", 2, 0, "batch1"),
    ] {
        let answer = lambda.invoke(event.to_string()).await.expect("never an error of the function");
        assert_eq!(answer["statusCode"], status, "{answer}");
        let line = lambda.log_line().await;
        assert_eq!(
            (&line["function"], &line["outcome"]),
            (&json!("CreateBatchRefund"), &json!(status.to_string()))
        );
        assert_eq!((&line["executed"], &line["key"]), (&json!(executed), &json!(key)), "{line}");
        assert_eq!(line["round_trips"], round_trips, "{line}");
        if tests::world::is_embedded() {
            assert_eq!(line["write_units"], write_units, "{line}");
        }
        assert_eq!(line["authenticated"] == "yes", status != 401 && round_trips > 0, "{line}");
        for secret in [KEY, nobodys, "said to nobody else"] {
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
    world.check_batches("logged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_create-batch-refund"))).await;
}
