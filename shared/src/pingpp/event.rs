//! Events: what merchants' systems are told of, once it is true. Each fact has one event, with the same id however
//! often it is told.

use std::collections::HashMap;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{AppId, BatchObject, RefundObject};
use crate::ledger::{
    BatchEnd, BatchItem, BatchState, FieldDigest, ItemRefund, ItemState, RefundBatch, RefundId,
};
use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `evt_` and 24 letters and digits.
    pub id: String,
    /// Such as `refund.succeeded`.
    pub kind: &'static str,
    /// When it became true, in Unix milliseconds.
    pub at: u64,
    /// The documented envelope.
    pub json: String,
}

/// Where events go.
pub trait EventBus: Send + Sync {
    /// Whether each of `events` has arrived, in their order; of those that have not, why.
    fn put<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Vec<Result<(), String>>>;
}

/// Writes events to the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogBus;

impl EventBus for LogBus {
    fn put<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Vec<Result<(), String>>> {
        for Event { id, kind, json, .. } in events {
            tracing::info!(id, kind, event = json, "event");
        }
        Box::pin(std::future::ready(vec![Ok(()); events.len()]))
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    id: &'a str,
    /// Unix seconds.
    created: u64,
    livemode: bool,
    #[serde(rename = "type")]
    kind: &'a str,
    data: Data<&'a T>,
    object: &'static str,
    pending_webhooks: u32,
    /// No request settles refunds.
    request: Option<&'static str>,
}

#[derive(Serialize)]
struct Data<T> {
    object: T,
}

/// Why an event can't be written: the ledger has something that it never wrote.
#[derive(Debug, thiserror::Error)]
pub enum NoEvent {
    #[error("its tenant is no app")]
    Tenant,
    #[error("its event can't be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// The event of a batch's refund, if it has succeeded.
///
/// # Errors
/// If it has, and can't be told.
pub fn refund_succeeded(
    batch: &RefundBatch,
    item: &BatchItem,
    refund: &ItemRefund,
) -> Result<Option<Event>, NoEvent> {
    let ItemState::Succeeded { at } = refund.state else { return Ok(None) };
    let object = RefundObject::new(batch, item, refund);
    event(batch, "refund.succeeded", refund.id.as_str(), at, &object).map(Some)
}

/// The event of a batch, if all its refunds have succeeded. One that a bus would not take has no refunds in it: each
/// had an event of its own.
///
/// # Errors
/// If they have, and it can't be told.
pub fn batch_succeeded(
    batch: &RefundBatch,
    refunds: &HashMap<RefundId, ItemRefund>,
) -> Result<Option<Event>, NoEvent> {
    let BatchState::Ended { end: BatchEnd::Succeeded, at } = batch.state else { return Ok(None) };
    let (app, mode) = AppId::of_tenant(&batch.key.tenant).ok_or(NoEvent::Tenant)?;
    let metadata = RawValue::from_string(batch.metadata.clone())?;
    let object = BatchObject::new(app.as_str(), mode.is_live(), batch, refunds, &metadata);
    let event =
        |object: &BatchObject<'_>| event(batch, "batch_refund.succeeded", batch.key.id.as_str(), at, object);
    let whole = event(&object)?;
    if whole.json.len() <= limits::EVENT_BYTES_MAX {
        return Ok(Some(whole));
    }
    event(&object.without_refunds()).map(Some)
}

fn event<T: Serialize>(
    batch: &RefundBatch,
    kind: &'static str,
    of: &str,
    at: u64,
    object: &T,
) -> Result<Event, NoEvent> {
    let (_, mode) = AppId::of_tenant(&batch.key.tenant).ok_or(NoEvent::Tenant)?;
    let mut digest = FieldDigest::new("event/1");
    digest.field(kind);
    digest.field(batch.key.tenant.as_str());
    digest.field(of);
    let id = format!("evt_{}", digest.finish().letters());
    let envelope = Envelope {
        id: &id,
        created: at / 1_000,
        livemode: mode.is_live(),
        kind,
        data: Data { object },
        object: "event",
        pending_webhooks: 0,
        request: None,
    };
    let json = serde_json::to_string(&envelope)?;
    Ok(Event { id, kind, at, json })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::object::tests::{batch, refunds};
    use super::*;

    #[test]
    fn a_fact_has_one_event_in_the_documented_envelope() {
        let batch = batch(BatchState::Ended { end: BatchEnd::Succeeded, at: 1_409_634_200_999 });
        let states = [ItemState::Succeeded { at: 1_409_634_195_001 }, ItemState::Succeeded { at: 2 }];
        let refunds = refunds(&batch, &states);
        let item = &batch.items[0];
        let event = refund_succeeded(&batch, item, &refunds[&item.refund]).unwrap().unwrap();
        assert_eq!(refund_succeeded(&batch, item, &refunds[&item.refund]).unwrap().as_ref(), Some(&event));
        assert!(event.id.len() == 28 && event.id.starts_with("evt_"), "{}", event.id);
        let mut envelope: Value = serde_json::from_str(&event.json).unwrap();
        let object = envelope["data"]["object"].take();
        assert_eq!(
            envelope,
            json!({"id": event.id, "created": 1_409_634_195, "livemode": false, "type": "refund.succeeded",
                   "data": {"object": null}, "object": "event", "pending_webhooks": 0, "request": null})
        );
        assert_eq!((&object["object"], &object["id"]), (&json!("refund"), &json!("re_of_ch_a")));

        let of_batch = batch_succeeded(&batch, &refunds).unwrap().unwrap();
        assert_ne!(of_batch.id, event.id);
        let envelope: Value = serde_json::from_str(&of_batch.json).unwrap();
        assert_eq!(
            (&envelope["type"], &envelope["created"]),
            (&json!("batch_refund.succeeded"), &json!(1_409_634_200))
        );
        assert_eq!(envelope["data"]["object"]["refunds"]["data"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_has_not_succeeded_has_no_event() {
        let batch = batch(BatchState::Ended { end: BatchEnd::PartiallySucceeded, at: 1 });
        let failed = ItemState::Failed { at: 1, code: "c".to_owned(), message: "m".to_owned() };
        let refunds = refunds(&batch, &[failed, ItemState::Pending { url: "u".to_owned() }]);
        assert_eq!(batch_succeeded(&batch, &refunds).unwrap(), None);
        for item in &batch.items {
            assert_eq!(refund_succeeded(&batch, item, &refunds[&item.refund]).unwrap(), None);
        }
    }

    #[test]
    fn an_event_that_a_bus_would_not_take_leaves_out_its_refunds() {
        let mut batch = batch(BatchState::Ended { end: BatchEnd::Succeeded, at: 1 });
        let item = batch.items[0].clone();
        batch.items = (0..100)
            .map(|number| BatchItem {
                charge: format!("{}{number:03}", "退".repeat(125)).parse().unwrap(),
                refund: RefundId::recorded(&format!("re_{number}")),
                description: Some("\u{1}".repeat(limits::DESCRIPTION_CHARS_MAX)),
                ..item.clone()
            })
            .collect();
        let states = vec![ItemState::Succeeded { at: 1 }; 100];
        let event = batch_succeeded(&batch, &refunds(&batch, &states)).unwrap().unwrap();
        assert!(event.json.len() <= limits::EVENT_BYTES_MAX, "{}", event.json.len());
        let envelope: Value = serde_json::from_str(&event.json).unwrap();
        let refunds = &envelope["data"]["object"]["refunds"];
        assert_eq!(
            *refunds,
            json!({"object": "list", "url": "/v1/batch_refunds/151608161453545122", "has_more": true, "data": []})
        );
    }
}
