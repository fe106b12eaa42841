//! `refundctl application`: what a merchant's operators do with applications outside the calls.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::clock;
use shared::epay::MerchantId;
use shared::ledger::{
    Amount, ApplicationState, BatchNo, Confirmation, FailedRefund, Mismatch, TenantKey, TradeNo, Withdrawal,
};
use shared::store::{ApplicationHistory, Executed, Failing, Session, Withdrawing};

use crate::agreement::Agreement;
use crate::say;
use crate::show::{state_name, time};
use crate::target::{self, TableOptions, session};

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
    #[arg(allow_negative_numbers = true)]
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
    let session = session(&store);
    let (change, tenant, subject, named) = match look(&session, action).await? {
        Looked::Done(told) => {
            say!("{told}");
            return Ok(());
        }
        Looked::Due { change, tenant, subject, action } => (change, tenant, subject, action),
    };
    let Some(agreed) = common.agreement.ask(&common.table, &[change]).await? else { return Ok(()) };
    // People take their time to answer.
    let session = target::session(&store);
    let work = async {
        match action {
            Action::Withdraw(WithdrawOptions { merchant, autoid, .. }) => {
                withdraw(&session, merchant, *autoid, Some(&agreed.reason)).await
            }
            Action::Confirm(ConfirmOptions { merchant, batch_no, trade_no, amount, .. }) => {
                confirm(&session, merchant, batch_no, trade_no, *amount).await
            }
            Action::Fail(FailOptions { merchant, autoid, batch_no, despite_confirmation, .. }) => {
                let why = Some(agreed.reason.as_str());
                fail(&session, merchant, *autoid, batch_no, why, despite_confirmation).await
            }
        }
    };
    let told = agreed.do_it(&store, &tenant, &subject, &named, work).await?;
    say!("{told}");
    Ok(())
}

/// What a command comes to, by what is on record before it.
enum Looked {
    /// It was done before: what is said of that.
    Done(String),
    Due {
        change: String,
        tenant: TenantKey,
        /// What it is about, and what is done, for the record.
        subject: String,
        action: String,
    },
}

/// Looks before anybody is asked.
///
/// # Errors
/// If it can't be done.
async fn look(session: &Session, action: &Action) -> Result<Looked> {
    match action {
        Action::Withdraw(WithdrawOptions { merchant, autoid, .. }) => {
            match application(session, merchant, *autoid).await?.application.state {
                ApplicationState::Requested => {}
                ApplicationState::Withdrawn(before) => {
                    return Ok(Looked::Done(withdrawn_before(*autoid, &before)));
                }
                state => bail!("nothing was changed: application {autoid} is {}", in_words(&state)),
            }
            Ok(Looked::Due {
                change: format!(
                    "application {autoid} of merchant {merchant}: withdrawn, no refund can begin"
                ),
                tenant: merchant.tenant(),
                subject: format!("application {autoid}"),
                action: "withdraw".to_owned(),
            })
        }
        Action::Confirm(ConfirmOptions { merchant, batch_no, trade_no, amount, .. }) => {
            let known = session.settings(&merchant.tenant()).await?;
            known.with_context(|| format!("there is no merchant {merchant}"))?;
            let history = session.batch_history(&merchant.batch(batch_no.clone())).await?;
            let comes_to = match history.guard {
                None => "no refund was begun under it: it is kept; run again once one has, it completes that"
                    .to_owned(),
                Some(guard) if guard.failed_at.is_some() => {
                    "its refund is recorded as failed: it is kept, and completes nothing".to_owned()
                }
                Some(guard) if guard.refund.amount != *amount => {
                    format!("its refund is of {}: it is kept, and completes nothing", guard.refund.amount)
                }
                Some(guard) => format!("the refund of application {} is done", guard.application.id),
            };
            Ok(Looked::Due {
                change: format!(
                    "batch number {batch_no} of merchant {merchant}: paid {amount} by trade number {trade_no}; {comes_to}"
                ),
                tenant: merchant.tenant(),
                subject: format!("number {batch_no}"),
                action: format!("confirm: {amount} by trade number {trade_no}"),
            })
        }
        Action::Fail(FailOptions { merchant, autoid, batch_no, despite_confirmation, .. }) => {
            let key = merchant.application(*autoid);
            let (application, before) = session.application_and_failure(&key, batch_no).await?;
            let application = application.with_context(|| unknown(merchant, *autoid))?;
            let amount = match (application.state, before) {
                (ApplicationState::Processing(refund), _) if refund.batch_no == *batch_no => refund.amount,
                (_, Some(before)) => return Ok(Looked::Done(failed_before(&before))),
                (state, None) => bail!("nothing was changed: application {autoid} is {}", in_words(&state)),
            };
            let overruled: Vec<&str> = despite_confirmation.iter().map(TradeNo::as_str).collect();
            let overruled = match overruled.is_empty() {
                true => String::new(),
                false => format!(", overruling the confirmation by trade number {}", overruled.join(", ")),
            };
            Ok(Looked::Due {
                change: format!(
                    "application {autoid} of merchant {merchant}: its refund of {amount} under {batch_no} has failed, it is requested again{overruled}"
                ),
                tenant: merchant.tenant(),
                subject: format!("application {autoid}"),
                action: format!("record as failed: batch number {batch_no}{overruled}"),
            })
        }
    }
}

async fn application(session: &Session, merchant: &MerchantId, autoid: i64) -> Result<ApplicationHistory> {
    let history = session.application_history(&merchant.application(autoid)).await?;
    history.with_context(|| unknown(merchant, autoid))
}

fn unknown(merchant: &MerchantId, autoid: i64) -> String {
    format!("merchant {merchant} has no application {autoid}")
}

fn withdrawn_before(autoid: i64, before: &Withdrawal) -> String {
    format!("unchanged: application {autoid} was withdrawn {}", time(before.at))
}

fn failed_before(before: &FailedRefund) -> String {
    format!("unchanged: refund {} was recorded as failed {}", before.refund.id, time(before.at))
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
    match session.withdraw(&merchant.application(autoid), reason).await.context(UNDECIDED)? {
        Withdrawing::Withdrawn => Ok(format!("withdrawn: application {autoid}")),
        Withdrawing::Before(before) => Ok(withdrawn_before(autoid, &before)),
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
        at: clock::unix_now(),
        invocation: format!("refundctl-{:016x}", fastrand::u64(..)),
    };
    let ended = session.end(&merchant.batch(batch_no.clone()), &said).await;
    match (ended.result.context(UNDECIDED)?, ended.executed) {
        (Ok(refund), Executed::Yes) => {
            Ok(format!("done: refund {} under batch number {batch_no}", refund.id))
        }
        (Ok(refund), _) => Ok(format!("unchanged: refund {} was done before by this", refund.id)),
        (Err(mismatch), _) => bail!(
            "kept, and completes nothing: {}; `refundctl show confirmations` shows what is under the number",
            match mismatch {
                Mismatch::UnknownBatchNo => "no refund was begun under this batch number",
                Mismatch::OtherAmount => "the refund is of another amount",
                Mismatch::SecondTradeNo => "the refund was done by another trade number",
                Mismatch::Failed => "the refund is recorded as failed",
            }
        ),
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
        Failing::Before(failed) => Ok(failed_before(&failed)),
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
