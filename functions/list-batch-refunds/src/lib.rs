//! Ping++'s `GET /v1/batch_refunds`: an app's batches, the latest first.

mod query;

use serde::Serialize;
use serde_json::value::RawValue;
use shared::edge::Request;
use shared::ledger::RefundBatch;
use shared::pingpp::{ApiError, App, Call, Caller, Endpoint, Report, shown};
use shared::store::Session;

use query::{ListQuery, Place};

pub type ListBatchRefunds = Endpoint<List>;

pub struct List;

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
        let mut data = Vec::with_capacity(batches.len());
        for batch in &batches {
            data.push(shown(session, app, batch).await?);
        }
        let list = ListObject { object: "list", url: "/v1/batch_refunds", has_more, data };
        serde_json::to_string(&list).map_err(|error| ApiError::unreadable(error.to_string()))
    }
}

/// The batches of a page and one more, if there is one; the latest first, or where those before one are asked for,
/// the earliest.
async fn page(session: &Session, app: &App, query: &ListQuery) -> Result<Vec<RefundBatch>, ApiError> {
    let tenant = app.tenant();
    let (latest_first, beyond, skipped) = match &query.place {
        Place::Page(page) => (true, None, (page - 1) * query.limit),
        Place::After(id) => (true, Some(id), 0),
        Place::Before(id) => (false, Some(id), 0),
    };
    let mut months = session.months_of_batches(&tenant).await?;
    if !latest_first {
        months.reverse();
    }
    let wanted = skipped + query.limit + 1;
    let mut found: Vec<RefundBatch> = Vec::new();
    for month in months {
        // Whole months before the id, in this order, have nothing to show.
        if beyond.is_some_and(|id| {
            if latest_first { month.as_str() > id.month() } else { month.as_str() < id.month() }
        }) {
            continue;
        }
        let batches = session.batches_of_month(&tenant, &month, latest_first, beyond, usize::MAX).await?;
        found.extend(batches.into_iter().filter(|batch| query.created.contains(batch.at / 1_000)));
        if found.len() >= wanted {
            break;
        }
    }
    Ok(found.into_iter().skip(skipped).take(query.limit + 1).collect())
}
