//! The table's stream: changes, in order, and what of them others want to know.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::attribute::{PARTITION_KEY, SORT_KEY};
use super::refund_batch_items::{CREATED, REFUND_PREFIX, SUCCEEDED};
use crate::ledger::{CHARGES_PREFIX, RefundBatchKey, RefundId, TenantKey};

/// A change of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// The stream's own number: who can't work on a change names it, and is given it again.
    pub sequence_number: String,
    /// What became true with it, of all that anybody waits for.
    pub fact: Option<Fact>,
}

/// What became true.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A batch was accepted whole, and can be settled.
    BatchCreated(RefundBatchKey),
    /// All refunds of a batch have succeeded.
    BatchSucceeded(RefundBatchKey),
    RefundSucceeded {
        batch: RefundBatchKey,
        refund: RefundId,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamEvent {
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    /// Attributes with their types: `{"state": {"S": "created"}}`.
    new_image: Option<Map<String, Value>>,
    old_image: Option<Map<String, Value>>,
}

impl ChangeRecord {
    /// The changes that an event (JSON) brings, in order; nothing if it is no event of a stream.
    pub fn all_of(event: &str) -> Option<Vec<Self>> {
        let event: StreamEvent = serde_json::from_str(event).ok()?;
        let record = |Record { dynamodb: change }| {
            let fact = change.new_image.as_ref().and_then(|image| fact(image, change.old_image.as_ref()));
            Self { sequence_number: change.sequence_number, fact }
        };
        Some(event.records.into_iter().map(record).collect())
    }
}

fn fact(new: &Map<String, Value>, old: Option<&Map<String, Value>>) -> Option<Fact> {
    let (partition, sort) = (text(new, PARTITION_KEY)?, text(new, SORT_KEY)?);
    let state = text(new, "state")?;
    // Other changes of an item leave its state as it was: the fact is older than they are.
    let is_new = old.and_then(|old| text(old, "state")) != Some(state);
    if !is_new || !partition.strip_prefix(CHARGES_PREFIX)?.starts_with('#') {
        return None;
    }
    if let Some(refund) = sort.strip_prefix(REFUND_PREFIX) {
        let batch = RefundBatchKey {
            tenant: TenantKey::recorded(text(new, "tenant")?),
            id: text(new, "batchId")?.parse().ok()?,
        };
        let refund = RefundId::recorded(refund);
        return (state == SUCCEEDED).then_some(Fact::RefundSucceeded { batch, refund });
    }
    let (tenant, _month) = partition.rsplit_once("#batches#")?;
    let batch = RefundBatchKey { tenant: TenantKey::recorded(tenant), id: sort.parse().ok()? };
    match state {
        CREATED => Some(Fact::BatchCreated(batch)),
        SUCCEEDED => Some(Fact::BatchSucceeded(batch)),
        _ => None,
    }
}

fn text<'a>(image: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    image.get(name)?.get("S")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(pk: &str, sk: &str, state: &str) -> Value {
        json!({"pk": {"S": pk}, "sk": {"S": sk}, "state": {"S": state}, "tenant": {"S": "pingpp#a#test"},
               "batchId": {"S": "151608161453545122"}, "amount": {"N": "1"}})
    }

    fn fact_of(new: Value, old: Value) -> Option<Fact> {
        let change = json!({"Keys": {}, "SequenceNumber": "111", "NewImage": new, "OldImage": old});
        let event = json!({"Records": [{"eventName": "MODIFY", "dynamodb": change}]});
        let [record] = &ChangeRecord::all_of(&event.to_string()).unwrap()[..] else { panic!("one") };
        assert_eq!(record.sequence_number, "111");
        record.fact.clone()
    }

    #[test]
    fn a_state_that_is_reached_is_a_fact_and_one_that_stays_is_none() {
        let (batches, charge) = ("pingpp#a#test#batches#1608", "pingpp#a#test#ch_1");
        let key = || RefundBatchKey {
            tenant: TenantKey::recorded("pingpp#a#test"),
            id: "151608161453545122".parse().unwrap(),
        };
        let batch = |state: &str| image(batches, "151608161453545122", state);
        let refund = |state: &str| image(charge, "REFUND#re_1", state);
        let succeeded = Fact::RefundSucceeded { batch: key(), refund: RefundId::recorded("re_1") };
        for (new, old, expected) in [
            (batch("created"), Value::Null, Some(Fact::BatchCreated(key()))),
            (batch("created"), batch("creating"), Some(Fact::BatchCreated(key()))),
            (batch("created"), batch("created"), None),
            (batch("creating"), Value::Null, None),
            (batch("settling"), batch("created"), None),
            (batch("succeeded"), batch("settling"), Some(Fact::BatchSucceeded(key()))),
            (batch("partially_succeeded"), batch("settling"), None),
            (refund("succeeded"), Value::Null, Some(succeeded.clone())),
            (refund("succeeded"), refund("pending"), Some(succeeded)),
            (refund("succeeded"), refund("succeeded"), None),
            (refund("failed"), refund("pending"), None),
            (image("ebet#1#batches#1608", "151608161453545122", "created"), Value::Null, None),
            (image(charge, "PAYMENT", "created"), Value::Null, None),
            (json!({"pk": {"S": batches}, "sk": {"S": "MONTHS"}}), Value::Null, None),
            (Value::Null, batch("created"), None),
        ] {
            assert_eq!(fact_of(new.clone(), old), expected, "{new}");
        }
        assert_eq!(ChangeRecord::all_of("{\"sweep\":true}"), None);
    }
}
