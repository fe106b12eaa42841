//! `refundctl show application`: an application's state and its history, in order; and what is under a number.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use shared::entries::tenant_name;
use shared::epay::MerchantId;
use shared::ledger::{ApplicationState, BatchNo, Standing, TradeNo};
use shared::store::{ApplicationHistory, BatchHistory, KeptConfirmation, Session};

use super::interventions;
use crate::screen::{Cell, OutputOptions, Section, Sheet, print_list};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show application demo 1
  refundctl show application demo 1 --stage prod   in AWS, by your AWS settings

Exit codes: 0 shown; 1 unknown application; 2 wrong usage.";

pub const CONFIRMATIONS_EXAMPLES: &str = "\
Shows confirmations that completed nothing, too: those for batch numbers under which no refund was begun, with
another amount, or with a second trade number. With --trade-no it finds the batch numbers that a trade number of the
payment provider (Alipay's, say) stands under.

Examples:
  refundctl show confirmations demo 20261122093000
  refundctl show confirmations demo --trade-no 2026112221001004940200000001

Exit codes: 0 shown; 1 nothing is on record under this number; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct ApplicationOptions {
    /// The merchant
    merchant: MerchantId,
    /// The application's number
    #[arg(allow_negative_numbers = true)]
    autoid: i64,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Debug, Args)]
