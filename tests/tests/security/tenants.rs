//! What is another tenant's is not there: asked for by its id, it is answered as what nobody has, and nothing changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use refundctl::send::epay::DEMO_API_KEY;
use serde_json::{Value, json};
use settle_refunds::{SettleRefunds, Worked};
use shared::edge::Invocation;
use tests::entries::{bet, credit, settle};
use tests::epay::{BEGIN, END, begin, end};
use tests::pingpp::{KEY, Kept, Told};
use tests::world::{World, batch, no_faults, signed, single};

use super::scene::*;

/// Stands in a call for the id that is asked about; this one for a number.
const ID: &str = "<id>";
const NUMBER: &str = "<number>";

impl Call {
    fn about(&self, id: &str) -> Self {
        let text = String::from_utf8(self.body.clone()).unwrap();
        let text = text.replace(&format!("\"{NUMBER}\""), id).replace(ID, id);
        let mut call = Self { uri: self.uri.replace(ID, id), ..self.clone() };
        call.body = match self.endpoint {
            SINGLE | BATCH => signed(serde_json::from_str(&text).unwrap()).to_string().into(),
            _ => text.into(),
        };
        call
    }
}

/// What is asked about; an id of another tenant, and one of nobody's; and the call that has it in the place of our own.
type Case = (&'static str, String, String, Call);

fn cases(scene: &Scene) -> Vec<Case> {
    let with = |mut body: Value, pointer: &str| {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[member] = json!(ID);
        body
    };
    let of_p = || batch("r", &[("p", "bet", "5")]);
    let mut at_the_top = of_p();
    at_the_top["batchRefundList"][0].as_object_mut().unwrap().remove("username");
    let processed = |batch_no: &str| with(json!(begin(0, batch_no, "2")), "/autoid");
    let charge = |charge: Value| create(KEY, &new_batch("app_1", "batch1", json!(["ch_a", charge])));
    let funds = json!({"kind": "funds", "app": ID, "livemode": true, "source": "unsettled_funds", "id": "f",
                       "amount": 10, "reason": "charge paid"});
    let new_charge = json!({"kind": "charge", "app": ID, "livemode": true, "id": "ch_new", "amount": 10,
                            "currency": "cny", "channel": "wx_pub", "orderNo": "o", "created": 1});
    let withdrawn = json!({"kind": "withdraw", "merchant": "demo", "autoid": NUMBER});
    let failed = json!({"kind": "fail", "merchant": "demo", "autoid": 8_803, "batchNo": ID});

    let mut cases: Vec<(&str, &str, &str, Call)> = vec![
        ("player", "rival", "nobody", ebet(SINGLE, &single("r", ID, &[("their-bet2", "5")]))),
        ("player", "rival", "nobody", ebet(BATCH, &batch("r", &[(ID, "their-bet2", "5")]))),
        ("player at the top", "rival", "nobody", ebet(BATCH, &with(at_the_top, "/username"))),
        ("item's player", "rival", "nobody", {
            ebet(SINGLE, &with(single("r", "p", &[("their-bet2", "5")]), "/refundList/0/username"))
        }),
        // The rival has a player of the same name.
        ("bet", "their-bet", "nobodys-bet", ebet(SINGLE, &single("r", "p", &[(ID, "5")]))),
        ("bet", "their-bet", "nobodys-bet", ebet(BATCH, &batch("r", &[("p", ID, "5")]))),
        ("round", "round-of-their-bet", "round-of-nobody", {
            ebet(SINGLE, &with(single("r", "p", &[("bet", "5")]), "/roundCode"))
        }),
        ("round", "round-of-their-bet", "round-of-nobody", {
            ebet(BATCH, &with(of_p(), "/batchRefundList/0/roundCode"))
        }),
        ("application", "8802", "8899", epay(BEGIN, DEMO_API_KEY, &processed("B"))),
        ("processed application", "8804", "8899", epay(BEGIN, DEMO_API_KEY, &processed("B-of-rival"))),
        ("batch number", "B-of-rival", "B-of-nobody", epay(END, DEMO_API_KEY, &end(ID, "T", "2"))),
        ("app", "app_rival", "app_nobody", create(KEY, &new_batch(ID, "batch1", json!(["ch_a"])))),
        ("app", "app_rival", "app_nobody", list(KEY, &format!("app={ID}"))),
        ("charge of test mode", "ch_a", "ch_nobody", {
            create(LIVE_KEY, &new_batch("app_1", "batch1", json!([ID])))
        }),
        // The operator's own systems speak for all tenants; what they say of one reaches no other.
        ("player", "rival", "nobody", entries(&[credit(ID, "c", "1"), bet(ID, "b", "1")])),
        ("bet", "their-bet", "nobodys-bet", entries(&[settle("p", ID)])),
        ("application", "8802", "8899", entries(&[withdrawn])),
        ("batch number", "B-of-rival", "B-of-nobody", entries(&[failed])),
        ("app of test mode", "app_rival", "app_nobody", entries(&[new_charge, funds])),
    ];
    for rivals in ["ch_rival", "ch_rival2", "ch_live", "ch_live2"] {
        cases.push(("charge", rivals, "ch_nobody", charge(json!(ID))));
        cases.push(("part of a charge", rivals, "ch_nobody", charge(json!({"charge": ID, "amount": 1}))));
    }
    let mut cases: Vec<Case> = cases
        .into_iter()
        .map(|(what, rivals, nobodys, call)| (what, rivals.to_owned(), nobodys.to_owned(), call))
        .collect();
    for (what, key, batch) in [
        ("rival's batch", KEY, &scene.rival_batch),
        ("live batch", KEY, &scene.live_batch),
        ("test batch", LIVE_KEY, &scene.our_batch),
        ("our batch, by a rival", RIVAL_KEY, &scene.our_batch),
    ] {
        for call in [
            retrieve(key, ID),
            list(key, &format!("starting_after={ID}")),
            list(key, &format!("ending_before={ID}")),
        ] {
            cases.push((what, batch.clone(), scene.nobodys_batch(batch), call));
        }
    }
    cases
}

impl Scene {
    /// An id next to a batch's that no batch has.
    fn nobodys_batch(&self, batch: &str) -> String {
        let all = [&self.our_batch, &self.live_batch, &self.rival_batch];
        let next = (1..).map(|more| (batch.parse::<u64>().unwrap() + more).to_string());
        next.into_iter().find(|id| !all.contains(&id)).unwrap()
    }
}

/// Items that are other than before, by their keys.
fn changed(before: &[Value], after: &[Value]) -> BTreeSet<String> {
    let items = |items: &[Value]| items.iter().map(Value::to_string).collect::<BTreeSet<String>>();
    let key = |item: &String| {
        let item: Value = serde_json::from_str(item).unwrap();
        format!("{} {}", item["pk"].as_str().unwrap(), item["sk"].as_str().unwrap())
    };
    items(before).symmetric_difference(&items(after)).map(key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_answered_as_what_is_nobodys_and_nothing_changes() {
    let scene = Scene::new().await;
    let instances = HashMap::from(ENDPOINTS.map(|endpoint| (endpoint, scene.world.instance_of(endpoint))));
    for (what, rivals, nobodys, call) in cases(&scene) {
        let mut told = Vec::new();
        for id in [&rivals, &nobodys] {
            let call = call.about(id);
            let context = format!("{}: {what}: {id}", call.endpoint);
            let before = scene.world.items().await;
            let answer = call.answer_of(&instances[call.endpoint]).await;
            // A page of our own list may begin wherever someone says.
            assert!(call.endpoint == LIST || !answer.is_success(), "{context}: {answer:?}");
            let body = answer.body.replace(id.as_str(), "<id>");
            // What comes before its payment, or its refund, is kept with who has said so.
            let changed = changed(&before, &scene.world.items().await).into_iter();
            let mut changed: Vec<String> = changed.map(|key| key.replace(id.as_str(), "<id>")).collect();
            let ours = [
                "ebet#1#p PAYMENT#",
                "ebet#1#<id> PAYMENT#",
                "epay#demo#<id> PAYMENT",
                "epay#demo#batchno#<id> CONFIRMATION",
            ];
            let is_ours = |key: &String| ours.iter().any(|start| key.starts_with(start));
            assert!(changed.iter().all(is_ours), "{context}: {changed:?}");
            // An application's tombstone is put once a day.
            changed.retain(|key| key != "epay#demo#<id> PAYMENT");
            told.push((answer.status, body, changed));
        }
        assert_eq!(told[0], told[1], "{what}: {rivals} is not as {nobodys}");
    }
    scene.world.check_whole("what is another's").await;
}

/// A number that its caller chooses is its own, whoever else has chosen the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_another_tenant_has_used_is_free() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let mut of_rival = single("number", "rival", &[("their-bet2", "5")]);
    of_rival["channelId"] = json!(RIVAL_CHANNEL);
    let text = format!("rival{}", of_rival["timestamp"]);
    let rivals = [
        ebet(SINGLE, &signed_over(of_rival, &RIVAL_PEM, &text)),
        epay(END, RIVAL_API_KEY, &end("B-of-rival", "number", "2")),
        create(RIVAL_KEY, &new_batch("app_rival", "number", json!(["ch_rival"]))),
    ];
    for call in rivals {
        let answer = call.answer(world).await;
        assert!(answer.is_success(), "{answer:?}");
    }
    let is_rivals = |item: &&Value| item.to_string().contains("rival");
    let before: Vec<Value> = world.items().await.iter().filter(is_rivals).cloned().collect();
    for call in [
        ebet(SINGLE, &single("number", "p", &[("bet", "5")])),
        ebet(BATCH, &batch("number", &[("p", "bet2", "5")])),
        epay(BEGIN, DEMO_API_KEY, &begin(8_801, "B-of-rival", "2")),
        epay(END, DEMO_API_KEY, &end("B-of-ours", "number", "2")),
        create(KEY, &new_batch("app_1", "number", json!(["ch_a"]))),
        create(LIVE_KEY, &new_batch("app_1", "number", json!(["ch_live"]))),
        entries(&[bet("p", "their-bet", "1")]),
    ] {
        let answer = call.answer(world).await;
        assert!(answer.is_success() && !answer.body.contains("app_rival"), "{}: {answer:?}", call.endpoint);
    }
    let after: Vec<Value> = world.items().await.iter().filter(is_rivals).cloned().collect();
    let ours = changed(&before, &after);
    assert!(ours.iter().all(|key| key.contains("#1#p ") || key.contains("#demo#")), "{ours:?}");
    world.check_whole("the same numbers").await;
}

/// eBET's document has a code for a channel that is not there, so its number tells whether it is: 202, or a bad signature.
/// It is no secret, and tells no more.
#[tokio::test(flavor = "multi_thread")]
async fn of_another_channel_a_caller_learns_that_it_is_there_and_no_more() {
    let scene = Scene::new().await;
    let before = scene.world.items().await;
    for endpoint in [SINGLE, BATCH] {
        for (channel, code) in [(RIVAL_CHANNEL, 4026), (9_999, 202)] {
            for (player, bet) in [("rival", "their-bet2"), ("p", "their-bet"), ("nobody", "nothing")] {
                let mut body = match endpoint {
                    SINGLE => single("r", player, &[(bet, "5")]),
                    _ => batch("r", &[(player, bet, "5")]),
                };
                body["channelId"] = json!(channel);
                let answer = ebet(endpoint, &signed(body)).answer(&scene.world).await;
                assert_eq!(answer.code(), code, "{endpoint} {channel} {player}: {answer:?}");
            }
        }
    }
    assert_eq!(scene.world.items().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_batches_of_its_app_and_mode_alone() {
    let scene = Scene::new().await;
    for (key, app, batch) in [
        (KEY, "app_1", &scene.our_batch),
        (LIVE_KEY, "app_1", &scene.live_batch),
        (RIVAL_KEY, "app_rival", &scene.rival_batch),
    ] {
        for query in [format!("app={app}"), String::new(), format!("app={app}&per_page=100&page=1")] {
            let told = list(key, &query).answer(&scene.world).await.json();
            let ids: Vec<&Value> =
                told["data"].as_array().unwrap().iter().map(|batch| &batch["id"]).collect();
            assert_eq!(ids, [&json!(batch)], "{query}");
        }
    }
}

/// What the stream brings is true of the tenant that it is about, or is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_names_another_tenant_settles_and_tells_nothing() {
    let world = World::with_funds("1000", "0").await;
    world.with_keys().await;
    world.charges(&[("ch_a", 10)]).await;
    let mut stream = world.stream().await;
    let created = create(KEY, &new_batch("app_1", "batch1", json!(["ch_a"]))).answer(&world).await;
    assert_eq!(created.status, 200, "{created:?}");
    let worker = || {
        let (store, _wire) = world.store_of("settle-refunds", no_faults());
        let (channel, bus) = (Arc::new(Told::default()), Arc::new(Kept::default()));
        (SettleRefunds::new(store, channel.clone(), bus.clone()), channel, bus)
    };
    let invocation =
        || Invocation { request_id: "test".to_owned(), ends: SystemTime::now() + Duration::from_secs(50) };
    // What is to be settled, and then what is to be told.
    for is_settled in [false, true] {
        let change = world.changes(&mut stream).await.unwrap();
        let before = world.items().await;
        for other in ["app_1#live", "app_rival#test", "app_nobody#test"] {
            let (worker, channel, bus) = worker();
            let forged = change.replace("app_1#test", other);
            assert_ne!(forged, change);
            assert_eq!(worker.work(&forged, &invocation()).await, Ok(Worked::default()), "{other}");
            let (asked, told) = (channel.asked.lock().unwrap().clone(), bus.facts());
            assert!(asked.is_empty() && told.is_empty(), "{other}: {asked:?} {told:?}");
            assert_eq!(world.items().await, before, "{other}");
        }
        let (worker, channel, bus) = worker();
        worker.work(&change, &invocation()).await.unwrap();
        assert_eq!(channel.asked.lock().unwrap().len(), usize::from(!is_settled));
        assert_eq!(bus.facts().is_empty(), !is_settled, "{:?}", bus.facts());
    }
}
