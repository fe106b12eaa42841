//! Keys and signatures.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::send::ebet::DEMO_KEY;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::Sha256;
use shared::ebet::{Channel, ChannelSettings, PublicKey};
use shared::edge::Request;
use shared::epay::{Merchant, MerchantSettings};
use shared::limits;
use shared::pingpp::{App, AppSettings, Caller, Mode, SecretKey};

use super::grammar::{Grammar, Input, Member, of, quoted};
use super::{ebet, taken};
use crate::world::public_key;

pub static PUBLIC_KEY: LazyLock<String> = LazyLock::new(public_key);

/// `"valid"` stands for the demo key, here and wherever it is filled in.
pub const PUBLIC_KEYS: &[&str] = &["[\"valid\"]", "[\"valid\",\"valid\"]", "[]", "[\"secret\"]"];
pub const NETWORKS: &[&str] =
    &["null", "[\"203.0.113.9\"]", "[\"2001:db8::/32\",\"10.0.0.0/8\"]", "[\"10.0.0.0/33\"]"];
pub const FORMS: &[&str] =
    &["[\"timestamp\"]", "[\"channelId+timestamp\",\"username+timestamp\"]", "[]", "[\"other\"]"];

const CHANNEL: &[Member] = &[
    of("channelId", &["1", "18446744073709551615", "-1"]),
    of("currency", &["\"CNY\"", "\"USDT\"", "\"x\""]),
    of("publicKeys", PUBLIC_KEYS),
    of("allowedIps", NETWORKS),
    of("refundLimit", &["null", "\"500\"", "\"0\"", "\"1e3\""]),
    of("partialRefunds", &["false", "true"]),
    of("enabled", &["true", "false"]),
    of("maxAge", &["0", "18446744073709551615"]),
    of("batchSignature", FORMS),
];
const HASH: &str = "\"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\"";
const MERCHANT: &[Member] = &[
    of("merchant", &["\"demo\"", "\"a#b\"", "\"\""]),
    of("currency", &["\"CNY\"", "\"x\""]),
    of("keyHashes", &["[HASH]", "[HASH,HASH]", "[]", "[\"7692\"]"]),
    of("enabled", &["true", "false"]),
];
const APP: &[Member] = &[
    of("app", &["\"app_1\"", "\"1\"", "\"app_#\""]),
    of("livemode", &["false", "true"]),
    of("currency", &["\"cny\"", "\"CNY\"", "\"x\""]),
    of("publicKey", &["null", "\"valid\"", "\"secret\""]),
    of("requireSignature", &["false", "true"]),
    of("enabled", &["true", "false"]),
];

/// A text with the demo key's public half where it says so.
pub fn filled_in(text: &str) -> String {
    text.replace("\"valid\"", &quoted(&PUBLIC_KEY))
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
}

/// Tenants' keys and settings, as PEM, as DER within it, and as JSON. What is taken is written and read as the same.
pub fn keys(input: &[u8]) {
    match Input::of(input) {
        Input::Text(text) => {
            key(&pem(text));
            texts(&String::from_utf8_lossy(text));
        }
        Input::Grammar(mut grammar) => match grammar.pick(&[0, 1, 2, 3, 4]) {
            0 => {
                let lines = PUBLIC_KEY.lines().filter(|line| !line.starts_with('-'));
                let der = BASE64.decode(lines.collect::<String>()).expect("the demo key is in order");
                key(&pem(&grammar.changed(&der)));
            }
            1 => key(&String::from_utf8_lossy(&grammar.changed(PUBLIC_KEY.as_bytes()))),
            2 => texts(&filled_in(&grammar.object(CHANNEL))),
            3 => texts(&grammar.object(MERCHANT).replace("HASH", HASH)),
            _ => texts(&filled_in(&grammar.object(APP))),
        },
    }
}

