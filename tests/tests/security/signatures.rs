//! A signature is good for what it is over, by whose key it is, as long as it lasts; sent again, or with another body
//! where a protocol signs none, it moves no more money than the debits that it names took.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD, URL_SAFE};
use refundctl::send::ebet::{DEMO_KEY, sign};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::clock::unix_milliseconds;
use tests::pingpp::KEY;
use tests::world::{batch, channel_line, public_key, single};

use super::scene::*;

/// What is almost a signature, or nothing like one, with how.
fn almost(good: &str) -> Vec<(String, String)> {
    let bytes = BASE64.decode(good).unwrap();
    let with = |at: usize, mask: u8| {
        let mut bytes = bytes.clone();
        bytes[at] ^= mask;
        BASE64.encode(bytes)
    };
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // The last letter has bits that stand for nothing.
    let (start, last) = good.trim_end_matches('=').split_at(good.trim_end_matches('=').len() - 1);
    let spare = ALPHABET.as_bytes()[ALPHABET.find(last).unwrap() ^ 1] as char;
    let mut signatures = vec![
        ("nothing", String::new()),
        ("blanks", " \t ".to_owned()),
        ("itself twice", format!("{good}{good}")),
        ("more letters", format!("{good}AAAA")),
        ("a byte more", BASE64.encode([&bytes[..], &[0]].concat())),
        ("a byte before it", BASE64.encode([&[0], &bytes[..]].concat())),
        ("its bytes backwards", BASE64.encode(bytes.iter().rev().copied().collect::<Vec<u8>>())),
        ("the number 0", BASE64.encode(vec![0; bytes.len()])),
        ("the number 1", BASE64.encode([vec![0; bytes.len() - 1], vec![1]].concat())),
        ("the largest number", BASE64.encode(vec![0xff; bytes.len()])),
        ("without padding", STANDARD_NO_PAD.encode(&bytes)),
        ("in another base64", URL_SAFE.encode(&bytes)),
        ("in hexadecimal digits", bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        ("in quotes", format!("\"{good}\"")),
        ("of other spare bits", format!("{start}{spare}{}", "=".repeat(good.len() - start.len() - 1))),
    ]
    .into_iter()
    .map(|(how, signature)| (how.to_owned(), signature))
    .collect::<Vec<_>>();
    signatures.extend((1..good.len()).map(|length| (format!("{length} letters"), good[..length].to_owned())));
    let first = |length| (format!("{length} bytes"), BASE64.encode(&bytes[..length]));
    signatures.extend((1..bytes.len()).map(first));
    signatures.extend((0..bytes.len()).map(|at| (format!("a bit of byte {at}"), with(at, 1 << (at % 8)))));
    // In the other base64 it may happen to be the same.
    signatures.retain(|(_, signature)| signature != good);
    signatures
}

pub(super) fn demo_key() -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_pem(DEMO_KEY).unwrap()
}

pub(super) fn sha256_signed(key: &RsaPrivateKey, text: &[u8]) -> String {
    BASE64.encode(SigningKey::<Sha256>::new(key.clone()).sign(text).to_bytes())
}

// ---- eBET ----

