//! Ping++'s calls: what a merchant sends, and what it is answered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use shared::ledger::{BatchRequest, Created};
use shared::pingpp::{AppId, ChannelAnswer, Mode, advance};
use tests::pingpp::{KEY, Told, request};
use tests::world::{World, event_of, is_embedded};

/// Status and JSON of a call.
async fn call(world: &World, method: &str, uri: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let function = match (method, uri.contains("batch_refunds/")) {
        ("POST", _) => "create-batch-refund",
        (_, true) => "retrieve-batch-refund",
        (_, false) => "list-batch-refunds",
    };
    let authorization = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&'static str, &str)> =
        authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let event = event_of(method, uri, &headers, body.as_bytes()).to_string();
    let answer = world.instance_of(function).call_event(&event).await;
    assert_eq!(answer.content_type(), "application/json");
    (answer.status_code, serde_json::from_slice(&answer.bytes()).unwrap())
}

async fn post(world: &World, body: &Value) -> (u16, Value) {
    call(world, "POST", "/v1/batch_refunds", Some(KEY), body).await
}

async fn get(world: &World, uri: &str) -> (u16, Value) {
    call(world, "GET", uri, Some(KEY), &Value::Null).await
}

fn body(batch_no: &str, charges: Value) -> Value {
    json!({"app": "app_1", "batch_no": batch_no, "description": "Batch refund description.", "charges": charges})
}

async fn world() -> World {
    let world = World::with_funds("1000", "0").await;
    world.with_keys().await;
    world.charges(&[("ch_a", 10), ("ch_b", 20), ("ch_c", 30)]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_created_settled_and_retrieved_as_the_document_shows_it() {
    let world = world().await;
    let asked = body("batchrefund20160801001", json!([{"charge": "ch_a", "amount": 4}, "ch_b"]));
    let (status, created) = post(&world, &asked).await;
    assert_eq!(status, 200, "{created}");
    assert_eq!((&created["object"], &created["status"]), (&json!("batch_refund"), &json!("created")));
    assert_eq!(created["charges"][0]["amount"], 4);
    assert_eq!(created["charges"][1]["amount"], 20, "all of it");
    let id = created["id"].as_str().unwrap();
    assert!(id.len() == 18 && id.starts_with("15"), "{id}");
    assert_eq!(post(&world, &asked).await, (200, created.clone()), "sent again");
    let uri = format!("/v1/batch_refunds/{id}");
    assert_eq!(get(&world, &uri).await, (200, created.clone()));

    let batch = world.batches().await.remove(0);
    let now = batch.at + 1;
    advance(&world.session(), &Told::refuses(&["ch_b"]), &batch.key, now).await.unwrap();
    let (_, settled) = get(&world, &uri).await;
    assert_eq!(settled["status"], "partially_succeeded");
    let statuses: Vec<&Value> =
        settled["charges"].as_array().unwrap().iter().map(|charge| &charge["status"]).collect();
    assert_eq!(statuses, ["succeeded", "failed"]);
    assert_eq!(settled["refunds"]["data"][0]["id"], settled["charges"][0]["refund"]);
    assert_eq!(post(&world, &asked).await, (200, settled), "the same batch as it stands now");
    world.check_batches("settled").await;
}

#[tokio::test]
async fn what_is_refused_names_the_member_and_changes_nothing() {
    let world = world().await;
    let before = world.dump().await;
    for (body, param, code) in [
        (
            json!({"app": "app_2", "batch_no": "abc", "description": "d", "charges": ["ch_a"]}),
            json!("app"),
            Value::Null,
        ),
        (body("ab", json!(["ch_a"])), json!("batch_no"), Value::Null),
        (body("abc", json!(["ch_a", "ch_x"])), json!("charges[1]"), Value::Null),
        (body("abc", json!([{"charge": "ch_a", "amount": 11}])), json!("charges[0].amount"), Value::Null),
        (
            body("abc", json!([{"charge": "ch_a", "funding_source": "recharge_funds"}])),
            Value::Null,
            json!("insufficient_funds"),
        ),
    ] {
        let (status, answer) = post(&world, &body).await;
        let error = &answer["error"];
        assert_eq!((status, &error["type"]), (400, &json!("invalid_request_error")), "{answer}");
        assert_eq!((&error["param"], &error["code"]), (&param, &code), "{answer}");
        assert!(error.as_object().unwrap().values().all(|member| !member.is_null()), "{answer}");
    }
    for key in [None, Some("sk_test_ibbTe5jLGCi5rzfH4OqPW9KX"), Some("secret")] {
        let (status, answer) =
            call(&world, "POST", "/v1/batch_refunds", key, &body("abc", json!(["ch_a"]))).await;
        assert_eq!(status, 401, "{answer}");
        assert!(!answer.to_string().contains("ibbTe5"), "{answer}");
    }
    assert_eq!(world.dump().await, before);
    post(&world, &body("abc", json!(["ch_a"]))).await;
    let (status, answer) = post(&world, &body("abc", json!(["ch_b"]))).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("batch_no")));
}

