//! What no log has: secrets and whole bodies. Every secret that a request can carry is planted in good requests, in wrong
//! ones of every kind, and in those that fail, and the function's binary is run on them at its most talkative.

use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::local::with_signer;
use refundctl::send::ebet::DEMO_KEY;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::clock::unix_milliseconds;
use shared::edge::PROXY_KEY as PROXY_KEY_HEADER;

use crate::entries::bet;
use crate::epay::{BEGIN, END, begin, end, merchant_line};
use crate::lambda::Lambda;
use crate::world::{World, batch, channel_line, event_of, public_key, signed, single};

/// In all that is planted; what is computed of a request is looked for as it is.
const PLANTED: &str = "planted";

const API_KEY: &str = "planted-key-of-the-merchant";
const WRONG_API_KEY: &str = "planted-key-of-nobody";
const SECRET_KEY: &str = "sk_test_plantedKeyOfTheApp0001";
const WRONG_SECRET_KEY: &str = "sk_test_plantedKeyOfNobody0002";
const PROXY_KEY: &str = "planted-proxy-key";
const TOKEN: &str = "planted-session-token";
const BODY: &str = "planted-in-the-body";

/// What is secret of a request itself: no answer has it, though it may have what else the request says.
const CREDENTIALS: [&str; 9] = [
    API_KEY,
    WRONG_API_KEY,
    SECRET_KEY,
    WRONG_SECRET_KEY,
    PROXY_KEY,
    TOKEN,
    "planted-aws-signature",
    "planted-aws-token",
    "planted-cookie",
];

/// Checks that the function that `binary` runs logs nothing of what is planted in its requests, and answers no secret.
pub async fn check(binary: &Path) {
    let name = binary.file_name().unwrap().to_str().unwrap();
    let world = world().await;
    let events = variants(&good(name, &world).await);
    let lines = play(binary, &world, &world.table, &events).await;
    // The good one is let in and carried out: what follows is about more than refusals.
    let first = lines.iter().find(|line| line["message"] == "answered").expect("each request has a line");
    let only_looks = name.starts_with("retrieve") || name.starts_with("list");
    let is_carried_out = if only_looks { first["outcome"] == "200" } else { first["executed"] == "yes" };
    assert!(is_carried_out && first["authenticated"] == "yes", "{first}");
    for (pk, sk, attribute) in [
        ("ebet#1#p", "ACCOUNT", "balance"),
        ("epay#demo#1", "PAYMENT", "state"),
        ("pingpp#app_1#test#unsettled_funds", "ACCOUNT", "balance"),
    ] {
        world.set_raw(pk, sk, attribute, AttributeValue::S("damaged".to_owned())).await;
    }
    play(binary, &world, &world.table, &events).await;
    play(binary, &world, "no-such-table", &events).await;
}

async fn play(binary: &Path, world: &World, table: &str, events: &[Value]) -> Vec<Value> {
    let proxy_hash = "0".repeat(64);
    let variables = [
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
        ("RUST_LOG", "trace"),
        ("METRICS_NAMESPACE", "refunds-test"),
        ("TRUSTED_PROXIES", "1"),
        ("PROXY_KEYS_SHA256", &proxy_hash),
        ("TABLE_NAME", table),
    ];
    let mut lambda = Lambda::start_with(binary, world, &variables).await;
    let secrets: Vec<String> = events.iter().flat_map(computed).collect();
    for event in events {
        let answer = lambda.invoke(event.to_string()).await.expect("never an error of the function");
        let answer = answer.to_string();
        for secret in CREDENTIALS.into_iter().chain(secrets.iter().map(String::as_str)) {
            assert!(!answer.contains(secret), "{secret} is answered to {event}: {answer}");
        }
    }
    let lines = lambda.stop().await;
    assert!(lines.len() >= events.len(), "{} lines of {} events", lines.len(), events.len());
    for line in &lines {
        assert!(line.is_object(), "{line}");
        let line = line.to_string();
        for secret in secrets.iter().map(String::as_str).chain([PLANTED]) {
            assert!(!line.contains(secret), "{secret} is in {line}");
        }
    }
    println!("{} events, {} lines, {} secrets", events.len(), lines.len(), secrets.len());
    lines
}

