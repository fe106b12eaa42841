//! `refundctl application`: what a merchant's operators do with applications outside the calls.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::clock::unix_milliseconds;
use shared::epay::MerchantId;
use shared::ledger::{Amount, ApplicationState, BatchNo, Confirmation, TradeNo, Withdrawal};
use shared::store::{Executed, Failing, Session, Withdrawing};

use crate::agreement::Agreement;
use crate::show::{state_name, time};
use crate::target::{TableOptions, session};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Withdraw an application that is not being processed
    #[command(after_help = WITHDRAW_EXAMPLES)]
    Withdraw(WithdrawOptions),
    /// Record that the payment provider has paid a refund, and complete it, as EndSingle does
    #[command(after_help = CONFIRM_EXAMPLES)]
    Confirm(ConfirmOptions),
    /// Record that the payment provider refused a refund: its application can be refunded or withdrawn again
    #[command(after_help = FAIL_EXAMPLES)]
    Fail(FailOptions),
}

const WITHDRAW_EXAMPLES: &str = "\
Possible only while the application is requested: once its refund has begun, it can't be withdrawn. Running it
again changes nothing.

Examples:
  refundctl application withdraw demo 1 --dry-run
  refundctl application withdraw demo 1 --reason 'customer keeps the tickets' --yes

Exit codes: 0 the application is withdrawn, now or before; 1 it is not, with the reason, or that is not known: then
run it again; 2 wrong usage.";

const CONFIRM_EXAMPLES: &str = "\
For a confirmation that its sender does not send again: one that was recorded and not completed, or that came
before its refund began (`refundctl show application` tells). Running it again changes nothing.

Examples:
  refundctl application confirm demo 20261122093000 2026112221001004 358.50 --reason 'bank statement 12'

Exit codes: 0 the refund is done, now or before; 1 the confirmation is kept and completes nothing, with the reason,
or it is not known whether it is recorded: then run it again; 2 wrong usage.";

const FAIL_EXAMPLES: &str = "\
Names the batch number, so that no later refund is meant by mistake; the number stays used for ever. Not possible
once a confirmation is on record under it: what was paid must not be paid again. If it is of another amount than the
refund, it was wrong, and nothing was paid, overrule it with --despite-confirmation and its trade number. If it is
right, and it is the refund that was paid, use `confirm`. Running it again changes nothing.

Examples:
  refundctl application fail demo 1 20261122093000 --dry-run
  refundctl application fail demo 1 20261122093000 --reason 'account closed' --yes
  refundctl application fail demo 1 20261122093000 --despite-confirmation 2026112221001004

