//! The real binary, under Lambda's runtime interface.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::epay::begin;
use tests::events;
use tests::lambda::Lambda;
use tests::world::{World, epay_event};

const KEY: &str = "demo-key-for-this-machine-only";

fn event(content_type: &str, body: &[u8]) -> Value {
    epay_event(&[("content-type", content_type), ("x-api-key", KEY)], body)
}

async fn start(world: &World) -> Lambda {
    Lambda::start(Path::new(env!("CARGO_BIN_EXE_begin-single-refund")), world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bson_comes_through_events_unharmed_both_ways() {
    let world = World::with_applications(1).await;
    let mut lambda = start(&world).await;
    let sample = std::fs::read_to_string(events::path("begin-single-refund-bson")).unwrap();
    let answer = lambda.invoke(sample).await.expect("never an error of the function");
    assert_eq!(answer["statusCode"], 200);
    assert_eq!(answer["isBase64Encoded"], true);
    assert_eq!(answer["headers"]["content-type"], "application/bson");
    // errcode 0, errmsg "ok", and the refund's id as the tag.
    let ok = "TgAAABBlcnJjb2RlAAAAAAACZXJybXNnAAMAAABvawACdGFnACQAAAByZl8";
    let body = answer["body"].as_str().unwrap();
    assert!(body.starts_with(ok), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_a_request_by_its_batch_number_and_no_secret_or_account() {
    let world = World::with_applications(1).await;
    let mut lambda = start(&world).await;
    let mut body = begin(1, "B", "2");
    body["refundaccount"] = json!("6222020200112230000");
    let mut nobodys = event("application/json", body.to_string().as_bytes());
    nobodys["headers"]["x-api-key"] = json!("nobodys-key-at-all");
    let mut bad_host = nobodys.clone();
    bad_host["headers"]["host"] = json!("a b");
    let own = event("application/json", body.to_string().as_bytes());
    let unreadable = event("application/json", b"{");
    for (event, status, errcode, key, executed, round_trips) in [
        (bad_host, 400, 100, "", "no", 0),
        (nobodys, 401, 401, "", "no", 1),
        (unreadable, 400, 100, "", "no", 2),
        (own.clone(), 200, 0, "B", "yes", 1),
        (own, 200, 0, "B", "no", 1),
    ] {
        let answer = lambda.invoke(event.to_string()).await.expect("never an error of the function");
        assert_eq!(answer["statusCode"], status);
        let line = lambda.log_line().await;
        assert_eq!(line["function"], "BeginSingle", "{line}");
        assert_eq!((&line["outcome"], &line["key"]), (&json!(errcode.to_string()), &json!(key)), "{line}");
        assert_eq!(line["executed"], executed, "{line}");
        assert_eq!(line["round_trips"], round_trips, "{line}");
        assert_eq!(line["authenticated"] == "yes", line["tenant"] == "epay#demo", "{line}");
        for secret in [KEY, "nobodys-key-at-all", "6222020200112230000"] {
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
}

/// What a body does to its reader is told by how long it takes and how much memory.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_refused_fast_and_with_little_memory() {
    let world = World::with_applications(1).await;
    let mut lambda = start(&world).await;
    let before = world.dump().await;
    lambda.invoke(event("application/json", b"{}").to_string()).await.unwrap();
    let memory_before = lambda.peak_memory_kb();

    let root = "<EPayBeginRefundParm xmlns=\"http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm\"";
    let levels = |count: usize| {
        format!("{root}>{}{}</EPayBeginRefundParm>", "<a>".repeat(count), "</a>".repeat(count))
    };
    let laughs = {
        let entities: String =
            (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
        format!(
            "<!DOCTYPE l [<!ENTITY l0 \"ha\">{entities}]>{root}><autoid>&l9;</autoid></EPayBeginRefundParm>"
        )
    };
    let external = format!(
        "<!DOCTYPE l [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>{root}><autoid>&f;</autoid></EPayBeginRefundParm>"
    );
    let attributes: String = (0..6_000).map(|n| format!(" a{n}=\"\"")).collect();
    let bindings: String = (0..4_000).map(|n| format!(" xmlns:n{n}=\"u\"")).collect();
    let xml = [
        laughs,
        external,
        levels(10_000),
        levels(1_000_000 / 7),
        format!("{root} a=\"{}\"/>", "x".repeat(4_400_000)),
        format!("{root}{attributes}><b{attributes}/></EPayBeginRefundParm>"),
        format!("{root}{bindings}><autoid>1</autoid></EPayBeginRefundParm>"),
        format!("{root}><!--{}", "-".repeat(60_000)),
        format!("{root}><![CDATA[{}", "]]".repeat(30_000)),
    ];
    let readable_xml = [format!("{root}>{}</EPayBeginRefundParm>", "<autoid>1</autoid>".repeat(3_000))];
    // A document that nests others: its own length, then each one's.
    let mut nested = vec![5, 0, 0, 0, 0];
    while nested.len() < 60_000 {
        let length = nested.len() + 8;
        nested = [&(length as u32).to_le_bytes()[..], b"\x03a\0", &nested, b"\0"].concat();
    }
    let many = |element: &[u8]| {
        let elements = element.repeat(60_000 / element.len());
        [&(elements.len() as u32 + 5).to_le_bytes()[..], &elements, b"\0"].concat()
    };
    let bson: [Vec<u8>; 8] = [
        b"\xff\xff\xff\x7f\x00".to_vec(),
        b"\xff\xff\xff\xff\x00".to_vec(),
        b"\x00\x00\x00\x00\x00".to_vec(),
        b"\x05\x00\x00\x00\x01".to_vec(),
        b"\x14\x00\x00\x00\x02a\x00\xff\xff\xff\x7fxxxxxxx\x00".to_vec(),
        b"\x14\x00\x00\x00\x02a\x00\xff\xff\xff\xffxxxxxxx\x00".to_vec(),
        b"\x14\x00\x00\x00\x05a\x00\xff\xff\xff\x7f\x00xxxxxx\x00".to_vec(),
        b"\x14\x00\x00\x00\x03a\x00\xff\xff\xff\x7fxxxxxxx\x00".to_vec(),
    ];
    let readable_bson = [nested, many(b"\x0a\0")];
    let json = ["[".repeat(60_000), format!("{{\"autoid\":{}}}", "[".repeat(60_000))];
    let readable_json = [
        format!("{{\"autoid\":{}}}", "9".repeat(60_000)),
        format!("{{{}\"a\":1}}", "\"autoid\":1,".repeat(5_000)),
        format!("{{\"autoid\":\"{}\"}}", "\\u0000".repeat(10_000)),
    ];
    let form = [
        "&".repeat(60_000),
        "a=1&".repeat(15_000),
        "%".repeat(60_000),
        format!("autoid={}", "+".repeat(60_000)),
    ];
    // What can be read, large as it is, lacks members: HTTP 200 tells which. The rest is told that it can't be read.
    let of =
        |content_type: &'static str, status: u16| move |body: &[u8]| (content_type, status, body.to_vec());
    let (unreadable_xml, unreadable_bson) = (of("application/xml", 400), of("application/bson", 400));
    let bodies = xml.iter().map(|body| unreadable_xml(body.as_bytes()));
    let bodies = bodies.chain(bson.iter().map(|body| unreadable_bson(body)));
    let unreadable_json = of("application/json", 400);
    let bodies = bodies.chain(json.iter().map(|body| unreadable_json(body.as_bytes())));
    let (xml, bson, json) =
        (of("application/xml", 200), of("application/bson", 200), of("application/json", 200));
    let bodies = bodies.chain(readable_xml.iter().map(|body| xml(body.as_bytes())));
    let bodies = bodies.chain(readable_bson.iter().map(|body| bson(body)));
    let bodies = bodies.chain(readable_json.iter().map(|body| json(body.as_bytes())));
    let form_of = of("application/x-www-form-urlencoded", 200);
    let bodies = bodies.chain(form.iter().map(|body| form_of(body.as_bytes())));
    for (content_type, status, body) in bodies {
        let body = &body[..];
        let event = event(content_type, body).to_string();
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let sent = Instant::now();
        let cpu = lambda.cpu_time();
        let answer = lambda.invoke(event).await.expect("never an error of the function");
        let cpu = lambda.cpu_time() - cpu;
        assert_eq!(answer["statusCode"], status, "{start}: {answer}");
        assert!(cpu < Duration::from_millis(500), "{start}: {cpu:?} of {:?}", sent.elapsed());
    }
    assert_eq!(world.dump().await, before, "nothing has changed");
    // An event of 4.4 MB is held twice, by the runtime and as the body; what is read of it is a few KB.
    let grown = lambda.peak_memory_kb() - memory_before;
    println!("{grown} KB more at most resident");
    assert!(grown < 32 * 1024, "{grown} KB");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_begin-single-refund"))).await;
}
