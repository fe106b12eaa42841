//! How long a wrong credential takes to be refused tells nothing of a right one.
//!
//! A credential is looked up by its SHA-256, whose first digits a caller can't choose, and what is compared then are
//! hashes, in constant time. So what can be counted is the same for every wrong one: which calls the table gets, how
//! often, and of what size. Beside that stands a measurement of whole requests. It can't see the nanoseconds in which a
//! comparison ends early (nobody can through all that a request does), and fails only where a kind of wrong credential
//! is refused by other work than the others. (`/entries` has no credential of its own: a gateway checks its
//! signature. The proxies' key is compared by its hash, too, and whatever it is no call is made for it.)

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::send::ebet::{DEMO_KEY, sign};
use refundctl::send::epay::DEMO_API_KEY;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use shared::ledger::CredentialKey;
use tests::epay::{BEGIN, END, begin, end};
use tests::pingpp::KEY;
use tests::wire::Call as WireCall;
use tests::world::{Instance, is_embedded};

use super::scene::*;
use super::signatures::{demo_key, sha256_signed, signed_text, signing_scene, unix_seconds, with_signature};

/// Keys as long as `key`, of which so much at the beginning is right; and one that has nothing in common with it.
fn wrong_keys(key: &str, kind: usize) -> Vec<String> {
    let mut keys: Vec<String> = (kind..key.len())
        .map(|at| {
            let other = if &key[at..=at] == "x" { "y" } else { "x" };
            format!("{}{other}{}", &key[..at], &key[at + 1..])
        })
        .collect();
    keys.push(format!("{}{}", &key[..kind], "z".repeat(key.len() - kind)));
    keys
}

/// The calls that a request makes, less what the table's answers are.
fn shape(calls: &[WireCall], credential: &CredentialKey) -> Vec<(String, u16, String)> {
    let shape = |call: &WireCall| {
        (call.operation.clone(), call.status, call.request.to_string().replace(credential.hash(), "<hash>"))
    };
    calls.iter().map(shape).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_key_is_looked_up_once_by_its_hash_and_nothing_else_is_done() {
    let scene = Scene::new().await;
    let of_epay = |call: fn(&str) -> Call| ("epay", DEMO_API_KEY, 0, call);
    let of_pingpp = |call: fn(&str) -> Call| ("pingpp", KEY, "sk_test_".len(), call);
    for (provider, key, kind, call) in [
        of_epay(|key| epay(BEGIN, key, &begin(8_801, "B", "2"))),
        of_epay(|key| epay(END, key, &end("B-of-ours", "T", "2"))),
        of_pingpp(|key| create(key, &new_batch("app_1", "batch1", json!(["ch_a"])))),
        of_pingpp(|key| retrieve(key, "151608161453545122")),
        of_pingpp(|key| list(key, "app=app_1")),
    ] {
        let mut shapes = Vec::new();
        let instance = scene.world.instance_of(call(key).endpoint);
        for wrong in wrong_keys(key, kind) {
            let call = call(&wrong);
            // The second time, too: that it is nobody's is not kept.
            for _ in 0..2 {
                assert_eq!(call.answer_of(&instance).await.status, 401, "{wrong}");
                let calls = instance.wire.take_calls();
                assert_eq!(calls.len(), 1, "{wrong}");
                assert!(
                    !calls[0].request.to_string().contains(&wrong[kind..]),
                    "the key itself goes nowhere"
                );
                shapes.push(shape(&calls, &CredentialKey::new(provider, &wrong)));
            }
        }
        shapes.dedup();
        assert_eq!(shapes.len(), 1, "{shapes:?}");
        assert!(shapes[0][0].2.contains(&format!("key#{provider}#<hash>")), "{shapes:?}");
    }
}

/// A channel is named in the open, and whether it is there its own code tells; of its keys nothing is told by what is done.
#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_signature_is_checked_by_the_same_calls_whoever_is_named() {
    let scene = Scene::new().await;
    for endpoint in [SINGLE, BATCH] {
        let good = scene.good(endpoint).json();
        let signature = good["signature"].as_str().unwrap();
        let mut calls = Vec::new();
        for (channel, player) in [(1, "p"), (1, "nobody"), (RIVAL_CHANNEL, "rival"), (9_999, "p")] {
            let mut signatures: Vec<String> = (0..signature.len() - 1)
                .step_by(34)
                .map(|at| {
                    let other = if &signature[at..=at] == "x" { "y" } else { "x" };
                    format!("{}{other}{}", &signature[..at], &signature[at + 1..])
                })
                .collect();
            signatures.push(sign(DEMO_KEY, "another text").unwrap());
            for wrong in signatures {
                let mut body = good.clone();
                body["channelId"] = json!(channel);
                body["username"] = json!(player);
                body["signature"] = json!(wrong);
                let instance = scene.world.instance_of(endpoint);
                let code = ebet(endpoint, &body).answer_of(&instance).await.code();
                assert_eq!(code, if channel == 9_999 { 202 } else { 4026 });
                let made = instance.wire.take_calls();
                let asked = made[0].request.to_string().replace(&format!("#{channel}\""), "#<channel>\"");
                calls.push((made.len(), made[0].operation.clone(), asked));
            }
        }
        calls.dedup();
        assert_eq!(calls.len(), 1, "{calls:?}");
    }
}

