//! What the operator's own systems say, call by call and in bulk.

use serde_json::Value;
use shared::entries::Entry;
use shared::limits;

use super::gateway::{Gateway, Sent};
use super::grammar::{Grammar, Input, Member, list, of};
use super::keys;
use super::sandbox::{self, Sandbox};
use super::taken;

pub const RECORD: &str = "record-entries";

const CHANNELS: &[&str] = &["1", "1", "2"];
const USERS: &[&str] = &["\"demo\"", "\"apitest01\"", "\"new\"", "\"DEMO\"", "\"a b\""];
const AMOUNTS: &[&str] = &["\"10.50\"", "\"20\"", "\"1000\"", "\"0.01\"", "\"0\"", "\"-1\"", "\"1e3\""];
const UNITS: &[&str] = &["1000", "1", "0", "1000000000000001", "-1"];
const BETS: &[&str] = &[
    "\"live-1\"",
    "\"live-2\"",
    "\"unknown\"",
    "\"seqNoBetseqNoRefund\"",
    "\"d34fbd4e4734d430c05f443da281d92b\"",
    "\"played-bet\"",
];
const MOVEMENTS: &[&str] = &["\"move-1\"", "\"move-2\"", "\"live-1\"", "\"a#b\""];
const REASONS: &[&str] = &["\"payout\"", "\"\"", "\"a\\nb\""];
const APPS: &[&str] = &["\"app_abcdefghweqzadfs\"", "\"app_abcdefghweqzadfs\"", "\"app_other\""];
const MODES: &[&str] = &["false", "false", "true"];
const MERCHANTS: &[&str] = &["\"demo\"", "\"demo\"", "\"other\""];
const APPLICATIONS: &[&str] = &["1", "2", "3", "-1", "9223372036854775807"];
const CHARGES: &[&str] = &["\"ch_new\"", "\"ch_L8qn10mLmr1GS8e5OODmHaL4\"", "\"a#b\""];

const WALLET: &[Member] = &[
    of("kind", &["\"wallet\""]),
    of("channelId", CHANNELS),
    of("username", USERS),
    of("balance", &["\"0\"", "\"16.85\"", "\"-5\"", "\"1000000000000000\"", "\"0.001\""]),
];
const LIVE_DEBIT: &[Member] = &[
    of("kind", &["\"debit\""]),
    of("channelId", CHANNELS),
    of("username", USERS),
    of("seqNo", BETS),
    of("roundCode", &["\"B1-1\"", "\"B1-200101012345\""]),
    of("amount", AMOUNTS),
    of("live", &["true"]),
];
const PAST_DEBIT: &[Member] = &[
    of("kind", &["\"debit\""]),
    of("channelId", CHANNELS),
    of("username", USERS),
    of("seqNo", BETS),
    of("roundCode", &["\"B1-1\"", "\"B1-200101012345\""]),
    of("amount", AMOUNTS),
    of("state", &["\"open\"", "\"settled\"", "null"]),
];
const CREDIT: &[Member] = &[
    of("kind", &["\"credit\"", "\"withdrawal\""]),
    of("channelId", CHANNELS),
    of("username", USERS),
    of("id", MOVEMENTS),
    of("amount", AMOUNTS),
    of("reason", REASONS),
];
const SETTLE: &[Member] =
    &[of("kind", &["\"settle\""]), of("channelId", CHANNELS), of("username", USERS), of("seqNo", BETS)];
const CHARGE: &[Member] = &[
    of("kind", &["\"charge\""]),
    of("app", APPS),
    of("livemode", MODES),
    of("id", CHARGES),
    of("amount", UNITS),
    of("amountRefunded", &["0", "1", "1001"]),
    of("currency", &["\"cny\"", "\"CNY\"", "\"usd\"", "\"x\""]),
    of("channel", &["\"wx_pub\"", "\"alipay\"", "\"paypal\""]),
    of("orderNo", &["\"123456789\"", "\"\""]),
    of("transactionNo", &["null", "\"t1\"", "\"t2\"", "\"2004450349201512090096425284\""]),
    of("paid", &["true", "false"]),
    of("created", &["1409634160", "0"]),
    of("timePaid", &["null", "1409634192"]),
];
const FUNDS: &[Member] = &[
    of("kind", &["\"funds\""]),
    of("app", APPS),
    of("livemode", MODES),
    of("source", &["\"unsettled_funds\"", "\"recharge_funds\"", "\"gold\""]),
    of("id", MOVEMENTS),
    of("amount", &["1000", "-1000", "-200000", "0", "-9223372036854775808"]),
    of("reason", REASONS),
];
const APPLICATION: &[Member] = &[
    of("kind", &["\"application\""]),
    of("merchant", MERCHANTS),
    of("autoid", APPLICATIONS),
    of("amount", AMOUNTS),
    of("orderNo", &["\"YC20160801003\"", "\"YC20160801001\""]),
    of("status", &["0", "1"]),
];
const WITHDRAW: &[Member] = &[
    of("kind", &["\"withdraw\""]),
    of("merchant", MERCHANTS),
    of("autoid", APPLICATIONS),
    of("reason", &["null", "\"changed my mind\""]),
];
const FAIL: &[Member] = &[
    of("kind", &["\"fail\""]),
    of("merchant", MERCHANTS),
    of("autoid", APPLICATIONS),
    of("batchNo", &["\"b1\"", "\"b2\"", "\"unknown\""]),
    of("reason", &["null", "\"refused\""]),
];
const BODY: &[Member] = &[list("entries", ENTRIES)];

