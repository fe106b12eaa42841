//! Settles batches of refunds, and tells merchants' systems what has succeeded. It works on the changes of the table,
//! as its stream brings them, and once a minute on all batches that are still open.

mod bus;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use serde::Serialize;
use shared::clock::{self, milliseconds};
use shared::edge::{BROKEN, Invocation, Trouble, WorkLine, log_work};
use shared::ledger::RefundBatchKey;
use shared::limits;
use shared::mutants::{self, Decision};
use shared::pingpp::{
    Event, EventBus, NoEvent, PaymentChannel, advance, advance_new, batch_succeeded, refund_succeeded,
};
use shared::store::{ChangeRecord, Deadline, Fact, Session, Store, StoreError};

pub use bus::EventBridge;

/// What the schedule sends.
pub const SWEEP: &str = r#"{"sweep":true}"#;

/// A batch is not begun with less time than this: what its payment channels take, and their answers' recording.
const TIME_FOR_A_BATCH: Duration = Duration::from_secs(15);

/// How long new batches are worked on before the changes behind them come.
const STREAM_SETTLES_WITHIN: Duration = Duration::from_secs(20);

/// How long a batch is left alone that can't be worked on: people have to look at it.
const PUT_OFF: Duration = Duration::from_secs(60 * 60);

pub struct SettleRefunds {
    store: Store,
    channel: Arc<dyn PaymentChannel>,
    bus: Arc<dyn EventBus>,
}

/// What of a stream's event is to be brought again; a sweep has nothing of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worked {
    pub batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// A change's sequence number.
    pub item_identifier: String,
}

/// Neither changes of the table nor a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event is neither of a DynamoDB stream nor {SWEEP}")]
pub struct UnknownEvent;

/// Why batches are brought on.
#[derive(Debug, Clone, Copy)]
enum By {
    /// They are new.
    Stream,
    /// They are due.
    Sweep,
}

struct SettledBatches {
    count: Count,
    /// Whether some were not begun.
    is_out_of_time: bool,
}

/// How many of those tried came through.
#[derive(Debug, Default)]
struct Count {
    done: usize,
    left: usize,
}

impl SettleRefunds {
    pub fn new(store: Store, channel: Arc<dyn PaymentChannel>, bus: Arc<dyn EventBus>) -> Self {
        Self { store, channel, bus }
    }

    /// Works on one event, given as its JSON text.
    ///
    /// # Errors
    /// If it is no event of this function.
    pub fn work<'a>(
        &'a self,
        event: &'a str,
        invocation: &'a Invocation,
    ) -> BoxFuture<'a, Result<Worked, UnknownEvent>> {
        Box::pin(self.work_on(event, invocation))
    }

    async fn work_on(&self, event: &str, invocation: &Invocation) -> Result<Worked, UnknownEvent> {
        let began = clock::now();
        let session = self.store.session(Deadline::of_invocation(invocation.ends));
        let (by, batches, events, worked) = match ChangeRecord::all_of(event) {
            Some(changes) => {
                // What is true already is told first: settling takes its time, and may not come to its end.
                let (events, worked) = self.tell(&session, &changes).await;
                // Others' changes wait behind these: what takes longer is left to the sweep.
                let within = session.within(STREAM_SETTLES_WITHIN);
                let settled = self.settle(&within, created(&changes), By::Stream).await;
                ("stream", settled.count, events, worked)
            }
            None if is_sweep(event) => {
                ("sweep", self.sweep(&session).await, Count::default(), Worked::default())
            }
            None => return Err(UnknownEvent),
        };
        log_work(&WorkLine {
            function: "SettleRefunds",
            request_id: &invocation.request_id,
            by,
            batches: batches.done,
            batches_left: batches.left,
            events: events.done,
            events_left: events.left,
            began,
            usage: session.usage(),
            refunded: session.refunded(),
        });
        Ok(worked)
    }

    /// Brings on all batches that are due, as long as there is time.
    async fn sweep(&self, session: &Session) -> Count {
        let mut all = Count::default();
        let mut seen = HashSet::new();
        loop {
            let now = clock::unix_now();
            let mut due = match session.open_batches(now, limits::BATCHES_PER_LOOK_MAX).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::error!(%error, "open batches can't be looked for; the next sweep does");
                    return all;
                }
            };
            // The index is a moment behind.
            due.retain(|batch| seen.insert(batch.clone()));
            if due.is_empty() {
                return all;
            }
            let settled = self.settle(session, due, By::Sweep).await;
            all = Count { done: all.done + settled.count.done, left: all.left + settled.count.left };
            if settled.is_out_of_time {
                return all;
            }
        }
    }

    /// Brings batches on. What is not brought on now is by a later sweep.
    async fn settle(&self, session: &Session, batches: Vec<RefundBatchKey>, by: By) -> SettledBatches {
        let brought_on = batches.into_iter().map(|key| async move {
            if session.time_left() < TIME_FOR_A_BATCH {
                return None;
            }
            let now = clock::unix_now();
            let brought_on = match by {
                By::Stream => advance_new(session, &*self.channel, &key, now).await,
                By::Sweep => advance(session, &*self.channel, &key, now).await,
            };
            let Err(error) = brought_on else { return Some(true) };
            report(&key, &error);
            if !error.passes() {
                // Others come before it.
                let until = now + milliseconds(PUT_OFF);
                let _ = session.put_off(&key, now, until).await.inspect_err(|error| report(&key, error));
            }
            Some(false)
        });
        let done: Vec<Option<bool>> =
            stream::iter(brought_on).buffer_unordered(limits::BATCHES_AT_ONCE).collect().await;
        let count = done.iter().filter(|done| **done == Some(true)).count();
        SettledBatches {
            count: Count { done: count, left: done.len() - count },
            is_out_of_time: done.contains(&None),
        }
    }

    /// Tells what has succeeded. What can't be told now is brought again.
    async fn tell(&self, session: &Session, changes: &[ChangeRecord]) -> (Count, Worked) {
        let succeeded = |change: &&ChangeRecord| succeeded_batch(change).is_some();
        let batches: BTreeSet<RefundBatchKey> = changes.iter().filter_map(succeeded_batch).cloned().collect();
        let read = batches.into_iter().map(|key| async move {
            let events = events(session, &key).await;
            (key, events)
        });
        let read: HashMap<_, _> =
            stream::iter(read).buffer_unordered(limits::BATCHES_AT_ONCE).collect().await;

        let mut failures = Vec::new();
        let (mut due, mut told): (Vec<(&str, &RefundBatchKey)>, Vec<Event>) = Default::default();
        for change in changes.iter().filter(succeeded) {
            let number = change.sequence_number.as_str();
            let Some(key) = succeeded_batch(change) else { continue };
            match read.get(key) {
                Some(Ok(events)) => {
                    // What a batch no longer says was never true.
                    if let Some(event) = change.fact.as_ref().and_then(|fact| events.get(fact)) {
                        due.push((number, key));
                        told.push(event.clone());
                    }
                }
                // Bringing it again would not mend it, and hold up all that comes behind it.
                Some(Err(StoreError::Damaged { .. })) | None => {}
                Some(Err(_)) => failures.push(number),
            }
        }
        let put = tokio::time::timeout(session.time_left(), self.bus.put(&told)).await;
        let put = put.unwrap_or_else(|_| vec![Err("no time was left".to_owned()); told.len()]);
        for ((number, key), result) in due.iter().zip(&put) {
            if let Err(why) = result {
                // Should it never arrive, this is where its batch is found by the change's number.
                let (tenant, batch) = (key.tenant.as_str(), key.id.as_str());
                tracing::warn!(
                    why,
                    tenant,
                    batch,
                    change = number,
                    "an event has not arrived; it is put again"
                );
                if !mutants::is_on(Decision::LostEventIsTold) {
                    failures.push(number);
                }
            }
        }
        let count = Count { done: put.iter().filter(|put| put.is_ok()).count(), left: failures.len() };
        let failure = |number: &str| BatchItemFailure { item_identifier: number.to_owned() };
        (count, Worked { batch_item_failures: failures.into_iter().map(failure).collect() })
    }
}

