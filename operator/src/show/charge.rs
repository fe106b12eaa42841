//! `refundctl show charge`: a charge, how much of it is refunded or held, and its refunds.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use shared::ledger::{ChargeId, ItemState};

use super::batch::refund_state;
use super::{interventions, time};
use crate::app::AppOptions;
use crate::screen::{Cell, OutputOptions, Section, Sheet};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show charge ch_L8qn10mLmr1GS8e5OODmHaL4
  refundctl show charge ch_1 --app app_1Gqj58ynP0mHeX1q --live --stage prod

Exit codes: 0 shown; 1 unknown charge; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The charge's id
    charge: ChargeId,
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
    let key = options.app.app.charge(options.app.mode(), options.charge.clone());
    let history = session.charge_history(&key).await?;
    let (charge, refunds) = history.with_context(|| {
        format!("{} has no charge {}; --app APP and --live choose another", options.app.name(), key.id)
    })?;
    let held = charge.held();
    let paid = match (charge.paid, charge.time_paid) {
        (false, _) => "not paid".to_owned(),
        (true, None) => "paid".to_owned(),
        (true, Some(at)) => format!("paid at {}", time(at.saturating_mul(1_000))),
    };
    let mut sheet = Sheet::new(format!(
        "charge {} of {}: order {}\namounts are in the smallest unit of {}\n{} by {}, {paid}\n\
         {} refunded, {held} held, {} left to be refunded",
        key.id,
        options.app.name(),
        charge.order_no,
        charge.currency,
        charge.amount,
        charge.channel,
        charge.refunded,
        charge.refundable()
    ));
    sheet.value("charge", Cell::text(&key.id));
    sheet.value("currency", Cell::text(&charge.currency));
    sheet.value("amount", Cell::amount(charge.amount));
    sheet.value("refunded", Cell::amount(charge.refunded));
    sheet.value("held", Cell::amount(held));
    sheet.value("refundable", Cell::amount(charge.refundable()));
    sheet.value("paid", Cell::Flag(charge.paid));
    if charge.refunded_before > 0 {
        sheet.fact("refunded before it was on record", Cell::amount(charge.refunded_before));
    }
    let mut section = Section::new("refunds", &["time", "amount"], &["refund", "batch", "state"]);
    for refund in &refunds {
        let at = match refund.state {
            ItemState::Succeeded { at } | ItemState::Failed { at, .. } => Some(at),
            ItemState::Pending { .. } => None,
        };
        section.row([
            Cell::time_of(at),
            Cell::amount(refund.amount),
            Cell::text(&refund.id),
            Cell::text(&refund.batch),
            Cell::text(refund_state(&refund.state)),
        ]);
    }
    section.sort_by_time(0);
    // What is held and has no answer on record yet.
    for (refund, hold) in &charge.holds {
        if refunds.iter().all(|known| known.id != *refund) {
            section.row([
                Cell::Nothing,
                Cell::amount(hold.amount),
                Cell::text(refund),
                Cell::text(&hold.batch),
                Cell::text("held"),
            ]);
        }
    }
    sheet.section(section);
    let subjects: Vec<String> = refunds.iter().map(|refund| format!("refund {}", refund.id)).collect();
    let is_of_charge = |of: &str| subjects.iter().any(|subject| subject == of);
    sheet.section(interventions(&session, &options.app.tenant(), is_of_charge).await?);
    sheet.print(options.output)?;
    Ok(ExitCode::SUCCESS)
}
