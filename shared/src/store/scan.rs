//! Reading the whole table, page by page: for whoever checks it, and adds it up. No function does.

use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, TableDescription};
use futures::future::BoxFuture;

use super::attribute::{PARTITION_KEY, SORT_KEY};
use super::error::CallFailure;
use super::items::{self, Item};
use super::meter::{CountAttempts, milliunits};
use super::stored::Stored;
use super::{Session, StoreError};

/// What one call has read.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<Stored>,
    /// Where the segment goes on; none where it has ended.
    pub next: Option<String>,
    /// In thousandths of a read unit.
    pub read_milliunits: u64,
}

impl Session {
    /// A page of one of `segments` parts of the table, from its beginning or from where a page said that it goes on; so
    /// many items at most. What is read is as it was at that moment, and no two pages are of the same.
    pub fn scan<'a>(
        &'a self,
        segment: u32,
        segments: u32,
        count_max: u32,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            let start = from.map(position).transpose()?;
            // The whole is no part: some who stand in for DynamoDB sort all of the table for each page of one.
            let part = |number: u32| i32::try_from(number).ok().filter(|_| segments > 1);
            self.until_answered(|| async {
                let call = self
                    .store
                    .client
                    .scan()
                    .table_name(self.store.table())
                    .set_segment(part(segment))
                    .set_total_segments(part(segments))
                    .limit(i32::try_from(count_max).unwrap_or(i32::MAX))
                    .set_exclusive_start_key(start.clone())
                    .consistent_read(true)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .customize()
                    .interceptor(CountAttempts(self.meter.clone()));
                let answer = self.in_time(call.send()).await??;
                self.meter.read(answer.consumed_capacity());
                Ok(Page {
                    items: answer.items().iter().map(Stored::of).collect(),
                    next: answer.last_evaluated_key().map(position_text),
                    read_milliunits: milliunits(answer.consumed_capacity()),
                })
            })
            .await
        })
    }

    /// About how many items the table has: DynamoDB counts them every few hours.
    ///
    /// # Errors
    /// If there is no such table, or it may not be asked about.
    pub async fn count_items(&self) -> Result<u64, StoreError> {
        let count = self.described().await?.item_count().unwrap_or_default();
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// What tells the table from all others, one of the same name included that was there before.
    ///
    /// # Errors
    /// If there is no such table, or it may not be asked about.
    pub async fn identity(&self) -> Result<String, StoreError> {
        let table = self.described().await?;
        let created = table.creation_date_time().map(|at| at.as_nanos()).unwrap_or_default();
        Ok(format!("{} {created}", table.table_id().unwrap_or_default()))
    }

    async fn described(&self) -> Result<TableDescription, StoreError> {
        self.until_answered(|| async {
            let call = self.store.client.describe_table().table_name(self.store.table());
            let described = self.in_time(call.send()).await??;
            described.table.ok_or_else(|| CallFailure::Final(StoreError::Refused("no table".to_owned())))
        })
        .await
    }

    /// The item under a key, as it is now; with all that has changed together with it, for whoever reads that next.
    pub async fn stored(&self, partition: &str, sort: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.read_item_at_once(items::key(partition, sort)).await?.map(|item| Stored::of(&item)))
    }

    /// A page of a partition's items, as they are now, from its beginning or from where a page said that it goes on.
    pub async fn stored_page(&self, partition: &str, from: Option<&str>) -> Result<Page, StoreError> {
        let start = from.map(position).transpose()?;
        let before = self.usage().read_milliunits;
        let (items, next) =
            self.until_answered(|| self.read_page(partition, false, None, None, start.clone())).await?;
        Ok(Page {
            items: items.iter().map(Stored::of).collect(),
            next: next.as_ref().map(position_text),
            read_milliunits: self.usage().read_milliunits - before,
        })
    }

    /// All items of a partition, as they are now; not of one moment if there are many.
    pub async fn stored_partition(&self, partition: &str) -> Result<Vec<Stored>, StoreError> {
        Ok(self.read_partition(partition).await?.iter().map(Stored::of).collect())
    }
}

fn position(text: &str) -> Result<Item, StoreError> {
    let keys: Result<(String, String), _> = serde_json::from_str(text);
    let (partition, sort) = keys.map_err(|error| StoreError::Refused(format!("not a position: {error}")))?;
    Ok(items::key(&partition, &sort))
}

fn position_text(key: &Item) -> String {
    let part = |name: &str| key.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    serde_json::json!([part(PARTITION_KEY), part(SORT_KEY)]).to_string()
}
