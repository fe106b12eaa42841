//! `refundctl dead-letters`: changes of the table that could not be told on the event bus for almost a day. A queue
//! says when they were; the table says what came true then.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use clap::{Args, Subcommand};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Deserialize;
use settle_refunds::EventBridge;
use shared::aws;
use shared::clock::milliseconds;
use shared::entries::tenant_name;
use shared::ledger::{BatchEnd, BatchState, ItemState, RefundBatchKey, TenantKey};
use shared::pingpp::{EventBus, OPERATORS_CLOCK_OFF, PROVIDER};
use shared::store::{Content, Fact, Store, StoreError, Stored};

use crate::agreement::{Agreement, Outcome, WrongUsage};
use crate::scan::{ScanOptions, scan_all};
use crate::screen::{Cell, OutputOptions, Section, Sheet, plain};
use crate::target::{TableOptions, of_stage, session};
use crate::{say, tell};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show when there were changes that could not be told
    #[command(after_help = LIST_EXAMPLES)]
    List(ListOptions),
    /// Tell again what came true at that time, and delete the messages of what has arrived
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayOptions),
}

const LIST_EXAMPLES: &str = "\
Changes nothing; but that the queue counts how often a message was received. The queue's counts are about right, as SQS
tells them.

Examples:
  refundctl dead-letters list --stage prod
  refundctl dead-letters list --stage prod --output json

Exit codes: 0 listed, also if there are none; 1 the queue can't be read; 2 wrong usage.";

const REPLAY_EXAMPLES: &str = "\
Once the bus takes events again. Reads the whole table once, for the batches and refunds that succeeded while the
changes were made, and tells of them; an event has the same id however often it is told. A message whose events have
not all arrived stays in the queue, as does one of anything else. If it is interrupted, the messages come back within a
quarter of an hour: then run it again.

Examples:
  refundctl dead-letters replay --stage prod --dry-run
  refundctl dead-letters replay --stage prod --reason 'the bus was denied, incident 42'
  refundctl dead-letters replay --stage prod --max-rcu 500 --yes --reason 'the bus was denied, incident 42'

Exit codes: 0 all is told and deleted, or there was nothing; 1 some messages stay; 2 wrong usage.";

/// How much earlier than its change a fact may say that it came true: its sender's clock, which may be an operator's, and
/// the time it took to write it down.
const BEFORE: Duration = OPERATORS_CLOCK_OFF.saturating_add(Duration::from_secs(10 * 60));

/// How much later than its change a fact may say that it came true, by its sender's clock.
const AFTER: Duration = OPERATORS_CLOCK_OFF.saturating_add(Duration::from_secs(60));

/// How long nobody else receives the messages that are told again, in seconds.
const HIDDEN_FOR: i32 = 15 * 60;

/// How long one call waits for messages, in seconds.
const WAIT: i32 = 1;

/// Messages of one call (SQS).
const MESSAGES_PER_CALL_MAX: usize = 10;

/// Answers in a row without a new message, after which there are no more.
const ANSWERS_WITHOUT_MAX: usize = 2;

/// Calls to the queue under way at the same time.
const CALLS_AT_ONCE: usize = 8;

/// Batches whose events are read at the same time, and then told.
const BATCHES_AT_ONCE: usize = 16;

/// Times in a row that nothing arrives on the bus, after which it is not tried any more.
const REFUSALS_MAX: usize = 3;

/// What interventions are about.
const SUBJECT: &str = "dead letters";

#[derive(Debug, Args)]
pub struct ListOptions {
    #[command(flatten)]
    queue: QueueOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Args)]
pub struct ReplayOptions {
    #[command(flatten)]
    queue: QueueOptions,
    /// EventBridge bus to tell it on [default: the stage's]
    #[arg(long, value_name = "NAME")]
    bus: Option<String>,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    agreement: Agreement,
}

#[derive(Debug, Args)]
struct QueueOptions {
    /// Queue of changes that could not be told [default: the stage's]
    #[arg(long, value_name = "NAME_OR_URL")]
    queue: Option<String>,
    /// Messages at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    max: u64,
    #[command(flatten)]
    table: TableOptions,
}