/// The calls that a Ping++ request makes whose signature is wrong, wherever it is.
#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_signature_of_an_app_is_checked_by_the_same_calls() {
    let scene = signing_scene().await;
    for endpoint in [CREATE, RETRIEVE, LIST] {
        let mut calls = Vec::new();
        for (_, call) in wrongly_signed(&scene, endpoint) {
            let instance = scene.world.instance_of(endpoint);
            assert_eq!(call.answer_of(&instance).await.status, 401);
            let made = instance.wire.take_calls().into_iter();
            calls.push(
                made.map(|call| (call.operation, call.status, call.request.to_string())).collect::<Vec<_>>(),
            );
        }
        calls.dedup();
        assert!(calls.len() == 1 && !calls[0].is_empty(), "{endpoint}: {calls:?}");
    }
}

/// A request of an app that signs, with signatures that are wrong in all ways.
fn wrongly_signed(scene: &Scene, endpoint: &str) -> Vec<(&'static str, Call)> {
    let timestamp = unix_seconds().to_string();
    let call = scene.good(endpoint);
    let text = signed_text(&call, &timestamp);
    let good = sha256_signed(&demo_key(), &text);
    [
        ("the first letter wrong", other_letter(&good, 0)),
        ("the last letter wrong", other_letter(&good, good.trim_end_matches('=').len() - 2)),
        ("over another text", sha256_signed(&demo_key(), b"x")),
        ("by another key", by_another_key(|text| sha256_signed(rival_key(), text.as_bytes()))),
    ]
    .map(|(how, signature)| (how, with_signature(&call, Some(&timestamp), &signature)))
    .to_vec()
}

/// So many requests of each kind.
const ROUNDS: usize = 150;

