//! Settling batches of refunds: taken on by one at a time, each refund decided once, the money of failed ones given
//! back, the batch ended.

use std::collections::HashMap;

use super::change::{Change, Changed, PutCondition};
use super::deadline::Backoff;
use super::items::{self, Item, Reader};
use super::refund_batch_items as batch_items;
use super::refund_batches::{Stuck, missing_hold};
use super::transact::{Action, Transacted};
use super::{Session, StoreError};
use crate::clock;
use crate::ledger::{
    BatchEnd, BatchItem, BatchState, FundsPosting, ItemRefund, ItemState, RefundBatch, RefundId,
};
use crate::mutants::{self, Decision};

/// That a batch is ours to settle, for a while.
#[derive(Debug)]
pub struct Taken(String);

/// What became of settling one refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// As was said, now or before.
    AsSaid,
    /// It was decided otherwise before, and stays so.
    Otherwise(ItemRefund),
}

impl Session {
    /// Takes a batch on: from now on payment channels may have been asked, and until then (Unix milliseconds) nobody
    /// else asks them for this batch. Nothing if another has it.
    pub async fn take_on(
        &self,
        batch: &mut RefundBatch,
        now: u64,
        until: u64,
    ) -> Result<Option<Taken>, StoreError> {
        let taken = Taken(format!("{:016x}", fastrand::u64(..)));
        let change = Change {
            key: batch_items::batch_key(&batch.key),
            expression: "SET #state = :settling, takenUntil = :until, takenBy = :by, gsi1sk = :sort",
            condition: Some(
                "#state IN (:created, :settling) AND (attribute_not_exists(takenUntil) OR takenUntil < :now)",
            ),
            name: Some(("#state", "state".to_owned())),
            values: Item::from([
                items::text(":created", batch_items::CREATED),
                items::text(":settling", batch_items::SETTLING),
                items::number(":now", now),
                items::number(":until", until),
                items::text(":by", &taken.0),
                items::text(":sort", &batch_items::open_sort(&batch.key, until)),
            ]),
        };
        let is_ours = match self.change(&change).await? {
            Changed::Done => true,
            // An earlier attempt of this very change, whose answer was lost.
            Changed::Refused(Some(item)) => {
                Reader::new(&item).optional_text("takenBy")?.as_ref() == Some(&taken.0)
            }
            Changed::Refused(None) => false,
        } || mutants::is_on(Decision::EverybodyHasTakenOn);
        if is_ours {
            batch.state = BatchState::Settling;
        }
        Ok(is_ours.then_some(taken))
    }

    /// What is on record of a batch's refunds, by their ids.
    pub async fn refunds_of(&self, batch: &RefundBatch) -> Result<HashMap<RefundId, ItemRefund>, StoreError> {
        let key = |item: &BatchItem| batch_items::refund_key(&batch.charge_key(item), &item.refund);
        let mut refunds = HashMap::new();
        for item in self.read_items(batch.items.iter().map(key).collect()).await? {
            let refund = Reader::new(&item).item_refund()?;
            refunds.insert(refund.id.clone(), refund);
        }
        Ok(refunds)
    }