pub struct ConfirmationsOptions {
    /// The merchant
    merchant: MerchantId,
    /// The batch number
    #[arg(required_unless_present = "trade_no")]
    batch_no: Option<BatchNo>,
    /// Find it by the payment provider's number
    #[arg(long, value_name = "NO", conflicts_with = "batch_no")]
    trade_no: Option<TradeNo>,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &ApplicationOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let key = options.merchant.application(options.autoid);
    let history = session.application_history(&key).await?;
    let history = history
        .with_context(|| format!("merchant {} has no application {}", options.merchant, options.autoid))?;
    sheet(&session, &history).await?.print(options.output)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn confirmations(options: &ConfirmationsOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let numbers = match (&options.batch_no, &options.trade_no) {
        (Some(number), _) => vec![number.clone()],
        (None, Some(trade_no)) => {
            let numbers = session.numbers_of_trade(&options.merchant.tenant(), trade_no).await?;
            if numbers.is_empty() {
                bail!("merchant {} has nothing with trade number {trade_no}", options.merchant);
            }
            numbers
        }
        (None, None) => bail!("name a batch number"),
    };
    let mut sheets = Vec::new();
    for number in numbers {
        sheets.push(of_number(&session, options, &number).await?);
    }
    print_list(&sheets, options.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn of_number(session: &Session, options: &ConfirmationsOptions, number: &BatchNo) -> Result<Sheet> {
    let batch = options.merchant.batch(number.clone());
    let history = session.batch_history(&batch).await?;
    if history == BatchHistory::default() {
        bail!("merchant {} has nothing under batch number {number}", options.merchant);
    }
    let mut sheet = match &history.guard {
        Some(guard) => Sheet::new(format!(
            "batch number {number}: refund {} of application {}, {} to {}",
            guard.refund.id, guard.application.id, guard.refund.amount, guard.refund.account
        )),
        None => Sheet::new(format!("batch number {number}: no refund was begun under it")),
    };
    sheet.value("batch number", Cell::text(number));
    sheet.value("refund", Cell::maybe(history.guard.as_ref().map(|guard| &guard.refund.id)));
    let application = history.guard.as_ref().map(|guard| guard.application.id);
    sheet.value("application", Cell::maybe(application));
    let mut section = steps();
    for kept in &history.confirmations {
        section.row(said(kept));
    }
    sheet.section(section);
    let subject = format!("number {number}");
    sheet.section(interventions(session, &options.merchant.tenant(), |of| of == subject).await?);
    Ok(sheet)
}

fn steps() -> Section {
    Section::new("history", &["time", "amount"], &["what", "by", "because"])
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

/// An application with all that happened to it.
///
/// # Errors
/// If what operators did can't be read.
pub async fn sheet(session: &Session, history: &ApplicationHistory) -> Result<Sheet> {
    let application = &history.application;
    let key = &application.key;
    let state = state_name(&application.state);
    let mut sheet = Sheet::new(format!(
        "application {} of {}: {state}\npaid {}, order {}",
        key.id,
        tenant_name(&key.merchant),
        application.paid,
        application.order_no,
    ));
    sheet.value("application", Cell::text(key.id));
    sheet.value("state", Cell::text(state));
    sheet.value("paid", Cell::amount(application.paid));
    sheet.value("order", Cell::text(&application.order_no));
    let mut section = steps();
    let present = match &application.state {
        ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. } => Some(refund),
        ApplicationState::Requested | ApplicationState::Withdrawn(_) => None,
    };
    let mut subjects = vec![format!("application {}", key.id)];
    for refund in history.failed.iter().map(|failed| &failed.refund).chain(present) {
        subjects.push(format!("number {}", refund.batch_no));
        section.row([
            Cell::Time(refund.at),
            Cell::amount(refund.amount),
            Cell::text(format!(
                "begun under batch number {}: {} to {}; refund {}",
                refund.batch_no, refund.amount, refund.account, refund.id
            )),
            Cell::text(format!("its merchant's call {}", refund.invocation)),
            Cell::Nothing,
        ]);
    }
    for failed in &history.failed {
        section.row([
            Cell::Time(failed.at),
            Cell::Nothing,
            Cell::text(format!("recorded as failed: batch number {}", failed.refund.batch_no)),
            Cell::text("an operator"),
            Cell::maybe(failed.reason.as_ref()),
        ]);
    }
    for kept in history.batches.iter().flat_map(|batch| &batch.confirmations) {
        section.row(said(kept));
    }
    match &application.state {
        ApplicationState::Done { refund, completion } => section.row([
            Cell::Time(completion.at),
            Cell::amount(refund.amount),
            Cell::text(format!(
                "done: batch number {}, by trade number {}",
                refund.batch_no, completion.confirmation.trade_no
            )),
            Cell::text(caller(&completion.invocation)),
            Cell::Nothing,
        ]),
        ApplicationState::Withdrawn(withdrawal) => section.row([
            Cell::Time(withdrawal.at),
            Cell::Nothing,
            Cell::text("withdrawn"),
            Cell::text("its merchant's operator, or an entry"),
            Cell::maybe(withdrawal.reason.as_ref()),
        ]),
        ApplicationState::Requested | ApplicationState::Processing(_) => {}
    }
    section.sort_by_time(0);
    sheet.section(section);
    let is_of_application = |of: &str| subjects.iter().any(|subject| subject == of);
    sheet.section(interventions(session, &key.merchant, is_of_application).await?);
    Ok(sheet)
}

fn caller(invocation: &str) -> String {
    match invocation.starts_with("refundctl-") {
        true => format!("an operator ({invocation})"),
        false => format!("its merchant's call {invocation}"),
    }
}

fn said(kept: &KeptConfirmation) -> [Cell; 5] {
    let KeptConfirmation { confirmation, standing } = kept;
    let came_to = match standing {
        Standing::Completed => String::new(),
        Standing::Pending => {
            "; NOT COMPLETED YET: send it again, or `refundctl application confirm`".to_owned()
        }
        Standing::Mismatched(mismatch) => format!("; COMPLETED NOTHING: {}", mismatch.as_str()),
    };
    let what =
        format!("confirmed: {} by trade number {}{came_to}", confirmation.amount, confirmation.trade_no);
    [
        Cell::Time(confirmation.at),
        Cell::amount(confirmation.amount),
        Cell::text(what),
        Cell::text(caller(&confirmation.invocation)),
        Cell::Nothing,
    ]
}