const CHANNEL: &[Member] = &[
    of("kind", &["\"channel\""]),
    of("channelId", &["1", "3"]),
    of("currency", &["\"CNY\"", "\"USD\"", "\"usd\""]),
    of("publicKeys", keys::PUBLIC_KEYS),
    of("maxAge", &["0", "86400"]),
    of("allowedIps", keys::NETWORKS),
    of("refundLimit", &["null", "\"500\"", "\"0\""]),
    of("partialRefunds", &["false", "true"]),
    of("batchSignature", keys::FORMS),
];
const MERCHANT: &[Member] = &[
    of("kind", &["\"merchant\""]),
    of("merchant", &["\"demo\"", "\"other\"", "\"a b\""]),
    of("currency", &["\"CNY\"", "\"USD\""]),
    of("apiKeys", &["[\"demo-key-for-this-machine-only\"]", "[\"another-key-that-is-long\"]", "[]", "[1]"]),
];
const APP: &[Member] = &[
    of("kind", &["\"app\""]),
    of("app", &["\"app_other\"", "\"app_abcdefghweqzadfs\""]),
    of("livemode", MODES),
    of("currency", &["\"cny\"", "\"usd\""]),
    of("unsettledFunds", &["null", "100000"]),
    of("requireSignature", &["false", "true"]),
    of("publicKey", &["null", "\"valid\"", "\"-----BEGIN PUBLIC KEY-----\""]),
];
const KEY: &[Member] = &[
    of("kind", &["\"key\""]),
    of("secret", &["\"sk_test_0123456789abcdef\"", "\"sk_live_0123456789abcdef\"", "\"sk_test_short\"", "1"]),
    of("apps", &["[\"app_other\"]", "[\"app_abcdefghweqzadfs\"]", "[]", "[\"a b\"]"]),
];
const LINES: &[&[Member]] =
    &[CHANNEL, MERCHANT, APP, KEY, WALLET, PAST_DEBIT, CHARGE, APPLICATION, LIVE_DEBIT, CREDIT];
const ENTRIES: &[&[Member]] =
    &[WALLET, LIVE_DEBIT, PAST_DEBIT, CREDIT, SETTLE, CHARGE, FUNDS, APPLICATION, WITHDRAW, FAIL];

/// One entry's text is read or refused, and says the same of itself each time.
pub fn entries(input: &[u8]) {
    let text = match Input::of(input) {
        Input::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Input::Grammar(mut grammar) => {
            let kind = grammar.pick(ENTRIES);
            grammar.object(kind)
        }
    };
    let text = text.as_str();
    match Entry::read(text) {
        Ok(entry) => {
            taken();
            assert!(Entry::KINDS.contains(&entry.kind()), "{}", entry.kind());
            assert!(!entry.id().is_empty() && !entry.subject().is_empty());
            assert!(entry.tenant().as_str().contains('#'));
            assert_eq!(Entry::read(text).as_ref(), Ok(&entry));
        }
        Err(invalid) => {
            let message = invalid.to_string();
            assert!((1..=limits::MESSAGE_CHARS_MAX + 1).contains(&message.chars().count()), "{message}");
        }
    }
}

pub fn record_entries(input: &[u8]) {
    sandbox::with(input, |sandbox| match Input::of(input) {
        Input::Text(body) => record(sandbox, body, Gateway::HttpApi, true),
        Input::Grammar(mut grammar) => {
            for _ in 0..grammar.count(3) {
                say(sandbox, &mut grammar);
            }
        }
    });
}

/// Has any entries recorded.
pub fn say(sandbox: &mut Sandbox, grammar: &mut Grammar<'_>) {
    let body = grammar.object(BODY);
    let gateway = Gateway::any(grammar);
    record(sandbox, body.as_bytes(), gateway, !grammar.is_one_in(16));
}

