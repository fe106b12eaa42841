//! Bringing a batch on, as far as it goes now. Whoever does it, and however often, it comes to the same: the create
//! call, the worker, its sweep over open batches, an operator.

use std::time::Duration;

use futures::{StreamExt, stream};

use super::channel::{ChannelAnswer, ChannelRefund, PaymentChannel};
use crate::clock::{self, milliseconds};
use crate::ledger::{BatchItem, BatchState, ItemState, RefundBatch, RefundBatchKey, RefundId};
use crate::limits;
use crate::mutants::{self, Decision};
use crate::store::{Session, Settled, StoreError, Taken};

/// How long an open batch is left alone: half as long as it has been open, within these bounds.
const LEFT_ALONE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(60 * 60)];

/// How long who takes a batch on has it alone: longer than any process that does so may live, so that no payment
/// channel is asked for one refund by two at once.
pub const TAKEN_FOR: Duration = Duration::from_secs(120);

/// How far an operator's clock may be off: DynamoDB refuses calls that are signed by one that is more so. Functions'
/// clocks are right.
pub const OPERATORS_CLOCK_OFF: Duration = Duration::from_secs(15 * 60);

/// How long a payment channel has for its answer; then it is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Time kept free for putting an answer on record, before that for [`TO_FINISH`].
const TO_RECORD: Duration = Duration::from_secs(2);

/// Time kept free before the deadline for giving money back and letting go of the batch.
const TO_FINISH: Duration = Duration::from_secs(2);

/// How long at most a batch is left alone that waits for people only.
const WAITING_FOR_PEOPLE: Duration = Duration::from_secs(24 * 60 * 60);

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
    advance_within(session, channel, key, now, Duration::ZERO).await
}

/// As [`advance`], by an operator's clock: one that is off does not take a batch from a process that has it.
///
/// # Errors
/// As [`advance`].
pub async fn advance_by_hand(
    session: &Session,
    channel: &dyn PaymentChannel,
    key: &RefundBatchKey,
    now: u64,
) -> Result<Option<RefundBatch>, StoreError> {
    advance_within(session, channel, key, now, OPERATORS_CLOCK_OFF).await
}

async fn advance_within(
    session: &Session,
    channel: &dyn PaymentChannel,
    key: &RefundBatchKey,
    now: u64,
    clock_off: Duration,
) -> Result<Option<RefundBatch>, StoreError> {
    let Some(batch) = session.bring_on(key).await? else { return Ok(None) };
    match batch.state {
        BatchState::Created | BatchState::Settling => settle(session, channel, batch, now, clock_off).await,
        BatchState::Creating | BatchState::Void | BatchState::Ended { .. } => Ok(Some(batch)),
    }
}

/// Takes a batch on by a clock that may be so much off, either way.
async fn take_on(
    session: &Session,
    batch: &mut RefundBatch,
    now: u64,
    clock_off: Duration,
) -> Result<Option<Taken>, StoreError> {
    let off = milliseconds(clock_off);
    session.take_on(batch, now.saturating_sub(off), now + milliseconds(TAKEN_FOR) + off).await
}

/// Brings a new batch on; one that was settled on before is left to those who come back to it in their time.
///
/// # Errors
/// As [`advance`].
pub async fn advance_new(
    session: &Session,
    channel: &dyn PaymentChannel,
    key: &RefundBatchKey,
    now: u64,
) -> Result<Option<RefundBatch>, StoreError> {
    match session.bring_on(key).await? {
        Some(batch) if batch.state == BatchState::Created => {
            settle(session, channel, batch, now, Duration::ZERO).await
        }
        other => Ok(other),
    }
}

/// Takes a batch on, settles what can be, and lets go of it.
async fn settle(
    session: &Session,
    channel: &dyn PaymentChannel,
    mut batch: RefundBatch,
    now: u64,
    clock_off: Duration,
) -> Result<Option<RefundBatch>, StoreError> {
    let Some(taken) = take_on(session, &mut batch, now, clock_off).await? else {
        return session.batch(&batch.key).await;
    };
    // Whatever becomes of single refunds, there is time to give money back, and to let go.
    let asking = session.within(session.time_left().saturating_sub(TO_FINISH));
    let asked = ask_all(&asking, channel, &batch).await;
    let finished = finish(session, &batch).await;
    let half_its_age = now.saturating_sub(batch.at) / 2;
    let_go(session, &batch, &taken, &finished, now, half_its_age).await?;
    asked?;
    Ok(Some(finished?.batch))
}

/// A batch, as far as it has come.
struct Finished {
    batch: RefundBatch,
    /// Whether there are refunds of which no answer is known.
    is_unknown: bool,
}

