//! Carrying out what is asked of applications: each change is a conditional write with no read before it, and
//! what stood in its way says why it was refused.

use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};
use futures::join;

use super::application_items::{self as app_items, Found};
use super::attribute::{INDEX_SORT_KEY, PARTITION_KEY};
use super::change::{Change, Changed};
use super::deadline::Backoff;
use super::items::{self, Item, Reader};
use super::transact::{Condition, Transacted};
use super::{Creation, Executed, Session, StoreError};
use crate::clock;
use crate::ledger::{
    Application, ApplicationKey, ApplicationRefund, ApplicationState, BatchGuard, BatchKey, BatchNo,
    BeginRefusal, Completion, Confirmation, FailedRefund, Mismatch, Obstacle, Standing, TenantKey, TradeNo,
    Withdrawal, completing, is_fresh_tombstone, judge_begin, judge_completion, judge_confirmation,
};
use crate::mutants::{self, Decision};

/// What one attempt to change an application came to.
#[derive(Debug)]
pub struct Attempt<T> {
    /// Whether this attempt changed it.
    pub executed: Executed,
    pub result: Result<T, StoreError>,
}

/// What became of a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawing {
    Withdrawn,
    /// It was withdrawn before.
    Before(Withdrawal),
    /// It is in another state than requested, and stays there.
    Refused(ApplicationState),
    Unknown,
}

/// What became of recording that the payment provider refused a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// The application is requested again.
    Failed(FailedRefund),
    /// That was recorded before.
    Before(FailedRefund),
    /// The payment provider has said under this batch number that it paid: nothing has changed.
    Confirmed(Confirmation),
    /// The application has no refund under way under this batch number: nothing has changed.
    NotUnderWay(ApplicationState),
    Unknown,
}

/// A confirmation on record, and what it has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptConfirmation {
    pub confirmation: Confirmation,
    pub standing: Standing,
}

/// All that is on record under a batch number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchHistory {
    pub guard: Option<BatchGuard>,
    pub confirmations: Vec<KeptConfirmation>,
}

/// An application with all that happened to it.
#[derive(Debug, Clone)]
pub struct ApplicationHistory {
    pub application: Application,
    pub failed: Vec<FailedRefund>,
    /// Of every refund, in the order they began.
    pub batches: Vec<BatchHistory>,
}

/// A confirmation as it is on record, and whether it is the first under its batch number.
struct Recorded {
    confirmation: Confirmation,
    is_first: bool,
}

impl Session {
    /// Records an application, as requested. One that was asked for before stands in its tombstone's place.
    pub async fn create_application(
        &self,
        application: &Application,
    ) -> Result<Creation<Application>, StoreError> {
        loop {
            let Some(existing) = self.put_new(app_items::application_item(application)).await? else {
                return Ok(Creation::Created);
            };
            if let Ok(existing) = Reader::new(&existing).application_or_tombstone()? {
                return Ok(Creation::Existing(existing));
            }
            // What was sent before it was there, and refused, is for one that has no number of failures.
            let after_asked = Application { failures: Some(0), ..application.clone() };
            if self.put_if_asked(app_items::application_item(&after_asked)).await? {
                return Ok(Creation::Created);
            }
            // An attempt whose answer was lost, or somebody else, has put one; or the tombstone has vanished.
        }
    }

    /// Begins the refund of `asked` under its batch number: one call, and no read. Begun before, it is told again.
    ///
    /// Safe to call again with the same at any time, and from several processes at once.
    pub async fn begin(&self, asked: &BatchGuard) -> Attempt<Result<ApplicationRefund, BeginRefusal>> {
        let mut executed = Executed::No;
        let result = self.begin_until_known(asked, &mut executed).await;
        if let Ok(Ok(refund)) = &result {
            let is_ours = refund.invocation == asked.refund.invocation;
            executed = if is_ours { Executed::Yes } else { Executed::No };
        }
        Attempt { executed, result }
    }

