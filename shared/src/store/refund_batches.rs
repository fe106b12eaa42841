//! Carrying out batches of refunds, step by step: every step is one write, bound to the state it starts from, so that
//! it is safe to take it again at any time and from several places at once.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;

use super::attribute::SORT_KEY;
use super::change::Change;
use super::deadline::Backoff;
use super::items::{self, Item, Reader};
use super::refund_batch_items as batch_items;
use super::transact::{Action, Condition, Transacted};
use super::{ChargeChange, Creation, Executed, Session, StoreError};
use crate::clock;
use crate::ledger::{
    Account, AskedCharge, BatchItem, BatchRefusal, BatchRequest, BatchSnapshot, BatchState, Charge, ChargeId,
    ChargeKey, ChargeProblem, Created, Creating, FundingSource, Hold, ItemRefund, Plan, RefundBatch,
    RefundBatchId, RefundBatchKey, TenantKey, decide_batch,
};
use crate::limits;
use crate::mutants::{self, Decision};

/// What became of a request for a batch.
#[derive(Debug)]
pub struct BatchAccepted {
    /// Whether this attempt moved money.
    pub executed: Executed,
    pub result: Result<Result<RefundBatch, BatchRefusal>, StoreError>,
}

impl Session {
    /// Records a charge.
    pub async fn create_charge(&self, charge: &Charge) -> Result<Creation<Charge>, StoreError> {
        match self.put_new(batch_items::charge_item(charge)).await? {
            None => Ok(Creation::Created),
            Some(existing) => Ok(Creation::Existing(Reader::new(&existing).charge()?)),
        }
    }

    /// Records a charge; one that is on record as not paid, as paid.
    pub async fn record_charge(&self, charge: &Charge) -> Result<ChargeChange, StoreError> {
        loop {
            let Creation::Existing(there) = self.create_charge(charge).await? else {
                return Ok(ChargeChange::Created);
            };
            let Some(paid) = there.paid_as(charge) else {
                return Ok(there.difference(charge).map_or(ChargeChange::Unchanged, ChargeChange::Different));
            };
            // Otherwise others have changed it meanwhile, or an attempt whose answer was lost has.
            if self.replace_if_version(batch_items::charge_item(&paid), there.version).await? {
                return Ok(ChargeChange::Paid);
            }
        }
    }

    /// A charge, if there is such a charge.
    pub async fn charge(&self, charge: &ChargeKey) -> Result<Option<Charge>, StoreError> {
        let item = self.read_item(batch_items::charge_key(charge)).await?;
        item.map(|item| Reader::new(&item).charge()).transpose()
    }

    /// A charge with its refunds on record, if there is such a charge.
    pub async fn charge_history(
        &self,
        charge: &ChargeKey,
    ) -> Result<Option<(Charge, Vec<ItemRefund>)>, StoreError> {
        let (mut found, mut refunds) = (None, Vec::new());
        for item in self.read_partition(&charge.path()).await? {
            let reader = Reader::new(&item);
            match reader.text(SORT_KEY)?.starts_with(batch_items::REFUND_PREFIX) {
                true => refunds.push(reader.item_refund()?),
                false => found = Some(reader.charge()?),
            }
        }
        Ok(found.map(|charge| (charge, refunds)))
    }

    /// An app's account, if it has one for this.
    pub async fn funds(
        &self,
        tenant: &TenantKey,
        source: FundingSource,
    ) -> Result<Option<Account>, StoreError> {
        let item = self.read_item(items::account_key(&batch_items::funds_key(tenant, source))).await?;
        item.map(|item| Reader::new(&item).account()).transpose()
    }