impl QueueOptions {
    fn name(&self) -> Result<String> {
        let TableOptions { stage, endpoint, table, .. } = &self.table;
        let wrong = match (&self.queue, stage) {
            (Some(queue), _) if [stage, endpoint, table].into_iter().any(Option::is_some) => {
                return Ok(queue.clone());
            }
            (None, Some(stage)) => return Ok(format!("{}-untold-changes", of_stage(stage))),
            (Some(_), _) => "say where the queue and its table are: --stage NAME, or --table NAME",
            (None, None) => {
                "name the stage: --stage NAME; the local stack has no such queue: its events are lines of its log, and \
                 `refundctl batch tell` prints them"
            }
        };
        Err(WrongUsage(wrong.to_owned()).into())
    }
}

impl ReplayOptions {
    fn bus(&self) -> Result<String> {
        let of_stage = || self.queue.table.stage().map(of_stage);
        let unnamed = || WrongUsage("name the event bus, or the stage: --bus NAME, --stage NAME".to_owned());
        Ok(self.bus.clone().or_else(of_stage).ok_or_else(unnamed)?)
    }
}

pub async fn command(action: &Action) -> Result<ExitCode> {
    match action {
        Action::List(options) => list(options).await,
        Action::Replay(options) => replay(options).await,
    }
}

// ---- what messages say ----

/// What Lambda says of changes that a function could not work on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    request_context: RequestContext,
    #[serde(rename = "DDBStreamBatchInfo")]
    changes: ChangesInfo,
}

#[derive(Default, Deserialize)]
struct RequestContext {
    condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangesInfo {
    approximate_arrival_of_first_record: String,
    approximate_arrival_of_last_record: String,
    batch_size: u64,
    stream_arn: String,
}

/// Changes of a table that could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    pub table: String,
    /// When the first and the last of them were made, in Unix milliseconds.
    pub first: u64,
    pub last: u64,
    count: u64,
    /// Why Lambda gave them up, such as `RetryAttemptsExhausted`.
    condition: Option<String>,
}

impl Untold {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is of something else; says why.
    pub fn read(body: &str) -> Result<Self, String> {
        let body: Body =
            serde_json::from_str(body).map_err(|error| format!("it is of no table's changes: {error}"))?;
        let ChangesInfo { stream_arn, batch_size, .. } = &body.changes;
        // arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<time>
        let table = match stream_arn.split('/').collect::<Vec<_>>()[..] {
            [beginning, table, "stream", _] if beginning.ends_with(":table") => table.to_owned(),
            _ => return Err(format!("{stream_arn} is no table's stream")),
        };
        let first = moment(&body.changes.approximate_arrival_of_first_record)?;
        let last = moment(&body.changes.approximate_arrival_of_last_record)?;
        if first > last {
            return Err("its last change was made before its first".to_owned());
        }
        Ok(Self { table, first, last, count: *batch_size, condition: body.request_context.condition })
    }

    /// When what these changes made true says that it came true.
    fn span(&self) -> Span {
        Span {
            from: self.first.saturating_sub(milliseconds(BEFORE)),
            to: self.last.saturating_add(milliseconds(AFTER)),
        }
    }
}

/// A time as Lambda writes it, in Unix milliseconds.
fn moment(text: &str) -> Result<u64, String> {
    let time = text.parse::<Timestamp>().map_err(|error| format!("{text:?} is no time: {error}"))?;
    u64::try_from(time.as_millisecond()).map_err(|_| format!("{text:?} is before 1970"))
}

/// From one moment to another, both included, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u64,
    to: u64,
}

impl Span {
    fn has(self, at: u64) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// All that is in any of the spans, in order, as few as can be.
fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.into_iter().collect();
    spans.sort_by_key(|span| span.from);
    let mut union: Vec<Span> = Vec::new();
    for span in spans {
        match union.last_mut() {
            Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
            _ => union.push(span),
        }
    }
    union
}

/// What others are told of: something that came true, its batch, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CameTrue {
    batch: RefundBatchKey,
    fact: Fact,
    at: u64,
}

