//! `refundctl refund`: what payment channels say to people.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::clock;
use shared::entries::tenant_name;
use shared::ledger::{ItemState, RefundBatch, RefundId};
use shared::limits;
use shared::pingpp::{Decided, decide_refund};
use shared::store::{Found, Session, Settled};

use crate::agreement::Agreement;
use crate::say;
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
  refundctl refund settle re_y1u944PmfnrTHyvnL0nD0iD1 --dry-run
  refundctl refund settle re_y1u944PmfnrTHyvnL0nD0iD1 --reason 'confirmed in Alipay' --yes

Exit codes: 0 the refund has succeeded, now or before; 1 it has not, or is unknown, or another process is settling its
batch: then run it again; 2 wrong usage.";

const FAIL_EXAMPLES: &str = "\
Only once the payment channel has said so, or can't have got the refund: what it pays later is lost. Running it again
changes nothing.

Examples:
  refundctl refund fail re_y1u944PmfnrTHyvnL0nD0iD1 --reason 'Alipay: account closed'
  refundctl refund fail re_y1u944PmfnrTHyvnL0nD0iD1 --code account_closed --message 'the account is closed'

Exit codes: 0 the refund has failed, now or before; 1 it has not, or is unknown, or another process is settling its
batch: then run it again; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct SettleOptions {
    /// The refund's id
    #[arg(value_parser = refund_id)]
    refund: RefundId,
    #[command(flatten)]
    agreement: Agreement,
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
    agreement: Agreement,
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
    let (id, table, agreement) = match action {
        Action::Settle(SettleOptions { refund, agreement, table }) => (refund, table, agreement),
        Action::Fail(FailOptions { refund, agreement, table, .. }) => (refund, table, agreement),
    };
    let store = table.store().await?;
    let session = long_session(&store).await?;
    let batch = match session.batch_of_refund(id).await? {
        Found::Here(batch) => batch,
        Found::Nowhere => bail!("there is no refund {id}"),
        Found::NotInSearched => bail!(
            "refund {id} is not on record, and not in the open batches that were searched: bring its batch on with `refundctl batch resume`, and run it again"
        ),
    };
    let now = session.refunds_of(&batch).await?.remove(id);
    if let Some(recorded) = now.as_ref().filter(|recorded| action.is_done_by(&recorded.state)) {
        say!("unchanged: refund {id}: {}", refund_state(&recorded.state));
        say!("batch {}: {}", batch.key.id, batch_state(batch.state));
        return Ok(());
    }
    let mut change = action.change(id, &batch);
    if let Some(recorded) = now.filter(|recorded| !recorded.state.is_pending()) {
        let state = refund_state(&recorded.state);
        change = format!("refund {id}: {state}, and stays so; that it was contradicted is put on record");
    }
    let Some(agreed) = agreement.ask(table, &[change]).await? else { return Ok(()) };
    // People take their time to answer.
    let session = long_session(&store).await?;
    let subject = format!("refund {id}");
    let work = decided(&session, id, &batch, action);
    say!("{}", agreed.do_it(&store, &batch.key.tenant, &subject, &action.told(), work).await?);
    Ok(())
}

impl Action {
    /// For the record.
    fn told(&self) -> String {
        match self {
            Self::Settle(_) => "settle".to_owned(),
            Self::Fail(FailOptions { code, message, .. }) => format!("fail: {code}: {message}"),
        }
    }

    fn state(&self, at: u64) -> ItemState {
        match self {
            Self::Settle(_) => ItemState::Succeeded { at },
            Self::Fail(FailOptions { code, message, .. }) => {
                ItemState::Failed { at, code: code.clone(), message: message.clone() }
            }
        }
    }

    /// Whether the refund is what it is to be.
    fn is_done_by(&self, state: &ItemState) -> bool {
        match self {
            Self::Settle(_) => matches!(state, ItemState::Succeeded { .. }),
            Self::Fail(_) => matches!(state, ItemState::Failed { .. }),
        }
    }

    fn change(&self, id: &RefundId, batch: &RefundBatch) -> String {
        let item = batch.items.iter().find(|item| item.refund == *id);
        let amount =
            item.map(|item| format!("{} of charge {}", item.amount, item.charge)).unwrap_or_default();
        let of = format!("refund {id} of {}, {amount}", tenant_name(&batch.key.tenant));
        match self {
            Self::Settle(_) => format!("{of}: has succeeded, what is held is refunded"),
            Self::Fail(_) => {
                let source = item.map_or("the app", |item| item.source().as_str());
                format!("{of}: has failed, what is held is free again, its money goes back to {source}")
            }
        }
    }
}

/// Puts on record what is said of a refund; what that came to.
async fn decided(session: &Session, id: &RefundId, batch: &RefundBatch, action: &Action) -> Result<String> {
    let at = clock::unix_now();
    let decided = decide_refund(session, &batch.key, id, action.state(at), at).await;
    match decided.context("not known whether it was recorded; run it again")? {
        Some(Decided::Done { settled: Settled::AsSaid, batch }) => {
            let refunds = session.refunds_of(&batch).await?;
            let state = refunds.get(id).map(|refund| refund_state(&refund.state)).unwrap_or_default();
            Ok(format!("refund {id}: {state}\nbatch {}: {}", batch.key.id, batch_state(batch.state)))
        }
        Some(Decided::Done { settled: Settled::Otherwise(recorded), .. }) => bail!(
            "refund {id} {}, and stays so: nothing was changed but that it was contradicted, which is on record",
            refund_state(&recorded.state)
        ),
        Some(Decided::Busy) => bail!(
            "nothing was changed: another process is settling batch {} and may be asking for this refund; run it again in some minutes",
            batch.key.id
        ),
        None => bail!("nothing was changed: batch {} was taken back", batch.key.id),
    }
}
