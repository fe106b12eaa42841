//! The sample events are what the code makes of the template's routes, and play on the demo data.

use std::time::{Duration, SystemTime};

use refundctl::import::{self, Source};
use refundctl::local::DEMO_DATA;
use serde_json::json;
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
async fn each_gets_its_stated_answer_on_the_demo_data() {
    let world = World::new().await;
    import::run(&world.store(), Source::text(DEMO_DATA), &import::Settings::default()).await.unwrap();
    let mut played = 0;
    for (binary, of_function) in events::PLAYED {
        for event in *of_function {
            let text = std::fs::read_to_string(events::path(event.name)).unwrap();
            let answer = if *binary == "settle-refunds" {
                let invocation = Invocation {
                    request_id: "test".to_owned(),
                    ends: SystemTime::now() + Duration::from_secs(60),
                };
                let worker = refundctl::functions::worker(binary, &world.store()).unwrap();
                json!(worker.work(&text, &invocation).await.unwrap())
            } else {
                json!(world.instance_of(binary).call_event(&text).await)
            };
            event.check(&answer).unwrap_or_else(|error| panic!("{}: {error}", event.name));
            played += 1;
        }
    }
    assert_eq!(events::all().unwrap().len(), played, "every event is played");
}
