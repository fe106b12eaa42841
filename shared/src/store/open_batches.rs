//! Batches that have not ended: which are due, and which one has a refund.

use futures::future::try_join_all;

use super::change::Change;
use super::items::{self, Item, Reader};
use super::refund_batch_items as batch_items;
use super::{Session, StoreError};
use crate::ledger::{RefundBatch, RefundBatchKey, RefundId};
use crate::limits;

/// The last moment that the index of open batches can tell, in Unix milliseconds.
const LAST_MILLISECOND: u64 = 999_999_999_999_999;

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    Here(T),
    Nowhere,
    /// Not in what was searched, and there is more.
    NotInSearched,
}

impl Session {
    /// Leaves alone until then (Unix milliseconds) a batch that can't be worked on, unless another has it now: others
    /// come before it.
    pub async fn put_off(&self, key: &RefundBatchKey, now: u64, until: u64) -> Result<(), StoreError> {
        let change = Change {
            key: batch_items::batch_key(key),
            expression: "SET gsi1sk = :until",
            condition: Some(
                "attribute_exists(gsi1pk) AND (attribute_not_exists(takenUntil) OR takenUntil < :now)",
            ),
            name: None,
            values: Item::from([
                items::number(":now", now),
                items::text(":until", &batch_items::open_sort(key, until)),
            ]),
        };
        self.change(&change).await.map(|_| ())
    }

    /// Open batches that are to be brought on by now (Unix milliseconds), the longest waiting first; about so many at
    /// most. From the index, which is a moment behind.
    pub async fn open_batches(&self, now: u64, count_max: usize) -> Result<Vec<RefundBatchKey>, StoreError> {
        let of_shard = count_max.div_ceil(batch_items::OPEN_SHARDS as usize);
        let shards = (0..batch_items::OPEN_SHARDS).map(|shard| async move {
            let partition = batch_items::open_partition(shard);
            self.query_index(&partition, &format!("{now:015}~"), of_shard).await
        });
        let mut due: Vec<(String, RefundBatchKey)> = Vec::new();
        for item in try_join_all(shards).await?.into_iter().flatten() {
            due.extend(batch_items::open_batch(&item));
        }
        due.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(due.into_iter().map(|(_, key)| key).collect())
    }

    /// All open batches, the longest waiting first; where there are more than so many, more than so many of them. From
    /// the index, which is a moment behind.
    pub async fn all_open_batches(&self, count_max: usize) -> Result<Vec<RefundBatchKey>, StoreError> {
        // A shard may have all of them.
        let of_all_shards = (count_max + 1) * batch_items::OPEN_SHARDS as usize;
        self.open_batches(LAST_MILLISECOND, of_all_shards).await
    }

    /// The batch that has a refund, found by the refund's id alone. One of which no payment channel has said anything
    /// is looked for in open batches, up to [`limits::OPEN_BATCHES_SEARCHED_MAX`].
    pub async fn batch_of_refund(&self, refund: &RefundId) -> Result<Found<RefundBatch>, StoreError> {
        let has = |batch: &RefundBatch| batch.items.iter().any(|item| item.refund == *refund);
        for key in self.query_index(&batch_items::refund_partition(refund), "~", 1).await? {
            let key = items::key(items::partition(&key), &batch_items::refund_sort(refund));
            let Some(item) = self.read_item(key).await? else { continue };
            let refund = Reader::new(&item).item_refund()?;
            let key = RefundBatchKey { tenant: refund.charge.tenant, id: refund.batch };
            return Ok(self.batch(&key).await?.filter(has).map_or(Found::Nowhere, Found::Here));
        }
        let open = self.open_batches(LAST_MILLISECOND, limits::OPEN_BATCHES_SEARCHED_MAX).await?;
        for keys in open.chunks(limits::KEYS_PER_READ_MAX) {
            for item in self.read_items(keys.iter().map(batch_items::batch_key).collect()).await? {
                let batch = Reader::new(&item).batch()?;
                if has(&batch) {
                    return Ok(Found::Here(batch));
                }
            }
        }
        // A shard may have had more than its share.
        let is_whole = open.len() < limits::OPEN_BATCHES_SEARCHED_MAX / batch_items::OPEN_SHARDS as usize;
        Ok(if is_whole { Found::Nowhere } else { Found::NotInSearched })
    }
}
