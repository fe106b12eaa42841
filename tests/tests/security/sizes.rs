//! Bodies of any size, depth and number of members are answered, soon, in the protocol's words: up to the limit they are
//! read, and beyond it refused unread. (`bad_input` has more of eBET's, `begin-single-refund`'s own tests hostile XML and
//! BSON, refundctl's the gateway's limits and slow senders.)

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use refundctl::template::Template;
use serde_json::{Value, json};
use shared::limits::{BODY_BYTES_MAX, ENTRIES_BODY_BYTES_MAX, EPAY_BODY_BYTES_MAX};
use tests::epay::{BEGIN, END};
use tests::world::Instance;

use super::scene::*;

/// Those that read a body, with the most bytes that it may have, and what says that it has more.
const LIMITS: [(&str, usize, (u16, u64)); 6] = [
    (SINGLE, BODY_BYTES_MAX, (200, 4025)),
    (BATCH, BODY_BYTES_MAX, (200, 4025)),
    (CREATE, BODY_BYTES_MAX, (400, 400)),
    (BEGIN, EPAY_BODY_BYTES_MAX, (400, 100)),
    (END, EPAY_BODY_BYTES_MAX, (400, 100)),
    (ENTRIES, ENTRIES_BODY_BYTES_MAX, (413, 413)),
];

/// No body may keep a function busy for longer. (They take milliseconds.)
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

async fn soon(call: &Call, instance: &Instance, context: &str) -> Answer {
    let began = Instant::now();
    let answer = call.answer_of(instance).await;
    assert!(began.elapsed() < ANSWERED_WITHIN, "{context}: {:?}", began.elapsed());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_up_to_its_limit_and_refused_from_the_next_byte_on() {
    let scene = Scene::new().await;
    for (endpoint, limit, refused) in LIMITS {
        let (good, instance) = (scene.good(endpoint), scene.world.instance_of(endpoint));
        let padded = |length: usize| {
            let mut body = good.body.clone();
            body.resize(length, b' ');
            good.clone().saying(body)
        };
        let before = scene.world.items().await;
        for length in [limit + 1, limit * 2] {
            let context = format!("{endpoint}: {length} bytes");
            let answer = soon(&padded(length), &instance, &context).await;
            assert_eq!((answer.status, answer.code()), refused, "{context}: {answer:?}");
        }
        assert_eq!(scene.world.items().await, before, "{endpoint}");
        let answer = soon(&padded(limit), &instance, endpoint).await;
        assert!(answer.is_success(), "{endpoint}: {answer:?}");
    }
}

/// What these two are asked stands in their paths.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_what_reads_none_is_not_looked_at() {
    let scene = Scene::new().await;
    for endpoint in [RETRIEVE, LIST] {
        let (good, instance) = (scene.good(endpoint), scene.world.instance_of(endpoint));
        let told = good.answer_of(&instance).await;
        for body in [b"{".to_vec(), vec![b'['; 5_000_000], vec![0xff; 1_000]] {
            assert_eq!(soon(&good.clone().saying(body), &instance, endpoint).await, told, "{endpoint}");
        }
        let mut long = good.clone();
        let mark = if endpoint == LIST { '&' } else { '?' };
        long.uri = format!("{}{mark}x={}", good.uri, "y".repeat(60_000));
        assert_eq!(soon(&long, &instance, endpoint).await, told, "{endpoint}: a long query");
    }
    let instance = scene.world.instance_of(RETRIEVE);
    for id in ["9".repeat(60_000), "%41".repeat(20_000), "/".repeat(60_000)] {
        let answer = soon(&retrieve(tests::pingpp::KEY, &id), &instance, "a long id").await;
        assert_eq!(answer.status, 404);
        assert!(answer.body.len() < 300, "what is not there is quoted in part");
    }
}

