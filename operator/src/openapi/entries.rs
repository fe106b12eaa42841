//! `POST /entries`.

use serde_json::{Value, json};
use shared::entries::{Entry, OutcomeName, RefusalCode};
use shared::limits;
use strum::VariantArray;

use super::schema::{
    Schemas, exact, funding_source, integer, json_answer, json_body, matching, merged, minor_units, name,
    or_null, reference, unsigned,
};

pub fn record(example: &Value) -> Value {
    let error = || exact(&[], json!({ "error": exact(&[], json!({ "message": { "type": "string" } })) }));
    let gateways = exact(&[], json!({ "message": { "type": "string" } }));
    let not_signed = json!({ "oneOf": [error(), gateways] });
    let all = json!([reference("RecordedEntry"), reference("RefusedEntry"), reference("UndecidedEntry")]);
    let decided = json!([reference("RecordedEntry"), reference("RefusedEntry")]);
    json!({
        "operationId": "recordEntries",
        "tags": ["Entries"],
        "summary": "Says what happens to payments and balances, up to 25 entries a call",
        "requestBody": json_body(reference("RecordEntries"), example),
        "responses": {
            "200": json_answer("Every entry is on record, or refused.", told(json!({ "oneOf": decided }))),
            "503": json_answer("Some are undecided: send the same again.", told(json!({ "oneOf": all }))),
            "400": json_answer("No entry was looked at.", error()),
            "403": json_answer("Not signed, or not allowed.", not_signed),
            "413": json_answer("The body is too large.", error()),
        },
    })
}

fn told(entry: Value) -> Value {
    let entries =
        json!({ "type": "array", "minItems": 1, "maxItems": limits::ENTRIES_PER_CALL_MAX, "items": entry });
    exact(&[], json!({ "entries": entries }))
}

pub fn security_scheme() -> Value {
    json!({
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4, service execute-api. The local stack takes requests without.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    })
}

pub fn schemas() -> Schemas {
    let entries = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": limits::ENTRIES_PER_CALL_MAX,
        "items": reference("Entry"),
    });
    [
        ("RecordEntries", exact(&[], json!({ "entries": entries }))),
        ("Entry", json!({ "oneOf": entry_kinds() })),
        ("RecordedEntry", recorded()),
        ("RefusedEntry", refused()),
        ("UndecidedEntry", undecided()),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}

/// What each kind of entry has; docs/entries.md says what it means.
fn entry_kinds() -> Vec<Value> {
    let movement = || json!({ "id": any_name(), "amount": amount_text(), "reason": any_name() });
    let debit = || json!({ "seqNo": any_name(), "roundCode": any_name(), "amount": amount_text() });
    let with = |members: Value, more: Value| merged([members, more]);
    vec![
        of_wallet("wallet", &[], json!({ "balance": matching(&format!("^-?{MONEY}$")) })),
        of_wallet("debit", &[], with(debit(), json!({ "live": { "const": true } }))),
        of_wallet(
            "debit",
            &["live", "state"],
            with(
                debit(),
                json!({ "live": { "const": false }, "state": { "enum": ["open", "settled", null] } }),
            ),
        ),
        of_wallet("credit", &[], movement()),
        of_wallet("withdrawal", &[], movement()),
        of_wallet("settle", &[], json!({ "seqNo": any_name() })),
        of_app(
            "charge",
            &["amountRefunded", "transactionNo", "paid", "timePaid"],
            json!({
                "id": any_name(),
                "amount": minor_units(),
                "amountRefunded": integer(0, limits::AMOUNT_MAX),
                "currency": matching("^[A-Za-z0-9]{3,10}$"),
                "channel": name(limits::CHANNEL_NAME_CHARS_MAX),
                "orderNo": any_name(),
                "transactionNo": or_null(any_name()),
                "paid": { "type": "boolean" },
                "created": unsigned(),
                "timePaid": or_null(unsigned()),
            }),
        ),
        of_app(
            "funds",
            &[],
            json!({
                "source": funding_source(),
                "id": any_name(),
                "amount": { "anyOf": [minor_units(), integer(-limits::AMOUNT_MAX, -1)] },
                "reason": any_name(),
            }),
        ),
        of_merchant("application", &[], json!({ "amount": amount_text(), "orderNo": any_name() })),
        of_merchant("withdraw", &["reason"], json!({ "reason": or_null(any_name()) })),
        of_merchant(
            "fail",
            &["reason"],
            json!({
                "batchNo": name(limits::CONFIRMED_BATCH_NO_CHARS_MAX),
                "reason": or_null(any_name()),
            }),
        ),
    ]
}