    /// Accepts `request` whole, or not at all; accepted before, it is the batch as it is. `new` makes an id for a new
    /// batch, and its time.
    ///
    /// One round of reads and one transaction for up to 96 charges, one transaction more for up to 100. Safe to call
    /// again with the same at any time, and from several processes at once.
    pub async fn create_batch(
        &self,
        request: &BatchRequest,
        new: impl Fn() -> Option<Created>,
    ) -> BatchAccepted {
        let mut tried = HashSet::new();
        let result = self.accept(request, new, &mut tried).await;
        let executed = match &result {
            Ok(Ok(batch)) if tried.contains(&batch.key.id) => Executed::Yes,
            Err(_) if !tried.is_empty() => Executed::Unknown,
            _ => Executed::No,
        };
        BatchAccepted { executed, result }
    }

    async fn accept(
        &self,
        request: &BatchRequest,
        new: impl Fn() -> Option<Created>,
        tried: &mut HashSet<RefundBatchId>,
    ) -> Result<Result<RefundBatch, BatchRefusal>, StoreError> {
        let mut backoff = Backoff::default();
        loop {
            let snapshot = batch_snapshot(request, &self.read_items(snapshot_keys(request)).await?)?;
            let created = new().ok_or_else(|| StoreError::Refused("the clock shows no time".to_owned()))?;
            let (accepted, otherwise) = match decide_batch(request, &snapshot, &created) {
                Creating::Refused(refusal) => {
                    match self.stands(request, &snapshot, &refusal, &created).await? {
                        true => return Ok(Err(refusal)),
                        false => (None, "others were writing to the same items".to_owned()),
                    }
                }
                Creating::Wait { batches, refusal } => {
                    let is_held = !self.bring_all_on(request, batches).await?;
                    match is_held && self.stands(request, &snapshot, &refusal, &created).await? {
                        true => return Ok(Err(refusal)),
                        false => (None, "others held some of the charges".to_owned()),
                    }
                }
                Creating::Replay(id) => {
                    let key = RefundBatchKey { tenant: request.tenant.clone(), id };
                    (self.bring_on(&key).await?, "the batch of this number is being taken back".to_owned())
                }
                Creating::Create(plan) => {
                    if !snapshot.months.contains(plan.batch.key.id.month()) {
                        self.name_month(&plan.batch.key).await?;
                    }
                    tried.insert(plan.batch.key.id.clone());
                    match (self.put_batch(&plan).await?, plan.batch.state) {
                        (Transacted::Done, BatchState::Created) => return Ok(Ok(plan.batch)),
                        (Transacted::Done, _) => match self.hold_rest(&plan).await? {
                            Some(batch) => return Ok(Ok(batch)),
                            None => (
                                self.bring_on(&plan.batch.key).await?,
                                "others took some of the charges".to_owned(),
                            ),
                        },
                        (Transacted::Cancelled(_), _) => {
                            (None, "others were writing to the same items".to_owned())
                        }
                        (Transacted::Unknown(cause), _) => (None, cause),
                    }
                }
            };
            match accepted {
                Some(batch) if batch.state != BatchState::Void => return Ok(Ok(batch)),
                _ if backoff.pause_after_race(self).await => {}
                _ => return Err(StoreError::DeadlinePassed { cause: Some(otherwise) }),
            }
        }
    }

