//! `refundctl batch`: what a payment platform's operators do with batches of refunds.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use shared::clock::unix_milliseconds;
use shared::ledger::BatchState;
use shared::pingpp::{LedgerChannel, advance};

use crate::app::AppOptions;
use crate::show::batch_state;
use crate::target::{TableOptions, long_session};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Bring a batch on, as far as it goes now
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeOptions),
}

const RESUME_EXAMPLES: &str = "\
Does at once what the worker does by itself once a minute: completes or takes back a batch that was not created whole,
asks payment channels for refunds that are not decided, gives back the money of those that failed. Safe at any time,
and as often as you like. A batch that another process is settling is left to it.

Examples:
  refundctl batch resume batchrefund20160801001
  refundctl batch resume 152611221530450042 --app app_1Gqj58ynP0mHeX1q --live --table refunds-prod

Exit codes: 0 the batch has ended; 1 it is still open, or there is none, or it is not known: then run it again; 2 wrong
usage.";

#[derive(Debug, Args)]
pub struct ResumeOptions {
    /// The batch's id, or its merchant's number of it
    batch: String,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(action: &Action) -> Result<ExitCode> {
    let Action::Resume(options) = action;
    let store = options.table.store().await?;
    let session = long_session(&store);
    let key = options.app.batch(&session, &options.batch).await?.key;
    let now = unix_milliseconds(SystemTime::now());
    let batch = advance(&session, &LedgerChannel, &key, now).await.context("run it again")?;
    let Some(batch) = batch else { bail!("batch {} is no longer there", key.id) };
    println!("batch {}: {}", batch.key.id, batch_state(batch.state));
    if let BatchState::Ended { .. } | BatchState::Void = batch.state {
        return Ok(ExitCode::SUCCESS);
    }
    let refunds = session.refunds_of(&batch).await?;
    let pending = refunds.values().filter(|refund| refund.state.is_pending()).count();
    let unknown = batch.items.len() - refunds.len();
    println!(
        "{pending} refunds wait for someone's confirmation; of {unknown} no answer is known, or another process asks for it now"
    );
    Ok(ExitCode::FAILURE)
}