/// JSON of about so many bytes that is hard on its readers.
fn hostile(bytes: usize) -> [(&'static str, String); 9] {
    [
        ("a deep list", format!("{}{}", "[".repeat(bytes / 2), "]".repeat(bytes / 2))),
        ("a deep object", format!("{}1{}", "{\"a\":".repeat(bytes / 6), "}".repeat(bytes / 6))),
        ("a list of lists", format!("[{}[]]", "[],".repeat(bytes / 3))),
        ("one member again and again", format!("{{{}\"a\":0}}", "\"a\":0,".repeat(bytes / 6))),
        ("a long text", format!("\"{}\"", "x".repeat(bytes))),
        ("a text of escapes", format!("\"{}\"", "\\u0000".repeat(bytes / 6))),
        ("a long number", "9".repeat(bytes)),
        ("a long fraction", format!("0.{}", "1".repeat(bytes))),
        ("a large exponent", format!("1e{}", "9".repeat(bytes))),
    ]
}

/// The body with `value`, which is JSON, in the place of each of its members, and of those of a list's first item.
fn with_each_member(body: &Value, value: &str) -> Vec<(String, String)> {
    let members =
        |value: &Value| value.as_object().map_or(Vec::new(), |object| object.keys().cloned().collect());
    let mut pointers: Vec<String> = members(body).iter().map(|member| format!("/{member}")).collect();
    for list in members(body).iter().filter(|member| body[member.as_str()].is_array()) {
        pointers.extend(members(&body[list][0]).iter().map(|member| format!("/{list}/0/{member}")));
    }
    let with = |pointer: String| {
        let mut body = body.clone();
        *body.pointer_mut(&pointer).unwrap() = json!("the value goes here");
        let text = body.to_string().replace("\"the value goes here\"", value);
        (pointer, text)
    };
    pointers.into_iter().map(with).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_member_holds_it_is_refused_and_nothing_happens() {
    let scene = Scene::new().await;
    let before = scene.world.dump().await;
    for (endpoint, ..) in LIMITS {
        let (good, instance) = (scene.good(endpoint), scene.world.instance_of(endpoint));
        for (what, value) in hostile(50_000) {
            for (pointer, body) in with_each_member(&good.json(), &value) {
                let context = format!("{endpoint}: {what} as {pointer}");
                let answer = soon(&good.clone().saying(body), &instance, &context).await;
                assert!(!answer.is_success() && answer.status < 500, "{context}: {}", answer.status);
                assert!(answer.body.len() < 1_000, "{context}: {} bytes", answer.body.len());
            }
        }
        assert_eq!(scene.world.dump().await, before, "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_beside_the_members_is_ignored_but_where_our_own_systems_misspell() {
    let scene = Scene::new().await;
    for (endpoint, limit, _) in LIMITS {
        let (good, instance) = (scene.good(endpoint), scene.world.instance_of(endpoint));
        let bytes = (limit - 1_000 - good.body.len()).min(500_000);
        let text = String::from_utf8(good.body.clone()).unwrap();
        let unknown = hostile(bytes).map(|(what, value)| (what, format!("\"unknown\":{value}")));
        let many: Vec<String> = (0..bytes / 12).map(|number| format!("\"x{number}\":0")).collect();
        for (what, members) in unknown.into_iter().chain([("many members", many.join(","))]) {
            let context = format!("{endpoint}: {what}");
            let body = format!("{{{members},{}", &text[1..]);
            let answer = soon(&good.clone().saying(body), &instance, &context).await;
            assert_eq!(answer.is_success(), endpoint != ENTRIES, "{context}: {}", answer.status);
        }
    }
    scene.world.check_whole("hostile bodies").await;
}

#[test]
fn every_endpoint_that_reads_a_body_has_its_limit_here() {
    let mut limited: Vec<&str> = LIMITS.iter().map(|(endpoint, ..)| *endpoint).collect();
    limited.extend([RETRIEVE, LIST]);
    limited.sort_unstable();
    let mut all = ENDPOINTS.to_vec();
    all.sort_unstable();
    assert_eq!(limited, all);
    // And what is attacked here is all that is deployed.
    let template = Template::built_in().unwrap();
    let deployed: BTreeSet<&str> = template.routes.iter().map(|route| &*route.binary).collect();
    assert!(deployed.into_iter().eq(all), "{:?}", template.routes);
}