    /// Whether a refusal is true now. What it was read from is not of one moment: the very batch that is asked for
    /// may have been committed in between, and its guard with it; what is left of the charges and what the funds hold may
    /// never have been so together; and the number's batch may never come to be.
    async fn stands(
        &self,
        request: &BatchRequest,
        snapshot: &BatchSnapshot,
        refusal: &BatchRefusal,
        created: &Created,
    ) -> Result<bool, StoreError> {
        if mutants::is_on(Decision::BatchRefusalIsNotReadAgain) {
            return Ok(true);
        }
        if let (BatchRefusal::BatchNoReused, Some((id, _))) = (refusal, &snapshot.guard) {
            let key = RefundBatchKey { tenant: request.tenant.clone(), id: id.clone() };
            let batch = self.bring_on(&key).await?;
            return Ok(batch.is_some_and(|batch| batch.state != BatchState::Void));
        }
        if let BatchRefusal::InsufficientFunds { source } = refusal
            && !mutants::is_on(Decision::LackOfFundsIsNotReadAgain)
        {
            let (keys, at_a_time) = (snapshot_keys(request), limits::actions_per_transaction());
            let is_of_one_moment = keys.len() <= at_a_time;
            let later = batch_snapshot(request, &self.read_in_transactions(keys, at_a_time).await?)?;
            let is_so = if is_of_one_moment {
                let again = decide_batch(request, &later, created);
                matches!(again, Creating::Refused(again) if again == *refusal)
            } else {
                later.guard.is_none() && later.has_the_same_money(snapshot, *source)
            };
            if !is_so {
                return Ok(false);
            }
            if !self.outdate_first_transactions(request, snapshot).await? {
                return Ok(true);
            }
        } else {
            self.outdate_first_transactions(request, snapshot).await?;
        }
        // What is left of a charge may be more than a plain read shows: somebody may have been told so.
        let of_charge = match refusal {
            BatchRefusal::Charge {
                position,
                problem: ChargeProblem::FullyRefunded | ChargeProblem::AboveRefundable { .. },
            } if !mutants::is_on(Decision::WhatIsLeftIsNotReadAgain) => request.items.get(*position),
            _ => None,
        };
        let mut keys = vec![batch_items::guard_key(&request.tenant, &request.batch_no)];
        keys.extend(of_charge.map(|item| charge_key(request, item)));
        let later = batch_snapshot(request, &self.read_at_once(keys).await?)?;
        let left_of =
            |item: &AskedCharge| later.refundable(&item.charge) == snapshot.refundable(&item.charge);
        Ok(later.guard.is_none() && of_charge.is_none_or(left_of))
    }

    /// Makes first transactions of a request come to nothing that are on their way, of this call or of one before it, and
    /// whose batch would then be brought on; whether there can be any. One that holds all of its charges is bound to all
    /// that a refusal is for, and needs none of this.
    async fn outdate_first_transactions(
        &self,
        request: &BatchRequest,
        snapshot: &BatchSnapshot,
    ) -> Result<bool, StoreError> {
        let is_held_at_once = request.items.len() <= limits::charges_held_at_once();
        // Charges stay: where the first one is not there, nobody has ever found it.
        let first = request.items.first().and_then(|item| snapshot.charges.get(&item.charge));
        let Some(first) = first.filter(|_| !is_held_at_once) else { return Ok(false) };
        if mutants::is_on(Decision::LateBatchIsNotOutdated) {
            return Ok(true);
        }
        let change = Change {
            key: batch_items::charge_key(&first.key),
            expression: "SET version = version + :one",
            condition: None,
            name: None,
            values: Item::from([items::number(":one", 1)]),
        };
        self.change(&change).await?;
        Ok(true)
    }

    /// Brings on those of `batches` that are being created; whether any of them no longer holds what it held, or
    /// never will.
    async fn bring_all_on(
        &self,
        request: &BatchRequest,
        batches: Vec<RefundBatchId>,
    ) -> Result<bool, StoreError> {
        let mut has_moved = false;
        for id in batches {
            let key = RefundBatchKey { tenant: request.tenant.clone(), id };
            let state = self.batch(&key).await?.map(|batch| batch.state);
            if state == Some(BatchState::Creating) {
                self.bring_on(&key).await?;
            }
            has_moved |= !matches!(state, Some(BatchState::Created | BatchState::Settling));
        }
        Ok(has_moved)
    }

    /// Puts a batch's month on record before the batch: the first of a month does.
    async fn name_month(&self, batch: &RefundBatchKey) -> Result<(), StoreError> {
        if mutants::is_on(Decision::MonthIsNotNamed) {
            return Ok(());
        }
        let months = AttributeValue::Ss(vec![batch.id.month().to_owned()]);
        let change = Change {
            key: batch_items::months_key(&batch.tenant),
            expression: "ADD months :months",
            // It is put on record again or for the first time.
            condition: None,
            name: None,
            values: Item::from([(":months".to_owned(), months)]),
        };
        self.change(&change).await.map(|_| ())
    }

