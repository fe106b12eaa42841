//! The batch refund object, as the document shows it and SDKs read it.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ledger::{
    BatchEnd, BatchItem, BatchState, FundingSource, ItemRefund, ItemState, RefundBatch, RefundId,
    TransactionNo,
};

/// A batch with its refunds.
#[derive(Debug, Serialize)]
pub struct BatchObject<'a> {
    id: &'a str,
    app: &'a str,
    object: &'static str,
    batch_no: &'a str,
    /// Unix seconds, as all times here.
    created: u64,
    livemode: bool,
    description: &'a str,
    status: &'static str,
    time_succeeded: Option<u64>,
    charges: Vec<ChargeObject<'a>>,
    refunds: RefundList<'a>,
    /// Where someone confirms what is pending; empty where nothing is.
    refund_url: &'a str,
    metadata: &'a RawValue,
}

#[derive(Debug, Serialize)]
struct ChargeObject<'a> {
    charge: &'a str,
    refund: Option<&'a str>,
    status: &'static str,
    failure_msg: Option<&'a str>,
    amount: u64,
    description: &'a str,
}

#[derive(Debug, Serialize)]
struct RefundList<'a> {
    object: &'static str,
    url: Option<String>,
    has_more: bool,
    data: Vec<RefundObject<'a>>,
}

/// One refund.
#[derive(Debug, Serialize)]
pub struct RefundObject<'a> {
    id: &'a str,
    object: &'static str,
    order_no: &'a str,
    amount: u64,
    created: u64,
    succeed: bool,
    status: &'static str,
    time_succeed: Option<u64>,
    description: &'a str,
    failure_code: Option<&'a str>,
    failure_msg: Option<&'a str>,
    metadata: Empty,
    charge: &'a str,
    charge_order_no: &'a str,
    transaction_no: Option<&'a str>,
    funding_source: Option<&'static str>,
    extra: Empty,
}

/// An object without members.
#[derive(Debug, Default, Serialize)]
struct Empty {}

impl<'a> BatchObject<'a> {
    /// `refunds` are those on record; `metadata` is the batch's.
    pub fn new(
        app: &'a str,
        livemode: bool,
        batch: &'a RefundBatch,
        refunds: &'a HashMap<RefundId, ItemRefund>,
        metadata: &'a RawValue,
    ) -> Self {
        let items = || batch.items.iter().map(|item| (item, refunds.get(&item.refund)));
        let on_record = items().filter_map(|(item, refund)| Some(RefundObject::new(batch, item, refund?)));
        let url = items().find_map(|(_, refund)| match &refund?.state {
            ItemState::Pending { url } => Some(url.as_str()),
            ItemState::Succeeded { .. } | ItemState::Failed { .. } => None,
        });
        Self {
            id: batch.key.id.as_str(),
            app,
            object: "batch_refund",
            batch_no: batch.batch_no.as_str(),
            created: batch.at / 1_000,
            livemode,
            description: &batch.description,
            status: status(batch.state),
            time_succeeded: match batch.state {
                BatchState::Ended { end: BatchEnd::Succeeded, at } => Some(at / 1_000),
                _ => None,
            },
            charges: items().map(|(item, refund)| ChargeObject::new(batch, item, refund)).collect(),
            refunds: RefundList { object: "list", url: None, has_more: false, data: on_record.collect() },
            refund_url: url.unwrap_or_default(),
            metadata,
        }
    }
}

impl BatchObject<'_> {
    /// Where the refunds are to be had instead.
    pub fn without_refunds(self) -> Self {
        let url = Some(format!("/v1/batch_refunds/{}", self.id));
        Self { refunds: RefundList { object: "list", url, has_more: true, data: Vec::new() }, ..self }
    }
}

