//! EPay's operations, in each format they speak: the members are the same in all.

use begin_single_refund::Begin;
use end_single_refund::End;
use serde_json::{Map, Value, json};
use shared::epay::codec::AnswerType;
use shared::epay::{Call, Errcode, KEY_HEADER};
use shared::limits;
use strum::VariantArray;

use super::schema::{Schemas, amount, described, exact, integer, matching, open, reference};

const FORM: &str = "application/x-www-form-urlencoded";

pub fn begin_single(example: &Value) -> Value {
    let mut operation =
        operation(Begin::NAME, "Marks an application as being processed", "BeginSingle", example);
    operation["responses"]["200"]["links"] = json!({
        "confirmed": {
            "operationId": End::NAME,
            "description": "The payment provider has paid it.",
            "requestBody": {
                "batchno": "$request.body#/batch_no",
                "refundmoney": "$request.body#/refundamount",
                "trandeno": "$request.body#/refundaccount",
            },
        },
    });
    operation
}

pub fn end_single(example: &Value) -> Value {
    operation(End::NAME, "Confirms that a refund was paid", "EndSingle", example)
}

fn operation(name: &str, summary: &str, schema: &str, example: &Value) -> Value {
    let body_types = AnswerType::ALL.iter().map(|answer| media_type(*answer)).chain([FORM]);
    let mut content: Map<String, Value> = body_types
        .map(|media_type| (media_type.to_owned(), json!({ "schema": reference(schema) })))
        .collect();
    content["application/json"]["example"] = example.clone();
    json!({
        "operationId": name,
        "tags": ["EPay"],
        "summary": summary,
        "security": [{ "merchantKey": [] }],
        "requestBody": { "required": true, "content": content },
        "responses": {
            "200": answer("Everything that could be read: `errcode` tells.", reference("OperationResult")),
            "400": answer("The body can't be read.", refused(400)),
            "401": answer("The key is missing, nobody's, or of a merchant that is disabled.", refused(401)),
            "415": answer("Another Content-Type, or none.", exact(&[], json!({ "Message": { "type": "string" } }))),
        },
    })
}

pub fn security_scheme() -> Value {
    json!({ "type": "apiKey", "in": "header", "name": KEY_HEADER, "description": "Names the merchant." })
}

pub fn schemas() -> Schemas {
    let begin = open(
        &["autoid", "refundamount", "batch_no", "refundaccount"],
        json!({
            "autoid": described(or_its_text(integer(i64::MIN, i64::MAX)), "The application."),
            "refundamount": or_its_text(amount()),
            "batch_no": described(text(limits::BATCH_NO_CHARS_MAX), "Its own for ever."),
            "refundaccount": text(limits::REFUND_ACCOUNT_CHARS_MAX),
        }),
    );
    let end = open(
        &["batchno", "trandeno", "refundmoney"],
        json!({
            "batchno": described(text(limits::CONFIRMED_BATCH_NO_CHARS_MAX), "What `BeginSingle` was told."),
            "trandeno": described(text(limits::TRADE_NO_CHARS_MAX), "The payment provider's number."),
            "refundmoney": or_its_text(amount()),
        }),
    );
    let done = result(&[Errcode::Ok], json!({ "const": "ok" }), json!({ "type": "string", "minLength": 1 }));
    [
        ("BeginSingle", with_root(begin, &Begin::ROOT)),
        ("EndSingle", with_root(end, &End::ROOT)),
        ("OperationResult", json!({ "oneOf": [done, refused(200)] })),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}

/// With what XML calls it.
fn with_root(mut schema: Value, root: &shared::epay::codec::XmlRoot) -> Value {
    // Where no document names the root, any name does.
    let name = root.name.unwrap_or("EPayEndRefundParm");
    schema["xml"] = json!({ "name": name, "namespace": root.namespace });
    schema
}

/// As forms and XML have every number, and JSON may.
fn or_its_text(number: Value) -> Value {
    json!({ "anyOf": [number, matching(r"^\s*[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*$")] })
}

/// A text that is not blank and has no characters that are none; a number is taken for its text.
fn text(chars_max: usize) -> Value {
    const NONE: &str = r"\u0000-\u001f\u007f-\u009f\ufffd-\uffff";
    json!({
        "type": ["string", "number"],
        "maxLength": chars_max,
        "pattern": format!(r"^[^{NONE}]*[^\s{NONE}][^{NONE}]*$"),
    })
}

/// What is answered with an HTTP status where it is refused.
fn refused(http_status: u16) -> Value {
    let told = |code: &&Errcode| code.http_status() == http_status && **code != Errcode::Ok;
    let codes: Vec<Errcode> = Errcode::VARIANTS.iter().filter(told).copied().collect();
    result(&codes, json!({ "type": "string", "minLength": 1 }), json!({ "type": "null" }))
}

fn result(codes: &[Errcode], errmsg: Value, tag: Value) -> Value {
    let numbers: Vec<i32> = codes.iter().map(|code| code.number()).collect();
    let mut schema = exact(&[], json!({ "errcode": { "enum": numbers }, "errmsg": errmsg, "tag": tag }));
    schema["xml"] = json!({ "name": "CommonOperationResult" });
    schema
}

/// An answer in any format.
fn answer(description: &str, schema: Value) -> Value {
    let content = |answer: &AnswerType| (media_type(*answer).to_owned(), json!({ "schema": schema }));
    let content: Map<String, Value> = AnswerType::ALL.iter().map(content).collect();
    json!({ "description": description, "content": content })
}

/// Without its charset.
fn media_type(answer: AnswerType) -> &'static str {
    answer.header().split(';').next().unwrap_or_default()
}
