//! Consistent reads, asked again until the table has answered for every key.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Get, KeysAndAttributes, ReturnConsumedCapacity, TransactGetItem,
};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use super::attribute::{INDEX, INDEX_PARTITION_KEY, INDEX_SORT_KEY, PARTITION_KEY, SORT_KEY};
use super::deadline::Backoff;
use super::error::CallFailure;
use super::items::{self, Item};
use super::meter::CountAttempts;
use super::{Session, StoreError, transact};
use crate::aws::with_causes;
use crate::ledger::{RefundRequest, Snapshot};
use crate::limits;
use crate::mutants::{self, Decision};

/// Chunks of keys read at the same time.
const CHUNKS_AT_ONCE: usize = 8;

/// The keys of all that a request's decision depends on: its accounts, its debits and its record.
pub(super) fn keys(request: &RefundRequest) -> Vec<Item> {
    let asked = || request.items.iter().filter_map(|item| Some(&item.asked()?.debit));
    let accounts: BTreeSet<_> =
        asked().map(|debit| &debit.account).chain(request.balance_of.as_ref()).collect();
    let debits: BTreeSet<_> = asked().collect();
    accounts
        .into_iter()
        .map(items::account_key)
        .chain(debits.into_iter().map(items::debit_key))
        .chain([items::request_key(request)])
        .collect()
}

/// What a decision is made from, of items that were found.
fn snapshot(found: &[Item]) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    found.iter().try_for_each(|item| items::take_in(&mut snapshot, item))?;
    Ok(snapshot)
}