fn texts(text: &str) {
    key(text);
    settings::<ChannelSettings>(text, |settings| Channel::new(settings).is_ok());
    settings::<MerchantSettings>(text, |settings| Merchant::new(settings).is_ok());
    settings::<AppSettings>(text, |settings| App::new(settings).is_ok());
    if let Ok(key) = text.parse::<SecretKey>() {
        assert!(text.len() >= limits::SECRET_CHARS_MIN && text.is_ascii());
        let shown = format!("{key:?}");
        assert!(!shown.contains(&text["sk_test_".len()..]), "a secret is shown: {shown}");
    }
    if let Ok(credential) = Merchant::credential(text) {
        assert!(credential.hash().len() == 64 && !credential.as_str().contains(text));
    }
}

fn key(pem: &str) {
    let Ok(key) = PublicKey::from_pem(pem) else { return };
    taken();
    // Whoever's it is, nobody has signed this.
    let signature =
        "b6mrUCFhI3FPteREYGcjx3HTdu4JJ5wARnM3FbDouFBO0CW8DvDBk02p/YbTSf4sD6aXAomeO0Q+JDI7OTkFTg==";
    assert!(!key.verifies("nobody has signed this", signature));
}

fn settings<T: DeserializeOwned + Serialize>(text: &str, is_usable: fn(&T) -> bool) {
    let Ok(settings) = serde_json::from_str::<T>(text) else { return };
    let printed = serde_json::to_string(&settings).unwrap();
    let read: T = serde_json::from_str(&printed).expect("what is written is read");
    assert_eq!(serde_json::to_string(&read).unwrap(), printed);
    assert_eq!(is_usable(&read), is_usable(&settings));
    if is_usable(&read) {
        taken();
    }
}

/// A signature is good for what was signed, whatever white space it has, and for nothing else.
pub fn signatures(input: &[u8]) {
    match Input::of(input) {
        Input::Text(text) => {
            let Ok(text) = std::str::from_utf8(text) else { return };
            let (message, signature) = text.split_once('\n').unwrap_or((text, ""));
            of_ebet(message, signature);
        }
        Input::Grammar(mut grammar) => {
            if grammar.is_one_in(2) {
                return of_pingpp(&mut grammar);
            }
            let signed = grammar.pick(MESSAGES);
            let message =
                if grammar.is_one_in(4) { grammar.text() } else { (*grammar.pick(MESSAGES)).to_owned() };
            let signature = changed(&mut grammar, &ebet::signature(signed));
            of_ebet(&message, &signature);
        }
    }
}

const MESSAGES: &[&str] =
    &["demo1577808000000", "11577808000000", "1577808000000", "apitest011577808000000", ""];

/// PKCS#1 v1.5 has one signature for a message.
fn of_ebet(message: &str, signature: &str) {
    thread_local! {
        static KEY: PublicKey = PublicKey::from_pem(&PUBLIC_KEY).unwrap();
    }
    let decoded = BASE64.decode(signature.split_ascii_whitespace().collect::<String>()).ok();
    if KEY.with(|key| key.verifies(message, signature)) {
        taken();
        assert_eq!(decoded, BASE64.decode(ebet::signature(message)).ok(), "another signature is good");
        let other = format!("{message}0");
        assert!(!KEY.with(|key| key.verifies(&other, signature)), "it is good for another text");
    } else if MESSAGES.contains(&message) {
        assert_ne!(decoded, BASE64.decode(ebet::signature(message)).ok(), "the signature is not taken");
    }
}

/// A signature with something changed, mostly.
fn changed(grammar: &mut Grammar<'_>, signature: &str) -> String {
    let place = grammar.count(signature.len()) - 1;
    let (before, after) = signature.split_at(place);
    match grammar.pick(&[0, 1, 2, 3, 4, 5]) {
        0 => signature.to_owned(),
        1 => format!("{before} \r\n{after}"),
        2 => before.to_owned(),
        3 => format!("{before}{}", after.replacen(|_| true, "A", 1)),
        4 => format!("{before}{}{after}", grammar.text()),
        _ => {
            let mut bytes = BASE64.decode(signature).unwrap_or_default();
            let place = grammar.count(bytes.len().max(1)) - 1;
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << (grammar.count(8) - 1);
            }
            BASE64.encode(bytes)
        }
    }
}

