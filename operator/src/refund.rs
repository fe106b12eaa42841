//! `refundctl refund`: what payment channels say to people.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::clock::unix_milliseconds;
use shared::ledger::{ItemState, RefundId};
use shared::limits;
use shared::pingpp::{Decided, decide_refund};
use shared::store::{Found, Settled};

use crate::show::{batch_state, refund_state};
use crate::target::{TableOptions, long_session};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Record that a payment channel has paid a refund
    #[command(after_help = SETTLE_EXAMPLES)]
    Settle(SettleOptions),
    /// Record that a payment channel will never pay a refund: its charge and its money are free again
    #[command(after_help = FAIL_EXAMPLES)]
    Fail(FailOptions),
}

const SETTLE_EXAMPLES: &str = "\
For a refund that someone had to confirm (Alipay's), or of which no answer is known. Running it again changes nothing.

Examples:
  refundctl refund settle re_y1u944PmfnrTHyvnL0nD0iD1

Exit codes: 0 the refund has succeeded, now or before; 1 it has not, or is unknown, or another process is settling its
batch: then run it again; 2 wrong usage.";

const FAIL_EXAMPLES: &str = "\
Only once the payment channel has said so, or can't have got the refund: what it pays later is lost. Running it again
changes nothing.

Examples:
  refundctl refund fail re_y1u944PmfnrTHyvnL0nD0iD1
  refundctl refund fail re_y1u944PmfnrTHyvnL0nD0iD1 --code account_closed --message 'the account is closed'

Exit codes: 0 the refund has failed, now or before; 1 it has not, or is unknown, or another process is settling its
batch: then run it again; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct SettleOptions {
    /// The refund's id
    #[arg(value_parser = refund_id)]
    refund: RefundId,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Debug, Args)]
pub struct FailOptions {
    /// The refund's id
    #[arg(value_parser = refund_id)]
    refund: RefundId,
    /// Why, in a word; its merchant sees it as failure_code
    #[arg(long, default_value = "refund_failed", value_parser = code)]
    code: String,
    /// Why, in words; its merchant sees it as failure_msg
    #[arg(long, default_value = "The payment channel has refused the refund.", value_parser = message)]
    message: String,
    #[command(flatten)]
    table: TableOptions,
}

fn code(code: &str) -> Result<String, String> {
    text(code, limits::FAILURE_CODE_CHARS_MAX)
}

fn message(message: &str) -> Result<String, String> {
    text(message, limits::FAILURE_MESSAGE_CHARS_MAX)
}

fn text(text: &str, chars_max: usize) -> Result<String, String> {
    match text.chars().count() {
        _ if text.chars().any(char::is_control) => Err("has a control character".to_owned()),
        0 => Err("is empty".to_owned()),
        count if count > chars_max => Err(format!("is longer than {chars_max} characters")),
        _ => Ok(text.to_owned()),
    }
}

fn refund_id(text: &str) -> Result<RefundId, String> {
    let letters = text.strip_prefix("re_").unwrap_or_default();
    let is_id = letters.len() == 24 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id { Ok(RefundId::recorded(text)) } else { Err("must be re_ and 24 letters and digits".to_owned()) }
}

pub async fn command(action: &Action) -> Result<()> {
    let at = unix_milliseconds(SystemTime::now());
    let (refund, table, state) = match action {
        Action::Settle(SettleOptions { refund, table }) => (refund, table, ItemState::Succeeded { at }),
        Action::Fail(FailOptions { refund, code, message, table }) => {
            let (code, message) = (code.clone(), message.clone());
            (refund, table, ItemState::Failed { at, code, message })
        }
    };
    let store = table.store().await?;
    let session = long_session(&store).await?;
    let batch = match session.batch_of_refund(refund).await? {
        Found::Here(batch) => batch,
        Found::Nowhere => bail!("there is no refund {refund}"),
        Found::NotInSearched => bail!(
            "refund {refund} is not on record, and not in the open batches that were searched: bring its batch on with `refundctl batch resume`, and run it again"
        ),
    };
    let decided = decide_refund(&session, &batch.key, refund, state, at).await;
    match decided.context("not known whether it was recorded; run it again")? {
        Some(Decided::Done { settled: Settled::AsSaid, batch }) => {
            let refunds = session.refunds_of(&batch).await?;
            let state = refunds.get(refund).map(|refund| refund_state(&refund.state));
            println!("refund {refund}: {}", state.unwrap_or_default());
            println!("batch {}: {}", batch.key.id, batch_state(batch.state));
            Ok(())
        }
        Some(Decided::Done { settled: Settled::Otherwise(recorded), .. }) => bail!(
            "nothing was changed: refund {refund} {}; the first time that it was said to be otherwise is on record",
            refund_state(&recorded.state)
        ),
        Some(Decided::Busy) => bail!(
            "nothing was changed: another process is settling batch {} and may be asking for this refund; run it again in two minutes",
            batch.key.id
        ),
        None => bail!("nothing was changed: batch {} was taken back", batch.key.id),
    }
}
