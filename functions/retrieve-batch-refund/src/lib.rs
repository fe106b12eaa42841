//! Ping++'s `GET /v1/batch_refunds/{id}`: a batch as it stands.

use shared::edge::Request;
use shared::ledger::{BatchState, RefundBatchId, RefundBatchKey};
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
        for app in caller.apps() {
            let key = RefundBatchKey { tenant: app.tenant(), id: id.clone() };
            match session.batch(&key).await? {
                // One that is not created yet, or never will be, is nobody's business.
                Some(batch) if !matches!(batch.state, BatchState::Creating | BatchState::Void) => {
                    report.tenant = app.tenant().to_string();
                    return Ok(shown(session, app, &batch).await?.get().to_owned());
                }
                _ => {}
            }
        }
        Err(ApiError::not_found(text))
    }
}
