//! Lists of batches of refunds: an app's, month by month.

use super::items::Reader;
use super::refund_batch_items as batch_items;
use super::refund_batches::months;
use super::{Session, StoreError};
use crate::ledger::{BatchState, RefundBatch, RefundBatchId, TenantKey};

/// Batches by their ids, the first and the last included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRange {
    pub least: RefundBatchId,
    pub most: RefundBatchId,
}

/// A part of a list, as it is being read.
struct Page {
    /// Batches that are still to be passed over.
    skipped: usize,
    count_max: usize,
    batches: Vec<RefundBatch>,
}

impl Page {
    /// How many more batches are to be read.
    fn wanted(&self) -> usize {
        self.skipped + self.count_max - self.batches.len()
    }

    fn take(&mut self, batch: RefundBatch) {
        match self.skipped.checked_sub(1) {
            Some(left) => self.skipped = left,
            None => self.batches.push(batch),
        }
    }
}

impl Session {
    /// An app's batches within a range that have been created, the latest first or the earliest: so many at most, after
    /// as many as are skipped.
    pub async fn batches(
        &self,
        tenant: &TenantKey,
        range: &BatchRange,
        latest_first: bool,
        skipped: usize,
        count_max: usize,
    ) -> Result<Vec<RefundBatch>, StoreError> {
        let mut page = Page { skipped, count_max, batches: Vec::new() };
        // Nothing is between the bounds, and DynamoDB would refuse to look.
        if range.least > range.most {
            return Ok(page.batches);
        }
        for month in self.months_within(tenant, range, latest_first).await? {
            self.batches_of_month(tenant, &month, range, latest_first, &mut page).await?;
            if page.wanted() == 0 {
                break;
            }
        }
        Ok(page.batches)
    }

    /// All batches of an app, those too that were not created; not of one moment.
    pub async fn every_batch(&self, tenant: &TenantKey) -> Result<Vec<RefundBatch>, StoreError> {
        let mut batches = Vec::new();
        let item = self.read_item(batch_items::months_key(tenant)).await?;
        for month in item.map(|item| months(&item)).unwrap_or_default() {
            for item in self.read_partition(&tenant.batches(&month)).await? {
                batches.push(Reader::new(&item).batch()?);
            }
        }
        Ok(batches)
    }

    async fn months_within(
        &self,
        tenant: &TenantKey,
        range: &BatchRange,
        latest_first: bool,
    ) -> Result<Vec<String>, StoreError> {
        let item = self.read_item(batch_items::months_key(tenant)).await?;
        let mut months = item.map(|item| months(&item)).unwrap_or_default();
        months.retain(|month| (range.least.month()..=range.most.month()).contains(&month.as_str()));
        months.sort();
        if latest_first {
            months.reverse();
        }
        Ok(months)
    }

    async fn batches_of_month(
        &self,
        tenant: &TenantKey,
        month: &str,
        range: &BatchRange,
        latest_first: bool,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        let partition = tenant.batches(month);
        let between = Some((range.least.as_str(), range.most.as_str()));
        let mut start = None;
        loop {
            // Those that are not created are passed over, so that a page may bring fewer.
            let count = page.wanted();
            let (items, next) = self
                .until_answered(|| {
                    self.read_page(&partition, latest_first, between, Some(count), start.clone())
                })
                .await?;
            for item in items {
                let batch = Reader::new(&item).batch()?;
                if !matches!(batch.state, BatchState::Creating | BatchState::Void) {
                    page.take(batch);
                }
            }
            start = next;
            if start.is_none() || page.wanted() == 0 {
                return Ok(());
            }
        }
    }
}
