//! A request of many accounts: a part for each, many at the same time.
//!
//! A part is read by itself just before it is written, so that what it decides is fresh, and none waits for
//! another's throttled keys. Where a request is sent again most parts are done: from the moment that shows,
//! those still to come are read together, as many as fit into a call. However slow the table is, what earlier
//! attempts have done then costs the next one next to nothing.

use std::collections::HashMap;
use std::iter;
use std::ops::Range;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::claim::Claim;
use super::items::{self, Item};
use super::{Refunds, Session, read};
use crate::ledger::{KeyReused, RefundRequest, Snapshot};
use crate::limits;

impl Session {
    /// Refunds the parts of one request, many at the same time: `leading`, which ties the key to the
    /// request, and `others`, each of an account of its own. What became of each, in this order.
    ///
    /// As [`Self::refund`] for each part. None is held up by what another one meets.
    ///
    /// # Errors
    /// If another request was executed under the key: then nothing is written.
    pub async fn refund_parts(
        &self,
        leading: &RefundRequest,
        others: &[RefundRequest],
    ) -> Result<Vec<Refunds>, KeyReused> {
        let claim = &Claim::new(leading);
        let slots = &Semaphore::new(limits::PARTS_AT_ONCE);
        let mut next = 0;
        let groups = iter::from_fn(|| {
            let group = next..next + parts_in_a_group(others.get(next..)?, claim.was_sent_before());
            next = group.end;
            (!group.is_empty()).then_some(group)
        });
        let carry_out = |group: Range<usize>| async move {
            let refunds = self.refund_group(others.get(group.clone()).unwrap_or_default(), claim, slots);
            Ok((group.start, refunds.await?))
        };
        let others =
            stream::iter(groups.map(carry_out)).buffer_unordered(limits::PARTS_AT_ONCE).try_collect();
        let leading = async {
            let _slot = slots.acquire().await;
            self.refund_part(leading, claim, None).await
        };
        let (leading, mut others): (Refunds, Vec<(usize, Vec<Refunds>)>) =
            futures::future::try_join(leading, others).await?;
        others.sort_unstable_by_key(|(start, _)| *start);
        Ok(iter::once(leading).chain(others.into_iter().flat_map(|(_, refunds)| refunds)).collect())
    }

    /// Refunds the parts of a group; if there are several, they are read together.
    async fn refund_group<'a>(
        &self,
        parts: &'a [RefundRequest],
        claim: &Claim<'_>,
        slots: &Semaphore,
    ) -> Result<Vec<Refunds>, KeyReused> {
        let mut read = match parts {
            [_] => HashMap::new(),
            parts => self.read_snapshots(parts).await,
        };
        let with_read = |part: &'a RefundRequest| {
            let account = part.part.as_ref();
            (part, account.and_then(|account| read.remove(account.as_str())))
        };
        let parts: Vec<(&RefundRequest, Option<Snapshot>)> = parts.iter().map(with_read).collect();
        let carry_out = |(part, read)| async move {
            let _slot = slots.acquire().await;
            self.refund_part(part, claim, read).await
        };
        futures::future::try_join_all(parts.into_iter().map(carry_out)).await
    }

    /// What the ledger holds of each part, by its account's path, from one call. A part that the call left
    /// keys of is missing, and so are all where it failed: they read for themselves, in the time there is.
    async fn read_snapshots<'a>(&self, parts: &'a [RefundRequest]) -> HashMap<&'a str, Snapshot> {
        let keys: Vec<Item> = parts.iter().flat_map(read::keys).collect();
        let Ok((found, left)) = self.batch_get(&keys).await else { return HashMap::new() };
        let accounts = parts.iter().filter_map(|part| part.part.as_ref());
        let mut snapshots: HashMap<&str, Snapshot> =
            accounts.map(|account| (account.as_str(), Snapshot::default())).collect();
        for item in &found {
            let account = items::partition(item);
            let taken = snapshots.get_mut(account).map(|snapshot| items::take_in(snapshot, item));
            if let Some(Err(_damaged)) = taken {
                snapshots.remove(account);
            }
        }
        for key in &left {
            snapshots.remove(items::partition(key));
        }
        snapshots
    }
}

/// How many of the next `parts` are read together: one, or, of a request that was sent before, as many as fit
/// into one call.
fn parts_in_a_group(parts: &[RefundRequest], was_sent_before: bool) -> usize {
    let account_and_record = 2;
    let mut keys = 0;
    let fit = parts.iter().take_while(|part| {
        keys += part.items.len() + account_and_record;
        was_sent_before && keys <= limits::KEYS_PER_READ_MAX
    });
    fit.count().max(1).min(parts.len())
}
