//! The table's changes in their order, from its stream; and the index as it was some changes ago, for reads that are a
//! moment behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::embedded::{Embedded, Key, key_of};

#[derive(Default)]
pub struct Changes {
    /// As events have them.
    pub log: Vec<Arc<Value>>,
    next: Option<String>,
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

    /// Items that count their changes have counted each of them; and a record that is of one request is of no other later.
    /// What is wrong with that.
    pub fn miscounted(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for record in self.log.iter().filter(|record| record["eventName"] == "MODIFY") {
            let change = &record["dynamodb"];
            let (old, new, key) = (&change["OldImage"], &change["NewImage"], &change["Keys"]);
            let count =
                |image: &Value| image["version"]["N"].as_str().and_then(|count| count.parse::<u64>().ok());
            if let (Some(before), Some(now)) = (count(old), count(new))
                && now != before + 1
            {
                wrong.push(format!("{key} had version {before}, and then {now}"));
            }
            if key["sk"]["S"] == "REQUEST" && old["fingerprint"] != new["fingerprint"] {
                wrong.push(format!("{key} was one request's, and then another's"));
            }
        }
        wrong
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
