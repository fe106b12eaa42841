//! Ping++'s `GET /v1/batch_refunds`: an app's batches, the latest first.

mod query;

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::edge::Request;
use shared::ledger::{ItemRefund, RefundBatch, RefundId};
use shared::limits;
use shared::pingpp::{ApiError, App, Call, Checked, Endpoint, Report, object, told_refunds};
use shared::store::{Session, StoreError};

use query::{ListQuery, Place};

pub type ListBatchRefunds = Endpoint<List>;

pub struct List;

/// Batches whose refunds are read at the same time.
const READ_AT_ONCE: usize = 8;

type Refunds = HashMap<RefundId, ItemRefund>;

#[derive(Serialize)]
struct ListObject {
    object: &'static str,
    url: &'static str,
    has_more: bool,
    data: Vec<Box<RawValue>>,
}

impl Call for List {
    const NAME: &'static str = "ListBatchRefunds";

    const EXECUTES: bool = false;

    async fn carry_out(
        request: &Request,
        caller: &Checked<'_>,
        session: &Session,
        report: &mut Report,
    ) -> Result<String, ApiError> {
        let query = ListQuery::read(&request.query)?;
        let missing = || ApiError::invalid("app", "app is missing.");
        let app = match &query.app {
            Some(id) => caller.app(id)?,
            None => caller.only_app().ok_or_else(missing)?,
        };
        report.tenant = app.tenant().to_string();
        let mut batches = page(session, app, &query).await?;
        let has_more = batches.len() > query.limit;
        batches.truncate(query.limit);
        if let Place::Before(_) = query.place {
            batches.reverse();
        }
        let reads: Vec<_> = batches.iter().map(|batch| told_refunds(session, batch)).collect();
        let refunds: Vec<Refunds> = stream::iter(reads).buffered(READ_AT_ONCE).try_collect().await?;
        let list = |with_refunds| {
            let object = |(batch, refunds)| object(app, batch, refunds, with_refunds);
            list(has_more, batches.iter().zip(&refunds).map(object).collect::<Result<_, _>>()?)
        };
        if let Some(whole) = list(true)? {
            return Ok(whole);
        }
        // Leaving batches out would make the pages that are counted to lie.
        let message = "These batches are too large for one page; ask for fewer.";
        list(false)?.ok_or_else(|| ApiError::invalid(query.limit_param, message))
    }
}

/// A list of objects; nothing if it is too large for an answer.
fn list(has_more: bool, data: Vec<Box<RawValue>>) -> Result<Option<String>, StoreError> {
    let list = ListObject { object: "list", url: "/v1/batch_refunds", has_more, data };
    let list = serde_json::to_string(&list)
        .map_err(|error| StoreError::Damaged { key: "a list".to_owned(), what: error.to_string() })?;
    let quoted = list.len() + list.bytes().filter(|byte| b"\"\\".contains(byte)).count();
    Ok(Some(list).filter(|_| quoted <= limits::QUOTED_BODY_BYTES_MAX))
}

/// The batches of a page and one more, if there is one; the latest first, or where those before one are asked for,
/// the earliest.
async fn page(session: &Session, app: &App, query: &ListQuery) -> Result<Vec<RefundBatch>, ApiError> {
    let Some((range, latest_first, skipped)) = query.range() else { return Ok(Vec::new()) };
    Ok(session.batches(&app.tenant(), &range, latest_first, skipped, query.limit + 1).await?)
}
