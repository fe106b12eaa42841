//! The sample events are what the code makes of the template's routes, and play on the demo data.

use std::time::{Duration, SystemTime};

use refundctl::import::{self, Source};
use refundctl::local::DEMO_DATA;
use serde_json::{Value, json};
use shared::edge::Invocation;
use tests::events;
use tests::world::World;

#[test]
fn the_sample_events_are_as_the_code_makes_them() {
    for (name, event) in events::all().unwrap() {
        let written = std::fs::read_to_string(events::path(&name)).unwrap_or_default();
        assert_eq!(written, event, "write it anew with `cargo run --package tests --bin events`");
    }
    let count = std::fs::read_dir(events::path("x").parent().unwrap()).unwrap().count();
    assert_eq!(count, events::all().unwrap().len(), "no event without a route");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_plays_the_documents_example_on_the_demo_data() {
    // In this order: what is ended was begun before.
    for names in [
        &["refund-single-wallet"][..],
        &["auto-batch-refund", "record-entries"],
        &["begin-single-refund", "begin-single-refund-bson", "end-single-refund", "end-single-refund-bson"],
        &["create-batch-refund", "settle-refunds", "list-batch-refunds", "retrieve-batch-refund"],
    ] {
        let world = World::new().await;
        import::run(&world.store(), Source::text(DEMO_DATA), &import::Settings::default()).await.unwrap();
        for name in names {
            let event = std::fs::read_to_string(events::path(name)).unwrap();
            if *name == "settle-refunds" {
                let invocation = Invocation {
                    request_id: "test".to_owned(),
                    ends: SystemTime::now() + Duration::from_secs(60),
                };
                let worker = refundctl::functions::worker(name, &world.store()).unwrap();
                assert_eq!(worker.work(&event, &invocation).await.unwrap().batch_item_failures, []);
                continue;
            }
            let instance = world.instance_of(name.trim_end_matches("-bson"));
            let response = instance.call_event(&event).await;
            // Nobody has the batch that the document shows.
            let status = if *name == "retrieve-batch-refund" { 404 } else { 200 };
            assert_eq!(response.status_code, status, "{name}");
            if name.ends_with("-bson") {
                assert_eq!(response.content_type(), "application/bson");
                // The document's length, then an int32 named errcode, which is 0.
                assert_eq!(response.bytes()[4..17], *b"\x10errcode\0\0\0\0\0", "{name}");
                continue;
            }
            let answer: Value = serde_json::from_slice(&response.bytes()).unwrap();
            let (member, told) = match *name {
                "refund-single-wallet" => ("/moneyAfter", json!(1000)),
                "auto-batch-refund" => ("/refundResultList/0/refundTotalMoney", json!(20)),
                "create-batch-refund" => ("/status", json!("created")),
                "record-entries" => ("/entries/2/outcome", json!("recorded")),
                "list-batch-refunds" => ("/data/0/status", json!("succeeded")),
                "retrieve-batch-refund" => ("/error/param", json!("id")),
                _ => ("/errcode", json!(0)),
            };
            assert_eq!(answer.pointer(member), Some(&told), "{name}: {answer}");
        }
    }
    let played = 11;
    assert_eq!(events::all().unwrap().len(), played, "every event is played");
}