/// A call for player p's bet, and the text that it is signed over.
fn ebet_call(endpoint: &str) -> (Value, String) {
    match endpoint {
        SINGLE => (single("r", "p", &[("bet", "5")]), "p1577808000000".to_owned()),
        _ => (batch("r", &[("p", "bet", "5")]), "11577808000000".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ebet_has_not_signed_so_is_4026_and_changes_nothing() {
    let scene = Scene::new().await;
    for endpoint in [SINGLE, BATCH] {
        let before = scene.world.items().await;
        let (body, text) = ebet_call(endpoint);
        let good = sign(DEMO_KEY, &text).unwrap();
        assert_eq!(body["signature"], good);
        let mut signatures = almost(&good);
        let mut add = |how: &str, signature: String| signatures.push((how.to_owned(), signature));
        add("by another channel's key", sign(&RIVAL_PEM, &text).unwrap());
        add("by another hash", sha256_signed(&demo_key(), text.as_bytes()));
        let unnamed = SigningKey::<md5::Md5>::new_unprefixed(demo_key()).sign(text.as_bytes());
        add("over the hash without its name", BASE64.encode(unnamed.to_bytes()));
        let others = [
            "",
            "p",
            "1",
            "r1577808000000",
            "201771577808000000",
            "p1577808000001",
            "11577808000001",
            "1577808000000p",
            "P1577808000000",
            "p 1577808000000",
            "p15778080000000",
            "p1577808000000.0",
            "bet1577808000000",
            "demo1577808000000",
        ];
        for other in others.into_iter().filter(|other| *other != text) {
            add(&format!("over {other:?}"), sign(DEMO_KEY, other).unwrap());
        }
        add("over the body", sign(DEMO_KEY, &body.to_string()).unwrap());
        if endpoint == SINGLE {
            add("of the other call", ebet_call(BATCH).0["signature"].as_str().unwrap().to_owned());
            add("over the time alone", sign(DEMO_KEY, "1577808000000").unwrap());
        }
        let count = signatures.len();
        let instance = scene.world.instance_of(endpoint);
        for (how, signature) in signatures {
            let mut body = body.clone();
            body["signature"] = json!(signature);
            let answer = ebet(endpoint, &body).answer_of(&instance).await;
            assert_eq!(answer.code(), 4026, "{endpoint}: {how}: {answer:?}");
        }
        assert!(count > 400, "{count}");
        assert_eq!(scene.world.items().await, before, "{endpoint}");
        assert_eq!(ebet(endpoint, &body).answer_of(&instance).await.code(), 200, "the good one");
        scene.world.check_whole(endpoint).await;
    }
}

/// A single call and a batch may be over the same text: then one's signature is the other's, for that player's bets.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_calls_signature_opens_a_batch_of_its_player_where_the_channel_has_it_so_and_no_other() {
    let scene = Scene::new().await;
    let mut strict = channel_line(1);
    strict["batchSignature"] = json!(["channelId+timestamp"]);
    let of_p = ebet_call(SINGLE).0["signature"].clone();
    let call = |refunds: &[(&str, &str, &str)]| {
        let mut body = batch("r", refunds);
        body["signature"] = of_p.clone();
        ebet(BATCH, &body)
    };
    let before = scene.world.items().await;
    let (mine, others) = (("p", "bet", "5"), ("r", "bet-of-r", "5"));
    for refunds in [&[others][..], &[mine, others], &[others, mine]] {
        assert_eq!(call(refunds).answer(&scene.world).await.code(), 4026, "{refunds:?}");
    }
    assert_eq!(scene.world.items().await, before);
    scene.world.import_replacing(&[strict]).await;
    assert_eq!(call(&[mine]).answer(&scene.world).await.code(), 4026);
    scene.world.import_replacing(&[channel_line(1)]).await;
    let answer = call(&[mine]).answer(&scene.world).await;
    assert!(answer.is_success(), "{answer:?}");
    assert_eq!((scene.world.balance("p").await, scene.world.balance("r").await), ("15".into(), "10".into()));
}

/// eBET signs neither number nor bets: whoever has seen one request can send others.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_was_seen_gives_back_what_known_debits_took_and_never_more() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let seen = single("r", "p", &[("bet", "5")]);
    let first = ebet(SINGLE, &seen).answer(world).await;
    assert_eq!((first.code(), world.balance("p").await), (200, "15".to_owned()));

    // Sent again it is what it was, under its number nothing else, and under others nothing that was not taken.
    let with = |seq_no: &str, items: Value| {
        let mut body = seen.clone();
        (body["seqNo"], body["refundList"]) = (json!(seq_no), items);
        body
    };
    let item = |bet: &str, money: f64| json!({"refundSeqNo": bet, "username": "p", "refundMoney": money});
    let before = world.dump().await;
    for _ in 0..3 {
        assert_eq!(ebet(SINGLE, &seen).answer(world).await, first);
    }
    for (number, items, code) in [
        ("r", json!([item("bet", -4.0)]), 4025),
        ("r", json!([item("bet2", -5.0)]), 4025),
        ("r", json!([item("bet", -5.0), item("bet2", -5.0)]), 4025),
        ("r", json!([{"refundSeqNo": "bet-of-r", "username": "r", "refundMoney": -5}]), 4025),
        ("r2", json!([item("bet", -5.0)]), 200),
        ("r2", json!([item("bet", -6.0)]), 207),
        ("r2", json!([item("bet2", -1_000_000.0)]), 207),
        ("r2", json!([item("bet2", -4.99)]), 207),
        ("r2", json!([item("bet2", 5.0)]), 4025),
        ("r2", json!([item("bet2", 0.0)]), 4025),
        ("r2", json!([item("bet2", -5.0), item("bet2", -4.0)]), 4025),
        ("r2", json!([item("nothing", -5.0)]), 208),
        ("r2", json!([item("played", -5.0)]), 208),
        ("r2", json!([item("bet-of-r", -5.0)]), 208),
        ("r2", json!([item("their-bet", -5.0)]), 208),
        ("r2", json!([{"refundSeqNo": "their-bet2", "username": "rival", "refundMoney": -5}]), 4037),
    ] {
        let answer = ebet(SINGLE, &with(number, items.clone())).answer(world).await;
        assert_eq!(answer.code(), code, "{items}: {answer:?}");
        assert_eq!(world.dump().await, before, "{items}");
    }

    // What is left are the debits that can be given back, each once.
    for round in 0..2 {
        for (number, items) in [
            ("r3", json!([item("bet2", -5.0)])),
            ("r4", json!([{"refundSeqNo": "bet-of-r", "username": "r", "refundMoney": -5}])),
            ("r5", json!([item("bet", -5.0), item("bet2", -5.0), item("bet2", -5.0)])),
        ] {
            let answer = ebet(SINGLE, &with(&format!("{number}{round}"), items)).answer(world).await;
            assert_eq!(answer.code(), 200, "{answer:?}");
        }
        let balances = (world.balance("p").await, world.balance("r").await);
        assert_eq!(balances, ("20".to_owned(), "15".to_owned()), "10 each, and their three open bets");
    }
    world.check_whole("a signature that was seen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_ebet_lasts_a_day_and_no_digit_moves_between_a_name_and_a_time() {
    let scene = Scene::new().await;
    let mut line = channel_line(7);
    line.as_object_mut().unwrap().remove("maxAge");
    scene.world.import(&[line]).await;
    let before = scene.world.dump().await;
    let now = unix_milliseconds(SystemTime::now());
    const MINUTE: u64 = 60_000;
    const DAY: u64 = 24 * 60 * MINUTE;
    let at = |time: u64| ("player7".to_owned(), time.to_string());
    let shifted = now.to_string();
    let signed = format!("player7{shifted}");
    for (endpoint, signer) in [(SINGLE, "player7"), (BATCH, "player7"), (BATCH, "7"), (BATCH, "")] {
        let instance = scene.world.instance_of(endpoint);
        for ((player, timestamp), signed, is_taken) in [
            (at(now), None, true),
            (at(now - DAY + MINUTE), None, true),
            (at(now + DAY - MINUTE), None, true),
            (at(now - DAY - MINUTE), None, false),
            (at(now + DAY + MINUTE), None, false),
            (at(0), None, false),
            (at(now / 1_000), None, false),
            (at(now * 1_000), None, false),
            (at(u64::MAX), None, false),
            // The same text, cut elsewhere.
            (("player".to_owned(), format!("7{shifted}")), Some(&signed), false),
            (("player71".to_owned(), shifted[1..].to_owned()), Some(&signed), false),
        ] {
            let own = format!("{signer}{timestamp}");
            let mut body = match endpoint {
                SINGLE => single("r", &player, &[("nothing", "5")]),
                _ => batch("r", &[(&player, "nothing", "5")]),
            };
            body["channelId"] = json!(7);
            body["timestamp"] = serde_json::from_str(&timestamp).unwrap();
            let body = signed_over(body, DEMO_KEY, signed.unwrap_or(&own));
            let answer = ebet(endpoint, &body).answer_of(&instance).await;
            // The player is unknown: in a batch that is an item's matter.
            let taken = if endpoint == SINGLE { 4037 } else { 200 };
            let code = if is_taken { taken } else { 4026 };
            assert_eq!(answer.code(), code, "{endpoint} over {signer:?}: {player} {timestamp}: {answer:?}");
        }
    }
    assert_eq!(scene.world.dump().await, before);
}

// ---- Ping++ ----

/// A scene whose apps have public keys, and must sign; in live mode the merchant has another key.
pub(super) async fn signing_scene() -> Scene {
    use rsa::pkcs8::{EncodePublicKey, LineEnding};
    let scene = Scene::new().await;
    let rivals = rival_key().to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
    for (app, livemode, key) in
        [("app_1", false, public_key()), ("app_1", true, rivals.clone()), ("app_rival", false, rivals)]
    {
        let line = json!({"kind": "app", "app": app, "livemode": livemode, "currency": "cny", "publicKey": key,
                          "requireSignature": true});
        scene.world.import_replacing(&[line]).await;
    }
    scene
}

/// What the merchant's SDK signs: the body, the URI, and the time.
pub(super) fn signed_text(call: &Call, timestamp: &str) -> Vec<u8> {
    [&call.body[..], call.uri.as_bytes(), timestamp.as_bytes()].concat()
}

pub(super) fn with_signature(call: &Call, timestamp: Option<&str>, signature: &str) -> Call {
    let call = call.clone().with("pingplusplus-signature", signature);
    match timestamp {
        Some(timestamp) => call.with("pingplusplus-request-timestamp", timestamp),
        None => call,
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_merchant_has_not_signed_so_is_401_and_changes_nothing() {
    let scene = signing_scene().await;
    let before = scene.world.items().await;
    let now = unix_seconds();
    let timestamp = now.to_string();
    let (create, retrieve, list) = (scene.good(CREATE), scene.good(RETRIEVE), scene.good(LIST));
    let calls = [&create, &retrieve, &list];
    let by_us = |text: &[u8]| sha256_signed(&demo_key(), text);
    for call in calls {
        let text = signed_text(call, &timestamp);
        let good = by_us(&text);
        let mut signatures = almost(&good);
        let mut add = |how: &str, signature: String| signatures.push((how.to_owned(), signature));
        add("by another app's key", sha256_signed(rival_key(), &text));
        add("by another hash", sign(DEMO_KEY, &String::from_utf8(text.clone()).unwrap()).unwrap());
        for other in calls.into_iter().filter(|other| other.endpoint != call.endpoint) {
            add(&format!("of {}", other.endpoint), by_us(&signed_text(other, &timestamp)));
        }
        let changed = |change: &dyn Fn(&mut Call)| {
            let mut call = call.clone();
            change(&mut call);
            signed_text(&call, &timestamp)
        };
        for (how, text) in [
            ("nothing", Vec::new()),
            ("the body alone", call.body.clone()),
            ("no time", signed_text(call, "")),
            ("another time", signed_text(call, &(now - 1).to_string())),
            ("more of a body", changed(&|call| call.body.push(b' '))),
            ("another body", changed(&|call| call.body = b"{}".to_vec())),
            ("another query", changed(&|call| call.uri.push_str("&page=2"))),
            ("another path", changed(&|call| call.uri = "/v1/refunds".to_owned())),
            ("another version", changed(&|call| call.uri = call.uri.replace("v1", "v2"))),
            ("a host", changed(&|call| call.uri = format!("https://refunds.example{}", call.uri))),
            ("the time first", [timestamp.as_bytes(), &signed_text(call, "")].concat()),
        ] {
            if text != signed_text(call, &timestamp) {
                add(&format!("over {how}"), by_us(&text));
            }
        }
        let count = signatures.len();
        let instance = scene.world.instance_of(call.endpoint);
        for (how, signature) in signatures {
            let answer = with_signature(call, Some(&timestamp), &signature).answer_of(&instance).await;
            assert_eq!(answer.status, 401, "{}: {how}: {answer:?}", call.endpoint);
        }
        assert!(count > 400, "{count}");

        // Over what is sent, and too old, too early, or no time.
        for other in [
            None,
            Some(String::new()),
            Some((now - 310).to_string()),
            Some((now + 310).to_string()),
            Some((now * 1_000).to_string()),
            Some(format!("-{now}")),
            Some(format!("{now}.0")),
            Some(format!("0x{now:x}")),
            Some(u64::MAX.to_string()),
            Some(format!("{now}{now}")),
        ] {
            let signature = by_us(&signed_text(call, other.as_deref().unwrap_or_default()));
            let answer = with_signature(call, other.as_deref(), &signature).answer_of(&instance).await;
            assert_eq!(answer.status, 401, "{}: {other:?}: {answer:?}", call.endpoint);
        }
        assert_eq!(call.answer_of(&instance).await.status, 401, "{}: unsigned", call.endpoint);
        assert_eq!(scene.world.items().await, before, "{}", call.endpoint);
    }
    for age in [now - 280, now + 280, now] {
        for call in calls {
            let timestamp = age.to_string();
            let signature = by_us(&signed_text(call, &timestamp));
            let answer = with_signature(call, Some(&timestamp), &signature).answer(&scene.world).await;
            assert_eq!(answer.status, 200, "{}: {age}: {answer:?}", call.endpoint);
        }
    }
    scene.world.check_whole("signed").await;
}

/// The text that is signed has no marks between its parts.
#[tokio::test(flavor = "multi_thread")]
async fn no_letter_of_what_a_merchant_has_signed_moves_into_another_part_of_the_request() {
    let scene = signing_scene().await;
    let before = scene.world.items().await;
    let timestamp = unix_seconds().to_string();
    let query = list(KEY, "app=app_1&page=1");
    let tenth = list(KEY, "app=app_1&page=10");
    let looked = retrieve(KEY, &scene.our_batch);
    let created = scene.good(CREATE);
    let (id, last) = scene.our_batch.split_at(scene.our_batch.len() - 1);
    let mut with_body_in_path = retrieve(KEY, "x");
    with_body_in_path.uri = format!("/{}{}", created.json(), created.uri);
    for (seen, sent, sent_timestamp) in [
        // From the query, or the path, into the time, and back.
        (&query, list(KEY, "app=app_1&page="), format!("1{timestamp}")),
        (&query, list(KEY, &format!("app=app_1&page=1{}", &timestamp[..1])), timestamp[1..].to_owned()),
        (&looked, retrieve(KEY, id), format!("{last}{timestamp}")),
        (&tenth, list(KEY, "app=app_1&page=1"), format!("0{timestamp}")),
        (
            &looked,
            retrieve(KEY, &format!("{}{}", scene.our_batch, &timestamp[..1])),
            timestamp[1..].to_owned(),
        ),
        // A list's URI is what a batch would be posted to.
        (&list(KEY, ""), created.clone(), timestamp.clone()),
        (&created, with_body_in_path.clone(), timestamp.clone()),
    ] {
        let signature = sha256_signed(&demo_key(), &signed_text(seen, &timestamp));
        let answer = with_signature(&sent, Some(&sent_timestamp), &signature).answer(&scene.world).await;
        assert_eq!(answer.status, 401, "{} {sent_timestamp}: {answer:?}", sent.uri);
    }
    assert_eq!(scene.world.items().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_batch_that_is_sent_again_is_the_same_batch_and_with_another_body_none() {
    let scene = signing_scene().await;
    let timestamp = unix_seconds().to_string();
    let call = scene.good(CREATE);
    let signature = sha256_signed(&demo_key(), &signed_text(&call, &timestamp));
    let signed = |call: &Call| with_signature(call, Some(&timestamp), &signature);
    let first = signed(&call).answer(&scene.world).await;
    assert_eq!(first.status, 200, "{first:?}");
    let before = scene.world.items().await;
    for _ in 0..3 {
        assert_eq!(signed(&call).answer(&scene.world).await, first);
    }
    let with = |member: &str, value: Value| {
        let mut body = call.json();
        body[member] = value;
        call.clone().saying(body.to_string())
    };
    for other in [
        with("batch_no", json!("batch2")),
        with("charges", json!(["ch_b"])),
        with("charges", json!([{"charge": "ch_a", "amount": 1}])),
        with("app", json!("app_rival")),
        call.clone().saying(String::from_utf8(call.body.clone()).unwrap().replace(':', ": ")),
        // By another merchant's key, and by the same merchant's in the other mode.
        call.clone().without("authorization").with("authorization", &bearer(RIVAL_KEY)),
        call.clone().without("authorization").with("authorization", &bearer(LIVE_KEY)),
    ] {
        let answer = signed(&other).answer(&scene.world).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(scene.world.items().await, before, "{answer:?}");
    }
}

/// A key of two apps, one of which must sign: what is not signed is about the other one alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_unsigned_only_those_of_its_apps_that_need_not_sign() {
    const BOTH: &str = "sk_test_bothAppsKey5rzfH4OqPW9KC";
    let scene = Scene::new().await;
    let strict = json!({"kind": "app", "app": "app_strict", "livemode": false, "currency": "cny",
                        "publicKey": public_key(), "requireSignature": true, "unsettledFunds": 100});
    let charge = |id: &str| {
        json!({"kind": "charge", "app": "app_strict", "livemode": false, "id": id, "amount": 10, "currency": "cny",
               "channel": "wx_pub", "orderNo": "o", "transactionNo": id, "created": 1, "timePaid": 2})
    };
    let key = json!({"kind": "key", "secret": BOTH, "apps": ["app_1", "app_strict"]});
    scene.world.import(&[strict, key, charge("ch_strict"), charge("ch_strict2")]).await;
    let signed = |call: &Call| {
        let timestamp = unix_seconds().to_string();
        let signature = sha256_signed(&demo_key(), &signed_text(call, &timestamp));
        with_signature(call, Some(&timestamp), &signature)
    };
    let wanted = create(BOTH, &new_batch("app_strict", "strict1", json!(["ch_strict"])));
    let created = signed(&wanted).answer(&scene.world).await;
    assert_eq!(created.status, 200, "{created:?}");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let before = scene.world.items().await;
    for (call, status) in [
        (create(BOTH, &new_batch("app_strict", "strict2", json!(["ch_strict2"]))), 401),
        // Again, as it was done.
        (wanted, 401),
        // Of one of its apps, for the other.
        (create(BOTH, &new_batch("app_1", "batch9", json!(["ch_strict2"]))), 400),
        (list(BOTH, "app=app_strict"), 401),
        (retrieve(BOTH, &id), 404),
    ] {
        let answer = call.answer(&scene.world).await;
        assert_eq!(answer.status, status, "{}: {answer:?}", call.uri);
        assert!(!answer.body.contains("strict1"), "{answer:?}");
    }
    let ours = list(BOTH, "app=app_1").answer(&scene.world).await;
    assert_eq!(ours.status, 200, "{ours:?}");
    assert_eq!(signed(&retrieve(BOTH, &id)).answer(&scene.world).await.json()["id"], id);
    assert_eq!(scene.world.items().await, before);
}