/// A table with whatever is called for, all in one line of business.
async fn world() -> World {
    let world = World::new().await;
    let charge = |id: &str| {
        json!({"kind": "charge", "app": "app_1", "livemode": false, "id": id, "amount": 10, "currency": "cny",
               "channel": "wx_pub", "orderNo": "o", "transactionNo": id, "created": 1, "timePaid": 2})
    };
    world
        .import(&[
            channel_line(1),
            merchant_line("demo", &[API_KEY]),
            json!({"kind": "application", "merchant": "demo", "autoid": 1, "amount": "2.00", "orderNo": "o"}),
            json!({"kind": "app", "app": "app_1", "livemode": false, "currency": "cny", "publicKey": public_key(),
                   "unsettledFunds": 1_000}),
            json!({"kind": "key", "secret": SECRET_KEY, "apps": ["app_1"]}),
            charge("ch_a"),
            charge("ch_b"),
        ])
        .await;
    world.wallet_with_debits("p", "10", &[("bet", "5")]).await;
    world
}

/// A good request, and what it is known by, which is logged.
struct Good {
    method: &'static str,
    uri: String,
    headers: Vec<(&'static str, String)>,
    body: Value,
    known_by: &'static [&'static str],
    is_signed_by_aws: bool,
}

async fn good(name: &str, world: &World) -> Good {
    let bearer = || vec![("authorization", format!("Bearer {SECRET_KEY}"))];
    let api_key = || vec![("x-api-key", API_KEY.to_owned())];
    let post = |uri: &str, headers, body, known_by| Good {
        method: "POST",
        uri: uri.to_owned(),
        headers,
        body,
        known_by,
        is_signed_by_aws: false,
    };
    let get = |uri: String| Good { method: "GET", ..post(&uri, bearer(), Value::Null, &[]) };
    let with_token = |mut body: Value| {
        body["sessionToken"] = json!(TOKEN);
        body["unknown"] = json!({"token": BODY});
        signed(body)
    };
    let new_batch = |batch_no: &str, charge: &str| {
        json!({"app": "app_1", "batch_no": batch_no, "description": BODY, "metadata": {"note": BODY},
               "charges": [{"charge": charge, "description": BODY}]})
    };
    match name {
        "refund-single-wallet" => {
            let body = with_token(single("r", "p", &[("bet", "5")]));
            post("/refundSingleWallet", vec![], body, &["seqNo", "refundSeqNo"])
        }
        "auto-batch-refund" => {
            let mut body = with_token(batch("r", &[("p", "bet", "5")]));
            body["batchRefundList"][0]["detail"] = json!([{"betId": BODY, "betType": 80, "money": 5}]);
            post("/autoBatchRefund", vec![], body, &["seqNo"])
        }
        BEGIN | END => {
            let mut begun = begin(1, "B", "2");
            begun["refundaccount"] = json!("planted-account");
            let begin = post("/begin", api_key(), begun, &["batch_no"]);
            if name == BEGIN {
                return begin;
            }
            world.instance_of(BEGIN).call_event(&begin.event().to_string()).await;
            post("/end", api_key(), end("B", "T", "2"), &["batchno"])
        }
        "create-batch-refund" => {
            post("/v1/batch_refunds", bearer(), new_batch("batch1", "ch_a"), &["batch_no"])
        }
        "retrieve-batch-refund" | "list-batch-refunds" => {
            let create = post("/v1/batch_refunds", bearer(), new_batch("batch1", "ch_a"), &["batch_no"]);
            let instance = world.instance_of("create-batch-refund");
            let created = instance.call_event(&create.event().to_string()).await;
            let created: Value = serde_json::from_slice(&created.bytes()).unwrap();
            match name {
                "list-batch-refunds" => get("/v1/batch_refunds?app=app_1".to_owned()),
                _ => get(format!("/v1/batch_refunds/{}", created["id"].as_str().unwrap())),
            }
        }
        "record-entries" => {
            let authorization = "AWS4-HMAC-SHA256 Credential=AKIA/20261128/eu-west-1/execute-api/aws4_request, \
                                 SignedHeaders=host, Signature=planted-aws-signature";
            let headers = vec![
                ("authorization", authorization.to_owned()),
                ("x-amz-security-token", "planted-aws-token".to_owned()),
            ];
            let credit = json!({"kind": "credit", "channelId": 1, "username": "p", "id": "c", "amount": "1",
                                "reason": BODY});
            let body = json!({"entries": [credit, bet("p", "b", "1")]});
            Good { is_signed_by_aws: true, ..post("/entries", headers, body, &["id", "seqNo"]) }
        }
        other => panic!("nothing is planted for {other}"),
    }
}

