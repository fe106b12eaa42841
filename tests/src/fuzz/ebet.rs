//! eBET's calls.

use std::cell::RefCell;
use std::collections::HashMap;

use md5::Md5;
use refundctl::send::ebet::DEMO_KEY;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::ebet::{
    Channel, ChannelSettings, Code, Head, Item, ItemRules, List, Members, Numbered, asked, fingerprint,
    read_items, read_members, text,
};
use shared::ledger::{AskedItem, exact_decimal};
use shared::limits;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::gateway::{Gateway, Sent};
use super::grammar::{Input, Member, list, of};
use super::sandbox::{self, Sandbox};
use super::{entries, keys, taken};

pub const SINGLE: &str = "refund-single-wallet";
pub const BATCH: &str = "auto-batch-refund";

const TOKEN: &str = "a-session-token-that-is-a-secret";

const CHANNELS: &[&str] = &["1", "1", "1", "2", "1.0", "-1"];
const USERS: &[&str] =
    &["\"apitest01\"", "\"demo\"", "\"demo\"", "\"DEMO\"", "\"nobody\"", "\"ebet#1#demo\"", "\"\"", "null"];
const BETS: &[&str] = &[
    "\"seqNoBetseqNoRefund\"",
    "\"d34fbd4e4734d430c05f443da281d92b\"",
    "\"a70efc7cf71e03ae98b42b22ad4b4288\"",
    "\"played-bet\"",
    "\"live-1\"",
    "\"unknown\"",
    "\"\"",
];
const ROUNDS: &[&str] = &["null", "null", "\"B1-200101012345\"", "\"BP1-230511141338\"", "\"B1-1\"", "\"\""];
const NUMBERS: &[&str] = &["\"r1\"", "\"r2\"", "\"r1\"", "\"a#b\"", "\"\""];
const TIMESTAMPS: &[&str] = &["1577808000000", "1577808000000", "1577808000001", "0", "1e3", "-1"];
const CURRENCIES: &[&str] = &["\"CNY\"", "\"CNY\"", "null", "\"USD\""];
const SESSIONS: &[&str] = &["\"a-session-token-that-is-a-secret\"", "null"];
const SIGNATURES: &[&str] = &["\"valid\""];

const SINGLE_ITEM: &[Member] = &[
    of("refundSeqNo", BETS),
    of("username", USERS),
    of("roundCode", ROUNDS),
    of("refundMoney", &["-1000", "-20", "-100", "-10.50", "-50", "-1000.00", "-0.01", "20", "-2e1", "0"]),
];
const SINGLE_BODY: &[Member] = &[
    of("channelId", CHANNELS),
    of("username", USERS),
    of("roundCode", ROUNDS),
    of("seqNo", NUMBERS),
    of("event", &["\"refundSingleWallet\"", "null", "\"autoBatchRefund\""]),
    of("timestamp", TIMESTAMPS),
    of("sessionToken", SESSIONS),
    of("currency", CURRENCIES),
    list("refundList", &[SINGLE_ITEM]),
    of("signature", SIGNATURES),
];

const BATCH_DETAIL: &[Member] = &[
    of("betId", &["\"seqNoBetseqNoRefund-80\"", "null"]),
    of("betType", &["80", "81"]),
    of("money", &["1000", "20", "0.5"]),
];
const BATCH_ITEM: &[Member] = &[
    of("seqNo", BETS),
    of("username", USERS),
    of("roundCode", ROUNDS),
    of("refundMoney", &["1000", "20", "100", "10.50", "50", "1000.00", "0.01", "-20", "2e1", "0"]),
    list("detail", &[BATCH_DETAIL]),
];
const BATCH_BODY: &[Member] = &[
    of("channelId", CHANNELS),
    of("username", &["null", "null", "\"demo\"", "\"apitest01\"", "\"\""]),
    of("seqNo", NUMBERS),
    of("event", &["\"autoBatchRefund\"", "null", "\"refundSingleWallet\""]),
    of("timestamp", TIMESTAMPS),
    of("sessionToken", SESSIONS),
    of("currency", CURRENCIES),
    of("refundThreshold", &["null", "1000", "99.99", "0", "-1"]),
    of("lastStartProcessTime", &["null", "1577808000000", "1.5"]),
    list("batchRefundList", &[BATCH_ITEM]),
    of("signature", SIGNATURES),
];

