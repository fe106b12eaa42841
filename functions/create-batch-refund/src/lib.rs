//! Ping++'s `POST /v1/batch_refunds`: a merchant refunds up to 100 charges in one call, or none of them.

use shared::clock;
use shared::edge::Request;
use shared::ledger::BatchRequest;
use shared::pingpp::{ApiError, Call, Checked, CreateRequest, Endpoint, Report, new_batch, shown};
use shared::store::Session;

pub type CreateBatchRefund = Endpoint<Create>;

pub struct Create;

impl Call for Create {
    const NAME: &'static str = "CreateBatchRefund";

    const EXECUTES: bool = true;

    async fn carry_out(
        request: &Request,
        caller: &Checked<'_>,
        session: &Session,
        report: &mut Report,
    ) -> Result<String, ApiError> {
        let asked = CreateRequest::read(&request.body)?;
        let app = caller.app(&asked.app)?;
        report.tenant = app.tenant().to_string();
        report.key = asked.batch_no.to_string();
        let batch = BatchRequest {
            tenant: app.tenant(),
            fingerprint: asked.fingerprint(),
            batch_no: asked.batch_no,
            currency: app.currency.clone(),
            description: asked.description,
            metadata: asked.metadata,
            items: asked.items,
        };
        let accepted = session.create_batch(&batch, || new_batch(clock::now())).await;
        report.executed = accepted.executed;
        let batch = accepted.result?.map_err(|refusal| {
            let charges: Vec<&str> = batch.items.iter().map(|item| item.charge.as_str()).collect();
            ApiError::of_batch(&refusal, &charges)
        })?;
        Ok(shown(session, app, &batch).await?.get().to_owned())
    }
}