const BODIES: &[&str] = &["", "{}", "{\"a\":\"退\"}"];
const PATHS: &[&str] =
    &["/v1/batch_refunds", "/prod/v1/batch_refunds", "/v1/batch_refunds/151608161453545122", ""];
const QUERIES: &[&str] = &["", "app=app_1&page=1", "a=%20"];
const TIMESTAMPS: &[&str] =
    &["1000000", "1000300", "1000301", "0999700", "-1", "18446744073709551615", "", "x"];

/// What Ping++'s requests are signed over: body, URI, timestamp.
fn of_pingpp(grammar: &mut Grammar<'_>) {
    thread_local! {
        static CALLER: Caller = Caller {
            mode: Mode::Test,
            apps: vec![
                App::new(
                    &serde_json::from_value(json!({
                        "app": "app_1", "livemode": false, "currency": "cny",
                        "publicKey": PUBLIC_KEY.as_str(), "requireSignature": true,
                    }))
                    .unwrap(),
                )
                .unwrap(),
            ],
        };
    }
    let signed =
        (*grammar.pick(BODIES), *grammar.pick(PATHS), *grammar.pick(QUERIES), *grammar.pick(TIMESTAMPS));
    let (body, path, query, timestamp) = match grammar.is_one_in(2) {
        true => signed,
        false => {
            (*grammar.pick(BODIES), *grammar.pick(PATHS), *grammar.pick(QUERIES), *grammar.pick(TIMESTAMPS))
        }
    };
    let uri =
        |path: &str, query: &str| if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let bare = *grammar.pick(&["", "?"]);
    let text = format!("{}{}{bare}{}", signed.0, uri(signed.1, signed.2), signed.3);
    let good = sha256_signature(&text);
    let signature = changed(grammar, &good);
    let request = Request {
        path: path.to_owned(),
        query: query.to_owned(),
        headers: [
            ("pingplusplus-signature", signature.as_str()),
            ("pingplusplus-request-timestamp", timestamp),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
        .collect(),
        body: body.as_bytes().to_vec(),
        source_ip: None,
        signer: None,
        arrived: SystemTime::now(),
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let is_taken = CALLER.with(|caller| caller.check_signature(&request, now).is_ok());
    let may_be_signed = [uri(path, query), format!("{path}?")].into_iter().flat_map(|uri| {
        let route = uri.find("/v1/").map(|start| uri[start..].to_owned());
        [Some(uri), route]
    });
    let is_signed = may_be_signed
        .flatten()
        .filter(|uri| query.is_empty() || !uri.ends_with('?'))
        .any(|uri| format!("{body}{uri}{timestamp}") == text);
    let is_good = BASE64.decode(&signature) == BASE64.decode(&good)
        && signature.parse::<axum::http::HeaderValue>().is_ok();
    let is_recent = !timestamp.starts_with(['0', '+'])
        && timestamp.parse().is_ok_and(|at: u64| at.abs_diff(1_000_000) <= 300);
    assert_eq!(is_taken, is_signed && is_good && is_recent, "{request:?}");
}

fn sha256_signature(text: &str) -> String {
    thread_local! {
        static KEY: SigningKey<Sha256> = SigningKey::new(RsaPrivateKey::from_pkcs8_pem(DEMO_KEY).unwrap());
        static SIGNATURES: std::cell::RefCell<HashMap<String, String>> = std::cell::RefCell::default();
    }
    SIGNATURES.with_borrow_mut(|known| {
        let sign = || KEY.with(|key| BASE64.encode(key.sign(text.as_bytes()).to_bytes()));
        known.entry(text.to_owned()).or_insert_with(sign).clone()
    })
}
