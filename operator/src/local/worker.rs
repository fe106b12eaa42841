//! What runs functions that nobody calls: the table's stream and the schedule, as template.yaml defines them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use settle_refunds::{SettleRefunds, Worked};
use shared::clock;
use shared::edge::Invocation;
use tokio::sync::watch;

use crate::template::{Trigger, Worker};

/// How long an empty stream is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// How long it takes until what could not be worked on is brought again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Runs `function` whenever its trigger says so, until told to stop.
pub async fn run(
    function: Arc<SettleRefunds>,
    worker: Worker,
    stream: Option<Stream>,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    let work = async {
        match (&worker.trigger, stream) {
            (Trigger::Stream { filters, batch_size }, Some(stream)) => {
                follow(&function, stream, filters, *batch_size, worker.timeout).await
            }
            (Trigger::Stream { .. }, None) => Ok(()),
            (Trigger::Schedule { every, input }, _) => {
                let mut times = tokio::time::interval(*every);
                loop {
                    times.tick().await;
                    call(&function, input, worker.timeout).await?;
                }
            }
        }
    };
    tokio::select! {
        done = work => done,
        _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
    }
}

async fn call(function: &SettleRefunds, event: &str, timeout: Duration) -> Result<Worked> {
    let request_id = format!("local-{:016x}", fastrand::u64(..));
    let invocation = Invocation { request_id, ends: clock::now() + timeout };
    Ok(function.work(event, &invocation).await?)
}

