//! Bringing a batch on, as far as it goes now. Whoever does it, and however often, it comes to the same: the create
//! call, the worker, its sweep over open batches, an operator.

use std::time::{Duration, SystemTime};

use futures::{StreamExt, stream};

use super::channel::{ChannelAnswer, ChannelRefund, PaymentChannel};
use crate::clock::unix_milliseconds;
use crate::ledger::{BatchItem, BatchState, ItemState, RefundBatch, RefundBatchKey, RefundId};
use crate::limits;
use crate::store::{Session, Settled, StoreError, Taken};

/// How long an open batch is left alone: half as long as it has been open, within these bounds.
const LEFT_ALONE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(60 * 60)];

/// How long who takes a batch on has it alone: longer than any process that does so may live, so that no payment
/// channel is asked for one refund by two at once.
const TAKEN_FOR: Duration = Duration::from_secs(120);

/// How long a payment channel has for its answer; then it is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Time kept free before the deadline for putting answers on record.
const TO_RECORD: Duration = Duration::from_secs(3);

/// Brings a batch on, as far as it goes `now` (Unix milliseconds); as it is then, if there is such a batch. One that
/// another has taken on is left to it.
///
/// # Errors
/// If the table can't be used, or the deadline comes first: what was done stays done, and calling again goes on.
pub async fn advance(
    session: &Session,
    channel: &dyn PaymentChannel,
    key: &RefundBatchKey,
    now: u64,
) -> Result<Option<RefundBatch>, StoreError> {
    let Some(mut batch) = session.bring_on(key).await? else { return Ok(None) };
    if let BatchState::Void | BatchState::Ended { .. } = batch.state {
        return Ok(Some(batch));
    }
    let Some(taken) = session.take_on(&mut batch, now, now + TAKEN_FOR.as_millis() as u64).await? else {
        return session.batch(key).await;
    };
    let settled = settle(session, channel, &batch).await;
    let_go(session, &batch, &taken, &settled, now).await?;
    settled.map(Some)
}

/// Leaves a batch alone for a while, unless it has ended.
async fn let_go(
    session: &Session,
    batch: &RefundBatch,
    taken: &Taken,
    settled: &Result<RefundBatch, StoreError>,
    now: u64,
) -> Result<(), StoreError> {
    if matches!(settled, Ok(batch) if matches!(batch.state, BatchState::Ended { .. })) {
        return Ok(());
    }
    let [least, most] = LEFT_ALONE.map(|duration| duration.as_millis() as u64);
    let left_alone = (now.saturating_sub(batch.at) / 2).clamp(least, most);
    session.postpone(batch, taken, now + left_alone).await
}

/// What became of a decision about one refund.
#[derive(Debug)]
pub enum Decided {
    /// Another is settling the batch at this moment, and may be asking for this very refund.
    Busy,
    /// The refund is decided, so or otherwise, and the batch is as it is with that.
    Done { settled: Settled, batch: Box<RefundBatch> },
}

/// Decides a refund by what its payment channel says to people, and brings its batch on without asking for the others.
/// `now` is in Unix milliseconds. Nothing if the batch has no such refund.
///
/// # Errors
/// If the table can't be used, or the deadline comes first: then the same again goes on.
pub async fn decide_refund(
    session: &Session,
    key: &RefundBatchKey,
    refund: &RefundId,
    state: ItemState,
    now: u64,
) -> Result<Option<Decided>, StoreError> {
    let Some(mut batch) = session.bring_on(key).await? else { return Ok(None) };
    let Some(item) = batch.items.iter().find(|item| item.refund == *refund).cloned() else { return Ok(None) };
    if let BatchState::Ended { .. } = batch.state {
        let settled = decide(session, &batch, &item, state).await?;
        return Ok(Some(Decided::Done { settled, batch: Box::new(batch) }));
    }
    let Some(taken) = session.take_on(&mut batch, now, now + TAKEN_FOR.as_millis() as u64).await? else {
        return Ok(Some(Decided::Busy));
    };
    let decided = async {
        let settled = decide(session, &batch, &item, state).await?;
        Ok::<_, StoreError>((settled, finish(session, &batch).await?))
    };
    let (settled, ended) = match decided.await {
        Ok((settled, batch)) => (Some(settled), Ok(batch)),
        Err(error) => (None, Err(error)),
    };
    let_go(session, &batch, &taken, &ended, now).await?;
    let batch = Box::new(ended?);
    Ok(settled.map(|settled| Decided::Done { settled, batch }))
}