/// What is read of as many keys as fit into a call, and of the next ones beside it.
async fn in_chunks<F>(
    keys: &[Item],
    at_a_time: usize,
    read: impl Fn(Vec<Item>) -> F,
) -> Result<Vec<Item>, StoreError>
where
    F: Future<Output = Result<Vec<Item>, StoreError>>,
{
    let chunks = keys.chunks(at_a_time).map(<[Item]>::to_vec).collect::<Vec<_>>();
    let reads = stream::iter(chunks.into_iter().map(read));
    let read: Vec<Vec<Item>> = reads.buffered(CHUNKS_AT_ONCE).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// A read of one moment is refused while a transaction is under way, or by a throttle: both pass.
fn failure(error: SdkError<TransactGetItemsError, HttpResponse>) -> CallFailure {
    if let Some(TransactGetItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
        && cancelled.cancellation_reasons().iter().all(|reason| reason.code().is_none_or(transact::passes))
    {
        return CallFailure::Transient(with_causes(&error));
    }
    error.into()
}

/// What a call of the SDK comes to.
type Called<'a, T> = BoxFuture<'a, Result<T, CallFailure>>;

impl Session {
    /// What the ledger holds under `keys`. One round trip for up to [`limits::KEYS_PER_READ_MAX`] keys.
    pub(super) async fn read_snapshot(&self, keys: Vec<Item>) -> Result<Snapshot, StoreError> {
        snapshot(&self.read_items(keys).await?)
    }

    /// The same in transactions, as [`Self::read_at_once`], each of up to `at_a_time` keys.
    pub(super) async fn read_snapshot_at_once(
        &self,
        keys: Vec<Item>,
        at_a_time: usize,
    ) -> Result<Snapshot, StoreError> {
        snapshot(&self.read_in_transactions(keys, at_a_time).await?)
    }

    /// The item under `key`, by [`Self::read_at_once`].
    pub(super) async fn read_item_at_once(&self, key: Item) -> Result<Option<Item>, StoreError> {
        Ok(self.read_at_once(vec![key]).await?.pop())
    }

    /// The items under `keys` that exist; up to 100 of them as they are at one moment. Whatever anybody has seen before
    /// of a transaction, all that it wrote is there: in single reads some of it can be missing for a while, however
    /// often they are made.
    ///
    /// Twice as dear as [`Self::read_items`], and refused while a transaction is under way: for what is told.
    pub(super) async fn read_at_once(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        self.read_in_transactions(keys, limits::ACTIONS_PER_TRANSACTION_MAX).await
    }

    /// The same, up to `at_a_time` of them as they are at one moment.
    pub(super) async fn read_in_transactions(
        &self,
        keys: Vec<Item>,
        at_a_time: usize,
    ) -> Result<Vec<Item>, StoreError> {
        if mutants::is_on(Decision::ReadAtOnceIsApart) {
            return self.read_items(keys).await;
        }
        in_chunks(
            &keys,
            at_a_time,
            |chunk| async move { self.until_answered(|| self.transact_get(&chunk)).await },
        )
        .await
    }

    /// One TransactGetItems: the items found.
    fn transact_get<'a>(&'a self, keys: &'a [Item]) -> Called<'a, Vec<Item>> {
        Box::pin(async {
            let get = |key: &Item| {
                let get = Get::builder().table_name(self.store.table()).set_key(Some(key.clone())).build();
                get.map(|get| TransactGetItem::builder().get(get).build())
            };
            let gets: Result<Vec<_>, _> = keys.iter().map(get).collect();
            let gets = gets.map_err(|error| CallFailure::Final(StoreError::Refused(error.to_string())))?;
            let call = self
                .store
                .client
                .transact_get_items()
                .set_transact_items(Some(gets))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(CountAttempts(self.meter.clone()));
            let answer = self.in_time(call.send()).await?.map_err(failure)?;
            self.meter.read(answer.consumed_capacity());
            let found = answer.responses.unwrap_or_default().into_iter().filter_map(|found| found.item);
            Ok(found.filter(|item| !item.is_empty()).collect())
        })
    }

    /// The items under `keys` that exist. `keys` are distinct; an item that is not in the answer is absent.
    pub(super) async fn read_items(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        in_chunks(&keys, limits::KEYS_PER_READ_MAX, |chunk| self.read_chunk(chunk)).await
    }

    async fn read_chunk(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut backoff = Backoff::default();
        loop {
            let failure = match self.batch_get(&keys).await {
                Ok((items, unprocessed)) => {
                    found.extend(items);
                    if unprocessed.is_empty() || mutants::is_on(Decision::UnprocessedKeysAreAbsent) {
                        return Ok(found);
                    }
                    keys = unprocessed;
                    CallFailure::Transient("throttled: keys were left unprocessed".to_owned())
                }
                Err(failure) => failure,
            };
            self.wait_after(failure, &mut backoff).await?;
        }
    }

    // What calls the SDK is boxed: so it is made once, here, and not in every function that comes to it.

    /// One BatchGetItem: the items found, and the keys it left out.
    pub(super) fn batch_get<'a>(&'a self, keys: &'a [Item]) -> Called<'a, (Vec<Item>, Vec<Item>)> {
        Box::pin(async {
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys.to_vec()))
                .consistent_read(true)
                .build()
                .map_err(|error| CallFailure::Final(StoreError::Refused(error.to_string())))?;
            let call = self
                .store
                .client
                .batch_get_item()
                .request_items(self.store.table(), asked)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(CountAttempts(self.meter.clone()));
            let answer = self.in_time(call.send()).await??;
            self.meter.read(answer.consumed_capacity());

            let table = self.store.table();
            let found = answer.responses.and_then(|mut tables| tables.remove(table)).unwrap_or_default();
            let unprocessed = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
            Ok((found, unprocessed.map(|keys| keys.keys).unwrap_or_default()))
        })
    }

    /// The item under `key`, with a consistent read.
    pub(super) fn read_item(&self, key: Item) -> BoxFuture<'_, Result<Option<Item>, StoreError>> {
        Box::pin(async move {
            self.until_answered(|| async {
                let call = self
                    .store
                    .client
                    .get_item()
                    .table_name(self.store.table())
                    .set_key(Some(key.clone()))
                    .consistent_read(true)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .customize()
                    .interceptor(CountAttempts(self.meter.clone()));
                let answer = self.in_time(call.send()).await??;
                self.meter.read(answer.consumed_capacity());
                Ok(answer.item)
            })
            .await
        })
    }

    /// All items of a partition, in the order of their sort keys.
    pub(super) async fn read_partition(&self, partition: &str) -> Result<Vec<Item>, StoreError> {
        self.read_all(partition, None).await
    }

    /// All items of a partition whose sort keys begin so, in their order.
    pub(super) async fn read_beginning(
        &self,
        partition: &str,
        prefix: &str,
    ) -> Result<Vec<Item>, StoreError> {
        // Nothing that sort keys have comes after this character.
        let end = format!("{prefix}\u{10ffff}");
        self.read_all(partition, Some((prefix, &end))).await
    }

    async fn read_all(
        &self,
        partition: &str,
        between: Option<(&str, &str)>,
    ) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let (page, next) = self
                .until_answered(|| self.read_page(partition, false, between, None, start.clone()))
                .await?;
            found.extend(page);
            start = next;
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// The keys of the index's items under `partition` whose sort key is at most `sort_max`, in its order; so many at
    /// most.
    pub(super) async fn query_index(
        &self,
        partition: &str,
        sort_max: &str,
        count_max: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (mut found, mut start): (Vec<Item>, Option<Item>) = Default::default();
        loop {
            let count = (count_max - found.len()).try_into().unwrap_or(i32::MAX);
            let (page, next) = self
                .until_answered(|| async {
                    let query = self
                        .query(INDEX_PARTITION_KEY, partition)
                        .index_name(INDEX)
                        .key_condition_expression("#partition = :partition AND #sort <= :sort")
                        .expression_attribute_names("#sort", INDEX_SORT_KEY)
                        .expression_attribute_values(":sort", text(sort_max))
                        .set_exclusive_start_key(start.clone())
                        .limit(count);
                    self.page_of(query).await
                })
                .await?;
            found.extend(page);
            start = next;
            if start.is_none() || found.len() >= count_max {
                return Ok(found);
            }
        }
    }

    /// One Query: a page of items in the order of their sort keys, or backwards, of those whose sort key is between
    /// two, both included; and where the next page starts.
    pub(super) async fn read_page(
        &self,
        partition: &str,
        backwards: bool,
        between: Option<(&str, &str)>,
        count_max: Option<usize>,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), CallFailure> {
        let query = self
            .query(PARTITION_KEY, partition)
            .scan_index_forward(!backwards)
            .consistent_read(true)
            .set_limit(count_max.map(|count| count.try_into().unwrap_or(i32::MAX)))
            .set_exclusive_start_key(start);
        let query = match between {
            None => query.key_condition_expression("#partition = :partition"),
            Some((least, most)) => query
                .key_condition_expression("#partition = :partition AND #sort BETWEEN :least AND :most")
                .expression_attribute_names("#sort", SORT_KEY)
                .expression_attribute_values(":least", AttributeValue::S(least.to_owned()))
                .expression_attribute_values(":most", AttributeValue::S(most.to_owned())),
        };
        self.page_of(query).await
    }

    /// A Query of the partition whose key attribute is called `#partition`, and is `:partition`.
    fn query(&self, attribute: &str, partition: &str) -> QueryFluentBuilder {
        self.store
            .client
            .query()
            .table_name(self.store.table())
            .expression_attribute_names("#partition", attribute)
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    fn page_of(&self, query: QueryFluentBuilder) -> Called<'_, (Vec<Item>, Option<Item>)> {
        Box::pin(async {
            let call = query.customize().interceptor(CountAttempts(self.meter.clone()));
            let answer = self.in_time(call.send()).await??;
            self.meter.read(answer.consumed_capacity());
            Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
        })
    }

    /// Tries again until there is an answer, a failure that stays, or the deadline.
    pub(super) async fn until_answered<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, CallFailure>>,
    {
        let mut backoff = Backoff::default();
        loop {
            match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.wait_after(failure, &mut backoff).await?,
            }
        }
    }

    /// Waits before a transient failure's next try, or gives up with the reason.
    async fn wait_after(&self, failure: CallFailure, backoff: &mut Backoff) -> Result<(), StoreError> {
        match failure {
            CallFailure::Final(error) => Err(error),
            CallFailure::Transient(_) if backoff.pause(self).await => Ok(()),
            CallFailure::Transient(error) => Err(StoreError::DeadlinePassed { cause: Some(error) }),
        }
    }

    /// The call's result, unless the deadline comes first; a write may have happened all the same. After
    /// the deadline no call is begun.
    pub(super) async fn in_time<T>(&self, call: impl Future<Output = T>) -> Result<T, CallFailure> {
        if self.deadline.has_passed() {
            return Err(CallFailure::Transient("the deadline came before the call".to_owned()));
        }
        tokio::time::timeout_at(self.deadline.instant(), call)
            .await
            .map_err(|_| CallFailure::Transient("the deadline came before the answer".to_owned()))
    }
}
