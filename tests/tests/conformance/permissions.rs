//! What each function's policy allows is what it does: no less, or a test of any suite would have failed, and no more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use refundctl::application::fail;
use refundctl::template::Template;
use serde_json::json;
use settle_refunds::{SWEEP, SettleRefunds};
use shared::edge::Invocation;
use shared::ledger::{BatchState, TenantKey};
use shared::pingpp::LogBus;
use tests::epay::{BEGIN, begin, demo};
use tests::permissions::{Permissions, used};
use tests::pingpp::{KEY, Told, new, request};
use tests::world::{World, batch, event_of, is_embedded, no_faults};

/// All partitions of the table and, last, of its index: the shapes of their keys, `*` being what a tenant or a caller
/// has named, and one of each.
const SHAPES: [(&str, &str); 15] = [
    ("nobody's", ""),
    ("ebet#*", "ebet#1"),
    ("ebet#*#*", "ebet#1#p"),
    ("ebet#*#request#*", "ebet#1#request#autoBatchRefund#r"),
    ("epay#*", "epay#m"),
    ("epay#*#*", "epay#m#1"),
    ("epay#*#batchno#*", "epay#m#batchno#B"),
    ("key#epay#*", "key#epay#0f"),
    ("key#pingpp#*", "key#pingpp#0f"),
    ("pingpp#*#*", "pingpp#a#test"),
    ("pingpp#*#*#*", "pingpp#a#test#ch_1"),
    ("pingpp#*#*#batches", "pingpp#a#test#batches"),
    ("pingpp#*#*#batches#*", "pingpp#a#test#batches#1608"),
    ("pingpp#*#*#batchno#*", "pingpp#a#test#batchno#B"),
    ("pingpp#open#*", "pingpp#open#3"),
];

/// The actions that there are on items.
const ACTIONS: [&str; 11] = [
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "DeleteItem",
    "GetItem",
    "PartiQLSelect",
    "PartiQLUpdate",
    "PutItem",
    "Query",
    "Scan",
    "UpdateItem",
];