impl Good {
    fn event(&self) -> Value {
        self.event_with(&self.uri, &self.headers, &self.text())
    }

    fn text(&self) -> String {
        if self.body.is_null() { String::new() } else { self.body.to_string() }
    }

    fn event_with(&self, uri: &str, headers: &[(&'static str, String)], body: &str) -> Value {
        let always = [
            ("content-type", "application/json"),
            (PROXY_KEY_HEADER, PROXY_KEY),
            ("x-forwarded-for", "203.0.113.9"),
            ("cookie", "planted-cookie"),
        ];
        let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let mut event =
            event_of(self.method, uri, &always.into_iter().chain(own).collect::<Vec<_>>(), body.as_bytes());
        if self.is_signed_by_aws {
            with_signer(&mut event);
        }
        event
    }
}

/// In every format and none, whole and cut, with what is planted as names and as values.
fn formats(good: &Good) -> Vec<Value> {
    let names = ["autoid", "batch_no", "batchno", "refundamount", "refundmoney", "refundaccount", "trandeno"];
    let names: Vec<&str> = names.into_iter().filter(|name| !good.known_by.contains(name)).collect();
    let xml: String = names.iter().map(|name| format!("<{name}>{BODY}</{name}>")).collect();
    let root = |inner: &str| format!("<Root xmlns=\"urn:{BODY}\" {BODY}=\"{BODY}\">{inner}</Root>");
    let form: Vec<String> = names.iter().map(|name| format!("{name}={BODY}")).collect();
    let document: bson::Document = names.iter().map(|name| ((*name).to_owned(), BODY.into())).collect();
    let strange = bson::doc! { BODY: BODY, "autoid": { BODY: [BODY] }, "trandeno": bson::Bson::MaxKey };
    let bson = |document: bson::Document| document.to_vec().unwrap();
    let in_type = |content_type: &str, body: &[u8]| {
        let mut event = good.event();
        event["headers"]["content-type"] = json!(content_type);
        event["body"] = json!(BASE64.encode(body));
        event["isBase64Encoded"] = json!(true);
        event
    };
    let bodies = [
        ("application/xml", root(&xml).into_bytes()),
        ("text/xml", format!("<!DOCTYPE {BODY}>{}", root(&xml)).into_bytes()),
        ("application/xml", root(&format!("<{BODY}>{BODY}</{BODY}x>&{BODY};")).into_bytes()),
        ("application/xml; charset=planted-charset", root(&xml).into_bytes()),
        ("application/x-www-form-urlencoded", form.join("&").into_bytes()),
        ("application/x-www-form-urlencoded", format!("{BODY}={BODY}&{BODY}=%zz").into_bytes()),
        ("application/bson", bson(document)),
        ("application/bson", bson(strange)),
        ("planted/type", good.text().into_bytes()),
        ("application/planted-type; charset=planted", good.text().into_bytes()),
        (BODY, good.text().into_bytes()),
    ];
    let cut = |(content_type, body): &(&str, Vec<u8>)| in_type(content_type, &body[..body.len() * 2 / 3]);
    let whole = |(content_type, body): &(&str, Vec<u8>)| in_type(content_type, body);
    bodies.iter().map(whole).chain(bodies.iter().map(cut)).collect()
}

/// The good request twice; with other credentials; with whatever else may be wrong with it.
fn variants(good: &Good) -> Vec<Value> {
    let text = good.text();
    let of_text = |text: &str| good.event_with(&good.uri, &good.headers, text);
    let of_headers = |headers: &[(&'static str, String)]| good.event_with(&good.uri, headers, &text);
    let mut events = vec![good.event(), good.event()];

    let is_of = |name| good.headers.iter().any(|(own, _)| *own == name);
    if is_of("x-api-key") {
        for key in [WRONG_API_KEY, "planted", "planted key with blanks", ""] {
            events.push(of_headers(&[("x-api-key", key.to_owned())]));
        }
        events.push(of_headers(&[("authorization", format!("Bearer {API_KEY}"))]));
    }
    if is_of("authorization") && !good.is_signed_by_aws {
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        let timestamp = (unix_milliseconds(std::time::SystemTime::now()) / 1_000).to_string();
        let key = SigningKey::<Sha256>::new(RsaPrivateKey::from_pkcs8_pem(DEMO_KEY).unwrap());
        let over = format!("{text}{}{timestamp}", good.uri);
        let signature = BASE64.encode(key.sign(over.as_bytes()).to_bytes());
        for authorization in [
            basic(&format!("{SECRET_KEY}:planted-password")),
            basic(&format!("{WRONG_SECRET_KEY}:")),
            basic(SECRET_KEY),
            format!("Bearer {WRONG_SECRET_KEY}"),
            format!("Bearer {SECRET_KEY}x"),
            format!("Digest {SECRET_KEY}"),
            SECRET_KEY.to_owned(),
        ] {
            events.push(of_headers(&[("authorization", authorization)]));
        }
        for signature in [signature, BASE64.encode("planted"), "planted".to_owned()] {
            for timestamp in [timestamp.clone(), "planted".to_owned()] {
                let mut headers = good.headers.clone();
                headers.push(("pingplusplus-signature", signature.clone()));
                headers.push(("pingplusplus-request-timestamp", timestamp));
                events.push(of_headers(&headers));
            }
        }
    }
    if good.is_signed_by_aws {
        let mut unsigned = good.event();
        unsigned["requestContext"]["authorizer"] = Value::Null;
        events.push(unsigned);
    }

    for query in ["key=planted", "app=planted", "page=planted", "starting_after=planted", "planted=planted"] {
        let path = good.uri.split('?').next().unwrap();
        events.push(good.event_with(&format!("{path}?{query}"), &good.headers, &text));
    }
    events.push(good.event_with("/v1/batch_refunds/planted-in-the-path", &good.headers, &text));

    for (pointer, value) in [
        ("/headers/host", json!("planted host")),
        ("/headers/content-type", json!("application/x-bson")),
        ("/rawQueryString", json!("<planted>")),
        ("/isBase64Encoded", json!(true)),
        ("/requestContext/http/method", json!("planted method")),
    ] {
        let mut event = good.event();
        *event.pointer_mut(pointer).unwrap() = value;
        events.push(event);
    }
    events.extend([json!({}), json!({ "planted": BODY }), json!(BODY)]);
    events.extend(formats(good));

    let member = json!(BODY).to_string();
    for text in [
        BODY.to_owned(),
        member.clone(),
        format!("[{member}]"),
        format!("{{{member}:1}}"),
        format!("{{{member}:1,{member}:2}}"),
        format!("{{{member}"),
        format!("{{\"entries\":{member}}}"),
        format!("{{\"entries\":[{member}]}}"),
        format!("{{\"entries\":[{{\"kind\":{member}}}]}}"),
        format!("{{\"entries\":[{{\"kind\":\"wallet\",{member}:1}}]}}"),
    ] {
        events.push(of_text(&text));
    }
    let again = |body: Value| if body["signature"] == good.body["signature"] { resigned(body) } else { body };
    for wrong in [json!(BODY), json!([BODY]), json!({ (BODY): BODY })] {
        for (name, value) in good.body.as_object().into_iter().flatten() {
            if !good.known_by.contains(&name.as_str()) {
                let mut body = good.body.clone();
                body[name] = wrong.clone();
                events.push(of_text(&again(body).to_string()));
            }
            for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                let members = item.as_object().into_iter().flatten().map(|(member, _)| member.as_str());
                for member in members.filter(|member| !good.known_by.contains(member)) {
                    let mut body = good.body.clone();
                    body[name][place][member] = wrong.clone();
                    events.push(of_text(&again(body).to_string()));
                }
            }
        }
    }
    events
}

fn resigned(body: Value) -> Value {
    let is_ebets = body.get("signature").is_some() && body["timestamp"].is_number();
    if is_ebets { signed(body) } else { body }
}

/// The secrets of a request that are computed: signatures, and what stands behind a scheme.
fn computed(event: &Value) -> Vec<String> {
    let headers = &event["headers"];
    let authorization = headers["authorization"].as_str().and_then(|value| value.split_once(' '));
    let body: Value =
        event["body"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let secrets = [
        authorization.map(|(_, credential)| credential.to_owned()),
        headers["pingplusplus-signature"].as_str().map(str::to_owned),
        body["signature"].as_str().map(str::to_owned),
    ];
    // A body's marker stands in the place of a signature, too.
    secrets.into_iter().flatten().filter(|secret| secret.len() > 20 && !secret.contains(BODY)).collect()
}
