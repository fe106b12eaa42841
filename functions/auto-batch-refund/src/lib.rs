//! eBET's `autoBatchRefund`: all failed bets of a period, of any number of players, in one call.

mod answer;
mod detail;
mod request;

use shared::ebet::{Call, Channel, Code, Endpoint, Fault, Members, Numbered, Report};
use shared::store::{Executed, Refunds, Session};

use answer::Told;
use request::BatchRefund;

pub type AutoBatchRefund = Endpoint<Batch>;

pub struct Batch;

impl Call for Batch {
    const EVENT: &'static str = "autoBatchRefund";

    type Told = Told;

    fn signed_texts(
        members: &Members<'_>,
        channel: &Channel,
        timestamp: &str,
    ) -> Result<impl Iterator<Item = String>, Code> {
        Ok(request::signed_texts(members, channel, timestamp))
    }

    async fn refund(
        members: &Members<'_>,
        channel: &Channel,
        session: &Session,
        report: &mut Report,
    ) -> Result<(Code, Told), Fault> {
        let batch = BatchRefund::read(members, channel)?;
        report.session.clone_from(&batch.session);
        report.last_start_process_time = batch.last_start_process_time;
        report.note = detail::disagreements(&batch.items);
        let players = session.refund_parts(&batch.parts).await.map_err(|reused| {
            report.cause = Some(reused.to_string());
            Code::BadParameters
        })?;
        report.executed = executed(&players);
        let verdicts = batch.verdicts(&players);
        report.take_verdicts(verdicts.iter().copied());

        let troubles = || players.iter().filter_map(|refunds| refunds.trouble.as_ref());
        // What won't pass by itself is what operators need to know of.
        let worst = troubles().find(|trouble| !trouble.passes()).or_else(|| troubles().next());
        if let Some(trouble) = worst {
            report.take_trouble(trouble);
        }
        let status = match worst {
            Some(trouble) if !trouble.passes() => Code::SystemError,
            _ if report.undecided > 0 => Code::Busy,
            _ => Code::Ok,
        };
        Ok((status, Told::of(&batch.items, &verdicts)))
    }

    fn to_json(status: Code, numbered: &Numbered, told: Option<&Told>) -> String {
        answer::to_json(status, numbered, told)
    }
}

/// Whether money moved, for any player.
fn executed(players: &[Refunds]) -> Executed {
    let any = |executed| players.iter().any(|refunds| refunds.executed == executed);
    match () {
        () if any(Executed::Yes) => Executed::Yes,
        () if any(Executed::Unknown) => Executed::Unknown,
        () => Executed::No,
    }
}
