//! EPay's `BeginSingle`: an application for a refund is being processed from now on, under a batch number of its
//! own, and can't be withdrawn.

use shared::clock;
use shared::epay::codec::XmlRoot;
use shared::epay::{Call, Endpoint, Members, Merchant, PARAMETERS_NAMESPACE, Refusal, Report};
use shared::ledger::{ApplicationRefund, BatchGuard, RefundId};
use shared::limits;
use shared::store::Session;

pub type BeginSingleRefund = Endpoint<Begin>;

pub struct Begin;

impl Call for Begin {
    const NAME: &'static str = "BeginSingle";

    const ROOT: XmlRoot =
        XmlRoot { name: Some("EPayBeginRefundParm"), namespace: Some(PARAMETERS_NAMESPACE) };

    async fn carry_out(
        members: &Members,
        merchant: &Merchant,
        invocation: &str,
        session: &Session,
        report: &mut Report,
    ) -> Result<String, Refusal> {
        let asked = read(members, merchant, invocation)?;
        report.key = asked.refund.batch_no.to_string();
        let begun = session.begin(&asked).await;
        report.executed = begun.executed;
        let refund = begun
            .result?
            .map_err(|refusal| Refusal::of_begin(refusal, asked.application.id, &asked.refund.batch_no))?;
        Ok(refund.id.to_string())
    }
}

/// The refund that is to begin.
fn read(members: &Members, merchant: &Merchant, invocation: &str) -> Result<BatchGuard, Refusal> {
    let autoid = members.integer("autoid")?;
    let amount = members.amount("refundamount")?;
    let batch_no = members.name("batch_no", limits::BATCH_NO_CHARS_MAX)?;
    let account = members.name("refundaccount", limits::REFUND_ACCOUNT_CHARS_MAX)?;
    let batch = merchant.id.batch(batch_no);
    Ok(BatchGuard {
        application: merchant.id.application(autoid),
        refund: ApplicationRefund {
            id: RefundId::of(&batch),
            batch_no: batch.no,
            amount,
            account,
            at: clock::unix_now(),
            invocation: invocation.to_owned(),
        },
        failed_at: None,
    })
}
