//! eBET's `refundSingleWallet`: failed bets of a player, with the wallet's balances in the answer.

mod answer;
mod request;

use shared::ebet::{Call, Channel, Code, Endpoint, Fault, Members, Numbered, Report};
use shared::store::{Session, StoreError};

use answer::Told;
use request::SingleRefund;

pub type RefundSingleWallet = Endpoint<Single>;

pub struct Single;

impl Call for Single {
    const EVENT: &'static str = "refundSingleWallet";

    type Told = Told;

    fn signed_texts(
        members: &Members<'_>,
        _channel: &Channel,
        timestamp: &str,
    ) -> Result<impl Iterator<Item = String>, Code> {
        Ok(std::iter::once(request::signed_text(members, timestamp)?))
    }

    async fn refund(
        members: &Members<'_>,
        channel: &Channel,
        session: &Session,
        report: &mut Report,
    ) -> Result<(Code, Told), Fault> {
        let refund = SingleRefund::read(members, channel)?;
        report.session.clone_from(&refund.session);
        let refunds = session.refund(&refund.asked).await.map_err(|reused| {
            report.cause = Some(reused.to_string());
            Code::BadParameters
        })?;
        report.executed = refunds.executed;
        report.take_verdicts(refunds.verdicts.iter());
        let told = answer::tell(&refund, &refunds);
        match refunds.trouble {
            None => {}
            Some(late @ StoreError::DeadlinePassed { .. }) => report.take_trouble(&late),
            Some(trouble) => return Err(trouble.into()),
        }
        Ok(told)
    }

    fn to_json(status: Code, numbered: &Numbered, told: Option<&Told>) -> String {
        answer::to_json(status, numbered, told)
    }
}
