//! Ping++'s operations.

use create_batch_refund::Create;
use list_batch_refunds::List;
use retrieve_batch_refund::Retrieve;
use serde_json::{Map, Value, json};
use shared::limits;
use shared::pingpp::{Call, ErrorKind, INSUFFICIENT_FUNDS};
use strum::VariantArray;

use super::schema::{
    Schemas, described, exact, funding_source, integer, json_answer, json_body, matching, minor_units, name,
    open, or_null, reference, unsigned,
};

const BATCH_ID: &str = "^[0-9]{18}$";

pub fn create(example: &Value) -> Value {
    let mut operation = operation(Create::NAME, "Refunds up to 100 charges, or none of them", "BatchRefund");
    operation["requestBody"] = json_body(reference("CreateBatchRefund"), example);
    operation["parameters"] = signature();
    operation["responses"]["200"]["links"] = json!({
        "retrieve": link(Retrieve::NAME, "id", "$response.body#/id"),
        "list": link(List::NAME, "app", "$response.body#/app"),
    });
    operation
}

pub fn retrieve(_example: &Value) -> Value {
    let mut operation = operation(Retrieve::NAME, "A batch as it stands", "BatchRefund");
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": matching(BATCH_ID) });
    operation["parameters"] = signature();
    push(&mut operation["parameters"], [id]);
    let not_found = error(ErrorKind::NotFound);
    operation["responses"][ErrorKind::NotFound.status().to_string()] = not_found;
    operation
}

pub fn list(_example: &Value) -> Value {
    let mut operation = operation(List::NAME, "An app's batches, the latest first", "BatchRefundList");
    let query = [
        ("app", json!({ "type": "string" }), "May be left out where the key has one app."),
        ("page", integer(1, limits::PAGES_MAX), "Counted from 1."),
        ("per_page", integer(1, limits::PAGE_BATCHES_MAX), ""),
        ("limit", integer(1, limits::PAGE_BATCHES_MAX), "The same as `per_page`."),
        ("starting_after", matching(BATCH_ID), "A batch's id; goes before `page`."),
        ("ending_before", matching(BATCH_ID), "A batch's id; not together with `starting_after`."),
        ("created", unsigned(), "Unix seconds, as the following."),
        ("created[gt]", unsigned(), ""),
        ("created[gte]", unsigned(), ""),
        ("created[lt]", unsigned(), ""),
        ("created[lte]", unsigned(), ""),
    ];
    operation["parameters"] = signature();
    push(
        &mut operation["parameters"],
        query.map(|(name, schema, description)| {
            json!({ "name": name, "in": "query", "description": description, "schema": schema })
        }),
    );
    operation
}

fn operation(name: &str, summary: &str, answer: &str) -> Value {
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json_answer("", reference(answer)));
    for kind in ErrorKind::VARIANTS.iter().filter(|kind| **kind != ErrorKind::NotFound) {
        responses.insert(kind.status().to_string(), error(*kind));
    }
    json!({
        "operationId": name,
        "tags": ["Ping++"],
        "summary": summary,
        "security": [{ "secretKey": [] }, { "bearerKey": [] }],
        "responses": responses,
    })
}

fn link(operation: &str, parameter: &str, expression: &str) -> Value {
    json!({ "operationId": operation, "parameters": { parameter: expression } })
}

fn push<const N: usize>(parameters: &mut Value, more: [Value; N]) {
    parameters.as_array_mut().into_iter().for_each(|parameters| parameters.extend(more.clone()));
}

/// The headers of a signed request.
fn signature() -> Value {
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } });
    json!([
        header(
            "Pingplusplus-Signature",
            "Base64 of RSA PKCS#1 v1.5 with SHA-256 over body, URI and timestamp, where the app has a public key.",
        ),
        header("Pingplusplus-Request-Timestamp", "Unix seconds, with the signature."),
    ])
}

pub fn basic_scheme() -> Value {
    json!({ "type": "http", "scheme": "basic", "description": "The secret key as user name, no password." })
}

pub fn bearer_scheme() -> Value {
    json!({ "type": "http", "scheme": "bearer", "description": "The secret key." })
}

/// An error's answer.
fn error(kind: ErrorKind) -> Value {
    let mut members =
        json!({ "type": { "const": kind.type_name() }, "message": { "type": "string", "minLength": 1 } });
    let description = match kind {
        ErrorKind::Invalid => "A member is wrong, and `param` names it; or the body can't be read.",
        ErrorKind::Unauthorized => "No key, nobody's key, or no good signature.",
        ErrorKind::Disabled => "The app is disabled.",
        ErrorKind::NotFound => "The key's apps have no such batch.",
        ErrorKind::Internal => "Trouble of our own.",
        ErrorKind::Busy => "Undecided: send the same again.",
    };
    let optional = match kind {
        ErrorKind::Invalid => {
            members["param"] = json!({ "type": "string", "minLength": 1 });
            members["code"] = json!({ "const": INSUFFICIENT_FUNDS });
            &["param", "code"][..]
        }
        ErrorKind::NotFound => {
            members["param"] = json!({ "const": "id" });
            &[]
        }
        _ => &[],
    };
    json_answer(description, exact(&[], json!({ "error": exact(optional, members) })))
}