impl CameTrue {
    fn of(content: Content) -> Option<Self> {
        match content {
            Content::Refund(refund) => {
                let ItemState::Succeeded { at } = refund.state else { return None };
                let batch = RefundBatchKey { tenant: refund.charge.tenant, id: refund.batch };
                let fact = Fact::RefundSucceeded { batch: batch.clone(), refund: refund.id };
                Some(Self { batch, fact, at })
            }
            Content::Batch(batch) => {
                let BatchState::Ended { end: BatchEnd::Succeeded, at } = batch.state else { return None };
                Some(Self { batch: batch.key.clone(), fact: Fact::BatchSucceeded(batch.key), at })
            }
            _ => None,
        }
    }
}

// ---- the queue ----

struct Queue {
    client: Client,
    name: String,
    url: String,
}

/// A message of the queue.
struct Letter {
    id: String,
    /// What names it to the queue, as it was received last.
    receipt: String,
    /// When it was put, in Unix milliseconds.
    put: Option<u64>,
    /// How often it was received.
    received: Option<u64>,
    /// What it says, or why that is not of the table's changes.
    untold: Result<Untold, String>,
}

impl Letter {
    fn of(message: &Message, table: &str) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let number = |name: MessageSystemAttributeName| -> Option<u64> {
            message.attributes()?.get(&name)?.parse().ok()
        };
        let untold = Untold::read(message.body().unwrap_or_default()).and_then(|untold| {
            if untold.table == table { Ok(untold) } else { Err(format!("it is of table {}", untold.table)) }
        });
        Self {
            id: text(message.message_id()),
            receipt: text(message.receipt_handle()),
            put: number(MessageSystemAttributeName::SentTimestamp),
            received: number(MessageSystemAttributeName::ApproximateReceiveCount),
            untold,
        }
    }
}

/// What AWS said went wrong.
fn failed(error: impl std::error::Error) -> anyhow::Error {
    anyhow!(aws::with_causes(&error))
}

impl Queue {
    async fn find(settings: &SdkConfig, name: &str) -> Result<Self> {
        let (client, name) = (Client::new(settings), name.to_owned());
        if name.contains("://") {
            return Ok(Self { client, url: name.clone(), name });
        }
        let found = client.get_queue_url().queue_name(&name).send().await.map_err(failed);
        let found = found.with_context(|| format!("queue {name} can't be found"))?;
        let url = found.queue_url().with_context(|| format!("queue {name} has no URL"))?.to_owned();
        Ok(Self { client, name, url })
    }

    /// Messages, each once, so many at most. Nobody else receives them for so many seconds.
    async fn receive(&self, table: &str, count_max: usize, hidden_for: i32) -> Result<Vec<Letter>> {
        let (mut letters, mut seen, mut without) = (Vec::new(), HashSet::new(), 0);
        while letters.len() < count_max && without < ANSWERS_WITHOUT_MAX {
            let count = (count_max - letters.len()).min(MESSAGES_PER_CALL_MAX);
            let call = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(i32::try_from(count)?)
                .visibility_timeout(hidden_for)
                .wait_time_seconds(WAIT)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            let answer = call.send().await.map_err(failed);
            let answer = answer.with_context(|| format!("queue {} can't be read", self.name))?;
            let received = answer.messages().iter().map(|message| Letter::of(message, table));
            let new: Vec<Letter> = received.filter(|letter| seen.insert(letter.id.clone())).collect();
            without = if new.is_empty() { without + 1 } else { 0 };
            letters.extend(new);
        }
        Ok(letters)
    }

    /// About how many messages wait to be received, and how many others have received.
    async fn count(&self) -> Result<(u64, u64)> {
        let waiting = QueueAttributeName::ApproximateNumberOfMessages;
        let taken = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let call = self.client.get_queue_attributes().queue_url(&self.url);
        let call = call.attribute_names(waiting.clone()).attribute_names(taken.clone());
        let found = call.send().await.map_err(failed);
        let found = found.with_context(|| format!("the messages of queue {} can't be counted", self.name))?;
        let number =
            |name: &QueueAttributeName| -> Option<u64> { found.attributes()?.get(name)?.parse().ok() };
        Ok((number(&waiting).unwrap_or_default(), number(&taken).unwrap_or_default()))
    }