/// Digits of an amount, as texts have it.
const MONEY: &str = r"[0-9]{1,15}(\.[0-9]{1,2})?";

/// An amount above zero, as a text.
fn amount_text() -> Value {
    matching(r"^([1-9][0-9]{0,14}(\.[0-9]{1,2})?|0\.(0[1-9]|[1-9][0-9]?))$")
}

fn any_name() -> Value {
    name(limits::TEXT_CHARS_MAX)
}

fn of_wallet(kind: &str, optional: &[&str], own: Value) -> Value {
    let username = matching(&format!("^[A-Za-z0-9._~-]{{1,{}}}$", limits::TEXT_CHARS_MAX));
    of_kind(kind, optional, json!({ "channelId": unsigned(), "username": username }), own)
}

fn of_app(kind: &str, optional: &[&str], own: Value) -> Value {
    let app = matching("^[A-Za-z0-9_-]{1,64}$");
    of_kind(kind, optional, json!({ "app": app, "livemode": { "type": "boolean" } }), own)
}

fn of_merchant(kind: &str, optional: &[&str], own: Value) -> Value {
    let merchant = matching("^[A-Za-z0-9._-]{1,64}$");
    of_kind(kind, optional, json!({ "merchant": merchant, "autoid": integer(i64::MIN, i64::MAX) }), own)
}

fn of_kind(kind: &str, optional: &[&str], whose: Value, own: Value) -> Value {
    exact(optional, merged([json!({ "kind": { "const": kind } }), whose, own]))
}

fn recorded() -> Value {
    let balance = matching(r"^-?[0-9]+(\.[0-9]{1,2})?$");
    let posting = json!({ "sequence": integer(1, u64::MAX), "before": balance, "after": balance });
    exact(
        &["state", "posting", "message"],
        json!({
            "outcome": outcomes([OutcomeName::Recorded, OutcomeName::Unchanged]),
            "kind": { "enum": Entry::KINDS },
            "id": { "type": "string", "minLength": 1 },
            "state": { "enum": ["open", "settled", "refunded"] },
            "posting": exact(&[], posting),
            "message": { "type": "string" },
        }),
    )
}

fn refused() -> Value {
    let reasons: Vec<&'static str> = RefusalCode::VARIANTS.iter().map(|code| (*code).into()).collect();
    exact(
        &["kind", "id"],
        json!({
            "outcome": outcomes([OutcomeName::Refused]),
            "kind": { "enum": Entry::KINDS },
            "id": { "type": "string", "minLength": 1 },
            "reason": { "enum": reasons },
            "message": { "type": "string", "minLength": 1 },
        }),
    )
}

fn undecided() -> Value {
    exact(
        &[],
        json!({
            "outcome": outcomes([OutcomeName::Undecided]),
            "kind": { "enum": Entry::KINDS },
            "id": { "type": "string", "minLength": 1 },
            "message": { "type": "string", "minLength": 1 },
        }),
    )
}

fn outcomes<const N: usize>(outcomes: [OutcomeName; N]) -> Value {
    let names: Vec<&'static str> = outcomes.into_iter().map(Into::into).collect();
    json!({ "enum": names })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_of_entry_is_described_and_no_other() {
        let described: BTreeSet<String> = entry_kinds()
            .iter()
            .map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(described, BTreeSet::from(Entry::KINDS.map(str::to_owned)));
    }

    #[test]
    fn every_outcome_is_one_of_the_answers() {
        let mut told = Vec::new();
        for schema in [recorded(), refused(), undecided()] {
            told.extend(schema["properties"]["outcome"]["enum"].as_array().unwrap().clone());
        }
        let all: Vec<&str> = OutcomeName::VARIANTS.iter().map(|name| (*name).into()).collect();
        assert_eq!(told, all);
    }
}