    /// Records what a payment channel said of one refund, once: with success its charge is refunded, with failure
    /// what was held of it is free. The money of failed ones goes back by [`Self::give_back`].
    pub async fn settle(
        &self,
        batch: &RefundBatch,
        item: &BatchItem,
        state: ItemState,
    ) -> Result<Settled, StoreError> {
        if !matches!(batch.state, BatchState::Settling | BatchState::Ended { .. }) {
            return Err(StoreError::Refused(format!("batch {} is not being settled", batch.key.id)));
        }
        let charge = batch.charge_key(item);
        let refund = ItemRefund {
            id: item.refund.clone(),
            charge,
            batch: batch.key.id.clone(),
            amount: item.amount,
            state,
            contradiction: None,
        };
        let put = batch_items::refund_item(&refund);
        let mut backoff = Backoff::default();
        let mut stuck = Stuck::default();
        loop {
            let mut actions: Vec<Action> =
                vec![(self.put_action_if(&put, Some(PutCondition::absent_or_pending()))?, put.clone())];
            match refund.state {
                ItemState::Pending { .. } => {}
                ItemState::Succeeded { .. } => actions.push(self.release(batch, item, true)?),
                ItemState::Failed { .. } => actions.push(self.release(batch, item, false)?),
            }
            let step = self.transact(actions).await?;
            if let Transacted::Done = step {
                if let (ItemState::Succeeded { .. }, Some(currency)) = (&refund.state, &batch.currency) {
                    self.count_refund(currency, item.amount.value().into());
                }
                return Ok(Settled::AsSaid);
            }
            let recorded = self.read_item(batch_items::refund_key(&refund.charge, &refund.id)).await?;
            if let Some(recorded) = recorded {
                let recorded = Reader::new(&recorded).item_refund()?;
                match (&recorded.state, &refund.state) {
                    (ItemState::Succeeded { .. }, ItemState::Succeeded { .. })
                    | (ItemState::Failed { .. }, ItemState::Failed { .. })
                    | (ItemState::Pending { .. }, ItemState::Pending { .. }) => return Ok(Settled::AsSaid),
                    (ItemState::Pending { .. }, _) => {}
                    _ => return Ok(Settled::Otherwise(recorded)),
                }
            }
            stuck.check(&step, 1).map_err(|position| missing_hold(batch, position))?;
            let cause = match step {
                Transacted::Unknown(cause) => cause,
                Transacted::Done | Transacted::Cancelled(_) => {
                    "others were writing to the same items".to_owned()
                }
            };
            if !backoff.pause_after_race(self).await {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
        }
    }

    /// Puts on record that a payment channel later said otherwise than it had: for people to look into.
    pub async fn note_contradiction(&self, refund: &ItemRefund, said: &str) -> Result<(), StoreError> {
        let change = Change {
            key: batch_items::refund_key(&refund.charge, &refund.id),
            expression: "SET contradiction = if_not_exists(contradiction, :said)",
            condition: Some("attribute_exists(batchId)"),
            name: None,
            values: Item::from([items::text(":said", said)]),
        };
        self.change(&change).await.map(|_| ())
    }

    /// Gives back the money of `failed` refunds that was not given back before, in one posting for each account; and
    /// ends the batch, if all its refunds are decided. The batch as it is then.
    pub async fn give_back(
        &self,
        batch: &RefundBatch,
        end: Option<BatchEnd>,
        failed: &[&BatchItem],
    ) -> Result<RefundBatch, StoreError> {
        let mut backoff = Backoff::default();
        let mut batch = batch.clone();
        loop {
            let at = clock::unix_now();
            let due: Vec<&BatchItem> =
                failed.iter().copied().filter(|item| !batch.has_given_back(&item.refund)).collect();
            if due.is_empty() && end.is_none() {
                return Ok(batch);
            }
            let accounts = if due.is_empty() { HashMap::new() } else { self.funds_of(&batch).await? };
            let given = batch.give_back(due.iter().copied(), &accounts, at);
            let (given, accounts) = given.map_err(|error| self.damaged_funds(&batch, &error))?;
            let state = end.map_or(BatchState::Settling, |end| BatchState::Ended { end, at });
            let releases: Vec<FundsPosting> = batch.releases.iter().cloned().chain(given).collect();
            let next = RefundBatch { state, releases, ..batch.clone() };
            let change = Change {
                key: batch_items::batch_key(&batch.key),
                expression: match end {
                    Some(_) => {
                        "SET #state = :next, endedAt = :at, releases = :releases REMOVE gsi1pk, gsi1sk, takenUntil, takenBy"
                    }
                    None => "SET #state = :next, releases = :releases",
                },
                condition: Some("#state = :settling AND size(releases) = :count"),
                name: Some(("#state", "state".to_owned())),
                values: Item::from_iter(
                    [
                        items::text(":settling", batch_items::SETTLING),
                        items::text(":next", batch_items::state_name(next.state)),
                        items::number(":count", batch.releases.len()),
                        (":releases".to_owned(), batch_items::funds_value(&next.releases)),
                    ]
                    .into_iter()
                    .chain(end.map(|_| items::number(":at", at))),
                ),
            };
            let item = batch_items::batch_item(&next, 0);
            let mut actions: Vec<Action> = vec![(change.action(self.store.table())?, item)];
            for (read, account) in &accounts {
                actions.push(self.move_account(*read, account)?);
            }
            let cause = match self.transact(actions).await? {
                Transacted::Done => return Ok(next),
                Transacted::Cancelled(_) => "others were writing to the same items".to_owned(),
                Transacted::Unknown(cause) => cause,
            };
            match self.batch(&batch.key).await? {
                Some(now) if matches!(now.state, BatchState::Ended { .. }) => return Ok(now),
                _ if !backoff.pause_after_race(self).await => {
                    return Err(StoreError::DeadlinePassed { cause: Some(cause) });
                }
                Some(now) => batch = now,
                None => {}
            }
        }
    }

    /// Lets go of a batch that was taken on, and leaves it alone until then (Unix milliseconds). If another has it by
    /// now, it keeps it.
    pub async fn postpone(&self, batch: &RefundBatch, taken: &Taken, until: u64) -> Result<(), StoreError> {
        let change = Change {
            key: batch_items::batch_key(&batch.key),
            expression: "SET gsi1sk = :until REMOVE takenUntil, takenBy",
            condition: Some("takenBy = :by"),
            name: None,
            values: Item::from([
                items::text(":by", &taken.0),
                items::text(":until", &batch_items::open_sort(&batch.key, until)),
            ]),
        };
        match self.change(&change).await? {
            Changed::Done | Changed::Refused(_) => Ok(()),
        }
    }
}