pub fn schemas() -> Schemas {
    [
        ("CreateBatchRefund", create_batch_refund()),
        ("ChargeToRefund", charge_to_refund()),
        ("BatchRefund", batch_refund()),
        ("Refund", refund()),
        ("BatchRefundList", batch_refund_list()),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}

fn create_batch_refund() -> Value {
    let batch_no = format!(
        "^[A-Za-z0-9]{{{},{}}}$",
        limits::MERCHANT_BATCH_NO_CHARS_MIN,
        limits::MERCHANT_BATCH_NO_CHARS_MAX
    );
    let mut batch_no = described(matching(&batch_no), "Its own for ever within app and mode.");
    batch_no["not"] = json!({ "const": "000" });
    let metadata = json!({
        "type": ["object", "null"],
        "maxProperties": limits::METADATA_PAIRS_MAX,
        "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        "description": format!("{} characters as compact JSON.", limits::METADATA_CHARS_MAX),
    });
    open(
        &["app", "batch_no", "charges", "description"],
        json!({
            "app": { "type": "string", "minLength": 1, "maxLength": limits::TEXT_CHARS_MAX },
            "batch_no": batch_no,
            "charges": {
                "type": "array",
                "minItems": 1,
                "maxItems": limits::CHARGES_PER_BATCH_MAX,
                "items": { "anyOf": [charge_id(), reference("ChargeToRefund")] },
                "uniqueItems": true,
            },
            "description": description(),
            "metadata": metadata,
        }),
    )
}

fn charge_to_refund() -> Value {
    open(
        &["charge"],
        json!({
            "charge": charge_id(),
            "amount": described(or_null(minor_units()), "All that is left of the charge by default."),
            "description": or_null(description()),
            "funding_source": or_null(funding_source()),
        }),
    )
}

fn charge_id() -> Value {
    name(limits::TEXT_CHARS_MAX)
}

/// Of several lines, if need be.
fn description() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": limits::DESCRIPTION_CHARS_MAX,
        "pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$",
    })
}

fn batch_refund() -> Value {
    let charge = exact(
        &[],
        json!({
            "charge": charge_id(),
            "refund": or_null(refund_id()),
            "status": { "enum": ["created", "pending", "succeeded", "failed"] },
            "failure_msg": or_null(json!({ "type": "string" })),
            "amount": minor_units(),
            "description": description(),
        }),
    );
    let refunds = exact(
        &[],
        json!({
            "object": { "const": "list" },
            "url": described(or_null(json!({ "type": "string" })), "Where they are, if they are too many to be shown."),
            "has_more": { "type": "boolean" },
            "data": { "type": "array", "maxItems": limits::CHARGES_PER_BATCH_MAX, "items": reference("Refund") },
        }),
    );
    let mut batch = exact(
        &[],
        json!({
            "id": matching("^15[0-9]{16}$"),
            "app": matching("^[A-Za-z0-9_-]{1,64}$"),
            "object": { "const": "batch_refund" },
            "batch_no": matching("^[A-Za-z0-9]+$"),
            "created": seconds(),
            "livemode": { "type": "boolean" },
            "description": description(),
            "status": { "enum": ["created", "pending", "succeeded", "failed", "partially_succeeded"] },
            "time_succeeded": or_null(seconds()),
            "charges": {
                "type": "array",
                "minItems": 1,
                "maxItems": limits::CHARGES_PER_BATCH_MAX,
                "items": charge,
            },
            "refunds": refunds,
            "refund_url": described(json!({ "type": "string" }), "Where someone confirms what is pending, or empty."),
            "metadata": { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean", "null"] } },
        }),
    );
    only_when(&mut batch, "succeeded", "time_succeeded");
    batch
}

fn refund() -> Value {
    let mut refund = exact(
        &[],
        json!({
            "id": refund_id(),
            "object": { "const": "refund" },
            "order_no": matching("^[A-Za-z0-9]{24}$"),
            "amount": minor_units(),
            "created": seconds(),
            "succeed": { "type": "boolean" },
            "status": { "enum": ["pending", "succeeded", "failed"] },
            "time_succeed": or_null(seconds()),
            "description": description(),
            "failure_code": or_null(json!({ "type": "string", "maxLength": limits::FAILURE_CODE_CHARS_MAX })),
            "failure_msg": or_null(json!({ "type": "string", "maxLength": limits::FAILURE_MESSAGE_CHARS_MAX })),
            "metadata": { "const": {} },
            "charge": charge_id(),
            "charge_order_no": name(limits::TEXT_CHARS_MAX),
            "transaction_no": or_null(name(limits::TEXT_CHARS_MAX)),
            "funding_source": or_null(funding_source()),
            "extra": { "const": {} },
        }),
    );
    only_when(&mut refund, "succeeded", "time_succeed");
    refund
}

fn batch_refund_list() -> Value {
    exact(
        &[],
        json!({
            "object": { "const": "list" },
            "url": { "const": "/v1/batch_refunds" },
            "has_more": { "type": "boolean" },
            "data": { "type": "array", "maxItems": limits::PAGE_BATCHES_MAX, "items": reference("BatchRefund") },
        }),
    )
}

/// `member` is a number in that status, and null in all others.
fn only_when(object: &mut Value, status: &str, member: &str) {
    object["if"] = json!({ "properties": { "status": { "const": status } } });
    object["then"] = json!({ "properties": { member: { "type": "integer" } } });
    object["else"] = json!({ "properties": { member: { "type": "null" } } });
}

fn refund_id() -> Value {
    matching("^re_[A-Za-z0-9]{24}$")
}

/// A moment in Unix seconds.
fn seconds() -> Value {
    unsigned()
}