/// Gives the function the stream's changes that its filters let through, in order; what it can't work on again.
async fn follow(
    function: &SettleRefunds,
    mut stream: Stream,
    filters: &[Value],
    batch_size: usize,
    timeout: Duration,
) -> Result<()> {
    loop {
        let records = match stream.next().await {
            Ok(records) => records,
            // A hiccup: the stream is where it was.
            Err(error) => {
                tracing::warn!("the stream could not be read: {error:#}");
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                continue;
            }
        };
        if records.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        let wanted = |record: &Value| filters.iter().any(|filter| matches(filter, record));
        let records: Vec<Value> = records.into_iter().filter(wanted).collect();
        for mut records in records.chunks(batch_size) {
            while !records.is_empty() {
                let event = json!({ "Records": records }).to_string();
                let failures = call(function, &event, timeout).await?.batch_item_failures;
                // As a stream does: from the first that failed on.
                let has_failed = |record: &Value| {
                    let number = record["dynamodb"]["SequenceNumber"].as_str();
                    failures.iter().any(|failure| Some(failure.item_identifier.as_str()) == number)
                };
                let Some(first) = records.iter().position(has_failed) else { break };
                records = records.get(first..).unwrap_or_default();
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

/// The changes of a table from now on.
pub struct Stream {
    client: Client,
    arn: String,
    shards: HashMap<String, Shard>,
    /// Where each shard was begun, or the last change that was read of it.
    begun: HashMap<String, (ShardIteratorType, Option<String>)>,
    /// Whether shards have ended whose successors were not looked for yet.
    has_ended: bool,
}

/// Where a shard is to be read on.
enum Shard {
    At(String),
    /// Its iterator has expired: it is to be found anew.
    Lost,
    Ended,
}

impl Stream {
    /// The stream of a table, from now on.
    ///
    /// # Errors
    /// If the table has none, or it can't be read.
    pub async fn open(client: Client, dynamodb: &aws_sdk_dynamodb::Client, table: &str) -> Result<Self> {
        let described = dynamodb.describe_table().table_name(table).send().await?;
        let arn = described.table.and_then(|table| table.latest_stream_arn);
        let arn = arn.with_context(|| format!("table {table} has no stream"))?;
        let mut stream =
            Self { client, arn, shards: HashMap::new(), begun: HashMap::new(), has_ended: false };
        stream.find_shards(&ShardIteratorType::Latest).await?;
        Ok(stream)
    }

    /// Looks for shards that are not known yet, and reads them from there on.
    async fn find_shards(&mut self, from: &ShardIteratorType) -> Result<()> {
        let mut last = None;
        loop {
            let call = self.client.describe_stream().stream_arn(&self.arn).set_exclusive_start_shard_id(last);
            let described = call.send().await?.stream_description.context("the stream is not described")?;
            for shard in described.shards.unwrap_or_default().into_iter().filter_map(|shard| shard.shard_id) {
                if !self.shards.contains_key(&shard) {
                    let iterator = self.iterator(&shard, from.clone(), None).await?;
                    self.begun.insert(shard.clone(), (from.clone(), None));
                    self.shards.insert(shard, iterator);
                }
            }
            last = described.last_evaluated_shard_id;
            if last.is_none() {
                return Ok(());
            }
        }
    }

    async fn iterator(&self, shard: &str, from: ShardIteratorType, after: Option<String>) -> Result<Shard> {
        let call = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let answer = call.shard_iterator_type(from).set_sequence_number(after).send().await?;
        Ok(answer.shard_iterator.map_or(Shard::Ended, Shard::At))
    }

    /// The next changes, as events have them; none where there is nothing new.
    ///
    /// # Errors
    /// If the stream can't be read; nothing that was read is lost then.
    pub async fn next(&mut self) -> Result<Vec<Value>> {
        if self.has_ended {
            self.find_shards(&ShardIteratorType::TrimHorizon).await?;
            self.has_ended = false;
        }
        for id in self.shards.keys().cloned().collect::<Vec<_>>() {
            let records = self.read(&id).await?;
            // One shard after another, so that a failure of the next can't lose these.
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }

    async fn read(&mut self, id: &str) -> Result<Vec<Value>> {
        let iterator = match self.shards.get(id) {
            None | Some(Shard::Ended) => return Ok(Vec::new()),
            Some(Shard::At(iterator)) => iterator.clone(),
            Some(Shard::Lost) => {
                let (from, after) = self.begun.get(id).cloned().context("a shard that was never begun")?;
                let found = self.iterator(id, from, after).await?;
                self.shards.insert(id.to_owned(), found);
                return Ok(Vec::new());
            }
        };
        let page = match self.client.get_records().shard_iterator(iterator).send().await {
            Ok(page) => page,
            Err(error) => {
                if error.as_service_error().is_some_and(|error| error.is_expired_iterator_exception()) {
                    self.shards.insert(id.to_owned(), Shard::Lost);
                }
                return Err(error.into());
            }
        };
        let records = page.records.unwrap_or_default();
        if let Some(last) = records.last().and_then(|record| record.dynamodb()?.sequence_number()) {
            let after = (ShardIteratorType::AfterSequenceNumber, Some(last.to_owned()));
            self.begun.insert(id.to_owned(), after);
        }
        let next = page.next_shard_iterator.map_or(Shard::Ended, Shard::At);
        self.has_ended |= matches!(next, Shard::Ended);
        self.shards.insert(id.to_owned(), next);
        Ok(records.iter().filter_map(record_json).collect())
    }
}

fn record_json(record: &Record) -> Option<Value> {
    let change = record.dynamodb.as_ref()?;
    let image = |image: &Option<HashMap<String, AttributeValue>>| image.as_ref().map(image_json);
    Some(json!({
        "eventID": record.event_id,
        "eventName": record.event_name.as_ref().map(|name| name.as_str()),
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "Keys": image(&change.keys),
            "NewImage": image(&change.new_image),
            "OldImage": image(&change.old_image),
            "SequenceNumber": change.sequence_number,
        },
    }))
}

fn image_json(image: &HashMap<String, AttributeValue>) -> Value {
    image.iter().map(|(name, value)| (name.clone(), value_json(value))).collect::<Map<_, _>>().into()
}

fn value_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": BASE64.encode(bytes) }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::M(members) => json!({ "M": image_json(members) }),
        AttributeValue::L(values) => json!({ "L": values.iter().map(value_json).collect::<Vec<_>>() }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        // The ledger writes no other types.
        _ => json!({ "NULL": true }),
    }
}

/// Whether a filter's pattern lets `event` through: as far as template.yaml uses patterns, members that are one of
/// several texts, or begin with one.
pub fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(members) => members.iter().all(|(name, member)| matches(member, &event[name])),
        Value::Array(allowed) => allowed.iter().any(|allowed| match allowed["prefix"].as_str() {
            Some(prefix) => event.as_str().is_some_and(|text| text.starts_with(prefix)),
            None => allowed == event,
        }),
        _ => false,
    }
}
