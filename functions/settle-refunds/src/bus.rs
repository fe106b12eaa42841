//! Events on an EventBridge bus.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use shared::aws::{SdkConfig, with_causes};
use shared::limits;
use shared::pingpp::{Event, EventBus};

/// What events say they are from.
const SOURCE: &str = "refunds.pingpp";

/// Calls under way at the same time.
const CALLS_AT_ONCE: usize = 4;

/// How long one call may take, its tries together.
const CALL_WITHIN: Duration = Duration::from_secs(10);

pub struct EventBridge {
    client: Client,
    bus: String,
}

impl EventBridge {
    /// The bus of this name, where these settings lead.
    pub fn new(settings: &SdkConfig, bus: &str) -> Self {
        Self { client: Client::new(settings), bus: bus.to_owned() }
    }

    fn entry(&self, event: &Event) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(SOURCE)
            .detail_type(event.kind)
            .detail(&event.json)
            .time(DateTime::from_millis(i64::try_from(event.at).unwrap_or(i64::MAX)))
            .build()
    }

    /// One call; of each event whether it has arrived.
    async fn call(&self, events: &[Event]) -> Vec<Result<(), String>> {
        let entries = events.iter().map(|event| self.entry(event)).collect();
        let call = self.client.put_events().set_entries(Some(entries)).send();
        let told = match tokio::time::timeout(CALL_WITHIN, call).await {
            Ok(Ok(answer)) => answer.entries.unwrap_or_default(),
            Ok(Err(error)) => {
                let why = with_causes(&error);
                return vec![Err(why); events.len()];
            }
            Err(_) => return vec![Err("no answer in time".to_owned()); events.len()],
        };
        // An entry that nothing is said of has not arrived, as far as anybody knows.
        let result = |number: usize| match told.get(number) {
            Some(entry) if entry.event_id().is_some() => Ok(()),
            Some(entry) => Err(format!(
                "{}: {}",
                entry.error_code().unwrap_or("no code"),
                entry.error_message().unwrap_or_default()
            )),
            None => Err("no answer for this event".to_owned()),
        };
        (0..events.len()).map(result).collect()
    }
}

impl EventBus for EventBridge {
    fn put<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Vec<Result<(), String>>> {
        Box::pin(async move {
            let calls: Vec<_> = chunks(events).into_iter().map(|chunk| self.call(chunk)).collect();
            let results: Vec<Vec<Result<(), String>>> =
                stream::iter(calls).buffered(CALLS_AT_ONCE).collect().await;
            results.into_iter().flatten().collect()
        })
    }
}

/// As few calls as take all events, in order: each takes so many, and so many bytes together.
fn chunks(events: &[Event]) -> Vec<&[Event]> {
    let mut chunks = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.json.len() + limits::EVENT_BYTES_AROUND;
            bytes <= limits::EVENT_BYTES_MAX + limits::EVENT_BYTES_AROUND
        };
        let count = rest.iter().take(limits::EVENTS_PER_CALL_MAX).take_while(fits).count().max(1);
        let (chunk, others) = rest.split_at(count);
        chunks.push(chunk);
        rest = others;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> Event {
        Event { id: "evt_1".to_owned(), kind: "refund.succeeded", at: 1, json: "x".repeat(bytes) }
    }

    #[test]
    fn calls_take_what_they_may_and_no_event_is_left_out() {
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![1; 10], vec![10]),
            (vec![1; 21], vec![10, 10, 1]),
            (vec![100_000; 5], vec![2, 2, 1]),
            (vec![limits::EVENT_BYTES_MAX, 1], vec![1, 1]),
        ] {
            let events: Vec<Event> = sizes.iter().map(|bytes| event(*bytes)).collect();
            let counts: Vec<usize> = chunks(&events).iter().map(|chunk| chunk.len()).collect();
            assert_eq!(counts, expected);
        }
    }
}