#[tokio::test]
async fn another_modes_charges_and_batches_are_not_there() {
    let world = world().await;
    let live = Some("sk_live_ibbTe5jLGCi5rzfH4OqPW9KC");
    let asked = body("abc", json!(["ch_a"]));
    let (status, answer) = call(&world, "POST", "/v1/batch_refunds", live, &asked).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("charges[0]")), "{answer}");
    let (_, created) = post(&world, &asked).await;
    let uri = format!("/v1/batch_refunds/{}", created["id"].as_str().unwrap());
    assert_eq!(call(&world, "GET", &uri, live, &Value::Null).await.0, 404);
    assert_eq!(get(&world, &uri).await.0, 200);
    for id in ["151608161453545122", "x", "15160816145354512", "%20"] {
        let (status, answer) = get(&world, &format!("/v1/batch_refunds/{id}")).await;
        assert_eq!((status, &answer["error"]["param"]), (404, &json!("id")), "{answer}");
    }
    let basic = format!("Basic {}", BASE64.encode(format!("{KEY}:")));
    let event = event_of("GET", &uri, &[("authorization", basic.as_str())], b"").to_string();
    assert_eq!(world.instance_of("retrieve-batch-refund").call_event(&event).await.status_code, 200);
}

#[tokio::test]
async fn a_list_is_paged_both_ways_the_latest_first() {
    let world = World::with_funds("1000", "0").await;
    world.with_keys().await;
    let names: Vec<String> = (0..5).map(|number| format!("ch_{number}")).collect();
    let charges: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world.charges(&charges).await;
    let (_, empty) = get(&world, "/v1/batch_refunds?app=app_1").await;
    assert_eq!(empty, json!({"object": "list", "url": "/v1/batch_refunds", "has_more": false, "data": []}));
    for (number, name) in names.iter().enumerate() {
        assert_eq!(post(&world, &body(&format!("batch{number}"), json!([name]))).await.0, 200);
    }
    let ids = |list: &Value| -> Vec<String> {
        let data = list["data"].as_array().unwrap();
        data.iter().map(|batch| batch["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, all) = get(&world, "/v1/batch_refunds?app=app_1").await;
    let all = ids(&all);
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by(|one, other| one > other), "{all:?}");
    for (query, wanted, has_more) in [
        ("per_page=2", &all[..2], true),
        ("page=2&per_page=2", &all[2..4], true),
        ("page=3&per_page=2", &all[4..], false),
        ("page=4&per_page=2", &all[5..], false),
        (&format!("limit=2&starting_after={}", all[1]), &all[2..4], true),
        (&format!("limit=2&ending_before={}", all[3]), &all[1..3], true),
        (&format!("limit=3&ending_before={}", all[3]), &all[..3], false),
        ("created[lt]=5", &all[5..], false),
        ("created[gte]=5", &all[..], false),
    ] {
        let (status, list) = get(&world, &format!("/v1/batch_refunds?app=app_1&{query}")).await;
        assert_eq!(
            (status, ids(&list), &list["has_more"]),
            (200, wanted.to_vec(), &json!(has_more)),
            "{query}"
        );
    }
    assert_eq!(get(&world, "/v1/batch_refunds?app=app_2").await.0, 400);
    assert_eq!(get(&world, "/v1/batch_refunds?app=app_1&per_page=0").await.1["error"]["param"], "per_page");
}

/// An id is made of a millisecond and a digit by chance: it is unique within its app alone.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_batches_of_one_id_of_one_key_neither_is_told_for_the_other() {
    let world = World::new().await;
    let mut lines = Vec::new();
    for app in ["app_1", "app_2"] {
        lines.push(
            json!({"kind": "app", "app": app, "livemode": false, "currency": "cny", "unsettledFunds": 100}),
        );
        lines.push(
            json!({"kind": "charge", "app": app, "livemode": false, "id": format!("ch_{app}"), "amount": 10,
                   "currency": "cny", "channel": "wx_pub", "orderNo": "o", "created": 1, "paid": true, "timePaid": 2,
                   "transactionNo": "t"}),
        );
    }
    lines.push(json!({"kind": "key", "secret": KEY, "apps": ["app_1", "app_2"]}));
    world.import(&lines).await;
    let created = Created { id: "151608161453545122".parse().unwrap(), at: 1_471_330_434_512 };
    let uri = format!("/v1/batch_refunds/{}", created.id);
    for app in ["app_1", "app_2"] {
        let asked = request("batch", &[(&format!("ch_{app}"), None)]);
        let asked = BatchRequest { tenant: app.parse::<AppId>().unwrap().tenant(Mode::Test), ..asked };
        world.session().create_batch(&asked, || Some(created.clone())).await.result.unwrap().unwrap();
        if app == "app_1" {
            assert_eq!(get(&world, &uri).await.1["app"], "app_1");
        }
        let list = get(&world, &format!("/v1/batch_refunds?app={app}")).await.1;
        assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
        assert_eq!(
            (&list["data"][0]["id"], &list["data"][0]["app"]),
            (&json!(created.id.as_str()), &json!(app))
        );
    }
    let (status, told) = get(&world, &uri).await;
    assert_eq!((status, &told["error"]["param"]), (400, &json!("id")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_too_large_for_an_answer_leaves_out_refunds_and_no_batch() {
    // Thousands of transactions, which only the embedded store makes in no time.
    if !is_embedded() {
        return;
    }
    let world = World::with_funds("1000000", "0").await;
    world.with_keys().await;
    let channel = Told::default();
    let said = ChannelAnswer::Refused { code: "x".repeat(100), message: "\u{1}".repeat(1_000) };
    for number in 0..10 {
        let names: Vec<String> = (0..100).map(|charge| format!("ch_{number}_{charge}")).collect();
        let charges: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        world.charges(&charges).await;
        names.iter().for_each(|name| channel.tell(name, said.clone()));
        let mut asked = body(&format!("batch{number}"), json!(names));
        asked["description"] = json!("\"".repeat(255));
        assert_eq!(post(&world, &asked).await.0, 200);
    }
    for batch in world.batches().await {
        advance(&world.session(), &channel, &batch.key, batch.at + 1).await.unwrap();
    }
    let (_, one) = get(&world, "/v1/batch_refunds?app=app_1&per_page=1").await;
    assert_eq!(one["data"][0]["refunds"]["data"].as_array().unwrap().len(), 100);
    let failed = &one["data"][0]["refunds"]["data"][0];
    assert_eq!(failed["failure_code"], "x".repeat(64), "what a channel says is cut");
    assert_eq!(failed["failure_msg"], "\u{1}".repeat(255));
    let (status, all) = get(&world, "/v1/batch_refunds?app=app_1&per_page=100").await;
    assert_eq!((status, all["data"].as_array().unwrap().len()), (200, 10));
    for batch in all["data"].as_array().unwrap() {
        let url = format!("/v1/batch_refunds/{}", batch["id"].as_str().unwrap());
        assert_eq!(batch["refunds"], json!({"object": "list", "url": url, "has_more": true, "data": []}));
        assert_eq!(batch["charges"].as_array().unwrap().len(), 100);
    }
}
