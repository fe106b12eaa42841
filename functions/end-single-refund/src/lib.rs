//! EPay's `EndSingle`: the payment provider says that it has paid a refund. That is recorded first, by itself;
//! then the application is done.

use shared::clock;
use shared::epay::codec::XmlRoot;
use shared::epay::{Call, Endpoint, Members, Merchant, PARAMETERS_NAMESPACE, Refusal, Report};
use shared::ledger::Confirmation;
use shared::limits;
use shared::store::{Executed, Session};

pub type EndSingleRefund = Endpoint<End>;

pub struct End;

impl Call for End {
    const NAME: &'static str = "EndSingle";

    // No document names the root element of this call.
    const ROOT: XmlRoot = XmlRoot { name: None, namespace: Some(PARAMETERS_NAMESPACE) };

    async fn carry_out(
        members: &Members,
        merchant: &Merchant,
        invocation: &str,
        session: &Session,
        report: &mut Report,
    ) -> Result<String, Refusal> {
        let batch = merchant.id.batch(members.name("batchno", limits::CONFIRMED_BATCH_NO_CHARS_MAX)?);
        let said = Confirmation {
            trade_no: members.name("trandeno", limits::TRADE_NO_CHARS_MAX)?,
            amount: members.amount("refundmoney")?,
            at: clock::unix_now(),
            invocation: invocation.to_owned(),
        };
        report.key = batch.no.to_string();
        let ended = session.end(&batch, &said).await;
        report.executed = ended.executed;
        if ended.executed == Executed::Yes {
            session.count_refund(&merchant.currency, said.amount.value());
        }
        let refund = ended.result?.map_err(|mismatch| Refusal::Mismatch { batch_no: batch.no, mismatch })?;
        Ok(refund.id.to_string())
    }
}