/// A batch that is being created or was taken back is shown to nobody.
fn status(state: BatchState) -> &'static str {
    match state {
        BatchState::Creating | BatchState::Created | BatchState::Void => "created",
        BatchState::Settling => "pending",
        BatchState::Ended { end: BatchEnd::Succeeded, .. } => "succeeded",
        BatchState::Ended { end: BatchEnd::PartiallySucceeded, .. } => "partially_succeeded",
        BatchState::Ended { end: BatchEnd::Failed, .. } => "failed",
    }
}

fn refund_status(state: &ItemState) -> &'static str {
    match state {
        ItemState::Pending { .. } => "pending",
        ItemState::Succeeded { .. } => "succeeded",
        ItemState::Failed { .. } => "failed",
    }
}

fn description<'a>(batch: &'a RefundBatch, item: &'a BatchItem) -> &'a str {
    item.description.as_deref().unwrap_or(&batch.description)
}

impl<'a> ChargeObject<'a> {
    fn new(batch: &'a RefundBatch, item: &'a BatchItem, refund: Option<&'a ItemRefund>) -> Self {
        let waiting = if batch.state == BatchState::Settling { "pending" } else { "created" };
        Self {
            charge: item.charge.as_str(),
            refund: refund.map(|refund| refund.id.as_str()),
            status: refund.map_or(waiting, |refund| refund_status(&refund.state)),
            failure_msg: refund.and_then(failure).map(|(_, message)| message),
            amount: item.amount.value(),
            description: description(batch, item),
        }
    }
}

/// Code and message.
fn failure(refund: &ItemRefund) -> Option<(&str, &str)> {
    match &refund.state {
        ItemState::Failed { code, message, .. } => Some((code, message)),
        ItemState::Pending { .. } | ItemState::Succeeded { .. } => None,
    }
}