    /// Deletes messages; how many are.
    async fn delete(&self, letters: &[&Letter]) -> usize {
        let deletes = letters.iter().map(|letter| async move {
            let call = self.client.delete_message().queue_url(&self.url).receipt_handle(&letter.receipt);
            let deleted = call.send().await.map_err(failed);
            deleted.inspect_err(|why| tell!("warning: message {} stays: {why}", plain(&letter.id))).is_ok()
        });
        let deleted: Vec<bool> = stream::iter(deletes).buffer_unordered(CALLS_AT_ONCE).collect().await;
        deleted.into_iter().filter(|is_deleted| *is_deleted).count()
    }

    /// Lets others receive messages at once. If that fails they do later.
    async fn let_go(&self, letters: &[&Letter]) {
        let calls = letters.iter().map(|letter| async move {
            let call = self.client.change_message_visibility().queue_url(&self.url);
            let _ = call.receipt_handle(&letter.receipt).visibility_timeout(0).send().await;
        });
        stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).collect::<()>().await;
    }
}

// ---- list ----

async fn list(options: &ListOptions) -> Result<ExitCode> {
    let QueueOptions { queue: named, max, table } = &options.queue;
    let name = options.queue.name()?;
    let store = table.store().await?;
    let queue = Queue::find(&table.aws().await?, &name).await?;
    let letters = queue.receive(store.table(), usize::try_from(*max)?, 0).await?;
    let counts = queue.count().await?;
    let named = named.as_ref().map(|named| format!(" --queue {named}")).unwrap_or_default();
    sheet(&name, counts, &letters, &format!("{}{named}", table.repeated())).print(options.output)?;
    Ok(ExitCode::SUCCESS)
}

/// `place` is what tells commands where the table and the queue are.
fn sheet(queue: &str, (waiting, taken): (u64, u64), letters: &[Letter], place: &str) -> Sheet {
    let mut sheet = Sheet::new("changes that could not be told on the event bus");
    let untold = || letters.iter().filter_map(|letter| letter.untold.as_ref().ok());
    sheet.fact("queue", Cell::text(queue));
    sheet.fact("waiting", Cell::Count(waiting));
    sheet.fact("taken", Cell::Count(taken));
    sheet.fact("changes", Cell::Count(untold().map(|untold| untold.count).sum()));
    sheet.fact("oldest", Cell::time_of(letters.iter().filter_map(|letter| letter.put).min()));
    if waiting > letters.len() as u64 {
        sheet.note(format!("only {} of about {waiting} messages are shown", letters.len()));
    }
    if taken > 0 {
        sheet.note("messages that another run has taken come back within a quarter of an hour");
    }
    if untold().next().is_some() {
        sheet.note(format!("once the bus takes events again: `refundctl dead-letters replay{place}`"));
    }
    let columns = &["time", "changes", "received"];
    let stacked = &["message", "first", "last", "condition", "problem"];
    let mut messages = Section::new("messages", columns, stacked);
    for letter in letters {
        let untold = letter.untold.as_ref().ok();
        let count = |count: Option<u64>| count.map_or(Cell::Nothing, Cell::Count);
        messages.row([
            Cell::time_of(letter.put),
            count(untold.map(|untold| untold.count)),
            count(letter.received),
            Cell::text(&letter.id),
            Cell::time_of(untold.map(|untold| untold.first)),
            Cell::time_of(untold.map(|untold| untold.last)),
            Cell::maybe(untold.and_then(|untold| untold.condition.as_ref())),
            Cell::maybe(letter.untold.as_ref().err()),
        ]);
    }
    messages.sort_by_time(0);
    sheet.section(messages);
    sheet
}

// ---- replay ----

/// What came true, by batch, and when.
type Batches = HashMap<RefundBatchKey, Vec<(Fact, u64)>>;

/// What telling came to.
#[derive(Debug, Default)]
struct Told {
    count: usize,
    /// When that came true whose events have not arrived.
    failed: Vec<u64>,
    /// Why one of them has not.
    why: Option<String>,
}