/// Leaves a batch alone for about so many milliseconds, unless it has ended.
async fn let_go(
    session: &Session,
    batch: &RefundBatch,
    taken: &Taken,
    finished: &Result<Finished, StoreError>,
    now: u64,
    left_alone: u64,
) -> Result<(), StoreError> {
    let [least, most] = LEFT_ALONE;
    let most = match finished {
        Ok(Finished { batch, .. }) if matches!(batch.state, BatchState::Ended { .. }) => return Ok(()),
        Ok(Finished { is_unknown: false, .. }) => WAITING_FOR_PEOPLE,
        Ok(Finished { is_unknown: true, .. }) | Err(_) => most,
    };
    let left_alone = left_alone.clamp(milliseconds(least), milliseconds(most));
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
/// `now` is in Unix milliseconds, by an operator's clock. Nothing if the batch has no such refund, or was taken back.
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
    let taken = match batch.state {
        BatchState::Created | BatchState::Settling => {
            take_on(session, &mut batch, now, OPERATORS_CLOCK_OFF).await?
        }
        BatchState::Creating | BatchState::Void | BatchState::Ended { .. } => None,
    };
    let Some(taken) = taken else {
        // It may have come to its end since it was read.
        let Some(batch) = session.batch(key).await? else { return Ok(None) };
        return match batch.state {
            BatchState::Void => Ok(None),
            BatchState::Ended { .. } => {
                let settled = decide(session, &batch, &item, state).await?;
                Ok(Some(Decided::Done { settled, batch: Box::new(batch) }))
            }
            BatchState::Creating | BatchState::Created | BatchState::Settling => Ok(Some(Decided::Busy)),
        };
    };
    let settled = decide(session, &batch, &item, state).await;
    let finished = finish(session, &batch).await;
    // Nobody was asked: what has no answer yet is asked for soon.
    let_go(session, &batch, &taken, &finished, now, 0).await?;
    let batch = Box::new(finished?.batch);
    Ok(Some(Decided::Done { settled: settled?, batch }))
}

/// Asks for all refunds that are not decided; also for those that someone had to confirm, since they may have. One that
/// can't be settled does not keep the others from it.
async fn ask_all(
    session: &Session,
    channel: &dyn PaymentChannel,
    batch: &RefundBatch,
) -> Result<(), StoreError> {
    let known = session.refunds_of(batch).await?;
    let is_undecided =
        |item: &&BatchItem| known.get(&item.refund).is_none_or(|refund| refund.state.is_pending());
    let mut undecided: Vec<&BatchItem> = batch.items.iter().filter(is_undecided).collect();
    // In no order: where many before them have no answer, others have their turn another time.
    fastrand::shuffle(&mut undecided);
    let asked: Vec<_> = undecided
        .into_iter()
        .map(|item| ask(session, channel, batch, item, known.contains_key(&item.refund)))
        .collect();
    let asked: Vec<Result<(), StoreError>> =
        stream::iter(asked).buffer_unordered(limits::PARTS_AT_ONCE).collect().await;
    asked.into_iter().collect()
}

/// Gives back the money of refunds that failed, and ends the batch if all are decided.
async fn finish(session: &Session, batch: &RefundBatch) -> Result<Finished, StoreError> {
    let refunds = session.refunds_of(batch).await?;
    let is_unknown = batch.items.iter().any(|item| !refunds.contains_key(&item.refund));
    let (end, mut failed) = batch.end(&refunds);
    if mutants::is_on(Decision::NothingIsGivenBack) {
        failed.clear();
    }
    Ok(Finished { batch: session.give_back(batch, end, &failed).await?, is_unknown })
}

/// Asks the payment channel for one refund, which may be pending, and records what it says.
async fn ask(
    session: &Session,
    channel: &dyn PaymentChannel,
    batch: &RefundBatch,
    item: &BatchItem,
    is_pending: bool,
) -> Result<(), StoreError> {
    let asked = ChannelRefund {
        order_no: item.refund.order_no().to_owned(),
        channel: item.channel.clone(),
        transaction_no: item.transaction_no.clone(),
        amount: item.amount.value() + u64::from(mutants::is_on(Decision::ChannelIsAskedForMore)),
        description: item.description.clone().unwrap_or_else(|| batch.description.clone()),
    };
    // Who asks must have the time to put the answer on record.
    let patience = ANSWER_WITHIN.min(session.time_left().saturating_sub(TO_RECORD));
    if patience.is_zero() {
        return Ok(());
    }
    let answer = tokio::time::timeout(patience, channel.refund(&asked)).await;
    let answer = answer.unwrap_or_else(|_| ChannelAnswer::Unknown("no answer in time".to_owned()));
    let at = clock::unix_now();
    let state = match answer {
        ChannelAnswer::Succeeded => ItemState::Succeeded { at },
        ChannelAnswer::Refused { code, message } => ItemState::Failed {
            at,
            code: cut(&code, limits::FAILURE_CODE_CHARS_MAX),
            message: cut(&message, limits::FAILURE_MESSAGE_CHARS_MAX),
        },
        ChannelAnswer::Confirm { .. } if is_pending => return Ok(()),
        ChannelAnswer::Confirm { url } => {
            ItemState::Pending { url: cut(&url, limits::CONFIRMATION_URL_CHARS_MAX) }
        }
        ChannelAnswer::Unknown(why) if mutants::is_on(Decision::UnknownIsNo) => {
            ItemState::Failed { at, code: String::new(), message: why }
        }
        ChannelAnswer::Unknown(why) => {
            tracing::warn!(refund = item.refund.as_str(), why, "the payment channel's answer is not known");
            return Ok(());
        }
    };
    decide(session, batch, item, state).await.map(|_| ())
}

/// The beginning of a text that others wrote: no more of it is kept.
fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
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
        ItemState::Succeeded { at } => Some(format!("succeeded (at {at} Unix milliseconds)")),
        ItemState::Failed { at, code, message } => {
            Some(format!("failed: {code}: {message} (at {at} Unix milliseconds)"))
        }
    };
    let settled = session.settle(batch, item, state).await?;
    if let (Settled::Otherwise(recorded), Some(said)) = (&settled, said) {
        tracing::error!(refund = item.refund.as_str(), said, "the payment channel contradicts itself");
        session.note_contradiction(recorded, &said).await?;
    }
    Ok(settled)
}
