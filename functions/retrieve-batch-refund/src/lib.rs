//! Ping++'s `GET /v1/batch_refunds/{id}`: a batch as it stands.

use futures::future::try_join_all;
use shared::edge::Request;
use shared::ledger::{BatchState, RefundBatch, RefundBatchId, RefundBatchKey};
use shared::pingpp::{ApiError, Call, Checked, Endpoint, Report, shown};
use shared::store::Session;

pub type RetrieveBatchRefund = Endpoint<Retrieve>;

pub struct Retrieve;

impl Call for Retrieve {
    const NAME: &'static str = "RetrieveBatchRefund";

    const EXECUTES: bool = false;

    async fn carry_out(
        request: &Request,
        caller: &Checked<'_>,
        session: &Session,
        report: &mut Report,
    ) -> Result<String, ApiError> {
        let text = request.path.rsplit('/').next().unwrap_or_default();
        let id: RefundBatchId = text.parse().map_err(|_| ApiError::not_found(text))?;
        // What is no id may be anything, a secret that was put into the wrong place too.
        report.key = id.to_string();
        let read = caller.apps().map(async |app| {
            let key = RefundBatchKey { tenant: app.tenant(), id: id.clone() };
            // One that is not created yet, or never will be, is nobody's business.
            let is_shown =
                |batch: &RefundBatch| !matches!(batch.state, BatchState::Creating | BatchState::Void);
            session.batch(&key).await.map(|batch| Some((app, batch.filter(is_shown)?)))
        });
        let found: Vec<_> = try_join_all(read).await?.into_iter().flatten().collect();
        match &found[..] {
            [] => Err(ApiError::not_found(text)),
            [(app, batch)] => {
                report.tenant = app.tenant().to_string();
                Ok(shown(session, app, batch).await?.get().to_owned())
            }
            // Made in the same millisecond: an id is unique within its app.
            _ => Err(ApiError::invalid(
                "id",
                "Several apps of this key have a batch refund of this id: list those of one.",
            )),
        }
    }
}
