//! `refundctl show application`: an application's state and its history, in order.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use shared::epay::MerchantId;
use shared::ledger::{ApplicationState, BatchNo, Standing};
use shared::store::{ApplicationHistory, BatchHistory, KeptConfirmation};

use super::time;
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show application demo 1
  refundctl show application demo 1 --table refunds-prod   in AWS, by your AWS settings

Exit codes: 0 shown; 1 unknown application; 2 wrong usage.";

pub const CONFIRMATIONS_EXAMPLES: &str = "\
Shows confirmations that completed nothing, too: those for batch numbers under which no refund was begun, with
another amount, or with a second trade number.

Examples:
  refundctl show confirmations demo 20261122093000

Exit codes: 0 shown; 1 nothing is on record under this number; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct ApplicationOptions {
    /// The merchant
    merchant: MerchantId,
    /// The application's number
    #[arg(allow_negative_numbers = true)]
    autoid: i64,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Debug, Args)]
pub struct ConfirmationsOptions {
    /// The merchant
    merchant: MerchantId,
    /// The batch number
    batch_no: BatchNo,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &ApplicationOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let key = options.merchant.application(options.autoid);
    let history = session(&store).application_history(&key).await?;
    let history = history
        .with_context(|| format!("merchant {} has no application {}", options.merchant, options.autoid))?;
    print!("{}", describe(&options.merchant, &history));
    Ok(ExitCode::SUCCESS)
}

pub async fn confirmations(options: &ConfirmationsOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let batch = options.merchant.batch(options.batch_no.clone());
    let history = session(&store).batch_history(&batch).await?;
    if history == BatchHistory::default() {
        bail!("merchant {} has nothing under batch number {}", options.merchant, options.batch_no);
    }
    match &history.guard {
        Some(guard) => println!(
            "batch number {}: refund {} of application {}, {} to {}",
            options.batch_no,
            guard.refund.id,
            guard.application.id,
            guard.refund.amount,
            guard.refund.account
        ),
        None => println!("batch number {}: no refund was begun under it", options.batch_no),
    }
    let rows = history.confirmations.iter().map(|kept| (kept.confirmation.at, said(kept))).collect();
    print!("{}", table(rows));
    Ok(ExitCode::SUCCESS)
}

/// A state as the documents number it.
pub fn state_name(state: &ApplicationState) -> &'static str {
    match state {
        ApplicationState::Requested => "requested (0)",
        ApplicationState::Processing(_) => "being processed (1)",
        ApplicationState::Done { .. } => "done (2)",
        ApplicationState::Withdrawn(_) => "withdrawn",
    }
}

fn describe(merchant: &MerchantId, history: &ApplicationHistory) -> String {
    let application = &history.application;
    let mut events = Vec::new();
    let present = match &application.state {
        ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. } => Some(refund),
        ApplicationState::Requested | ApplicationState::Withdrawn(_) => None,
    };
    for refund in history.failed.iter().map(|failed| &failed.refund).chain(present) {
        let what = format!(
            "begun under batch number {}: {} to {}; refund {}",
            refund.batch_no, refund.amount, refund.account, refund.id
        );
        events.push((refund.at, what));
    }
    for failed in &history.failed {
        let what =
            format!("recorded as failed: batch number {}{}", failed.refund.batch_no, why(&failed.reason));
        events.push((failed.at, what));
    }
    let confirmations = history.batches.iter().flat_map(|batch| &batch.confirmations);
    events.extend(confirmations.map(|kept| (kept.confirmation.at, said(kept))));
    if let ApplicationState::Done { refund, completion } = &application.state {
        let what = format!(
            "done: batch number {}, by trade number {}; invocation {}",
            refund.batch_no, completion.confirmation.trade_no, completion.invocation
        );
        events.push((completion.at, what));
    }
    if let ApplicationState::Withdrawn(withdrawal) = &application.state {
        events.push((withdrawal.at, format!("withdrawn{}", why(&withdrawal.reason))));
    }
    events.sort_by_key(|(at, _)| *at);
    format!(
        "application {} of merchant {merchant}: {}\npaid {}, order {}\n{}",
        application.key.id,
        state_name(&application.state),
        application.paid,
        application.order_no,
        table(events),
    )
}

fn said(kept: &KeptConfirmation) -> String {
    let KeptConfirmation { confirmation, standing } = kept;
    let came_to = match standing {
        Standing::Completed => String::new(),
        Standing::Pending => {
            "; NOT COMPLETED YET: send it again, or `refundctl application confirm`".to_owned()
        }
        Standing::Mismatched(mismatch) => format!("; COMPLETED NOTHING: {}", mismatch.as_str()),
    };
    format!("confirmed: {} by trade number {}{came_to}", confirmation.amount, confirmation.trade_no)
}

fn why(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default()
}

/// What happened, and when; nothing where nothing did.
fn table(events: Vec<(u64, String)>) -> String {
    if events.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["time (UTC)", "what"]);
    for (at, what) in events {
        table.add_row([time(at), what]);
    }
    format!("{table}\n")
}
