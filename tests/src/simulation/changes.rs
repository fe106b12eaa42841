//! The table's changes in their order, from its stream; and the index as it was some changes ago, for reads that are a
//! moment behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use shared::ledger::{ApplicationState, BatchState, DebitState, ItemState};
use shared::store::{Content, Stored};

use crate::embedded::{Embedded, Key, item_of, key_of};

/// What a batch is one after another.
const BATCH_STAGES: [&str; 3] = ["creating", "created", "settling"];

/// Actions of a transaction at most.
const ACTIONS_MAX: usize = 100;

#[derive(Default)]
pub struct Changes {
    /// As events have them.
    pub log: Vec<Arc<Value>>,
    next: Option<String>,
    /// So many of them were found to be as they must be.
    looked_at: usize,
    /// Where the index has each item, from which change on.
    places: BTreeMap<Key, Vec<(usize, Option<Key>)>>,
}

impl Changes {
    /// Reads what is new in the stream.
    pub fn pull(&mut self, embedded: &Embedded, stream: &str) {
        let call = |operation: &str, call: Value| -> Value {
            let (status, answer) = embedded.carry_out(operation, &call.to_string());
            assert_eq!(status, 200, "{answer}");
            serde_json::from_str(&answer).expect("an answer is JSON")
        };
        let iterator = self.next.take().unwrap_or_else(|| {
            let described = call("DescribeStream", json!({ "StreamArn": stream }));
            let shard = described["StreamDescription"]["Shards"][0]["ShardId"].clone();
            let asked = json!({"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
            call("GetShardIterator", asked)["ShardIterator"].as_str().expect("an iterator").to_owned()
        });
        let mut next = iterator;
        loop {
            let mut page = call("GetRecords", json!({ "ShardIterator": next }));
            next = page["NextShardIterator"].as_str().expect("the stream goes on").to_owned();
            let records = page["Records"].as_array_mut().map(std::mem::take).unwrap_or_default();
            if records.is_empty() {
                break;
            }
            for record in records {
                self.take(record);
            }
        }
        self.next = Some(next);
    }

    /// What is wrong with changes that were not looked at before.
    pub fn wrong(&mut self) -> Vec<String> {
        let new = self.looked_at..self.log.len();
        self.looked_at = new.end;
        new.flat_map(|number| self.wrong_at(number)).collect()
    }

    fn wrong_at(&self, number: usize) -> Vec<String> {
        let record = &self.log[number];
        let change = &record["dynamodb"];
        let (old, new) = (&change["OldImage"], &change["NewImage"]);
        let (partition, sort) = key_of(&change["Keys"]);
        let mut wrong = Vec::new();
        let mut tell = |what: String| wrong.push(format!("{partition} {sort} {what}"));
        if record["eventName"] == "MODIFY" {
            // Items that count their changes have counted each of them.
            if let (Some(before), Some(now)) = (number_in(&old["version"]), number_in(&new["version"]))
                && now != before + 1
            {
                tell(format!("had version {before}, and then {now}"));
            }
            if sort == "REQUEST" && old["fingerprint"] != new["fingerprint"] {
                tell("was one request's, and then another's".to_owned());
            }
        }
        let stage = |image: &Value| BATCH_STAGES.iter().position(|state| image["state"]["S"] == *state);
        if let (Some(before), Some(now)) = (stage(old), stage(new))
            && now < before
        {
            tell(format!("was {}, and then {}", BATCH_STAGES[before], BATCH_STAGES[now]));
        }
        let lasting = |image: &Value| image.is_object().then(|| lasting(&Stored::of(&item_of(image))))?;
        if old.is_object() && sort != "ACCOUNT" && old != new {
            let (before, now) = (lasting(old), lasting(new));
            if before.is_some() && before != now {
                tell(format!("was {before:?}, and then {now:?}"));
            }
        }
        // What a request refunds, its record is written with: how far it has come shows there.
        let refund = &new["refund"]["M"];
        if let Some(request) = refund["request"]["S"].as_str().filter(|_| old["refund"].is_null())
            && self.must_be_recorded(&partition, request, number)
            && !self.around(number).any(|other| {
                other["NewImage"]["at"] == refund["at"] && is_record_of(other, &partition, request)
            })
        {
            tell(format!("is refunded by {request}, whose record does not know it"));
        }
        wrong
    }

    /// Whether a request's refunds of an account are written with a record: those of a call for one player always, those
    /// of a part of another call once it has one.
    fn must_be_recorded(&self, account: &str, request: &str, number: usize) -> bool {
        let is_part =
            |change: &&Value| is_record_of(change, account, request) && change["Keys"]["pk"]["S"] == account;
        let mut before = self.log[..number].iter().rev().map(|record| &record["dynamodb"]);
        request.contains("#refundSingleWallet#")
            || before.find(is_part).is_some_and(|last| last["NewImage"].is_object())
    }

    /// Changes that may be of one transaction with one of them.
    fn around(&self, number: usize) -> impl Iterator<Item = &Value> {
        let first = number.saturating_sub(ACTIONS_MAX);
        let last = (number + ACTIONS_MAX).min(self.log.len());
        self.log[first..last].iter().map(|record| &record["dynamodb"])
    }

    fn take(&mut self, record: Value) {
        let number = self.log.len();
        let part = |image: &Value, name: &str| Some(image[name]["S"].as_str()?.to_owned());
        let change = &record["dynamodb"];
        let key = key_of(&change["Keys"]);
        let image = &change["NewImage"];
        let place = part(image, "gsi1pk").zip(part(image, "gsi1sk"));
        let places = self.places.entry(key).or_default();
        if places.last().map(|(_, last)| last) != Some(&place) {
            places.push((number, place));
        }
        self.log.push(Arc::new(record));
    }

    /// What a query of the index finds that does not know the last `behind` changes: keys as the index keeps them.
    pub fn index_behind(&self, behind: usize, query: &Value) -> Value {
        let known = self.log.len().saturating_sub(behind);
        let values = &query["ExpressionAttributeValues"];
        let partition = values[":partition"]["S"].as_str().expect("a query has a partition");
        let most = values[":sort"]["S"].as_str().expect("a query of the index has a last sort key");
        let limit = query["Limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
        let mut found: Vec<(&str, &Key)> = Vec::new();
        for (key, places) in &self.places {
            let place = places.iter().rev().find(|(number, _)| *number < known);
            if let Some((_, Some((index, sort)))) = place
                && index == partition
                && sort.as_str() <= most
            {
                found.push((sort, key));
            }
        }
        found.sort();
        let item = |(sort, (pk, sk)): (&str, &Key)| json!({"pk": {"S": pk}, "sk": {"S": sk}, "gsi1pk": {"S": partition}, "gsi1sk": {"S": sort}});
        let items: Vec<Value> = found.into_iter().take(limit).map(item).collect();
        json!({"Count": items.len(), "ScannedCount": items.len(), "Items": items})
    }
}

/// Whether a change is one of a request's record, or of its part's with an account.
fn is_record_of(change: &Value, account: &str, request: &str) -> bool {
    let (partition, sort) = key_of(&change["Keys"]);
    let number = request.split_once("#request#").map_or("", |(_, number)| number);
    (partition == request && sort == "REQUEST")
        || (partition == account && sort.strip_prefix("REQUEST#").is_some_and(|rest| rest.ends_with(number)))
}

fn number_in(attribute: &Value) -> Option<u64> {
    attribute["N"].as_str()?.parse().ok()
}

/// What of an item never changes any more: money that has moved, what was said, what was ended.
fn lasting(stored: &Stored) -> Option<String> {
    let fact = match stored.content.as_ref().ok()? {
        Content::Debit(debit) => match &debit.state {
            DebitState::Open => return None,
            state => format!("{state:?}"),
        },
        Content::Movement(movement) => format!("{movement:?}"),
        Content::Refund(refund) => match &refund.state {
            ItemState::Pending { .. } => return None,
            state => format!("{state:?}"),
        },
        Content::Batch(batch) => match batch.state {
            state @ (BatchState::Void | BatchState::Ended { .. }) => format!("{state:?}"),
            _ => return None,
        },
        Content::Application(application) => match &application.state {
            ApplicationState::Requested | ApplicationState::Processing(_) => return None,
            state => format!("{state:?}"),
        },
        Content::Failed { failed, .. } => format!("{failed:?}"),
        Content::Confirmation { confirmation, .. } => format!("{confirmation:?}"),
        _ => return None,
    };
    Some(fact)
}
