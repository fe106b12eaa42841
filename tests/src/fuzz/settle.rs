//! The worker: changes of the table, as its stream brings them, and sweeps.

use serde_json::{Value, json};
use settle_refunds::SWEEP;
use shared::ledger::{RefundId, TenantKey};
use shared::store::ChangeRecord;

use super::gateway::Gateway;
use super::grammar::{Grammar, Input};
use super::pingpp;
use super::sandbox::{self, Sandbox};

pub const SETTLE: &str = "settle-refunds";

/// An event; or batches that are created, and then what a stream could bring of them.
pub fn settle_refunds(input: &[u8]) {
    sandbox::with(input, |sandbox| match Input::of(input) {
        Input::Text(text) => {
            if let Ok(event) = std::str::from_utf8(text) {
                work(sandbox, event);
            }
        }
        Input::Grammar(mut grammar) => {
            let mut ids = vec!["151608161453545122".to_owned()];
            for _ in 0..grammar.count(3) {
                let body = pingpp::body(&mut grammar);
                ids.extend(pingpp::create(
                    sandbox,
                    body.as_bytes(),
                    &pingpp::authorization(),
                    Gateway::HttpApi,
                ));
            }
            for _ in 0..grammar.count(3) {
                match grammar.is_one_in(3) {
                    true => sweep(sandbox),
                    false => work(sandbox, &stream_event(&mut grammar, &ids)),
                }
            }
        }
    });
}

/// Brings on all batches that are due.
pub fn sweep(sandbox: &mut Sandbox) {
    work(sandbox, SWEEP);
}

/// Whatever the worker is given, it works on it or says that it is nothing of its own. What is brought again was brought.
fn work(sandbox: &mut Sandbox, event: &str) {
    let changes = ChangeRecord::all_of(event);
    match sandbox.work(event) {
        Err(_) => assert!(changes.is_none() && event != SWEEP),
        Ok(worked) => {
            let brought: Vec<String> =
                changes.into_iter().flatten().map(|change| change.sequence_number).collect();
            for failure in worked.batch_item_failures {
                assert!(brought.contains(&failure.item_identifier), "{failure:?} was not brought");
            }
        }
    }
}

fn stream_event(grammar: &mut Grammar<'_>, ids: &[String]) -> String {
    let records: Vec<Value> = (0..grammar.count(4))
        .map(|number| {
            let id = &ids[ids.len() - grammar.count(ids.len())];
            let new = image(grammar, id);
            let old = if grammar.is_one_in(3) { image(grammar, id) } else { Value::Null };
            json!({
                "eventName": "MODIFY",
                "dynamodb": {"Keys": {}, "SequenceNumber": number.to_string(), "NewImage": new, "OldImage": old},
            })
        })
        .collect();
    json!({ "Records": records }).to_string()
}

/// An item with something of a batch, or of one of its refunds.
fn image(grammar: &mut Grammar<'_>, id: &str) -> Value {
    let app = TenantKey::in_mode("pingpp", "app_abcdefghweqzadfs", "test");
    if grammar.is_one_in(8) {
        return Value::Null;
    }
    let batches = format!("{app}#batches#{}", id.get(2..6).unwrap_or_default());
    const CHARGE: &str = "ch_L8qn10mLmr1GS8e5OODmHaL4";
    let charge = format!("{app}#{CHARGE}");
    let partition =
        *grammar.pick(&[batches.as_str(), &charge, "ebet#1#demo", "pingpp#batches#1608", "pingpp"]);
    let refund = id.parse().ok().map(|batch| {
        let charge = CHARGE.parse().expect("a charge's id");
        format!("REFUND#{}", RefundId::of_charge(&app, &batch, &charge))
    });
    let refund = refund.unwrap_or_default();
    let sort = *grammar.pick(&[id, &refund, "REFUND#re_1", "PAYMENT", "MONTHS", "15160816145354512x"]);
    let state = *grammar.pick(&[
        "created",
        "succeeded",
        "settling",
        "creating",
        "partially_succeeded",
        "failed",
        "void",
    ]);
    let mut image = json!({
        "pk": {"S": partition}, "sk": {"S": sort}, "state": {"S": state},
        "tenant": {"S": app.to_string()}, "batchId": {"S": id},
    });
    let attribute = *grammar.pick(&["none", "pk", "sk", "state", "tenant", "batchId"]);
    if grammar.is_one_in(4) && attribute != "none" {
        image[attribute] = match grammar.is_one_in(2) {
            true => json!({"N": "1"}),
            false => json!({"S": grammar.text()}),
        };
    }
    image
}