    /// The batch with its guard, the money it takes, and its first holds: all or nothing.
    async fn put_batch(&self, plan: &Plan) -> Result<Transacted, StoreError> {
        let batch = &plan.batch;
        let item = batch_items::batch_item(batch, batch.at);
        let guard = batch_items::guard_item(batch);
        let mut actions: Vec<Action> =
            vec![(self.put_action(&item)?, item), (self.put_action(&guard)?, guard)];
        for (read, account) in &plan.accounts {
            actions.push(self.move_account(*read, account)?);
        }
        for (item, version) in batch.first_items().iter().zip(&plan.versions) {
            actions.push(self.hold(batch, item, *version)?);
        }
        self.transact(actions).await
    }

    /// The second transaction, by what was read for the first one; nothing if it did not come through.
    async fn hold_rest(&self, plan: &Plan) -> Result<Option<RefundBatch>, StoreError> {
        let batch = &plan.batch;
        let versions = plan.versions.iter().skip(batch.first_items().len());
        let mut actions = vec![self.become_created(batch)?];
        for (item, version) in batch.further_items().iter().zip(versions) {
            actions.push(self.hold(batch, item, *version)?);
        }
        let is_done = matches!(self.transact(actions).await?, Transacted::Done)
            || mutants::is_on(Decision::HalfABatchIsTold);
        Ok(is_done.then(|| RefundBatch { state: BatchState::Created, ..batch.clone() }))
    }

    /// Sets aside of a charge what is to be refunded, if the charge is still as it was read.
    fn hold(&self, batch: &RefundBatch, item: &BatchItem, version: u64) -> Result<Action, StoreError> {
        let hold = Hold { amount: item.amount, batch: batch.key.id.clone() };
        let change = Change {
            key: batch_items::charge_key(&batch.charge_key(item)),
            expression: "SET holds.#refund = :hold, version = :next",
            condition: Some("version = :read"),
            name: Some(("#refund", item.refund.as_str().to_owned())),
            values: Item::from([
                (":hold".to_owned(), batch_items::hold_value(&hold)),
                items::number(":read", version),
                items::number(":next", version + 1),
            ]),
        };
        self.charge_action(change)
    }

    /// Frees what a refund held of its charge; of a refund that succeeded it is refunded instead.
    pub(super) fn release(
        &self,
        batch: &RefundBatch,
        item: &BatchItem,
        is_refunded: bool,
    ) -> Result<Action, StoreError> {
        let change = Change {
            key: batch_items::charge_key(&batch.charge_key(item)),
            expression: "SET version = version + :one, refunded = refunded + :refunded REMOVE holds.#refund",
            condition: Some("attribute_exists(holds.#refund)"),
            name: Some(("#refund", item.refund.as_str().to_owned())),
            values: Item::from([
                items::number(":one", 1),
                items::number(":refunded", if is_refunded { item.amount.value() } else { 0 }),
            ]),
        };
        self.charge_action(change)
    }

    /// A charge's item is below 1 KB unless dozens of refunds of it are under way.
    fn charge_action(&self, change: Change) -> Result<Action, StoreError> {
        let item = change.key.clone();
        Ok((change.action(self.store.table())?, item))
    }

    /// A batch, if there is such a batch; one that was taken back too.
    pub async fn batch(&self, key: &RefundBatchKey) -> Result<Option<RefundBatch>, StoreError> {
        let item = self.read_item(batch_items::batch_key(key)).await?;
        item.map(|item| Reader::new(&item).batch()).transpose()
    }

    /// The batch that has a merchant's number, if there is one.
    pub async fn batch_of_number(
        &self,
        tenant: &TenantKey,
        batch_no: &crate::ledger::MerchantBatchNo,
    ) -> Result<Option<RefundBatchId>, StoreError> {
        let item = self.read_item(batch_items::guard_key(tenant, batch_no)).await?;
        Ok(item.map(|item| Reader::new(&item).batch_guard()).transpose()?.map(|(id, _)| id))
    }

