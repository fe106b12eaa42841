//! Bringing a batch on, as far as it goes now. Whoever does it, and however often, it comes to the same: the create
//! call, the worker, its sweep over open batches, an operator.

use std::time::{Duration, SystemTime};

use futures::{StreamExt, stream};

use super::channel::{ChannelAnswer, ChannelRefund, PaymentChannel};
use crate::clock::unix_milliseconds;
use crate::ledger::{BatchItem, BatchState, ItemState, RefundBatch, RefundBatchKey};
use crate::limits;
use crate::store::{Session, Settled, StoreError};

/// How long an open batch is left alone: half as long as it has been open, within these bounds.
const LEFT_ALONE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(60 * 60)];

/// How long who takes a batch on has it alone: longer than any process that does so may live, so that no payment
/// channel is asked for one refund by two at once.
const TAKEN_FOR: Duration = Duration::from_secs(120);

/// How long a payment channel has for its answer; then it is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

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
    if !session.take_on(&mut batch, now, now + TAKEN_FOR.as_millis() as u64).await? {
        return session.batch(key).await;
    }
    let settled = settle(session, channel, &batch).await;
    let is_open = !matches!(&settled, Ok(batch) if matches!(batch.state, BatchState::Ended { .. }));
    if is_open {
        let [least, most] = LEFT_ALONE.map(|duration| duration.as_millis() as u64);
        let left_alone = (now.saturating_sub(batch.at) / 2).clamp(least, most);
        session.postpone(&batch, now + left_alone).await?;
    }
    settled.map(Some)
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
    let asked = undecided.map(|item| ask(session, channel, batch, item));
    let asked: Vec<Result<(), StoreError>> =
        stream::iter(asked).buffer_unordered(limits::PARTS_AT_ONCE).collect().await;
    let refunds = session.refunds_of(batch).await?;
    let (end, failed) = batch.end(&refunds);
    let settled = session.give_back(batch, end, &failed).await?;
    asked.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
    Ok(settled)
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
    let answer = tokio::time::timeout(ANSWER_WITHIN, channel.refund(&asked)).await;
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
        tracing::warn!(refund = item.refund.as_str(), said, "the payment channel contradicts itself");
        session.note_contradiction(recorded, &said).await?;
    }
    Ok(settled)
}