impl Told {
    fn fail(&mut self, at: u64, why: impl FnOnce() -> String) {
        self.failed.push(at);
        self.why.get_or_insert_with(why);
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.failed.extend(other.failed);
        self.why = self.why.take().or(other.why);
    }

    /// Whether all that came true in a span has arrived.
    fn has_arrived(&self, span: Span) -> bool {
        !self.failed.iter().any(|at| span.has(*at))
    }
}

impl Outcome for Told {
    fn outcome(&self) -> String {
        let told = format!("{} of {} events told", self.count, self.count + self.failed.len());
        match &self.why {
            Some(why) => format!("{told}: {why}"),
            None => told,
        }
    }
}

async fn replay(options: &ReplayOptions) -> Result<ExitCode> {
    let (name, bus) = (options.queue.name()?, options.bus()?);
    let count_max = usize::try_from(options.queue.max)?;
    let store = options.queue.table.store().await?;
    let settings = options.queue.table.aws().await?;
    let queue = Queue::find(&settings, &name).await?;
    let hidden_for = if options.agreement.dry_run { 0 } else { HIDDEN_FOR };
    let letters = queue.receive(store.table(), count_max, hidden_for).await?;
    if letters.is_empty() {
        return nothing_received(&queue).await;
    }
    let bus = Bus { bridge: EventBridge::new(&settings, &bus), name: bus };
    let told = tokio::select! {
        told = tell_again(options, &store, &queue, &bus, &letters) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; the messages stay in the queue: run it again")),
    };
    let is_told = |letter: &&Letter| match (&told, &letter.untold) {
        (Ok(Some(told)), Ok(untold)) => told.has_arrived(untold.span()),
        _ => false,
    };
    let (done, stay): (Vec<&Letter>, Vec<&Letter>) = letters.iter().partition(is_told);
    if !options.agreement.dry_run {
        queue.let_go(&stay).await;
    }
    let Some(told) = told? else { return Ok(ExitCode::SUCCESS) };
    let deleted = queue.delete(&done).await;
    say!("{}, on bus {}", plain(&told.outcome()), bus.name);
    say!("{deleted} of {} messages deleted from queue {}", letters.len(), queue.name);
    if deleted < letters.len() {
        return Ok(ExitCode::FAILURE);
    }
    let waiting = if letters.len() < count_max { 0 } else { queue.count().await?.0 };
    if waiting > 0 {
        say!("about {waiting} other messages are in it: run it again");
    }
    Ok(if waiting == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn nothing_received(queue: &Queue) -> Result<ExitCode> {
    let (waiting, taken) = queue.count().await?;
    if waiting + taken == 0 {
        say!("queue {} has no messages", queue.name);
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "queue {} gives no messages now, and has about {}: those that another run has taken come back within a quarter of an hour",
        queue.name,
        waiting + taken
    );
    Ok(ExitCode::FAILURE)
}

struct Bus {
    bridge: EventBridge,
    name: String,
}

/// Tells again what came true at the time of the messages; nothing in a dry run.
async fn tell_again(
    options: &ReplayOptions,
    store: &Store,
    queue: &Queue,
    bus: &Bus,
    letters: &[Letter],
) -> Result<Option<Told>> {
    for letter in letters {
        if let Err(why) = &letter.untold {
            tell!("warning: message {} stays: {}", plain(&letter.id), plain(why));
        }
    }
    let untold: Vec<&Untold> = letters.iter().filter_map(|letter| letter.untold.as_ref().ok()).collect();
    if untold.is_empty() {
        return Ok(Some(Told::default()));
    }
    let due = find(options, store, &union(untold.iter().map(|untold| untold.span()))).await?;
    let tells = due.iter().map(|(tenant, batches)| {
        let (events, tenant) = (events_of(batches), tenant_name(tenant));
        format!("tell {events} events of {} batches of {tenant} again, on bus {}", batches.len(), bus.name)
    });
    let deletes =
        format!("delete {} messages from queue {}, once their events have arrived", untold.len(), queue.name);
    let changes: Vec<String> = tells.chain([deletes]).collect();
    let Some(agreed) = options.agreement.ask(&options.queue.table, &changes).await? else { return Ok(None) };
    let events: usize = due.values().map(events_of).sum();
    let progress = ProgressBar::new(events as u64).with_style(ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left",
    )?);
    let mut told = Told::default();
    for (tenant, batches) in &due {
        let action = format!("tell {} events again on bus {}", events_of(batches), bus.name);
        let work = tell(store, bus, batches, &progress);
        told.add(agreed.do_it(store, tenant, SUBJECT, &action, work).await?);
    }
    progress.finish_and_clear();
    Ok(Some(told))
}

fn events_of(batches: &Batches) -> usize {
    batches.values().map(Vec::len).sum()
}

/// What came true in these spans, of each app.
async fn find(
    options: &ReplayOptions,
    store: &Store,
    spans: &[Span],
) -> Result<BTreeMap<TenantKey, Batches>> {
    let mut due: BTreeMap<TenantKey, Batches> = BTreeMap::new();
    let (mut unreadable, mut first) = (0_u64, None);
    let take = |stored: Stored| {
        let key = stored.key();
        match stored.content.map(CameTrue::of) {
            Ok(Some(CameTrue { batch, fact, at })) if spans.iter().any(|span| span.has(at)) => {
                let batches = due.entry(batch.tenant.clone()).or_default();
                batches.entry(batch).or_default().push((fact, at));
            }
            Ok(_) => {}
            Err(why) if key.starts_with(PROVIDER) => {
                unreadable += 1;
                first.get_or_insert_with(|| format!("{key}: {why}"));
            }
            Err(_) => {}
        }
        Ok(())
    };
    scan_all(store, options.scan, take).await?;
    if let Some(first) = first {
        tell!(
            "warning: {unreadable} items can't be read, and what they say is not told; one is {}",
            plain(&first)
        );
    }
    Ok(due)
}

/// Tells of batches what came true. What of it is damaged, or does not arrive, keeps nothing else from it.
async fn tell(store: &Store, bus: &Bus, batches: &Batches, progress: &ProgressBar) -> Result<Told> {
    let reads = batches.iter().map(|(key, facts)| async move {
        let events = settle_refunds::events(&session(store), key).await;
        (facts, events)
    });
    let mut reads = stream::iter(reads).buffer_unordered(BATCHES_AT_ONCE).chunks(BATCHES_AT_ONCE);
    let (mut told, mut refusals) = (Told::default(), 0);
    while let Some(chunk) = reads.next().await {
        let (mut events, mut times) = (Vec::new(), Vec::new());
        let facts: usize = chunk.iter().map(|(facts, _)| facts.len()).sum();
        for (facts, read) in chunk {
            match read {
                Ok(mut read) => {
                    // What a batch no longer says was never true.
                    let due = facts.iter().filter_map(|(fact, at)| Some((read.remove(fact)?, *at)));
                    let (due, at): (Vec<_>, Vec<u64>) = due.unzip();
                    events.extend(due);
                    times.extend(at);
                }
                // Trying it again does not mend it.
                Err(error @ StoreError::Damaged { .. }) => {
                    facts.iter().for_each(|(_, at)| told.fail(*at, || error.to_string()));
                }
                Err(error) => return Err(error).context("some events may have been told; run it again"),
            }
        }
        let put = bus.bridge.put(&events).await;
        if put.iter().any(|put| put.is_ok()) {
            refusals = 0;
        } else if !events.is_empty() {
            refusals += 1;
        }
        for (at, put) in times.into_iter().zip(put) {
            match put {
                Ok(()) => told.count += 1,
                Err(why) => told.fail(at, || why),
            }
        }
        if refusals == REFUSALS_MAX {
            bail!("nothing arrives on bus {}: {}", bus.name, told.why.unwrap_or_default());
        }
        progress.inc(facts as u64);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::ledger::{ChargeKey, ItemRefund, MinorUnits, RefundId};
    use shared::pingpp::{Mode, tenant_of};

    use super::*;
    use crate::screen::Output;

    const STREAM: &str =
        "arn:aws:dynamodb:us-east-2:123456789012:table/refunds-prod/stream/2019-11-14T00:04:06.388";

    /// 2019-11-14T00:13:19Z.
    const ARRIVED: u64 = 1_573_690_399_000;

    fn body() -> Value {
        json!({
            "requestContext": {
                "requestId": "316aa6d0-8154-4c5c-8d83-6e5d6b0a1b5a",
                "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:settle:live",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 1
            },
            "responseContext": {"statusCode": 200, "executedVersion": "7", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2019-11-14T00:38:06.021Z",
            "DDBStreamBatchInfo": {
                "shardId": "shardId-00000001573689847184-864758bb",
                "startSequenceNumber": "800000000003126276362",
                "endSequenceNumber": "800000000003126276364",
                "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
                "approximateArrivalOfLastRecord": "2019-11-14T00:13:20.5Z",
                "batchSize": 2,
                "streamArn": STREAM
            }
        })
    }

    fn message(body: &Value) -> Message {
        Message::builder()
            .message_id("5b1dd8a8-9b4d-4e0b-a2b5-5d8f3e1c7a90")
            .receipt_handle("handle")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1573691886021")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "3")
            .body(body.to_string())
            .build()
    }

    #[test]
    fn a_message_says_of_which_table_how_many_changes_were_when() {
        let untold = Untold {
            table: "refunds-prod".to_owned(),
            first: ARRIVED,
            last: ARRIVED + 1_500,
            count: 2,
            condition: Some("RetryAttemptsExhausted".to_owned()),
        };
        let span = Span { from: ARRIVED - 25 * 60_000, to: ARRIVED + 1_500 + 16 * 60_000 };
        assert_eq!(untold.span(), span);
        assert!(span.has(span.from) && span.has(span.to) && !span.has(span.to + 1));
        let letter = Letter::of(&message(&body()), "refunds-prod");
        assert_eq!((letter.put, letter.received), (Some(1_573_691_886_021), Some(3)));
        assert_eq!(letter.untold, Ok(untold.clone()));
        let mut least = body();
        least.as_object_mut().unwrap().remove("requestContext");
        assert_eq!(Untold::read(&least.to_string()), Ok(Untold { condition: None, ..untold }));
        let other = Letter::of(&message(&body()), "refunds-dev");
        assert_eq!(other.untold, Err("it is of table refunds-prod".to_owned()));
    }

    #[test]
    fn a_message_of_anything_else_is_none() {
        let changed = |member: &str, value: Value| {
            let mut body = body();
            body["DDBStreamBatchInfo"][member] = value;
            body.to_string()
        };
        for (body, wrong) in [
            (String::new(), "it is of no table's changes"),
            (json!({"KinesisBatchInfo": {}}).to_string(), "it is of no table's changes: missing field"),
            (changed("batchSize", json!("2")), "it is of no table's changes: invalid type"),
            (changed("streamArn", json!("arn:aws:kinesis:us-east-2:1:stream/a")), "is no table's stream"),
            (changed("approximateArrivalOfLastRecord", json!("yesterday")), "\"yesterday\" is no time"),
            (changed("approximateArrivalOfFirstRecord", json!("1969-01-01T00:00:00Z")), "is before 1970"),
            (changed("approximateArrivalOfFirstRecord", json!("2019-11-15T00:00:00Z")), "before its first"),
        ] {
            let read = Untold::read(&body).unwrap_err();
            assert!(read.contains(wrong), "{body}: {read}");
        }
    }

    #[test]
    fn spans_that_touch_are_one() {
        let span = |(from, to): (u64, u64)| Span { from, to };
        for (spans, expected) in [
            (vec![], vec![]),
            (vec![(5, 9)], vec![(5, 9)]),
            (vec![(5, 9), (1, 2)], vec![(1, 2), (5, 9)]),
            (vec![(5, 9), (1, 5), (9, 9)], vec![(1, 9)]),
            (vec![(1, 9), (2, 3), (4, 12), (20, 21)], vec![(1, 12), (20, 21)]),
        ] {
            let expected: Vec<Span> = expected.into_iter().map(span).collect();
            assert_eq!(union(spans.into_iter().map(span)), expected);
        }
    }

    #[test]
    fn what_has_succeeded_is_told_and_nothing_else() {
        let batch = RefundBatchKey {
            tenant: tenant_of("app_1", Mode::Test),
            id: "151608161453545122".parse().unwrap(),
        };
        let refund = |state: ItemState| {
            Content::Refund(Box::new(ItemRefund {
                id: RefundId::recorded("re_1"),
                charge: ChargeKey { tenant: batch.tenant.clone(), id: "ch_1".parse().unwrap() },
                batch: batch.id.clone(),
                amount: MinorUnits::new(1).unwrap(),
                state,
                contradiction: None,
            }))
        };
        let fact = Fact::RefundSucceeded { batch: batch.clone(), refund: RefundId::recorded("re_1") };
        let succeeded = CameTrue::of(refund(ItemState::Succeeded { at: 7 }));
        assert_eq!(succeeded, Some(CameTrue { batch: batch.clone(), fact, at: 7 }));
        let pending = ItemState::Pending { url: String::new() };
        let failed = ItemState::Failed { at: 7, code: String::new(), message: String::new() };
        for state in [pending, failed] {
            assert_eq!(CameTrue::of(refund(state)), None);
        }
        let credential = Content::Credential { tenant: batch.tenant.clone() };
        assert_eq!(CameTrue::of(credential), None);
    }

    #[test]
    fn a_message_is_told_once_all_of_its_span_has_arrived() {
        let mut told = Told { count: 2, ..Told::default() };
        assert!(told.has_arrived(Span { from: 0, to: u64::MAX }));
        let mut other = Told { count: 1, ..Told::default() };
        other.fail(15, || "throttled".to_owned());
        other.fail(16, || "denied".to_owned());
        told.add(other);
        assert_eq!(told.outcome(), "3 of 5 events told: throttled");
        for (from, to, expected) in [(1, 14, true), (1, 15, false), (16, 20, false), (17, 20, true)] {
            assert_eq!(told.has_arrived(Span { from, to }), expected, "{from}-{to}");
        }
    }

    #[test]
    fn what_people_see_fits_on_80_columns_with_no_id_split() {
        let letters = [
            Letter::of(&message(&body()), "refunds-prod"),
            Letter::of(&message(&json!("something else")), "refunds-prod"),
        ];
        let sheet = sheet("refunds-prod-untold-changes", (3, 1), &letters, " --stage prod");
        let text = sheet.render(Output::Table, 80).unwrap();
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
        for whole in [
            "5b1dd8a8-9b4d-4e0b-a2b5-5d8f3e1c7a90",
            "first 2019-11-14 00:13:19",
            "condition RetryAttemptsExhausted",
            "only 2 of about 3 messages are shown",
            "`refundctl dead-letters replay --stage prod`",
        ] {
            assert!(text.contains(whole), "{whole}: {text}");
        }
        let json: Value = serde_json::from_str(&sheet.render(Output::Json, 80).unwrap()).unwrap();
        assert_eq!((&json["waiting"], &json["changes"]), (&json!(3), &json!(2)));
        assert_eq!(json["messages"][0]["last"], "2019-11-14T00:13:20.5Z");
        assert_eq!(json["messages"][1]["last"], Value::Null);
    }

    #[test]
    fn a_queue_and_a_bus_are_of_the_stage_unless_they_are_named() {
        let text = |text: &str| Some(text.to_owned());
        let name = |queue: Option<String>, stage: Option<String>, endpoint: Option<String>| {
            let table = TableOptions { stage, endpoint, ..TableOptions::default() };
            QueueOptions { queue, max: 1, table }.name().map_err(|error| error.is::<WrongUsage>())
        };
        for (queue, stage, endpoint, expected) in [
            (None, text("prod"), None, Ok("refunds-prod-untold-changes".to_owned())),
            (text("mine"), text("prod"), None, Ok("mine".to_owned())),
            (text("mine"), None, text("http://127.0.0.1:4566"), Ok("mine".to_owned())),
            (text("mine"), None, None, Err(true)),
            (None, None, text("http://127.0.0.1:4566"), Err(true)),
        ] {
            assert_eq!(name(queue, stage, endpoint), expected);
        }
    }
}
