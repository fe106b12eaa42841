//! `refundctl self-refund`: the channel gives a bet back on its own, before its provider asks.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use shared::ebet::{Channel, ChannelId, Username};
use shared::ledger::{
    AskedItem, AskedRefund, Debit, DebitId, DebitKey, DebitState, FingerprintBuilder, Refund, RefundRequest,
    RefundedBy, Refusal, Verdict,
};
use shared::store::{Executed, Session, Store};

use crate::agreement::Agreement;
use crate::say;
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Credits the player with what the bet took, once. When the provider asks for the bet later, it is told that the
channel has refunded it (status 209), and nothing is credited again. Running it again changes nothing.

Examples:
  refundctl self-refund 1 demo a70efc7cf71e03ae98b42b22ad4b4288 --dry-run
  refundctl self-refund 1 demo a70efc7cf71e03ae98b42b22ad4b4288 --reason 'game crashed' --yes
  refundctl self-refund 1 demo a70efc7cf71e03ae98b42b22ad4b4288 --stage prod     asks why, and whether

Exit codes: 0 the channel has refunded the bet, now or before; 1 it has not, with the reason; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The channel's number
    channel: ChannelId,
    /// The player
    username: Username,
    /// The bet's number
    seq_no: DebitId,
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &Options) -> Result<()> {
    let store = options.table.store().await?;
    let Options { channel, username, seq_no, .. } = options;
    let debit = read(&session(&store), *channel, username, seq_no).await?;
    match &debit.state {
        DebitState::Open => {}
        DebitState::Settled => bail!("nothing was changed: the bet was played"),
        DebitState::Refunded(refund) if refund.by == RefundedBy::Channel => {
            say!("unchanged: {} was given back {}", seq_no, at(refund)?);
            return Ok(());
        }
        DebitState::Refunded(refund) => return Err(by_provider(refund)?),
    }
    let change =
        format!("wallet {username} of channel {channel}: credited with {}, of bet {seq_no}", debit.amount);
    let Some(agreed) = options.agreement.ask(&options.table, &[change]).await? else { return Ok(()) };
    let work = async {
        let (refund, is_new) = run(&store, *channel, username, seq_no).await?;
        let posting = &refund.posting;
        let what = format!(
            "credited {username} with {seq_no}: {} + {} = {}, posting {}",
            posting.before, refund.amount, posting.after, posting.sequence
        );
        Ok(if is_new { what } else { format!("unchanged: {what}, {}", at(&refund)?) })
    };
    let subject = format!("debit {username} {seq_no}");
    say!("{}", agreed.do_it(&store, &channel.tenant(), &subject, "refund by the channel", work).await?);
    Ok(())
}

/// The bet that is to be given back.
async fn read(session: &Session, channel: ChannelId, username: &Username, seq_no: &DebitId) -> Result<Debit> {
    let settings = session.settings(&channel.tenant()).await?;
    settings.with_context(|| format!("there is no channel {channel}"))?;
    let debit = session.debit(&DebitKey { account: channel.wallet(username), id: seq_no.clone() }).await?;
    debit.with_context(|| format!("player {username} of channel {channel} has no bet {seq_no}"))
}

/// The channel's refund of the bet, and whether it was made just now.
///
/// # Errors
/// If the bet can't be refunded, or its provider has had it refunded: then nothing is changed.
pub async fn run(
    store: &Store,
    channel: ChannelId,
    username: &Username,
    seq_no: &DebitId,
) -> Result<(Refund, bool)> {
    let session = session(store);
    let settings = session.settings(&channel.tenant()).await?;
    let settings = settings.with_context(|| format!("there is no channel {channel}"))?;
    let currency = Channel::from_json(&settings)?.currency;
    let key = DebitKey { account: channel.wallet(username), id: seq_no.clone() };
    let debit = read(&session, channel, username, seq_no).await?;

    let name = format!("{username}/{seq_no}"); // no username has a slash
    let mut fingerprint = FingerprintBuilder::new("selfRefund/1");
    fingerprint.field(Some(&name));
    let request = RefundRequest {
        key: channel.tenant().request("selfRefund", &name),
        part: None,
        fingerprint: fingerprint.finish(),
        by: RefundedBy::Channel,
        partial_refunds: false,
        currency,
        items: vec![AskedItem::Asked(AskedRefund { debit: key, round: None, amount: debit.amount })],
        balance_of: None,
    };
    let refunds = session.refund(&request).await?;
    if let Some(trouble) = refunds.trouble {
        return Err(trouble).context("undecided; run it again");
    }
    let is_new = refunds.executed == Executed::Yes;
    match refunds.verdicts.into_iter().next() {
        Some(Verdict::Refunded(refund)) if refund.by == RefundedBy::Channel => Ok((refund, is_new)),
        Some(Verdict::Refunded(refund)) => Err(by_provider(&refund)?),
        Some(Verdict::Refused(Refusal::Settled)) => bail!("nothing was changed: the bet was played"),
        Some(Verdict::Refused(Refusal::UnknownAccount)) => bail!("player {username} has no wallet"),
        // The bet took what is asked for: only a part of it was left to be refunded.
        Some(Verdict::Refused(Refusal::WrongAmount)) => {
            bail!("nothing was changed: its provider has had it refunded in part")
        }
        Some(Verdict::Refused(refusal)) => bail!("nothing was changed: {}", refusal.as_str()),
        Some(Verdict::Due) | None => bail!("undecided; run it again"),
    }
}

fn by_provider(refund: &Refund) -> Result<anyhow::Error> {
    let (when, request) = (at(refund)?, &refund.request);
    Ok(anyhow!("nothing was changed: its provider has had it refunded, {when} by {request}"))
}

fn at(refund: &Refund) -> Result<Timestamp> {
    Ok(Timestamp::from_millisecond(i64::try_from(refund.at)?)?)
}