pub fn refund_single_wallet(input: &[u8]) {
    handler(SINGLE, input);
}

pub fn auto_batch_refund(input: &[u8]) {
    handler(BATCH, input);
}

/// A body, or some calls one after another, that what was done before matters to.
fn handler(binary: &'static str, input: &[u8]) {
    sandbox::with(input, |sandbox| match Input::of(input) {
        Input::Text(body) => call(sandbox, binary, body, Gateway::HttpApi, true),
        Input::Grammar(mut grammar) => {
            for _ in 0..grammar.count(3) {
                let called = [binary, binary, binary, SINGLE, BATCH, entries::RECORD];
                match *grammar.pick(&called) {
                    entries::RECORD => entries::say(sandbox, &mut grammar),
                    binary => {
                        let members = if binary == SINGLE { SINGLE_BODY } else { BATCH_BODY };
                        let body = grammar.object(members);
                        let gateway = Gateway::any(&mut grammar);
                        call(sandbox, binary, body.as_bytes(), gateway, !grammar.is_one_in(4));
                    }
                }
            }
        }
    });
}

/// Calls, perhaps again, and checks what is told and done.
fn call(sandbox: &mut Sandbox, binary: &str, body: &[u8], gateway: Gateway, again: bool) {
    let body = signed(body, binary);
    let signature = member_text(&body, |members| members.signature);
    let token = member_text(&body, |members| members.session_token).filter(|token| token == TOKEN);
    let secrets = [signature.filter(|text| text.len() > 40), token];
    let sent = Sent { path: "/".to_owned(), body, gateway, ..Sent::default() };
    let secrets = sent.kept(secrets.iter().flatten().map(String::as_str));
    let event = sent.event();
    let called = sandbox.call(binary, &event, &secrets);
    let told = told(binary, called.response.status_code, &called.response.bytes());
    let refunded = match binary {
        SINGLE => {
            told["resultList"].as_array().is_some_and(|list| list.iter().any(|item| item["status"] == 200))
        }
        _ => told["refundResultList"]
            .as_array()
            .is_some_and(|groups| groups.iter().any(|group| group["sucRefundSeqNoList"] != json!([]))),
    };
    assert!(called.writes.is_empty() || refunded, "told {told}, but wrote {:?}", called.writes);
    if again && called.is_worth_repeating {
        let repeated = sandbox.call(binary, &event, &secrets);
        assert!(repeated.writes.is_empty(), "sent again, it wrote {:?}", repeated.writes);
        let mut told_again = self::told(binary, repeated.response.status_code, &repeated.response.bytes());
        // The present, where the request tells no time.
        told_again["timestamp"] = told["timestamp"].clone();
        assert_eq!(told_again, told, "sent again, it is told otherwise");
    }
}

/// The answer, after checking that it is one.
fn told(binary: &str, http_status: u16, body: &[u8]) -> Value {
    assert_eq!(http_status, 200);
    let told: Value = serde_json::from_slice(body).expect("an answer is JSON");
    let has_members = told["seqNo"].is_string() && told["event"].is_string() && told["timestamp"].is_u64();
    assert!(has_members, "{told}");
    let status = told["status"].as_u64().expect("a status is a number");
    let known = [200, 202, 206, 207, 208, 209, 4025, 4026, 4030, 4037, 5010].contains(&status);
    assert!(known, "{binary} told {told}");
    told
}

/// The body with a signature by the demo key in the place of `"valid"`.
pub fn signed(body: &[u8], binary: &str) -> Vec<u8> {
    let replaced = || {
        let members = read_members(body).ok()?;
        let placeholder = members.signature.map(RawValue::get).filter(|text| *text == "\"valid\"")?;
        let signer = match binary {
            SINGLE => text(members.username?, limits::TEXT_CHARS_MAX).unwrap_or_default(),
            _ => members.channel_id?.get().to_owned(),
        };
        let signature = signature(&format!("{signer}{}", members.timestamp?.get()));
        let start = placeholder.as_ptr().addr() - body.as_ptr().addr();
        let after = &body[start + placeholder.len()..];
        Some([&body[..start], b"\"", signature.as_bytes(), b"\"", after].concat())
    };
    replaced().unwrap_or_else(|| body.to_vec())
}

