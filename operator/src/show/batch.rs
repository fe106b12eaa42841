//! `refundctl show batch`: a batch of refunds, with what became of each.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use shared::ledger::{BatchEnd, BatchState, ItemRefund, ItemState, RefundBatch, RefundId};

use super::{interventions, plain, time};
use crate::app::AppOptions;
use crate::screen::{Cell, OutputOptions, Section, Sheet};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show batch batchrefund20160801001
  refundctl show batch 152611221530450042 --app app_1Gqj58ynP0mHeX1q --live --stage prod

Exit codes: 0 shown; 1 unknown batch; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The batch's id, or its merchant's number of it
    batch: String,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let batch = options.app.batch(&session, &options.batch).await?;
    let refunds = session.refunds_of(&batch).await?;
    let mut sheet = describe(&options.app, &batch, &refunds);
    let mut subjects: Vec<String> =
        batch.items.iter().map(|item| format!("refund {}", item.refund)).collect();
    subjects.push(format!("batch {}", batch.key.id));
    let is_of_batch = |of: &str| subjects.iter().any(|subject| subject == of);
    sheet.section(interventions(&session, &options.app.tenant(), is_of_batch).await?);
    sheet.print(options.output)?;
    Ok(ExitCode::SUCCESS)
}

/// A batch's state, in words.
pub fn batch_state(state: BatchState) -> String {
    match state {
        BatchState::Creating => "being created: not all charges are held yet, nobody sees it".to_owned(),
        BatchState::Created => "created: nothing was asked of payment channels yet".to_owned(),
        BatchState::Settling => "being settled".to_owned(),
        BatchState::Void => "taken back: its charges were no longer free, nobody was told of it".to_owned(),
        BatchState::Ended { end, at } => {
            let end = match end {
                BatchEnd::Succeeded => "succeeded",
                BatchEnd::PartiallySucceeded => "partially succeeded",
                BatchEnd::Failed => "failed",
            };
            format!("{end} at {}", time(at))
        }
    }
}

/// A refund's state, in words.
pub fn refund_state(state: &ItemState) -> String {
    match state {
        ItemState::Pending { url } => format!("waits for its confirmation at {url}"),
        ItemState::Succeeded { at } => format!("succeeded at {}", time(*at)),
        ItemState::Failed { at, code, message } => {
            format!("failed at {}: {}: {}", time(*at), plain(code), plain(message))
        }
    }
}

fn describe(app: &AppOptions, batch: &RefundBatch, refunds: &HashMap<RefundId, ItemRefund>) -> Sheet {
    let state = batch_state(batch.state);
    let currency = batch.currency.as_ref().map_or("the app's currency".to_owned(), ToString::to_string);
    let mut sheet = Sheet::new(format!(
        "batch {} ({}) of {}\n{state}\nmade at {}: {}\namounts are in the smallest unit of {currency}",
        batch.key.id,
        batch.batch_no,
        app.name(),
        time(batch.at),
        batch.description,
    ));
    sheet.value("batch", Cell::text(&batch.key.id));
    sheet.value("batch number", Cell::text(&batch.batch_no));
    sheet.value("state", Cell::text(&state));
    sheet.value("made", Cell::Time(batch.at));
    sheet.value("currency", Cell::maybe(batch.currency.as_ref()));
    let mut section = Section::new("refunds", &["amount"], &["charge", "refund", "state", "CONTRADICTED:"]);
    for item in &batch.items {
        let refund = refunds.get(&item.refund);
        let state = match refund {
            Some(refund) => refund_state(&refund.state),
            None if batch.state == BatchState::Void => "taken back".to_owned(),
            None => "no answer of its payment channel is known".to_owned(),
        };
        section.row([
            Cell::amount(item.amount),
            Cell::text(&item.charge),
            Cell::text(&item.refund),
            Cell::text(state),
            Cell::maybe(refund.and_then(|refund| refund.contradiction.as_ref())),
        ]);
    }
    sheet.section(section);
    let mut history =
        Section::new("history", &["time", "amount", "before", "after"], &["what", "of", "by", "posting"]);
    for (what, by, postings) in
        [("taken", "its merchant's call", &batch.holds), ("given back", "the ledger", &batch.releases)]
    {
        for funds in postings {
            history.row([
                Cell::Time(funds.at),
                Cell::amount(funds.amount),
                Cell::amount(funds.posting.before),
                Cell::amount(funds.posting.after),
                Cell::text(what),
                Cell::text(funds.source.as_str()),
                Cell::text(by),
                Cell::Count(funds.posting.sequence),
            ]);
        }
    }
    history.sort_by_time(0);
    sheet.section(history);
    sheet
}
