//! The sample events are what the code makes of the template's routes, and play on the demo data.

use refundctl::import::{self, Source};
use refundctl::local::DEMO_DATA;
use serde_json::{Value, json};
use tests::events;
use tests::world::World;

#[test]
fn the_sample_events_are_as_the_code_makes_them() {
    for (binary, event) in events::all().unwrap() {
        let written = std::fs::read_to_string(events::path(&binary)).unwrap_or_default();
        assert_eq!(written, event, "write it anew with `cargo run --package tests --bin events`");
    }
    let count = std::fs::read_dir(events::path("x").parent().unwrap()).unwrap().count();
    assert_eq!(count, events::all().unwrap().len(), "no event without a route");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_plays_the_documents_example_on_the_demo_data() {
    let world = World::new().await;
    import::run(&world.store(), Source::text(DEMO_DATA), &import::Settings::default()).await.unwrap();
    for (binary, event) in events::all().unwrap() {
        let (instance, member, told) = match binary.as_str() {
            "auto-batch-refund" => {
                (world.batch_instance(), "/refundResultList/0/refundTotalMoney", json!(20))
            }
            "refund-single-wallet" => (world.instance(), "/moneyAfter", json!(1000)),
            other => panic!("{other} is not played yet"),
        };
        let answer: Value = serde_json::from_slice(&instance.call_event(&event).await.bytes()).unwrap();
        assert_eq!(answer["status"], 200, "{binary}: {answer}");
        assert_eq!(answer.pointer(member), Some(&told), "{binary}: {answer}");
    }
}