    /// Brings a batch that is being created to its end: created, or taken back. Others are left as they are.
    pub async fn bring_on(&self, key: &RefundBatchKey) -> Result<Option<RefundBatch>, StoreError> {
        let mut backoff = Backoff::default();
        let mut stuck = Stuck::default();
        loop {
            let batch = match self.batch(key).await? {
                // Who asks knows of it: what has put it may just be under way.
                None => {
                    let item = self.read_item_at_once(batch_items::batch_key(key)).await?;
                    item.map(|item| Reader::new(&item).batch()).transpose()?
                }
                batch => batch,
            };
            let Some(batch) = batch else { return Ok(None) };
            if batch.state != BatchState::Creating {
                return Ok(Some(batch));
            }
            let step = match self.hold_further(&batch).await? {
                Some(actions) => self.transact(actions).await?,
                None => {
                    let step = self.take_back(&batch).await?;
                    // The batch, its guard and its accounts come first: those change. Holds are this batch's own.
                    stuck.check(&step, 2 + batch.holds.len()).map_err(|what| missing_hold(&batch, what))?;
                    step
                }
            };
            let cause = match step {
                Transacted::Done => continue,
                Transacted::Cancelled(_) => "others were writing to the same items".to_owned(),
                Transacted::Unknown(cause) => cause,
            };
            if !backoff.pause_after_race(self).await {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
        }
    }

    /// The second transaction: the further holds, and the batch created; nothing where a charge no longer has what is
    /// to be refunded.
    async fn hold_further(&self, batch: &RefundBatch) -> Result<Option<Vec<Action>>, StoreError> {
        let items = batch.further_items();
        let keys = items.iter().map(|item| batch_items::charge_key(&batch.charge_key(item)));
        let mut charges: HashMap<ChargeId, Charge> = HashMap::new();
        for item in self.read_items(keys.collect()).await? {
            let charge = Reader::new(&item).charge()?;
            charges.insert(charge.key.id.clone(), charge);
        }
        let mut actions = vec![self.become_created(batch)?];
        for item in items {
            match charges.get(&item.charge) {
                Some(charge) if charge.refundable() >= item.amount.value() => {
                    actions.push(self.hold(batch, item, charge.version)?);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(actions))
    }

    /// One transaction that undoes the first: holds released, money given back, the number free again.
    async fn take_back(&self, batch: &RefundBatch) -> Result<Transacted, StoreError> {
        let at = clock::unix_now();
        let accounts = self.funds_of(batch).await?;
        let given = batch.give_back(batch.items.iter(), &accounts, at);
        let (releases, accounts) = given.map_err(|error| self.damaged_funds(batch, &error))?;
        let void = RefundBatch { state: BatchState::Void, releases, ..batch.clone() };
        let change = Change {
            key: batch_items::batch_key(&batch.key),
            expression: "SET #state = :void, releases = :releases REMOVE gsi1pk, gsi1sk",
            condition: Some("#state = :creating"),
            name: Some(("#state", "state".to_owned())),
            values: Item::from([
                items::text(":creating", batch_items::CREATING),
                items::text(":void", batch_items::VOID),
                (":releases".to_owned(), batch_items::funds_value(&void.releases)),
            ]),
        };
        let mut actions: Vec<Action> = vec![
            (change.action(self.store.table())?, batch_items::batch_item(&void, 0)),
            // A batch that is being created has its number.
            self.delete_action(batch_items::guard_key(&batch.key.tenant, &batch.batch_no))?,
        ];
        for (read, account) in &accounts {
            actions.push(self.move_account(*read, account)?);
        }
        for item in batch.first_items() {
            actions.push(self.release(batch, item, false)?);
        }
        self.transact(actions).await
    }

    /// The accounts that pay for a batch.
    pub(super) async fn funds_of(
        &self,
        batch: &RefundBatch,
    ) -> Result<HashMap<FundingSource, Account>, StoreError> {
        let mut accounts = HashMap::new();
        for hold in &batch.holds {
            if let Some(account) = self.funds(&batch.key.tenant, hold.source).await? {
                accounts.insert(hold.source, account);
            }
        }
        Ok(accounts)
    }

    pub(super) fn damaged_funds(&self, batch: &RefundBatch, error: &impl ToString) -> StoreError {
        StoreError::Damaged { key: batch.key.path(), what: format!("its funds: {}", error.to_string()) }
    }

    /// The batch's way from being created to created.
    fn become_created(&self, batch: &RefundBatch) -> Result<Action, StoreError> {
        let change = Change {
            key: batch_items::batch_key(&batch.key),
            expression: "SET #state = :created",
            condition: Some("#state = :creating"),
            name: Some(("#state", "state".to_owned())),
            values: Item::from([
                items::text(":creating", batch_items::CREATING),
                items::text(":created", batch_items::CREATED),
            ]),
        };
        Ok((change.action(self.store.table())?, batch_items::batch_item(batch, batch.at)))
    }
}

/// The keys of all that the decision about a batch depends on.
fn snapshot_keys(request: &BatchRequest) -> Vec<Item> {
    let charge = |item| charge_key(request, item);
    let funds =
        FundingSource::ALL.map(|source| items::account_key(&batch_items::funds_key(&request.tenant, source)));
    let guard = batch_items::guard_key(&request.tenant, &request.batch_no);
    let months = batch_items::months_key(&request.tenant);
    request.items.iter().map(charge).chain(funds).chain([guard, months]).collect()
}

fn charge_key(request: &BatchRequest, item: &AskedCharge) -> Item {
    batch_items::charge_key(&ChargeKey { tenant: request.tenant.clone(), id: item.charge.clone() })
}

/// What was found under these keys.
fn batch_snapshot(request: &BatchRequest, found: &[Item]) -> Result<BatchSnapshot, StoreError> {
    let mut snapshot = BatchSnapshot::default();
    for item in found {
        let reader = Reader::new(item);
        match reader.text(SORT_KEY)? {
            batch_items::GUARD => snapshot.guard = Some(reader.batch_guard()?),
            batch_items::MONTHS => snapshot.months.extend(months(item)),
            items::ACCOUNT => {
                let account = reader.account()?;
                let of =
                    |source: &FundingSource| batch_items::funds_key(&request.tenant, *source) == account.key;
                if let Some(source) = FundingSource::ALL.into_iter().find(of) {
                    snapshot.accounts.insert(source, account);
                }
            }
            _ => {
                let charge = reader.charge()?;
                snapshot.charges.insert(charge.key.id.clone(), charge);
            }
        }
    }
    Ok(snapshot)
}

/// Whether a transaction fails again and again at something that nobody else changes.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    failed: usize,
}

impl Stuck {
    /// Looks at a transaction whose actions from this position on are nobody else's.
    ///
    /// # Errors
    /// The position of the action that failed once more, after what stood in its way was read again.
    pub(super) fn check(&mut self, step: &Transacted, from: usize) -> Result<(), usize> {
        let Transacted::Cancelled(conditions) = step else { return Ok(()) };
        let mut own = conditions.iter().enumerate().skip(from);
        let failed = own.find(|(_, condition)| matches!(condition, Condition::Failed(_)));
        let Some((position, _)) = failed else { return Ok(()) };
        self.failed += 1;
        if self.failed > 2 { Err(position) } else { Ok(()) }
    }
}

/// The ledger's own facts disagree: a batch that holds a charge, and a charge without the hold.
pub(super) fn missing_hold(batch: &RefundBatch, position: usize) -> StoreError {
    let what = format!("batch {}: a hold is missing of its charges (action {position})", batch.key.id);
    StoreError::Damaged { key: batch.key.path(), what }
}

/// Months that have batches, yyMM, as the item that names them has them.
pub(super) fn months(item: &Item) -> Vec<String> {
    item.get("months").and_then(|months| months.as_ss().ok()).cloned().unwrap_or_default()
}
