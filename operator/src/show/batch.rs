//! `refundctl show batch`: a batch of refunds, with what became of each.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use shared::ledger::{BatchEnd, BatchState, ItemRefund, ItemState, RefundBatch, RefundId};

use super::{plain, time};
use crate::app::AppOptions;
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show batch batchrefund20160801001
  refundctl show batch 152611221530450042 --app app_1Gqj58ynP0mHeX1q --live --table refunds-prod

Exit codes: 0 shown; 1 unknown batch; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The batch's id, or its merchant's number of it
    batch: String,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let batch = options.app.batch(&session, &options.batch).await?;
    let refunds = session.refunds_of(&batch).await?;
    print!("{}", describe(&options.app, &batch, &refunds));
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

fn describe(app: &AppOptions, batch: &RefundBatch, refunds: &HashMap<RefundId, ItemRefund>) -> String {
    let mut text = format!(
        "batch {} ({}) of {}\n{}\nmade at {}: {}\n",
        batch.key.id,
        batch.batch_no,
        app.name(),
        batch_state(batch.state),
        time(batch.at),
        plain(&batch.description),
    );
    text.push_str("amounts are in the smallest unit of the app's currency\n");
    for (what, postings) in [("taken from", &batch.holds), ("given back to", &batch.releases)] {
        for funds in postings {
            let (source, posting) = (funds.source.as_str(), &funds.posting);
            text.push_str(&format!(
                "{} {what} {source} at {}: posting {}, {} before, {} after\n",
                funds.amount,
                time(funds.at),
                posting.sequence,
                posting.before,
                posting.after
            ));
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["charge", "amount", "refund", "state"]);
    for item in &batch.items {
        let refund = refunds.get(&item.refund);
        let state = match refund {
            Some(refund) => refund_state(&refund.state),
            None if batch.state == BatchState::Void => "taken back".to_owned(),
            None => "no answer of its payment channel is known".to_owned(),
        };
        let contradiction = refund.and_then(|refund| refund.contradiction.as_ref());
        let contradiction =
            contradiction.map(|said| format!("\nCONTRADICTED: {}", plain(said))).unwrap_or_default();
        let row = [
            item.charge.to_string(),
            item.amount.to_string(),
            item.refund.to_string(),
            state + &contradiction,
        ];
        table.add_row(row);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{text}{table}\n")
}
