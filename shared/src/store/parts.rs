//! A request of many accounts: a part for each, many at the same time.
//!
//! A part is read by itself just before it is written, so that what it decides is fresh, and none waits for
//! another's throttled keys. Where a request is sent again most parts are done: from the moment that shows,
//! those still to come are read together, as many as fit into a call. So what earlier attempts have done costs
//! the next one little of its time.

use std::collections::HashMap;
use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{try_join, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::claim::Claim;
use super::items::{self, Item};
use super::{Executed, Refunds, Session, StoreError, read};
use crate::ledger::{KeyReused, RefundRequest, Snapshot};
use crate::limits;

impl Session {
    /// Refunds the parts of one request, many at the same time: first the leading one, which ties the key to
    /// the request, then the others, each of an account of its own. What became of each, in this order.
    ///
    /// As [`Self::refund`] for each part. None is held up for long by what others meet.
    ///
    /// # Errors
    /// If another request was executed under the key: then nothing is written.
    pub async fn refund_parts(&self, parts: &[RefundRequest]) -> Result<Vec<Refunds>, KeyReused> {
        let Some((leading, others)) = parts.split_first() else { return Ok(Vec::new()) };
        let claim = &Claim::new(leading);
        let mut refunds = self.first_turns(leading, others, claim).await?;

        // Those that met trouble take turns until it is over, or the time is.
        while !self.deadline.has_passed() {
            let mut put_off = Vec::new();
            for (number, (part, refunds)) in parts.iter().zip(&mut refunds).enumerate() {
                if refunds.trouble.as_ref().is_some_and(StoreError::passes) {
                    put_off.push((number, std::mem::replace(refunds, Refunds::undecided(part))));
                }
            }
            if put_off.is_empty() {
                break;
            }
            let turn = |(number, known): (usize, Refunds)| async move {
                let part = parts.get(number).unwrap_or(leading);
                let session = self.with_patience(limits::PART_PATIENCE);
                Ok((number, session.refund_part(part, claim, known, None).await?))
            };
            let mut turns =
                stream::iter(put_off.into_iter().map(turn)).buffer_unordered(limits::PARTS_AT_ONCE);
            while let Some((number, now)) = turns.try_next().await? {
                if let Some(refunds) = refunds.get_mut(number) {
                    *refunds = now;
                }
            }
        }
        Ok(refunds)
    }

    /// Carries out each part, unless it has to be tried again for too long.
    async fn first_turns(
        &self,
        leading: &RefundRequest,
        others: &[RefundRequest],
        claim: &Claim<'_>,
    ) -> Result<Vec<Refunds>, KeyReused> {
        let slots = &Semaphore::new(limits::PARTS_AT_ONCE);
        let was_sent_before = &AtomicBool::new(false);
        let turn = |part, read| async move {
            let _slot = slots.acquire().await;
            let session = self.with_patience(limits::PART_PATIENCE);
            let refunds = session.refund_part(part, claim, Refunds::undecided(part), read).await?;
            let is_done = refunds.verdicts.iter().any(|verdict| verdict.is_executed_by(part));
            if refunds.executed == Executed::No && is_done {
                was_sent_before.store(true, Ordering::Relaxed);
            }
            Ok(refunds)
        };

        let mut next = 0;
        let groups = iter::from_fn(|| {
            let group = next..next + next_group(others.get(next..)?, was_sent_before.load(Ordering::Relaxed));
            next = group.end;
            (!group.is_empty()).then_some(group)
        });
        let carry_out = |group: Range<usize>| async move {
            let parts = others.get(group.clone()).unwrap_or_default();
            let mut read = match parts {
                [_] => HashMap::new(),
                parts => {
                    let patience = limits::GROUP_READ_PATIENCE.min(self.deadline.left() / 2);
                    self.within(patience).read_snapshots(parts).await
                }
            };
            let turns: Vec<_> = parts
                .iter()
                .map(|part| {
                    let account = part.part.as_ref();
                    turn(part, account.and_then(|account| read.remove(account.as_str())))
                })
                .collect();
            Ok((group.start, try_join_all(turns).await?))
        };
        let others =
            stream::iter(groups.map(carry_out)).buffer_unordered(limits::PARTS_AT_ONCE).try_collect();
        let (leading, mut others): (Refunds, Vec<(usize, Vec<Refunds>)>) =
            try_join(turn(leading, None), others).await?;
        others.sort_unstable_by_key(|(start, _)| *start);
        Ok(iter::once(leading).chain(others.into_iter().flat_map(|(_, refunds)| refunds)).collect())
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
fn next_group(parts: &[RefundRequest], was_sent_before: bool) -> usize {
    let account_and_record = 2;
    let mut keys = 0;
    let fit = parts.iter().take_while(|part| {
        keys += part.items.len() + account_and_record;
        was_sent_before && keys <= limits::KEYS_PER_READ_MAX
    });
    fit.count().max(1).min(parts.len())
}