impl<'a> RefundObject<'a> {
    pub fn new(batch: &'a RefundBatch, item: &'a BatchItem, refund: &'a ItemRefund) -> Self {
        let succeeded = match refund.state {
            ItemState::Succeeded { at } => Some(at / 1_000),
            ItemState::Pending { .. } | ItemState::Failed { .. } => None,
        };
        Self {
            id: refund.id.as_str(),
            object: "refund",
            order_no: refund.id.order_no(),
            amount: item.amount.value(),
            created: batch.at / 1_000,
            succeed: succeeded.is_some(),
            status: refund_status(&refund.state),
            time_succeed: succeeded,
            description: description(batch, item),
            failure_code: failure(refund).map(|(code, _)| code),
            failure_msg: failure(refund).map(|(_, message)| message),
            metadata: Empty {},
            charge: item.charge.as_str(),
            charge_order_no: item.order_no.as_str(),
            transaction_no: item.transaction_no.as_ref().map(TransactionNo::as_str),
            funding_source: item.funding_source.map(FundingSource::as_str),
            extra: Empty {},
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::{ChargeKey, FingerprintBuilder, MinorUnits, RefundBatchKey, TenantKey};

    pub fn batch(state: BatchState) -> RefundBatch {
        let item = |charge: &str, transaction_no: &str| BatchItem {
            charge: charge.parse().unwrap(),
            refund: RefundId::recorded(&format!("re_of_{charge}")),
            amount: MinorUnits::new(10).unwrap(),
            description: None,
            funding_source: None,
            channel: "wx_pub".parse().unwrap(),
            order_no: "123456789".parse().unwrap(),
            transaction_no: Some(transaction_no.parse().unwrap()),
        };
        RefundBatch {
            key: RefundBatchKey {
                tenant: TenantKey::in_mode("pingpp", "app_abcdefghweqzadfs", "test"),
                id: "151608161453545122".parse().unwrap(),
            },
            batch_no: "batchrefund20160801001".parse().unwrap(),
            fingerprint: FingerprintBuilder::new("x").finish(),
            currency: Some("CNY".parse().unwrap()),
            description: "Batch refund description.".to_owned(),
            metadata: "{}".to_owned(),
            at: 1_409_634_192_999,
            state,
            items: vec![item("ch_a", "1"), item("ch_b", "2")],
            holds: Vec::new(),
            releases: Vec::new(),
        }
    }

    pub fn refunds(batch: &RefundBatch, states: &[ItemState]) -> HashMap<RefundId, ItemRefund> {
        let refund = |(item, state): (&BatchItem, &ItemState)| {
            let charge = ChargeKey { tenant: batch.key.tenant.clone(), id: item.charge.clone() };
            let refund = ItemRefund {
                id: item.refund.clone(),
                charge,
                batch: batch.key.id.clone(),
                amount: item.amount,
                state: state.clone(),
                contradiction: None,
            };
            (item.refund.clone(), refund)
        };
        batch.items.iter().zip(states).map(refund).collect()
    }

    fn shown(batch: &RefundBatch, states: &[ItemState]) -> Value {
        let refunds = refunds(batch, states);
        let metadata = RawValue::from_string(batch.metadata.clone()).unwrap();
        let object = BatchObject::new("app_abcdefghweqzadfs", false, batch, &refunds, &metadata);
        serde_json::to_value(&object).unwrap()
    }

    #[test]
    fn a_new_batch_is_shown_as_the_document_shows_it() {
        let charge = |charge: &str| {
            json!({"charge": charge, "refund": null, "status": "created", "failure_msg": null, "amount": 10,
                   "description": "Batch refund description."})
        };
        assert_eq!(
            shown(&batch(BatchState::Created), &[]),
            json!({
                "id": "151608161453545122", "app": "app_abcdefghweqzadfs", "object": "batch_refund",
                "batch_no": "batchrefund20160801001", "created": 1_409_634_192, "livemode": false,
                "description": "Batch refund description.", "status": "created", "time_succeeded": null,
                "charges": [charge("ch_a"), charge("ch_b")],
                "refunds": {"object": "list", "url": null, "has_more": false, "data": []},
                "refund_url": "", "metadata": {}
            })
        );
    }

    #[test]
    fn a_settled_refund_is_shown_as_the_document_shows_it() {
        let ended = BatchState::Ended { end: BatchEnd::PartiallySucceeded, at: 1_409_634_200_000 };
        let failed =
            ItemState::Failed { at: 1, code: "no_account".to_owned(), message: "no such account".to_owned() };
        let object = shown(&batch(ended), &[ItemState::Succeeded { at: 1_409_634_195_001 }, failed]);
        assert_eq!(object["status"], "partially_succeeded");
        assert_eq!(
            object["refunds"]["data"][0],
            json!({
                "id": "re_of_ch_a", "object": "refund", "order_no": "of_ch_a", "amount": 10,
                "created": 1_409_634_192, "succeed": true, "status": "succeeded", "time_succeed": 1_409_634_195,
                "description": "Batch refund description.", "failure_code": null, "failure_msg": null,
                "metadata": {}, "charge": "ch_a", "charge_order_no": "123456789", "transaction_no": "1",
                "funding_source": null, "extra": {}
            })
        );
        let failed = &object["refunds"]["data"][1];
        assert_eq!((&failed["succeed"], &failed["failure_code"]), (&json!(false), &json!("no_account")));
        assert_eq!(object["charges"][1]["failure_msg"], "no such account");
        assert_eq!(object["charges"][1]["refund"], "re_of_ch_b");
    }

    #[test]
    fn what_is_pending_shows_where_it_is_confirmed_and_then_no_longer() {
        let pending = ItemState::Pending { url: "https://confirm.example".to_owned() };
        let done = ItemState::Succeeded { at: 1 };
        let open = shown(&batch(BatchState::Settling), &[done.clone(), pending]);
        assert_eq!(
            (&open["status"], &open["refund_url"]),
            (&json!("pending"), &json!("https://confirm.example"))
        );
        assert_eq!(open["charges"][1]["status"], "pending");
        let ended = BatchState::Ended { end: BatchEnd::Succeeded, at: 2_000 };
        let ended = shown(&batch(ended), &[done.clone(), done]);
        assert_eq!((&ended["refund_url"], &ended["time_succeeded"]), (&json!(""), &json!(2)));
    }
}