Exit codes: 0 the refund is recorded as failed, now or before; 1 it is not, with the reason, or that is not known:
then run it again; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct WithdrawOptions {
    /// The merchant
    merchant: MerchantId,
    /// The application's number
    #[arg(allow_negative_numbers = true)]
    autoid: i64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct ConfirmOptions {
    /// The merchant
    merchant: MerchantId,
    /// The refund's batch number
    batch_no: BatchNo,
    /// The payment provider's number of what it has paid
    trade_no: TradeNo,
    /// What it has paid
    amount: Amount,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct FailOptions {
    /// The merchant
    merchant: MerchantId,
    /// The application's number
    #[arg(allow_negative_numbers = true)]
    autoid: i64,
    /// The refund's batch number
    batch_no: BatchNo,
    /// Overrule a confirmation of another amount than the refund's; may be given several times
    #[arg(long, value_name = "TRADE_NO")]
    despite_confirmation: Vec<TradeNo>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(action: &Action) -> Result<()> {
    let common = match action {
        Action::Withdraw(options) => &options.common,
        Action::Confirm(options) => &options.common,
        Action::Fail(options) => &options.common,
    };
    let store = common.table.store().await?;
    let told = match action {
        Action::Withdraw(WithdrawOptions { merchant, autoid, .. }) => {
            let change =
                format!("application {autoid} of merchant {merchant}: withdrawn, no refund can begin");
            let Some(agreed) = common.agreement.ask(&common.table, &[change]).await? else { return Ok(()) };
            let session = session(&store);
            let work = withdraw(&session, merchant, *autoid, Some(&agreed.reason));
            let subject = format!("application {autoid}");
            agreed.do_it(&store, &merchant.tenant(), &subject, "withdraw", work).await?
        }
        Action::Confirm(ConfirmOptions { merchant, batch_no, trade_no, amount, .. }) => {
            let change = format!(
                "batch number {batch_no} of merchant {merchant}: paid {amount} by trade number {trade_no}, its refund done"
            );
            let Some(agreed) = common.agreement.ask(&common.table, &[change]).await? else { return Ok(()) };
            let session = session(&store);
            let work = confirm(&session, merchant, batch_no, trade_no, *amount);
            let subject = format!("number {batch_no}");
            agreed.do_it(&store, &merchant.tenant(), &subject, "confirm", work).await?
        }
        Action::Fail(FailOptions { merchant, autoid, batch_no, despite_confirmation, .. }) => {
            let change = format!(
                "application {autoid} of merchant {merchant}: its refund under {batch_no} has failed, it is requested again"
            );
            let Some(agreed) = common.agreement.ask(&common.table, &[change]).await? else { return Ok(()) };
            let session = session(&store);
            let why = Some(agreed.reason.as_str());
            let work = fail(&session, merchant, *autoid, batch_no, why, despite_confirmation);
            let subject = format!("application {autoid}");
            agreed.do_it(&store, &merchant.tenant(), &subject, "record as failed", work).await?
        }
    };
    println!("{told}");
    Ok(())
}

/// What is said where the table did not answer in time: what was sent may have been written.
const UNDECIDED: &str = "not known whether it was recorded; run it again";

/// Withdraws an application; what that came to.
///
/// # Errors
/// If it is not withdrawn, or that is not known.
pub async fn withdraw(
    session: &Session,
    merchant: &MerchantId,
    autoid: i64,
    reason: Option<&str>,
) -> Result<String> {
    let at = unix_milliseconds(SystemTime::now());
    let withdrawal = Withdrawal { at, reason: reason.map(str::to_owned) };
    match session.withdraw(&merchant.application(autoid), &withdrawal).await.context(UNDECIDED)? {
        Withdrawing::Withdrawn => Ok(format!("withdrawn: application {autoid}")),
        Withdrawing::Before(before) => {
            Ok(format!("unchanged: application {autoid} was withdrawn {}", time(before.at)))
        }
        Withdrawing::Refused(state) => {
            bail!("nothing was changed: application {autoid} is {}", in_words(&state))
        }
        Withdrawing::Unknown => bail!("merchant {merchant} has no application {autoid}"),
    }
}

/// Records that a refund was paid, and completes it; what that came to.
///
/// # Errors
/// If it completes nothing, or that is not known.
pub async fn confirm(
    session: &Session,
    merchant: &MerchantId,
    batch_no: &BatchNo,
    trade_no: &TradeNo,
    amount: Amount,
) -> Result<String> {
    let said = Confirmation {
        trade_no: trade_no.clone(),
        amount,
        at: unix_milliseconds(SystemTime::now()),
        invocation: format!("refundctl-{:016x}", fastrand::u64(..)),
    };
    let ended = session.end(&merchant.batch(batch_no.clone()), &said).await;
    match (ended.result.context(UNDECIDED)?, ended.executed) {
        (Ok(refund), Executed::Yes) => {
            Ok(format!("done: refund {} under batch number {batch_no}", refund.id))
        }
        (Ok(refund), _) => Ok(format!("unchanged: refund {} was done before by this", refund.id)),
        (Err(mismatch), _) => bail!("kept, and completes nothing: {}", mismatch.as_str()),
    }
}

/// Records that a refund has failed; what that came to.
///
/// # Errors
/// If it is not recorded so, or that is not known.
pub async fn fail(
    session: &Session,
    merchant: &MerchantId,
    autoid: i64,
    batch_no: &BatchNo,
    reason: Option<&str>,
    despite: &[TradeNo],
) -> Result<String> {
    match session.fail(&merchant.application(autoid), batch_no, reason, despite).await.context(UNDECIDED)? {
        Failing::Failed(failed) => Ok(format!(
            "failed: refund {} of application {autoid}, which is requested again",
            failed.refund.id
        )),
        Failing::Before(failed) => {
            Ok(format!("unchanged: refund {} was recorded as failed {}", failed.refund.id, time(failed.at)))
        }
        Failing::Confirmed(confirmation) => bail!(
            "nothing was changed: a payment of {} under {batch_no} was confirmed {}, by trade number {}",
            confirmation.amount,
            time(confirmation.at),
            confirmation.trade_no
        ),
        Failing::NotUnderWay(state) => {
            bail!("nothing was changed: application {autoid} is {}", in_words(&state))
        }
        Failing::Unknown => bail!("merchant {merchant} has no application {autoid}"),
    }
}

fn in_words(state: &ApplicationState) -> String {
    let name = state_name(state);
    match state {
        ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. } => {
            format!("{name}, under batch number {}", refund.batch_no)
        }
        ApplicationState::Requested => name.to_owned(),
        ApplicationState::Withdrawn(withdrawal) => format!("{name} since {}", time(withdrawal.at)),
    }
}