/// How much longer one kind may take than another, as a factor of their medians: a round trip more, or a signature's
/// check more, is about as long as all the rest.
const APART: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_take_about_as_long_wherever_they_are_wrong() {
    // Another DynamoDB takes longer than all that is measured here.
    if !is_embedded() {
        return;
    }
    let scene = Scene::new().await;
    let with = |endpoint: &str, wrong: &dyn Fn(&mut Value)| {
        let mut body = scene.good(endpoint).json();
        wrong(&mut body);
        ebet(if endpoint == SINGLE { SINGLE } else { BATCH }, &body)
    };
    let edited = |body: &mut Value, at: usize| {
        body["signature"] = json!(other_letter(body["signature"].as_str().unwrap(), at));
    };
    let wrong_key = |call: &dyn Fn(&str) -> Call, key: &str, kind: usize| {
        let keys = wrong_keys(key, kind);
        vec![
            ("nothing right", call(&keys[keys.len() - 1])),
            ("the first letter wrong", call(&keys[0])),
            ("half of it right", call(&keys[keys.len() / 2])),
            ("all but the last letter right", call(&keys[keys.len() - 2])),
        ]
    };
    let theirs = by_another_key(|text| sign(&RIVAL_PEM, text).unwrap());
    let wrong_signature = |endpoint: &str| {
        vec![
            ("the first letter wrong", with(endpoint, &|body| edited(body, 0))),
            ("the last letter wrong", with(endpoint, &|body| edited(body, 168))),
            (
                "over another text",
                with(endpoint, &|body| body["signature"] = json!(sign(DEMO_KEY, "x").unwrap())),
            ),
            ("by another key", with(endpoint, &|body| body["signature"] = json!(theirs))),
        ]
    };
    let signing = signing_scene().await;
    // A batch is of several players: their names are not signed.
    let of_nobody =
        ("of a player that is not there", with(SINGLE, &|body| body["username"] = json!("nobody")));
    let kinds = [
        wrong_key(&|key| epay(BEGIN, key, &begin(8_801, "B", "2")), DEMO_API_KEY, 0),
        wrong_key(&|key| epay(END, key, &end("B-of-ours", "T", "2")), DEMO_API_KEY, 0),
        wrong_key(&|key| create(key, &new_batch("app_1", "batch1", json!(["ch_a"]))), KEY, "sk_test_".len()),
        wrong_key(&|key| retrieve(key, "151608161453545122"), KEY, "sk_test_".len()),
        wrong_key(&|key| list(key, "app=app_1"), KEY, "sk_test_".len()),
        wrong_signature(SINGLE).into_iter().chain([of_nobody]).collect(),
        wrong_signature(BATCH),
    ];
    let of_scene = kinds.into_iter().map(|kinds| (&scene, kinds));
    let of_signing =
        [CREATE, RETRIEVE, LIST].into_iter().map(|endpoint| (&signing, wrongly_signed(&signing, endpoint)));
    for (scene, kinds) in of_scene.chain(of_signing) {
        let instance = scene.world.instance_of(kinds[0].1.endpoint);
        let medians = medians(&kinds, &instance).await;
        println!("{}", kinds[0].1.endpoint);
        for ((how, _), median) in kinds.iter().zip(&medians) {
            println!("  {how}: {median:?}");
        }
        let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        assert!(*most < *least * APART, "{medians:?}");
    }
}

/// With another letter there: less than it was, for a number above the public key's modulus is refused unchecked.
fn other_letter(signature: &str, at: usize) -> String {
    let other = if &signature[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &signature[..at], &signature[at + 1..])
}

/// A signature by a key that is not ours, of some text. Of a number above our key's modulus anybody can see that it is none,
/// and it is refused unchecked.
fn by_another_key(sign: impl Fn(&str) -> String) -> String {
    let modulus = demo_key().n().to_bytes_be();
    let mut signatures = (0..1_000).map(|number: u32| sign(&number.to_string()));
    signatures
        .find(|signature| BASE64.decode(signature).unwrap() < modulus)
        .expect("one of so many is below it")
}

/// The median time of each kind of request; of all kinds in turn, so that whatever else the machine does slows down all.
async fn medians(kinds: &[(&str, Call)], instance: &Instance) -> Vec<Duration> {
    let events: Vec<String> = kinds.iter().map(|(_, call)| call.event().to_string()).collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); kinds.len()];
    for _ in 0..ROUNDS {
        for (event, times) in events.iter().zip(&mut times) {
            let began = Instant::now();
            let answer = instance.call_event(event).await;
            times.push(began.elapsed());
            assert!(answer.status_code == 401 || String::from_utf8_lossy(&answer.bytes()).contains("4026"));
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    times.iter_mut().map(median).collect()
}