    async fn begin_until_known(
        &self,
        asked: &BatchGuard,
        executed: &mut Executed,
    ) -> Result<Result<ApplicationRefund, BeginRefusal>, StoreError> {
        let mut backoff = Backoff::default();
        let mut failures = None;
        loop {
            let (has_time, cause) = match self.transact(self.beginning(asked, failures)?).await? {
                Transacted::Done => return Ok(Ok(asked.refund.clone())),
                Transacted::Cancelled(conditions) => match begin_refused(asked, conditions)? {
                    Begun::Told(told) => return Ok(told),
                    Begun::NotThere(since) => {
                        if self.must_stay_absent(&asked.application, since).await? {
                            return Ok(Err(BeginRefusal::UnknownApplication));
                        }
                        continue;
                    }
                    Begun::Requested(times) if times != failures => {
                        failures = times;
                        continue;
                    }
                    Begun::Requested(_) | Begun::Unknown => (
                        backoff.pause_after_race(self).await,
                        "others were writing to the same items".to_owned(),
                    ),
                },
                Transacted::Unknown(_) if mutants::is_on(Decision::BeginWithoutAnswerIsDone) => {
                    return Ok(Ok(asked.refund.clone()));
                }
                Transacted::Unknown(cause) => {
                    *executed = Executed::Unknown;
                    (backoff.pause(self).await, cause)
                }
            };
            if !has_time {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
        }
    }

    /// The application's way from requested to being processed, after so many failures, and the batch number's guard.
    fn beginning(
        &self,
        asked: &BatchGuard,
        failures: Option<u64>,
    ) -> Result<Vec<(TransactWriteItem, Item)>, StoreError> {
        let BatchGuard { application, refund, .. } = asked;
        let mut values = Item::from([
            items::text(":requested", app_items::REQUESTED),
            items::text(":processing", app_items::PROCESSING),
            items::number(":amount", refund.amount),
            (":refund".to_owned(), app_items::refund_value(refund)),
        ]);
        let conditions = [
            "#state = :requested AND paid >= :amount AND attribute_not_exists(failures)",
            "#state = :requested AND paid >= :amount AND failures = :failures",
        ];
        let condition = after_failures(failures, conditions, &mut values);
        let change = Change {
            key: app_items::application_key(application),
            expression: "SET #state = :processing, refund = :refund",
            condition: Some(condition),
            name: Some(("#state", "state".to_owned())),
            values,
        };
        let batch = BatchKey { merchant: application.merchant.clone(), no: refund.batch_no.clone() };
        let guard = app_items::guard_item(&batch, asked);
        // Of the application only the refund is known here; it is about as large as the guard.
        let changed = guard.clone();
        Ok(vec![(change.action(self.store.table())?, changed), (self.put_action(&guard)?, guard)])
    }

    /// Records what the payment provider says, first and by itself, so that it is there whatever follows. Then
    /// completes the refund that it is for; one that is for none is kept, and completes nothing.
    ///
    /// Safe to call again with the same at any time, and from several processes at once.
    pub async fn end(
        &self,
        batch: &BatchKey,
        said: &Confirmation,
    ) -> Attempt<Result<ApplicationRefund, Mismatch>> {
        let mut executed = Executed::No;
        let result = self.record_and_complete(batch, said, &mut executed).await;
        Attempt { executed, result }
    }

    async fn record_and_complete(
        &self,
        batch: &BatchKey,
        said: &Confirmation,
        executed: &mut Executed,
    ) -> Result<Result<ApplicationRefund, Mismatch>, StoreError> {
        let (recorded, guard) = join!(self.record(batch, said), self.guard(batch));
        let (recorded, mut guard) = (recorded?, guard?);
        if guard.is_none() && !mutants::is_on(Decision::GuardIsReadOnce) {
            // It may have been put since: what is begun by the time the confirmation is there is completed.
            let item = self.read_item_at_once(app_items::guard_key(batch)).await?;
            guard = item.map(|item| Reader::new(&item).guard()).transpose()?;
        }
        let guard = match judge_confirmation(said, guard.as_ref()) {
            Ok(guard) => guard,
            Err(mismatch) => return Ok(Err(mismatch)),
        };
        let Recorded { confirmation, is_first } = recorded;
        let completing = match is_first {
            true => confirmation.clone(),
            // One before it may be left to be completed.
            false => {
                let kept = self.batch_history(batch).await?.confirmations;
                let kept: Vec<Confirmation> = kept.into_iter().map(|kept| kept.confirmation).collect();
                completing(&kept, &guard.refund).unwrap_or(&confirmation).clone()
            }
        };
        self.complete(guard, &completing, said, executed).await
    }

    /// Puts a confirmation on record; said again, it is there already.
    async fn record(&self, batch: &BatchKey, said: &Confirmation) -> Result<Recorded, StoreError> {
        let mut first = app_items::confirmation_item(app_items::first_confirmation_key(batch), batch, said);
        first.extend([app_items::further(0)]);
        let confirmation = match self.put_new(first).await? {
            None => said.clone(),
            Some(existing) => Reader::new(&existing).confirmation()?,
        };
        if confirmation.is_same(said) {
            return Ok(Recorded { confirmation, is_first: true });
        }
        let confirmation = self.record_further(batch, said).await?;
        match confirmation.is_same(said) {
            true => Ok(Recorded { confirmation, is_first: false }),
            false => Err(StoreError::Damaged {
                key: batch.path(),
                what: "a confirmation is not the one that its key names".to_owned(),
            }),
        }
    }

    /// Puts a confirmation beside the first one, which counts it: who fails the refund is bound to that count.
    async fn record_further(
        &self,
        batch: &BatchKey,
        said: &Confirmation,
    ) -> Result<Confirmation, StoreError> {
        let key = app_items::further_confirmation_key(batch, said);
        let item = app_items::confirmation_item(key, batch, said);
        let counted = Change {
            key: app_items::first_confirmation_key(batch),
            expression: "ADD further :one",
            // It is there, and stays.
            condition: None,
            name: None,
            values: Item::from([items::number(":one", 1)]),
        };
        let actions =
            vec![(counted.action(self.store.table())?, item.clone()), (self.put_action(&item)?, item)];
        let mut backoff = Backoff::default();
        loop {
            let (has_time, cause) = match self.transact(actions.clone()).await? {
                Transacted::Done => return Ok(said.clone()),
                Transacted::Cancelled(conditions) => match conditions.into_iter().nth(1) {
                    Some(Condition::Failed(Some(existing))) => return Reader::new(&existing).confirmation(),
                    _ => (
                        backoff.pause_after_race(self).await,
                        "others were writing to the same items".to_owned(),
                    ),
                },
                Transacted::Unknown(cause) => (backoff.pause(self).await, cause),
            };
            if !has_time {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
        }
    }

    async fn guard(&self, batch: &BatchKey) -> Result<Option<BatchGuard>, StoreError> {
        let item = self.read_item(app_items::guard_key(batch)).await?;
        item.map(|item| Reader::new(&item).guard()).transpose()
    }

    /// The application's way from being processed to done, by the confirmation that completes it; what `said` is
    /// told of that.
    async fn complete(
        &self,
        guard: &BatchGuard,
        completing: &Confirmation,
        said: &Confirmation,
        executed: &mut Executed,
    ) -> Result<Result<ApplicationRefund, Mismatch>, StoreError> {
        let at = clock::unix_now();
        let invocation = said.invocation.clone();
        let completion = Completion { confirmation: completing.clone(), at, invocation };
        let change = Change {
            key: app_items::application_key(&guard.application),
            expression: "SET #state = :done, completion = :completion",
            condition: Some("#state = :processing AND refund.batchNo = :batchNo"),
            name: Some(("#state", "state".to_owned())),
            values: Item::from([
                items::text(":processing", app_items::PROCESSING),
                items::text(":done", app_items::DONE),
                items::text(":batchNo", guard.refund.batch_no.as_str()),
                (":completion".to_owned(), app_items::completion_value(&completion)),
            ]),
        };
        *executed = Executed::Unknown;
        let Changed::Refused(item) = self.change(&change).await? else {
            *executed = Executed::Yes;
            let is_said = completing.is_same(said);
            return Ok(if is_said { Ok(guard.refund.clone()) } else { Err(Mismatch::SecondTradeNo) });
        };
        let item = item.ok_or_else(|| StoreError::Damaged {
            key: guard.application.path(),
            what: "it has a batch number and is missing".to_owned(),
        })?;
        let state = Reader::new(&item).application()?.state;
        // An earlier attempt, whose answer was lost, may have done it.
        let is_ours = matches!(&state, ApplicationState::Done { completion, .. } if completion.invocation == said.invocation);
        *executed = if is_ours { Executed::Yes } else { Executed::No };
        Ok(judge_completion(said, &guard.refund.batch_no, &state))
    }

    /// The batch numbers that a trade number has confirmed something under. From the index, which is a moment behind.
    pub async fn numbers_of_trade(
        &self,
        merchant: &TenantKey,
        trade_no: &TradeNo,
    ) -> Result<Vec<BatchNo>, StoreError> {
        let partition = app_items::trade_partition(merchant, trade_no);
        let found = self.query_index(&partition, "\u{10ffff}", usize::MAX).await?;
        let mut numbers: Vec<BatchNo> = Vec::new();
        for item in &found {
            let number: BatchNo = Reader::new(item).parsed(INDEX_SORT_KEY)?;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Ends an application that is requested.
    pub async fn withdraw(
        &self,
        application: &ApplicationKey,
        reason: Option<&str>,
    ) -> Result<Withdrawing, StoreError> {
        let withdrawal = Withdrawal {
            at: clock::unix_now(),
            reason: reason.map(str::to_owned),
            attempt: format!("{:016x}", fastrand::u64(..)),
        };
        let mut failures = None;
        loop {
            let mut values = Item::from([
                items::text(":requested", app_items::REQUESTED),
                items::text(":withdrawn", app_items::WITHDRAWN),
                (":withdrawal".to_owned(), app_items::withdrawal_value(&withdrawal)),
            ]);
            let conditions = [
                "#state = :requested AND attribute_not_exists(failures)",
                "#state = :requested AND failures = :failures",
            ];
            let condition = after_failures(failures, conditions, &mut values);
            let change = Change {
                key: app_items::application_key(application),
                expression: "SET #state = :withdrawn, withdrawal = :withdrawal",
                condition: Some(condition),
                name: Some(("#state", "state".to_owned())),
                values,
            };
            let found = match self.change(&change).await? {
                Changed::Done => return Ok(Withdrawing::Withdrawn),
                Changed::Refused(None) => Err(None),
                Changed::Refused(Some(item)) => Reader::new(&item).application_or_tombstone()?.map_err(Some),
            };
            let found = match found {
                Ok(found) => found,
                Err(since) if self.must_stay_absent(application, since).await? => {
                    return Ok(Withdrawing::Unknown);
                }
                Err(_) => continue,
            };
            return Ok(match found.state {
                ApplicationState::Withdrawn(before) if before == withdrawal => Withdrawing::Withdrawn,
                ApplicationState::Withdrawn(before) => Withdrawing::Before(before),
                ApplicationState::Requested => {
                    failures = found.failures;
                    continue;
                }
                state => Withdrawing::Refused(state),
            });
        }
    }

    /// Puts an application's tombstone, so that what was sent before it came, and arrives late, comes to nothing; or
    /// finds that it is there. False where the application has come.
    async fn must_stay_absent(
        &self,
        application: &ApplicationKey,
        since: Option<u64>,
    ) -> Result<bool, StoreError> {
        let at = clock::unix_now();
        if since.is_some_and(|since| is_fresh_tombstone(since, at)) || mutants::is_on(Decision::NoTombstones)
        {
            return Ok(true);
        }
        let mut tombstone = app_items::tombstone_item(application, at);
        let key = app_items::application_key(application);
        tombstone.retain(|name, _| !key.contains_key(name));
        let values = tombstone.into_iter().map(|(name, value)| (format!(":{name}"), value));
        let change = Change {
            key,
            // Not put: who begins refunds may put no application.
            expression: "SET #state = :state, askedAt = :askedAt, expires = :expires",
            condition: Some("attribute_not_exists(#state) OR #state = :state"),
            name: Some(("#state", "state".to_owned())),
            values: values.collect(),
        };
        Ok(matches!(self.change(&change).await?, Changed::Done))
    }

    /// An application, and its refund under `batch_no` that has failed, as they were at one moment.
    pub async fn application_and_failure(
        &self,
        application: &ApplicationKey,
        batch_no: &BatchNo,
    ) -> Result<(Option<Application>, Option<FailedRefund>), StoreError> {
        let (mut found, mut failure) = (None, None);
        let keys =
            vec![app_items::application_key(application), app_items::failed_key(application, batch_no)];
        for item in self.read_at_once(keys).await? {
            match Found::read(&item)? {
                Found::Application(application) => found = Some(application),
                Found::Failed(failed) => failure = Some(failed),
                Found::Tombstone | Found::Guard(_) | Found::Confirmation(_) => {}
            }
        }
        Ok((found, failure))
    }

    /// Records that the payment provider refused the refund under `batch_no`: its application is requested again.
    /// Not where a confirmation is on record under that number: what was paid must not be paid again. Confirmations
    /// that don't match the refund are overruled by those who name all their trade numbers, `despite`.
    pub async fn fail(
        &self,
        application: &ApplicationKey,
        batch_no: &BatchNo,
        reason: Option<&str>,
        despite: &[TradeNo],
    ) -> Result<Failing, StoreError> {
        let mut backoff = Backoff::default();
        let at = clock::unix_now();
        let batch = BatchKey { merchant: application.merchant.clone(), no: batch_no.clone() };
        let mut sent: Option<FailedRefund> = None;
        loop {
            let (found, before) = self.application_and_failure(application, batch_no).await?;
            let Some(found) = found else { return Ok(Failing::Unknown) };
            let refund = match found.state {
                ApplicationState::Processing(refund) if refund.batch_no == *batch_no => refund,
                state => {
                    let Some(before) = before else { return Ok(Failing::NotUnderWay(state)) };
                    let is_ours = sent.as_ref() == Some(&before);
                    return Ok(if is_ours { Failing::Failed(before) } else { Failing::Before(before) });
                }
            };
            let confirmations = self.confirmations(&batch).await?;
            let stands = |said: &&Confirmation| {
                let is_overruled = despite.contains(&said.trade_no);
                let is_another = said.amount != refund.amount || mutants::is_on(Decision::PaidIsOverruled);
                !(is_overruled && is_another)
            };
            if let Some(said) = confirmations.iter().find(stands) {
                // It may have failed before that was recorded: by this call, or by another. From now on it can't.
                let (found, _) = self.application_and_failure(application, batch_no).await?;
                let is_under_way =
                    |state| matches!(state, ApplicationState::Processing(now) if now == refund);
                if found.is_some_and(|found| is_under_way(found.state))
                    || mutants::is_on(Decision::ConfirmedIsToldAtOnce)
                {
                    return Ok(Failing::Confirmed(said.clone()));
                }
                continue;
            }
            let failed = FailedRefund { refund, at, reason: reason.map(str::to_owned) };
            let (has_time, cause) =
                match self.transact(self.failing(application, &failed, confirmations.len())?).await? {
                    Transacted::Done => return Ok(Failing::Failed(failed)),
                    // Whatever it was: look again.
                    Transacted::Cancelled(_) => {
                        (backoff.pause_after_race(self).await, "others were writing to it".to_owned())
                    }
                    Transacted::Unknown(cause) => (backoff.pause(self).await, cause),
                };
            if !has_time {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
            sent = Some(failed);
        }
    }

    /// The application's way back to requested, and the failed refund for its history, while there are so many
    /// confirmations.
    fn failing(
        &self,
        application: &ApplicationKey,
        failed: &FailedRefund,
        confirmations: usize,
    ) -> Result<Vec<(TransactWriteItem, Item)>, StoreError> {
        let batch = BatchKey { merchant: application.merchant.clone(), no: failed.refund.batch_no.clone() };
        let change = Change {
            key: app_items::application_key(application),
            expression: "SET #state = :requested, failures = if_not_exists(failures, :none) + :one REMOVE refund",
            condition: Some("#state = :processing AND refund.batchNo = :batchNo"),
            name: Some(("#state", "state".to_owned())),
            values: Item::from([
                items::number(":none", 0),
                items::number(":one", 1),
                items::text(":requested", app_items::REQUESTED),
                items::text(":processing", app_items::PROCESSING),
                items::text(":batchNo", batch.no.as_str()),
            ]),
        };
        let mark = Change {
            key: app_items::guard_key(&batch),
            expression: "SET failedAt = :at",
            // What fails is under way, so it has its guard, and has not failed before.
            condition: None,
            name: None,
            values: Item::from([items::number(":at", failed.at)]),
        };
        let item = app_items::failed_item(application, failed);
        let (condition, values) = match confirmations.checked_sub(1) {
            None => (format!("attribute_not_exists({PARTITION_KEY})"), None),
            Some(further) => {
                ("further = :further".to_owned(), Some(Item::from([items::number(":further", further)])))
            }
        };
        let no_others = ConditionCheck::builder()
            .table_name(self.store.table())
            .set_key(Some(app_items::first_confirmation_key(&batch)))
            .condition_expression(condition)
            .set_expression_attribute_values(values)
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        let no_others = TransactWriteItem::builder().condition_check(no_others).build();
        Ok(vec![
            (change.action(self.store.table())?, item.clone()),
            (self.put_action(&item)?, item.clone()),
            (mark.action(self.store.table())?, item),
            (no_others, Item::new()),
        ])
    }

    /// An application with all that happened to it, if there is such an application. Not a snapshot: it is read
    /// in several calls.
    pub async fn application_history(
        &self,
        key: &ApplicationKey,
    ) -> Result<Option<ApplicationHistory>, StoreError> {
        let (mut application, mut failed) = (None, Vec::new());
        for item in self.read_partition(&key.path()).await? {
            match Found::read(&item)? {
                Found::Application(found) => application = Some(found),
                Found::Failed(found) => failed.push(found),
                Found::Tombstone | Found::Guard(_) | Found::Confirmation(_) => {}
            }
        }
        let Some(application) = application else { return Ok(None) };
        failed.sort_by_key(|failed| failed.refund.at);
        let present = match &application.state {
            ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. } => Some(refund),
            ApplicationState::Requested | ApplicationState::Withdrawn(_) => None,
        };
        let mut batches = Vec::new();
        for refund in failed.iter().map(|failed| &failed.refund).chain(present) {
            let batch = BatchKey { merchant: key.merchant.clone(), no: refund.batch_no.clone() };
            batches.push(self.batch_history(&batch).await?);
        }
        Ok(Some(ApplicationHistory { application, failed, batches }))
    }

    /// What is confirmed under a batch number: the first, and further ones.
    async fn confirmations(&self, batch: &BatchKey) -> Result<Vec<Confirmation>, StoreError> {
        let items = self.read_beginning(&batch.path(), app_items::CONFIRMATION).await?;
        items.iter().map(|item| Reader::new(item).confirmation()).collect()
    }

    /// All that is on record under a batch number.
    pub async fn batch_history(&self, batch: &BatchKey) -> Result<BatchHistory, StoreError> {
        let (mut guard, mut said) = (None, Vec::new());
        for item in self.read_partition(&batch.path()).await? {
            match Found::read(&item)? {
                Found::Guard(found) => guard = Some(found),
                Found::Confirmation(confirmation) => said.push(confirmation),
                Found::Application(_) | Found::Tombstone | Found::Failed(_) => {}
            }
        }
        let mut state = None;
        if let Some(guard) = guard.as_ref().filter(|_| !said.is_empty()) {
            let item = self.read_item(app_items::application_key(&guard.application)).await?;
            state = item.map(|item| Reader::new(&item).application()).transpose()?.map(|found| found.state);
        }
        // The first one has the first key; a clock that is behind changes nothing of that.
        let further = said.split_at_mut_checked(1).map(|(_, further)| further).unwrap_or_default();
        further.sort_by_key(|confirmation| confirmation.at);
        let confirmations = said.iter().map(|confirmation| KeptConfirmation {
            standing: Standing::of(confirmation, &said, guard.as_ref(), state.as_ref()),
            confirmation: confirmation.clone(),
        });
        Ok(BatchHistory { confirmations: confirmations.collect(), guard })
    }
}

/// The condition of a write that is for the time after so many failures: one that arrives late, after whoever sent it was
/// told otherwise, comes to nothing. Of the two, the first is for an application without a number of them.
fn after_failures(failures: Option<u64>, [none, some]: [&'static str; 2], values: &mut Item) -> &'static str {
    let Some(failures) = failures else { return none };
    values.extend([items::number(":failures", failures)]);
    some
}

/// What a begin that was refused comes to.
enum Begun {
    Told(Result<ApplicationRefund, BeginRefusal>),
    /// The application is requested, after so many failures.
    Requested(Option<u64>),
    /// There is no application; since when its tombstone says so, if it has one.
    NotThere(Option<u64>),
    /// It is worth another try.
    Unknown,
}

fn begin_refused(asked: &BatchGuard, conditions: Vec<Condition>) -> Result<Begun, StoreError> {
    let mut conditions = conditions.into_iter();
    let (Some(application), Some(guard)) = (conditions.next(), conditions.next()) else {
        return Ok(Begun::Unknown);
    };
    let (mut otherwise, mut since) = (Begun::Unknown, None);
    let application = match application {
        Condition::Passing => return Ok(Begun::Unknown),
        Condition::Held => Obstacle::NotInTheWay,
        Condition::Failed(None) => Obstacle::Absent,
        Condition::Failed(Some(item)) => match Reader::new(&item).application_or_tombstone()? {
            Ok(application) => {
                otherwise = Begun::Requested(application.failures);
                Obstacle::InTheWay(application)
            }
            Err(at) => {
                since = Some(at);
                Obstacle::Absent
            }
        },
    };
    let guard = match guard {
        Condition::Failed(Some(item)) => Some(Reader::new(&item).guard()?),
        _ => None,
    };
    Ok(match judge_begin(asked, &application, guard.as_ref()) {
        Some(Err(BeginRefusal::UnknownApplication)) => Begun::NotThere(since),
        told => told.map_or(otherwise, Begun::Told),
    })
}
