//! eBET's operations.

use auto_batch_refund::Batch;
use refund_single_wallet::Single;
use serde_json::{Value, json};
use shared::ebet::{Call, Code};
use shared::ledger::Refusal;
use shared::limits;
use strum::VariantArray;

use super::schema::{
    Schemas, amount, described, exact, json_answer, json_body, merged, name, negative_amount, open, or_null,
    reference, text, unsigned,
};

pub fn refund_single_wallet(example: &Value) -> Value {
    operation(Single::EVENT, "Refunds failed bets of a player", "RefundSingleWallet", example)
}

pub fn auto_batch_refund(example: &Value) -> Value {
    operation(Batch::EVENT, "Refunds failed bets of any number of players", "AutoBatchRefund", example)
}

fn operation(event: &str, summary: &str, schema: &str, example: &Value) -> Value {
    let answer = reference(&format!("{schema}Answer"));
    json!({
        "operationId": event,
        "tags": ["eBET"],
        "summary": summary,
        "requestBody": json_body(reference(schema), example),
        "responses": { "200": json_answer("Every outcome: `status` tells.", answer) },
    })
}

pub fn schemas() -> Schemas {
    [
        ("RefundSingleWallet", single()),
        ("RefundSingleWalletItem", item("refundSeqNo", negative_amount(), json!({}))),
        ("RefundSingleWalletAnswer", single_answer()),
        ("AutoBatchRefund", batch()),
        ("AutoBatchRefundItem", batch_item()),
        ("AutoBatchRefundAnswer", batch_answer()),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}

fn single() -> Value {
    request(
        Single::EVENT,
        "refundList",
        json!({
            "username": described(player(), "Whose wallet the answer shows; an item's own goes before it."),
            "refundList": list("RefundSingleWalletItem"),
        }),
    )
}

fn single_answer() -> Value {
    let result = exact(&[], json!({ "refundSeqNo": any_text(), "status": codes(item_codes()) }));
    let mut schema = answer(
        // Of an item alone: then the request's is 200.
        all_codes().filter(|code| *code != Code::AlreadyRefunded),
        &["moneyBefore", "moneyAfter", "refundMoney", "resultList"],
        json!({
            "moneyBefore": { "type": "number" },
            "moneyAfter": { "type": "number" },
            "refundMoney": { "type": "number", "minimum": 0 },
            "resultList": { "type": "array", "minItems": 1, "items": result },
        }),
    );
    schema["dependentRequired"] = json!({
        "moneyBefore": ["moneyAfter", "resultList"],
        "moneyAfter": ["moneyBefore"],
        "refundMoney": ["resultList"],
        "resultList": ["refundMoney"],
    });
    schema
}

fn batch() -> Value {
    let number = || or_null(json!({ "type": "number" }));
    request(
        Batch::EVENT,
        "batchRefundList",
        json!({
            "username": or_null(any_text()),
            "batchRefundList": list("AutoBatchRefundItem"),
            "refundThreshold": described(number(), "An item above it is not refunded."),
            "lastStartProcessTime": described(number(), "Unix milliseconds; it is logged."),
        }),
    )
}

fn batch_item() -> Value {
    let detail = json!({
        "description": "What the bet is made of. It refuses nothing; where it disagrees the log says so.",
        "examples": [[{ "betId": "d34fbd4e4734d430c05f443da281d92b-80", "betType": 80, "money": 1000 }]],
    });
    item("seqNo", amount(), json!({ "detail": detail }))
}

fn batch_answer() -> Value {
    let status = codes([Code::Ok, Code::AlreadyRefunded]);
    let refunded = exact(&[], json!({ "seqNo": any_text(), "refundSeqNo": any_text(), "status": status }));
    let group = exact(
        &[],
        json!({
            "username": any_text(),
            "roundCode": any_text(),
            "refundTotalMoney": { "type": "number", "minimum": 0 },
            "sucRefundSeqNoList": { "type": "array", "items": refunded },
        }),
    );
    let groups = json!({ "refundResultList": { "type": "array", "items": group } });
    answer(all_codes().filter(|code| !is_of_items_alone(*code)), &[], groups)
}

/// A request with what both calls have. A user must be named by each item, or by the top level for all.
fn request(event: &str, list: &str, own: Value) -> Value {
    let head = json!({
        "channelId": unsigned(),
        "seqNo": described(
            json!({ "type": "string", "minLength": 1, "maxLength": limits::TEXT_CHARS_MAX }),
            "The request's number: the same number is the same request.",
        ),
        "event": { "enum": [event, null] },
        "timestamp": described(unsigned(), "Unix milliseconds."),
        "sessionToken": or_null(any_text()),
        "currency": or_null(any_text()),
        "signature": described(
            text(limits::SIGNATURE_CHARS_MAX),
            "Base64 of RSA PKCS#1 v1.5 with MD5, over parts of the request: docs/ebet.md.",
        ),
        "roundCode": described(or_null(any_text()), "Of the items that name none."),
    });
    let mut schema = open(&["channelId", "seqNo", "timestamp", "signature", list], merged([head, own]));
    let named = json!({ "required": ["username"], "properties": { "username": { "type": "string", "minLength": 1 } } });
    schema["anyOf"] = json!([named, { "properties": { list: { "items": named } } }]);
    schema
}

fn list(item: &str) -> Value {
    json!({ "type": "array", "minItems": 1, "maxItems": limits::ITEMS_PER_REQUEST_MAX, "items": reference(item) })
}

fn item(bet: &str, money: Value, own: Value) -> Value {
    let mut round = or_null(name(limits::TEXT_CHARS_MAX));
    // An empty one is none.
    round["minLength"] = json!(0);
    let members = json!({
        bet: name(limits::TEXT_CHARS_MAX),
        "username": player(),
        "roundCode": round,
        "refundMoney": money,
    });
    open(&[bet, "refundMoney"], merged([members, own]))
}

/// A player's name, in either case. An empty one is none.
fn player() -> Value {
    json!({ "type": ["string", "null"], "maxLength": limits::TEXT_CHARS_MAX, "pattern": "^[A-Za-z0-9._~-]*$" })
}

fn any_text() -> Value {
    text(limits::TEXT_CHARS_MAX)
}

/// The four members that every answer has, and an operation's own.
fn answer(codes: impl Iterator<Item = Code>, optional: &[&str], own: Value) -> Value {
    let head = json!({
        "status": self::codes(codes),
        "seqNo": any_text(),
        "event": any_text(),
        "timestamp": unsigned(),
    });
    exact(optional, merged([head, own]))
}

fn codes(codes: impl IntoIterator<Item = Code>) -> Value {
    let mut numbers: Vec<u16> = codes.into_iter().map(Code::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    json!({ "enum": numbers })
}

fn all_codes() -> impl Iterator<Item = Code> {
    Code::VARIANTS.iter().copied()
}

/// What an item may come to.
fn item_codes() -> impl Iterator<Item = Code> {
    let refused = Refusal::VARIANTS.iter().map(|refusal| Code::from(*refusal));
    refused.chain([Code::Ok, Code::AlreadyRefunded, Code::Busy])
}

/// Whether no request as a whole comes to it.
fn is_of_items_alone(code: Code) -> bool {
    use Code::{AlreadyRefunded, NoRecord, UnknownUser, WrongAmount, WrongCurrency};
    matches!(code, AlreadyRefunded | NoRecord | UnknownUser | WrongAmount | WrongCurrency)
}