/// Calls twice, and checks what is told and done.
fn record(sandbox: &mut Sandbox, body: &[u8], gateway: Gateway, is_signed: bool) {
    let sent =
        Sent { path: "/entries".to_owned(), body: body.to_vec(), gateway, is_signed, ..Sent::default() };
    let event = sent.event();
    let called = sandbox.call(RECORD, &event, &[]);
    let told = told(called.response.status_code, &called.response.bytes());
    let is_recorded = told.iter().any(|outcome| outcome == "recorded");
    assert!(is_signed || told.is_empty(), "nobody has signed it");
    assert_eq!(is_recorded, !called.writes.is_empty(), "told {told:?}, but wrote {:?}", called.writes);
    if !called.is_worth_repeating {
        return;
    }
    let again = sandbox.call(RECORD, &event, &[]);
    let told_again = self::told(again.response.status_code, &again.response.bytes());
    assert_eq!(told.len(), told_again.len());
    for (outcome, again) in told.iter().zip(&told_again) {
        // What was refused is judged anew: others may have made way for it.
        assert!(
            outcome == "refused" || again == "unchanged",
            "told {told:?}, and again {told_again:?}: {}",
            body.escape_ascii()
        );
    }
}

/// The outcomes, after checking that they are some.
fn told(status: u16, body: &[u8]) -> Vec<String> {
    let told: Value = serde_json::from_slice(body).expect("an answer is JSON");
    if status != 200 {
        assert!([400, 403, 413].contains(&status) && told["error"]["message"].is_string(), "{status} {told}");
        return Vec::new();
    }
    let outcomes = told["entries"].as_array().expect("entries have outcomes");
    assert!((1..=limits::ENTRIES_PER_CALL_MAX).contains(&outcomes.len()));
    let outcome = |told: &Value| {
        let outcome = told["outcome"].as_str().unwrap().to_owned();
        assert!(["recorded", "unchanged", "refused"].contains(&outcome.as_str()), "{told}");
        assert_eq!(outcome == "refused", told["reason"].is_string(), "{told}");
        outcome
    };
    outcomes.iter().map(outcome).collect()
}

/// Lines of an import are all written, or all told why not and none written; no reason shows a secret.
pub fn import_lines(input: &[u8]) {
    let lines = match Input::of(input) {
        Input::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => text.to_owned(),
            Err(_) => return,
        },
        Input::Grammar(mut grammar) => {
            let lines: Vec<String> = (0..grammar.count(4))
                .map(|_| {
                    let kind = grammar.pick(LINES);
                    keys::filled_in(&grammar.object(kind))
                })
                .collect();
            lines.join("\n")
        }
    };
    sandbox::with(input, |sandbox| match sandbox.import(&lines) {
        (Ok(_), _) => {
            taken();
            let (again, writes) = sandbox.import(&lines);
            assert!(again.is_ok() && writes.is_empty(), "imported again, it wrote {writes:?}");
        }
        (Err(error), writes) => {
            let told = format!("{error:#}");
            assert!(writes.is_empty(), "{told}, but wrote {writes:?}");
            for secret in secrets(&lines) {
                assert!(!told.contains(&secret), "a secret is told: {told}");
            }
        }
    });
}

/// The secrets that lines have where they belong.
fn secrets(lines: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        let keys = line["apiKeys"].as_array().cloned().unwrap_or_default();
        let texts = keys.into_iter().chain([line["secret"].clone()]);
        let long = |text: &Value| {
            text.as_str().filter(|text| text.len() >= limits::SECRET_CHARS_MIN).map(str::to_owned)
        };
        texts.filter_map(|text| long(&text)).collect::<Vec<_>>()
    };
    let told_otherwise = |secret: &String| lines.matches(secret.as_str()).count() > 1;
    lines.lines().flat_map(of_line).filter(|secret| !told_otherwise(secret)).collect()
}

/// For the other providers' conversations: an application is asked for, withdrawn, or its refund fails.
pub fn say_of_applications(sandbox: &mut Sandbox, grammar: &mut Grammar<'_>) {
    const BODY: &[Member] = &[list("entries", &[FAIL, WITHDRAW, APPLICATION])];
    let body = grammar.object(BODY);
    record(sandbox, body.as_bytes(), Gateway::HttpApi, true);
}

/// Charges are made and paid, and funds move.
pub fn say_of_charges(sandbox: &mut Sandbox, grammar: &mut Grammar<'_>) {
    const BODY: &[Member] = &[list("entries", &[CHARGE, FUNDS])];
    let body = grammar.object(BODY);
    record(sandbox, body.as_bytes(), Gateway::HttpApi, true);
}
