//! A key opens what is its tenant's in its mode, as it was given out, letter by letter; whatever else is shown as one is
//! answered as no key at all.

use refundctl::send::epay::DEMO_API_KEY;
use serde_json::json;
use sha2::{Digest, Sha256};
use shared::ledger::CredentialKey;
use tests::epay::{BEGIN, END, begin, end, merchant_line};
use tests::pingpp::KEY;

use super::scene::*;

/// What is almost a key, with how.
fn almost(provider: &'static str, key: &str) -> Vec<(&'static str, String)> {
    let (start, last) = key.split_at(key.len() - 1);
    let (first, rest) = key.split_at(1);
    let middle = key.len() / 2;
    let other = |letter: &str| if letter == "x" { "y" } else { "x" };
    let hash = CredentialKey::new(provider, key);
    vec![
        ("nothing", String::new()),
        ("another last letter", format!("{start}{}", other(last))),
        ("another first letter", format!("{}{rest}", other(first))),
        ("its beginning", start.to_owned()),
        ("its end", rest.to_owned()),
        ("more before it", format!("x{key}")),
        ("more behind it", format!("{key}x")),
        ("twice", format!("{key}{key}")),
        ("upper case", key.to_ascii_uppercase()),
        ("one letter of another case", {
            let at = key.rfind(|letter: char| letter.is_ascii_lowercase()).unwrap();
            format!("{}{}{}", &key[..at], key[at..=at].to_ascii_uppercase(), &key[at + 1..])
        }),
        ("a blank within", format!("{} {}", &key[..middle], &key[middle..])),
        ("a tab within", format!("{}\t{}", &key[..middle], &key[middle..])),
        ("quotes around it", format!("\"{key}\"")),
        ("a comma behind it", format!("{key},")),
        ("escaped", key.replace(&key[..1], &format!("%{:02x}", key.as_bytes()[0]))),
        ("any", "*".repeat(key.len())),
        ("its hash, as it is on record", hash.hash().to_owned()),
        ("where its hash is on record", hash.as_str().to_owned()),
        ("the hash of its hash", format!("{:x}", Sha256::digest(hash.hash()))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_almost_a_merchants_key_is_answered_as_no_key_is() {
    let scene = Scene::new().await;
    let before = scene.world.items().await;
    for endpoint in [BEGIN, END] {
        let instance = scene.world.instance_of(endpoint);
        let good = scene.good(endpoint).without("x-api-key");
        let nothing = good.answer_of(&instance).await;
        assert_eq!((nothing.status, nothing.code()), (401, 401), "{endpoint}");
        let as_key = |key: &str| good.clone().with("x-api-key", key);
        let mut calls: Vec<_> =
            almost("epay", DEMO_API_KEY).into_iter().map(|(how, key)| (how, as_key(&key))).collect();
        calls.extend([
            // HTTP itself takes blanks from around a header: a gateway passes none on.
            ("a blank before it", as_key(&format!(" {DEMO_API_KEY}"))),
            ("a blank behind it", as_key(&format!("{DEMO_API_KEY} "))),
            ("a scheme before it", as_key(&bearer(DEMO_API_KEY))),
            ("another provider's key", as_key(KEY)),
            ("two keys", as_key(DEMO_API_KEY).with("x-api-key", RIVAL_API_KEY)),
            ("as a token", good.clone().with("authorization", &bearer(DEMO_API_KEY))),
            ("as a user", good.clone().with("authorization", &basic(DEMO_API_KEY))),
            ("in the body", good.clone().saying(format!("{{\"x-api-key\":\"{DEMO_API_KEY}\"}}"))),
        ]);
        for (how, call) in calls {
            assert_eq!(call.answer_of(&instance).await, nothing, "{endpoint}: {how}");
        }
        let mut query = good.clone();
        query.uri = format!("{}?x-api-key={DEMO_API_KEY}", query.uri);
        assert_eq!(query.answer_of(&instance).await, nothing, "{endpoint}: in the query");
    }
    assert_eq!(scene.world.items().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchants_key_opens_no_other_merchants_applications() {
    let scene = Scene::new().await;
    scene.world.import(&[merchant_line("third", &["the-third-merchants-key"])]).await;
    let before = scene.world.items().await;
    for key in [RIVAL_API_KEY, "the-third-merchants-key"] {
        for (call, code) in [
            (epay(BEGIN, key, &begin(8_801, "B", "2")), 200),
            (epay(BEGIN, key, &begin(8_803, "B-of-ours", "2")), 200),
            (epay(END, key, &end("B-of-ours", "T", "2")), 300),
        ] {
            let answer = call.answer(&scene.world).await;
            assert_eq!(answer.code(), code, "{key}: {answer:?}");
            assert!(!answer.body.contains("demo"), "{answer:?}");
        }
    }
    let after = scene.world.items().await;
    let is_kept = |item: &serde_json::Value| item["sk"].as_str().unwrap().starts_with("CONFIRMATION");
    let (kept, others): (Vec<_>, Vec<_>) = after.into_iter().partition(is_kept);
    // That they have no such applications is put on record, with them.
    let (tombstones, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|item| item["state"] == "refund_asked");
    assert_eq!(others, before);
    let absent: Vec<_> = tombstones.iter().map(|item| item["pk"].as_str().unwrap()).collect();
    assert_eq!(absent, ["epay#rival#8801", "epay#rival#8803", "epay#third#8801", "epay#third#8803"]);
    let keepers: Vec<_> = kept.iter().map(|item| item["pk"].as_str().unwrap()).collect();
    assert_eq!(keepers, ["epay#rival#batchno#B-of-ours", "epay#third#batchno#B-of-ours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_almost_a_secret_key_is_401_and_is_not_shown_in_full() {
    let scene = Scene::new().await;
    let before = scene.world.items().await;
    let secret = KEY.strip_prefix("sk_test_").unwrap();
    let mut keys = almost("pingpp", KEY);
    keys.extend([
        ("of the other mode, as which it is nobody's", RIVAL_KEY.replace("test", "live")),
        ("a publishable key", KEY.replace("sk_", "pk_")),
        ("without its mode", format!("sk_{secret}")),
        ("without its kind", secret.to_owned()),
        ("another provider's key", DEMO_API_KEY.to_owned()),
        ("both modes", format!("sk_test_sk_live_{secret}")),
    ]);
    for endpoint in [CREATE, RETRIEVE, LIST] {
        let instance = scene.world.instance_of(endpoint);
        let good = scene.good(endpoint).without("authorization");
        let without = good.answer_of(&instance).await;
        assert_eq!(without.status, 401);
        for (how, value) in [
            ("the bare key", KEY.to_owned()),
            ("another scheme", format!("Digest {KEY}")),
            ("as a password", basic_of(&format!(":{KEY}"))),
            ("a user without a colon", basic_of(KEY)),
            ("base64 that is cut off", basic(KEY)[..basic(KEY).len() - 1].to_owned()),
            ("base64 twice", basic_of(&basic(KEY))),
        ] {
            let answer = good.clone().with("authorization", &value).answer_of(&instance).await;
            assert_eq!(answer.status, 401, "{endpoint}: {how}: {answer:?}");
        }
        for (how, key) in &keys {
            for value in [bearer(key), basic(key)] {
                let answer = good.clone().with("authorization", &value).answer_of(&instance).await;
                assert_eq!(answer.status, 401, "{endpoint}: {how}: {answer:?}");
                assert!(
                    key.is_empty() || !answer.body.contains(key.as_str()),
                    "{endpoint}: {how}: {answer:?}"
                );
                assert!(!answer.body.contains(&KEY[8..28]), "{endpoint}: {how}: {answer:?}");
            }
        }
        let elsewhere = good.clone().with("x-api-key", KEY);
        assert_eq!(elsewhere.answer_of(&instance).await, without, "{endpoint}: in another header");
        let both = good.clone().with("authorization", &bearer(KEY)).with("authorization", &bearer(RIVAL_KEY));
        assert_eq!(both.answer_of(&instance).await.status, 401, "{endpoint}: two keys");
    }
    assert_eq!(scene.world.items().await, before);
}

/// A key is asked about what is another's; what is named by nobody is in `tenants`.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_app_or_mode_opens_nothing_of_another() {
    let scene = Scene::new().await;
    let before = scene.world.items().await;
    for (key, app, foreign_app, charge, batch) in [
        (KEY, "app_1", "app_rival", "ch_rival", &scene.rival_batch),
        (KEY, "app_1", "app_rival", "ch_live", &scene.live_batch),
        (LIVE_KEY, "app_1", "app_rival", "ch_a", &scene.our_batch),
        (RIVAL_KEY, "app_rival", "app_1", "ch_a", &scene.our_batch),
        (RIVAL_KEY, "app_rival", "app_1", "ch_live", &scene.live_batch),
    ] {
        for (call, status, param) in [
            (create(key, &new_batch(foreign_app, "batch1", json!([charge]))), 400, "app"),
            (create(key, &new_batch(app, "batch1", json!([charge]))), 400, "charges[0]"),
            (retrieve(key, batch), 404, "id"),
            (list(key, &format!("app={foreign_app}")), 400, "app"),
            (list(key, &format!("app[id]={foreign_app}")), 400, "app"),
        ] {
            let answer = call.answer(&scene.world).await;
            let error = &answer.json()["error"];
            assert_eq!((answer.status, &error["param"]), (status, &json!(param)), "{key}: {answer:?}");
            assert!(!answer.body.contains(foreign_app), "{key}: {answer:?}");
        }
    }
    assert_eq!(scene.world.items().await, before);
}