/// The demo key's signature over a text, remembered, since signing is slow.
pub fn signature(message: &str) -> String {
    thread_local! {
        static KEY: SigningKey<Md5> = SigningKey::new(RsaPrivateKey::from_pkcs8_pem(DEMO_KEY).unwrap());
        static SIGNATURES: RefCell<HashMap<String, String>> = RefCell::default();
    }
    SIGNATURES.with_borrow_mut(|known| {
        if known.len() > 10_000 {
            known.clear();
        }
        let sign = || KEY.with(|key| BASE64.encode(key.sign(message.as_bytes()).to_bytes()));
        known.entry(message.to_owned()).or_insert_with(sign).clone()
    })
}

fn member_text(
    body: &[u8],
    member: impl for<'a> Fn(&'a Members<'a>) -> Option<&'a RawValue>,
) -> Option<String> {
    text(member(&read_members(body).ok()?)?, limits::SIGNATURE_CHARS_MAX).ok()
}

/// What is read of a body: texts within their limits, amounts to the digit, the same from its own text again.
pub fn bodies(input: &[u8]) {
    let body = match Input::of(input) {
        Input::Text(body) => body.to_vec(),
        Input::Grammar(mut grammar) => {
            let members = if grammar.is_one_in(2) { BATCH_BODY } else { SINGLE_BODY };
            grammar.object(members).into_bytes()
        }
    };
    let members = match read_members(&body) {
        Ok(members) => members,
        Err(code) => {
            assert!(matches!(code, Code::BadParameters | Code::WrongType), "{code:?}");
            return;
        }
    };
    let numbered = Numbered::of(Some(&members), "event");
    assert!(numbered.seq_no.chars().count() <= limits::TEXT_CHARS_MAX);
    assert!(numbered.event.chars().count() <= limits::TEXT_CHARS_MAX);
    if let Ok(head) = Head::read(&members, "refundSingleWallet") {
        assert!(!head.seq_no.is_empty() && head.seq_no == numbered.seq_no);
    }
    for list in [List::Refund, List::BatchRefund] {
        if let Ok(items) = read_items(&members, list) {
            taken();
            check_items(&items, list);
        }
    }
}

fn check_items(items: &[Item<'_>], list: List) {
    assert!((1..=limits::ITEMS_PER_REQUEST_MAX).contains(&items.len()));
    let channel = channel();
    let rules = ItemRules { channel: &channel, list, currency: None, threshold: None };
    let asked = asked(items, &rules);
    assert_eq!(asked.len(), items.len());
    for (item, asked) in items.iter().zip(&asked) {
        let (AskedItem::Asked(refund) | AskedItem::Barred(refund, _)) = asked else { continue };
        let money = exact_decimal(item.money).expect("what is asked for is a number");
        assert_eq!(refund.amount.value(), money.abs());
        assert_eq!(refund.debit.id.as_str(), item.id);
        assert!(refund.debit.account.as_str().starts_with("ebet#1#"));
        assert_eq!(refund.debit.account.as_str().matches('#').count(), 2, "a name leads elsewhere");
    }
    let (bet, name) = match list {
        List::Refund => ("refundSeqNo", "refundList"),
        List::BatchRefund => ("seqNo", "batchRefundList"),
    };
    let printed: Vec<String> = items
        .iter()
        .map(|item| {
            let mut printed = json!({bet: item.id, "username": item.username, "roundCode": item.round});
            printed["refundMoney"] = json!("money");
            printed.to_string().replacen(
                "\"refundMoney\":\"money\"",
                &format!("\"refundMoney\":{}", item.money),
                1,
            )
        })
        .collect();
    let printed = format!("{{\"{name}\":[{}]}}", printed.join(","));
    let members = read_members(printed.as_bytes()).unwrap();
    let again = read_items(&members, list).unwrap();
    let fingerprint = |items: &[Item<'_>]| fingerprint("test/1", &channel, &[], items);
    assert!(fingerprint(items) == fingerprint(&again), "printed, it is another request: {printed}");
}

/// The demo data's channel.
fn channel() -> Channel {
    thread_local! {
        static CHANNEL: Channel = Channel::new(&ChannelSettings {
            refund_limit: Some("500".to_owned()),
            ..serde_json::from_value(json!({
                "channelId": 1, "currency": "CNY", "publicKeys": [keys::PUBLIC_KEY.as_str()],
            }))
            .unwrap()
        })
        .unwrap();
    }
    CHANNEL.with(Clone::clone)
}