/// Asks for all refunds that are not decided, gives back the money of those that failed, and ends the batch if all
/// are decided. One that can't be settled does not keep the others from it.
async fn settle(
    session: &Session,
    channel: &dyn PaymentChannel,
    batch: &RefundBatch,
) -> Result<RefundBatch, StoreError> {
    let known = session.refunds_of(batch).await?;
    let undecided = batch.items.iter().filter(|item| !known.contains_key(&item.refund));
    let asked: Vec<_> = undecided.map(|item| ask(session, channel, batch, item)).collect();
    let asked: Vec<Result<(), StoreError>> =
        stream::iter(asked).buffer_unordered(limits::PARTS_AT_ONCE).collect().await;
    let settled = finish(session, batch).await?;
    asked.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
    Ok(settled)
}

/// Gives back the money of refunds that failed, and ends the batch if all are decided.
async fn finish(session: &Session, batch: &RefundBatch) -> Result<RefundBatch, StoreError> {
    let refunds = session.refunds_of(batch).await?;
    let (end, failed) = batch.end(&refunds);
    session.give_back(batch, end, &failed).await
}

/// Asks the payment channel for one refund, and records what it says.
async fn ask(
    session: &Session,
    channel: &dyn PaymentChannel,
    batch: &RefundBatch,
    item: &BatchItem,
) -> Result<(), StoreError> {
    let asked = ChannelRefund {
        order_no: item.refund.order_no().to_owned(),
        channel: item.channel.clone(),
        transaction_no: item.transaction_no.clone(),
        amount: item.amount.value(),
        description: item.description.clone().unwrap_or_else(|| batch.description.clone()),
    };
    // Who asks must have the time to put the answer on record.
    let patience = ANSWER_WITHIN.min(session.time_left().saturating_sub(TO_RECORD));
    if patience.is_zero() {
        return Ok(());
    }
    let answer = tokio::time::timeout(patience, channel.refund(&asked)).await;
    let answer = answer.unwrap_or_else(|_| ChannelAnswer::Unknown("no answer in time".to_owned()));
    let at = unix_milliseconds(SystemTime::now());
    let state = match answer {
        ChannelAnswer::Succeeded => ItemState::Succeeded { at },
        ChannelAnswer::Refused { code, message } => ItemState::Failed { at, code, message },
        ChannelAnswer::Confirm { url } => ItemState::Pending { url },
        ChannelAnswer::Unknown(why) => {
            tracing::warn!(refund = item.refund.as_str(), why, "the payment channel's answer is not known");
            return Ok(());
        }
    };
    decide(session, batch, item, state).await.map(|_| ())
}

/// Records a refund's outcome; what was decided otherwise before stays so, and the contradiction is put on record.
pub async fn decide(
    session: &Session,
    batch: &RefundBatch,
    item: &BatchItem,
    state: ItemState,
) -> Result<Settled, StoreError> {
    let said = match &state {
        ItemState::Pending { .. } => None,
        ItemState::Succeeded { at } => Some(format!("succeeded at {at}")),
        ItemState::Failed { at, code, message } => Some(format!("failed at {at}: {code}: {message}")),
    };
    let settled = session.settle(batch, item, state).await?;
    if let (Settled::Otherwise(recorded), Some(said)) = (&settled, said) {
        tracing::error!(refund = item.refund.as_str(), said, "the payment channel contradicts itself");
        session.note_contradiction(recorded, &said).await?;
    }
    Ok(settled)
}