fn is_sweep(event: &str) -> bool {
    let sweep = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    sweep(event).is_some_and(|event| Some(event) == sweep(SWEEP))
}

/// Batches that were created, in the order of the changes.
fn created(changes: &[ChangeRecord]) -> Vec<RefundBatchKey> {
    let created = changes.iter().filter_map(|change| match &change.fact {
        Some(Fact::BatchCreated(batch)) => Some(batch.clone()),
        _ => None,
    });
    created.collect()
}

/// The batch that a change is about, if something of it has succeeded.
fn succeeded_batch(change: &ChangeRecord) -> Option<&RefundBatchKey> {
    match change.fact.as_ref()? {
        Fact::BatchSucceeded(batch) | Fact::RefundSucceeded { batch, .. } => Some(batch),
        Fact::BatchCreated(_) => None,
    }
}

/// All that there is to tell of a batch, by the facts.
///
/// # Errors
/// If the batch or its refunds can't be read.
pub async fn events(session: &Session, key: &RefundBatchKey) -> Result<HashMap<Fact, Event>, StoreError> {
    let Some(batch) = session.batch(key).await.inspect_err(|error| report(key, error))? else {
        return Ok(HashMap::new());
    };
    let refunds = session.refunds_of(&batch).await.inspect_err(|error| report(key, error))?;
    let damaged = |what: NoEvent| {
        let error = StoreError::Damaged { key: key.path(), what: what.to_string() };
        report(key, &error);
        error
    };
    let mut events = HashMap::new();
    for item in &batch.items {
        let Some(refund) = refunds.get(&item.refund) else { continue };
        if let Some(event) = refund_succeeded(&batch, item, refund).map_err(damaged)? {
            events.insert(Fact::RefundSucceeded { batch: key.clone(), refund: item.refund.clone() }, event);
        }
    }
    if let Some(event) = batch_succeeded(&batch, &refunds).map_err(damaged)? {
        events.insert(Fact::BatchSucceeded(key.clone()), event);
    }
    Ok(events)
}

/// Says why a batch could not be worked on: what passes is a warning, what doesn't needs people.
fn report(key: &RefundBatchKey, error: &StoreError) {
    let (tenant, batch) = (key.tenant.as_str(), key.id.as_str());
    match error.into() {
        Trouble::None | Trouble::Passes => {
            tracing::warn!(tenant, batch, %error, "a batch was left for later")
        }
        Trouble::Stays => tracing::error!(tenant, batch, %error, "a batch can't be worked on"),
        Trouble::Broken => {
            tracing::error!(tenant, batch, %error, invariant = BROKEN, "a batch can't be worked on");
        }
    }
}
