//! `refundctl show charge`: a charge, how much of it is refunded or held, and its refunds.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use shared::ledger::ChargeId;

use super::batch::refund_state;
use super::time;
use crate::app::AppOptions;
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show charge ch_L8qn10mLmr1GS8e5OODmHaL4
  refundctl show charge ch_1 --app app_1Gqj58ynP0mHeX1q --live --table refunds-prod

Exit codes: 0 shown; 1 unknown charge; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The charge's id
    charge: ChargeId,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let key = options.app.app.charge(options.app.mode(), options.charge.clone());
    let history = session(&store).charge_history(&key).await?;
    let (charge, refunds) = history.with_context(|| {
        format!("{} has no charge {}; --app APP and --live choose another", options.app.name(), key.id)
    })?;
    let held = charge.held();
    let paid = match (charge.paid, charge.time_paid) {
        (false, _) => "not paid".to_owned(),
        (true, None) => "paid".to_owned(),
        (true, Some(at)) => format!("paid at {}", time(at.saturating_mul(1_000))),
    };
    println!("charge {} of {}: order {}", key.id, options.app.name(), charge.order_no);
    println!("amounts are in the smallest unit of {}", charge.currency);
    println!("{} by {}, {paid}", charge.amount, charge.channel);
    println!("{} refunded, {held} held, {} left to be refunded", charge.refunded, charge.refundable());
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["refund", "amount", "batch", "state"]);
    for refund in &refunds {
        let (id, batch) = (refund.id.to_string(), refund.batch.to_string());
        table.add_row([id, refund.amount.to_string(), batch, refund_state(&refund.state)]);
    }
    // What is held and has no answer on record yet.
    for (refund, hold) in &charge.holds {
        if refunds.iter().all(|known| known.id != *refund) {
            let (id, batch) = (refund.to_string(), hold.batch.to_string());
            table.add_row([id, hold.amount.to_string(), batch, "held".to_owned()]);
        }
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    if !table.is_empty() {
        println!("{table}");
    }
    Ok(ExitCode::SUCCESS)
}
