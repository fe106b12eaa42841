//! Tombstones: what stands in a debit's place whose refund was asked for before it came. A caller is told that a debit
//! is not there only once its tombstone is: from then on it can't be taken, so nothing is left to be refunded.

use futures::{StreamExt, TryStreamExt, stream};

use super::claim::Claim;
use super::error::Stop;
use super::items::{self, Item};
use super::{Refunds, Session};
use crate::clock;
use crate::ledger::{DebitKey, RefundRequest, Snapshot, tombstones_due};
use crate::limits;
use crate::mutants::{self, Decision};

impl Session {
    /// Puts the tombstones that the verdicts of a request need. Debits that came in the place of one meanwhile are
    /// returned: decide again with them.
    ///
    /// # Errors
    /// If not all could be put, or the request's key is another's. What has none yet is due again, and not refused.
    pub(super) async fn put_tombstones(
        &self,
        request: &RefundRequest,
        claim: &Claim<'_>,
        refunds: &mut Refunds,
        snapshot: &mut Snapshot,
    ) -> Result<Vec<Item>, Stop> {
        let at = clock::unix_now();
        let due = tombstones_due(request, snapshot, &refunds.verdicts, at);
        if due.is_empty() || mutants::is_on(Decision::NoTombstones) {
            return Ok(Vec::new());
        }
        let put = self.put_each(request, claim, &due, snapshot, at).await;
        if put.is_err() {
            refunds.reopen_without_tombstone(request, snapshot, at);
        }
        put
    }

    async fn put_each(
        &self,
        request: &RefundRequest,
        claim: &Claim<'_>,
        due: &[&DebitKey],
        snapshot: &mut Snapshot,
        at: u64,
    ) -> Result<Vec<Item>, Stop> {
        let at_once = match request.part {
            None => limits::PARTS_AT_ONCE,
            Some(_) => {
                claim.check(self).await?;
                limits::TOMBSTONES_AT_ONCE
            }
        };
        let put = |debit: DebitKey| async move {
            let there = self.put_unless_debit(items::tombstone_item(&debit, at)).await?;
            Ok::<_, Stop>((debit, there))
        };
        let due: Vec<DebitKey> = due.iter().map(|debit| (*debit).clone()).collect();
        let mut puts = stream::iter(due.into_iter().map(put)).buffer_unordered(at_once);
        let mut came = Vec::new();
        while let Some((debit, there)) = puts.try_next().await? {
            match there {
                None => {
                    snapshot.tombstones.insert(debit, at);
                }
                Some(item) => came.push(item),
            }
        }
        Ok(came)
    }
}