/// Which of the shapes a key has.
fn shape(key: &str) -> &'static str {
    let parts: Vec<&str> = key.split('#').collect();
    match parts[..] {
        // The read with which a function starts.
        [_, ""] => "nobody's",
        ["ebet", _] => "ebet#*",
        ["ebet", _, "request", _, _] => "ebet#*#request#*",
        ["ebet", _, _] => "ebet#*#*",
        ["epay", _] => "epay#*",
        ["epay", _, "batchno", _] => "epay#*#batchno#*",
        ["epay", _, _] => "epay#*#*",
        ["key", "epay", _] => "key#epay#*",
        ["key", "pingpp", _] => "key#pingpp#*",
        ["pingpp", "open", _] => "pingpp#open#*",
        ["pingpp", _, _] => "pingpp#*#*",
        ["pingpp", _, _, "batches"] => "pingpp#*#*#batches",
        ["pingpp", _, _, _] => "pingpp#*#*#*",
        ["pingpp", _, _, "batches", _] => "pingpp#*#*#batches#*",
        ["pingpp", _, _, "batchno", _] => "pingpp#*#*#batchno#*",
        _ => panic!("{key} is of no known shape"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_allow_what_functions_do_and_nothing_else() {
    // What a function does is the same on any table.
    if !is_embedded() {
        return;
    }
    super::play_everything().await;
    create_what_must_be_taken_back().await;
    settle_what_others_began().await;
    fail_what_may_be_confirmed().await;
    look_again_at_what_is_refused().await;
    start_every_function().await;

    let used: BTreeSet<String> = used()
        .into_iter()
        .map(|used| line(&used.binary, &used.action, used.is_on_index, shape(&used.key)))
        .collect();
    let mut allowed = BTreeSet::new();
    for (binary, _) in Template::built_in().unwrap().functions {
        let permissions = Permissions::of(&binary);
        // A function starts with a read under its provider's name.
        let provider = provider_of(&binary);
        for action in ACTIONS.map(|action| format!("dynamodb:{action}")) {
            for (shape, example) in SHAPES {
                let key = if shape == "nobody's" { format!("{provider}#") } else { example.to_owned() };
                for is_on_index in [false, true] {
                    // That partition is the index's alone.
                    let is_there = is_on_index || shape != "pingpp#open#*";
                    if is_there && permissions.allows(&action, is_on_index, &key) {
                        allowed.insert(line(&binary, &action, is_on_index, shape));
                    }
                }
            }
        }
    }
    let more: Vec<&String> = allowed.difference(&used).collect();
    assert!(more.is_empty(), "allowed, and never done: {more:#?}");
    let less: Vec<&String> = used.difference(&allowed).collect();
    assert!(less.is_empty(), "done, and not allowed: {less:#?}");
    println!("{} actions on partitions, all of them used", allowed.len());
}

fn line(binary: &str, action: &str, is_on_index: bool, shape: &str) -> String {
    format!("{binary} {action} {}{shape}", if is_on_index { "index " } else { "" })
}

fn provider_of(binary: &str) -> &'static str {
    match binary {
        "auto-batch-refund" | "record-entries" | "refund-single-wallet" => "ebet",
        "begin-single-refund" | "end-single-refund" => "epay",
        _ => "pingpp",
    }
}

/// A batch of 100 charges whose creation died after the first 96 were held, and one of the last was refunded elsewhere.
async fn half_created() -> World {
    let world = World::with_funds("1000", "500").await;
    world.with_keys().await;
    let names: Vec<String> = (0..100).map(|number| format!("ch_{number}")).collect();
    world.charges(&names.iter().map(|name| (name.as_str(), 10)).collect::<Vec<_>>()).await;
    world.half_created(&names).await;
    world.refund_elsewhere("ch_99", 1).await;
    world
}

/// Who asks for a charge that a dead creation holds takes that one back first; so does the worker.
async fn create_what_must_be_taken_back() {
    let world = half_created().await;
    let body = json!({"app": "app_1", "batch_no": "batch2", "description": "d", "charges": ["ch_0"]});
    let authorization = format!("Bearer {KEY}");
    let event = event_of(
        "POST",
        "/v1/batch_refunds",
        &[("authorization", &authorization)],
        body.to_string().as_bytes(),
    );
    let answer = world.instance_of("create-batch-refund").call_event(&event.to_string()).await;
    assert_eq!(answer.status_code, 200, "{answer:?}");

    let world = half_created().await;
    sweep(&world).await;
    assert_eq!(world.batches().await[0].state, BatchState::Void);
}

/// The worker brings on all that is open, as if it were due.
async fn sweep(world: &World) {
    for batch in world.batches().await {
        let (pk, sk) = (batch.key.path(), batch.key.id.as_str());
        // A time, and the batch that is due then.
        let due = world.raw(&pk, sk, "gsi1sk").await.as_s().unwrap().clone();
        let (time, batch) = due.split_once('#').unwrap();
        let due = format!("{}#{batch}", "0".repeat(time.len()));
        world.set_raw(&pk, sk, "gsi1sk", AttributeValue::S(due)).await;
    }
    let (store, _wire) = world.store_of("settle-refunds", no_faults());
    let worker = SettleRefunds::new(store, Arc::new(Told::default()), Arc::new(LogBus));
    let ends = SystemTime::now() + Duration::from_secs(29);
    worker.work(SWEEP, &Invocation { request_id: "test".to_owned(), ends }).await.unwrap();
}

/// A refund that was decided before is found so; a charge that has lost its hold is looked at.
async fn settle_what_others_began() {
    let world = World::with_funds("1000", "0").await;
    world.charges(&[("ch_1", 10), ("ch_2", 10)]).await;
    let asked = request("batch1", &[("ch_1", None), ("ch_2", None)]);
    world.session().create_batch(&asked, new).await.result.unwrap().unwrap();
    world.forget_holds("ch_2").await;
    sweep(&world).await;
    assert_eq!(world.charge("ch_1").await.refunded, 10);
    assert_eq!(world.charge("ch_2").await.refunded, 0);

    // A list shows what became of its batches' refunds.
    world.with_keys().await;
    let authorization = format!("Bearer {KEY}");
    let headers = [("authorization", authorization.as_str())];
    let event = event_of("GET", "/v1/batch_refunds?app=app_1", &headers, b"");
    let answer = world.instance_of("list-batch-refunds").call_event(&event.to_string()).await;
    assert_eq!(answer.status_code, 200, "{answer:?}");
}

/// The operator's system says that a refund has failed, of which nobody has said that it was paid.
async fn fail_what_may_be_confirmed() {
    let world = World::with_applications(1).await;
    assert_eq!(world.instance_of(BEGIN).errcode(&begin(1, "B1", "2")).await, 0);
    let (session, _wire) = world.session_of("record-entries", no_faults());
    fail(&session, &demo(), 1, &"B1".parse().unwrap(), None, &[]).await.unwrap();
}

/// What is refused of a batch beside what it has done is looked at once more, where it is not on record.
async fn look_again_at_what_is_refused() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("one", "5")]).await;
    let body = batch("r", &[("p", "one", "5"), ("p", "unknown", "1")]);
    let first = world.instance_of("auto-batch-refund").call(&body).await;
    world.delete("ebet#1#request#autoBatchRefund#r", "REQUEST").await;
    assert_eq!(world.instance_of("auto-batch-refund").call(&body).await, first);
}

/// Each function starts with a read of nobody's settings, which opens its connection.
async fn start_every_function() {
    let world = World::new().await;
    for (binary, _) in Template::built_in().unwrap().functions {
        let (session, _wire) = world.session_of(&binary, no_faults());
        let nobody = TenantKey::new(provider_of(&binary), "");
        assert!(session.settings(&nobody).await.unwrap().is_none());
    }
}
