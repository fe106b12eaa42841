//! Ping++'s `GET /v1/batch_refunds`: an app's batches, the latest first.

mod query;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::edge::Request;
use shared::ledger::RefundBatch;
use shared::limits;
use shared::pingpp::{ApiError, App, Call, Caller, Endpoint, Report, shown};
use shared::store::Session;

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
        caller: &Caller,
        session: &Session,
        report: &mut Report,
    ) -> Result<String, ApiError> {
        let query = ListQuery::read(&request.query)?;
        let app = match (&query.app, &caller.apps[..]) {
            (Some(id), _) => caller.app(id)?,
            (None, [only]) => only,
            (None, _) => return Err(ApiError::invalid("app", "app is missing.")),
        };
        report.tenant = app.tenant().to_string();
        let mut batches = page(session, app, &query).await?;
        let has_more = batches.len() > query.limit;
        batches.truncate(query.limit);
        if let Place::Before(_) = query.place {
            batches.reverse();
        }
        let objects: Vec<_> = batches.iter().map(|batch| shown(session, app, batch)).collect();
        let data: Vec<Box<RawValue>> = stream::iter(objects).buffered(SHOWN_AT_ONCE).try_collect().await?;
        let list = ListObject { object: "list", url: "/v1/batch_refunds", has_more, data };
        let list = serde_json::to_string(&list).map_err(|error| ApiError::unreadable(error.to_string()))?;
        let quoted = list.len() + list.bytes().filter(|byte| b"\"\\".contains(byte)).count();
        if quoted > limits::QUOTED_BODY_BYTES_MAX {
            // Leaving some out would make the pages that are counted to lie.
            let message = "These batches are too large for one page; ask for fewer.";
            return Err(ApiError::invalid(query.limit_param, message));
        }
        Ok(list)
    }
}

/// The batches of a page and one more, if there is one; the latest first, or where those before one are asked for,
/// the earliest.
async fn page(session: &Session, app: &App, query: &ListQuery) -> Result<Vec<RefundBatch>, ApiError> {
    let Some((range, latest_first, skipped)) = query.range() else { return Ok(Vec::new()) };
    let wanted = skipped + query.limit + 1;
    let batches = session.batches(&app.tenant(), &range, latest_first, wanted).await?;
    Ok(batches.into_iter().skip(skipped).collect())
}
