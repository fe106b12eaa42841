//! Ping++'s `GET /v1/batch_refunds`: an app's batches, the latest first.

mod query;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::edge::Request;
use shared::ledger::RefundBatch;
use shared::limits;
use shared::pingpp::{ApiError, App, Call, Checked, Endpoint, Report, shown, shown_without_refunds};
use shared::store::{Session, StoreError};

use query::{ListQuery, Place};

pub type ListBatchRefunds = Endpoint<List>;

pub struct List;

/// Batches whose refunds are read at the same time.
const SHOWN_AT_ONCE: usize = 8;

#[derive(Serialize)]
struct ListObject {
    object: &'static str,
    url: &'static str,
    has_more: bool,
    data: Vec<Box<RawValue>>,
}

impl Call for List {
    const NAME: &'static str = "ListBatchRefunds";

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
        let objects: Vec<_> = batches.iter().map(|batch| shown(session, app, batch)).collect();
        if let Some(list) = list(has_more, objects).await? {
            return Ok(list);
        }
        let objects: Vec<_> =
            batches.iter().map(|batch| shown_without_refunds(session, app, batch)).collect();
        // Leaving batches out would make the pages that are counted to lie.
        let message = "These batches are too large for one page; ask for fewer.";
        list(has_more, objects).await?.ok_or_else(|| ApiError::invalid(query.limit_param, message))
    }
}

/// A list of objects; nothing if it is too large for an answer.
async fn list(
    has_more: bool,
    objects: Vec<impl Future<Output = Result<Box<RawValue>, ApiError>>>,
) -> Result<Option<String>, ApiError> {
    let data = stream::iter(objects).buffered(SHOWN_AT_ONCE).try_collect().await?;
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
