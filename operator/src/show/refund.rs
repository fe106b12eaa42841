//! `refundctl show refund`: a refund by its id.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::entries::tenant_name;
use shared::ledger::{ApplicationKey, ApplicationState, RefundId};
use shared::store::{Content, Found, Session, Store};

use super::batch::{batch_state, refund_state};
use super::{application, interventions};
use crate::scan::{ScanOptions, scan_all};
use crate::screen::{Cell, OutputOptions, Section, Sheet};
use crate::target::{TableOptions, long_session};

pub const EXAMPLES: &str = "\
A refund of a charge (re_…) is found by the index. One of an application (rf_…) is looked for in the whole table, as no
index has it: by its merchant and batch number it is found at once, with `refundctl show confirmations`. A refund of a
bet has no id of its own: `refundctl show debit` and `show request` find it.

Examples:
  refundctl show refund re_y1u944PmfnrTHyvnL0nD0iD1
  refundctl show refund rf_0123456789abcdef0123456789abcdef --stage prod

Exit codes: 0 shown; 1 no such refund; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The refund's id
    #[arg(value_parser = refund_id)]
    refund: RefundId,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

fn refund_id(text: &str) -> Result<RefundId, String> {
    let is_plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.strip_prefix("re_").or(text.strip_prefix("rf_")) {
        Some(id) if is_plain(id) => Ok(RefundId::recorded(text)),
        _ => Err("must be re_ or rf_ with letters and digits behind it".to_owned()),
    }
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = long_session(&store).await?;
    let sheet = match options.refund.as_str().starts_with("rf_") {
        true => of_application(&store, &session, options).await?,
        false => of_charge(&session, options).await?,
    };
    sheet.print(options.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn of_charge(session: &Session, options: &Options) -> Result<Sheet> {
    let id = &options.refund;
    let batch = match session.batch_of_refund(id).await? {
        Found::Here(batch) => batch,
        Found::Nowhere => bail!("there is no refund {id}"),
        Found::NotInSearched => bail!(
            "refund {id} is not on record, and not in the open batches that were searched: `refundctl show charge` shows the refunds of a charge"
        ),
    };
    let refunds = session.refunds_of(&batch).await?;
    let Some(item) = batch.items.iter().find(|item| item.refund == *id) else {
        bail!("batch {} has no refund {id}", batch.key.id)
    };
    let recorded = refunds.get(id);
    let state = match recorded {
        Some(refund) => refund_state(&refund.state),
        None => "no answer of its payment channel is known".to_owned(),
    };
    let tenant = &batch.key.tenant;
    let mut sheet = Sheet::new(format!("refund {id} of {}: {state}", tenant_name(tenant)));
    sheet.value("refund", Cell::text(id));
    sheet.value("state", Cell::text(&state));
    sheet.fact("amount", Cell::amount(item.amount));
    sheet.fact("charge", Cell::text(&item.charge));
    sheet.fact("order", Cell::text(&item.order_no));
    sheet.fact("channel", Cell::text(&item.channel));
    sheet.fact("paid from", Cell::text(item.source().as_str()));
    sheet.fact("batch", Cell::text(&batch.key.id));
    sheet.fact("batch number", Cell::text(&batch.batch_no));
    sheet.fact("batch state", Cell::text(batch_state(batch.state)));
    if let Some(said) = recorded.and_then(|refund| refund.contradiction.as_ref()) {
        sheet.note(format!("CONTRADICTED: {said}"));
    }
    let mut history = Section::new("history", &["time"], &["what", "by"]);
    let step = |at: u64, what: String, by: &str| [Cell::Time(at), Cell::text(what), Cell::text(by)];
    history.row(step(batch.at, format!("accepted in batch {}", batch.batch_no), "its merchant's call"));
    for release in batch.releases.iter().filter(|release| release.refunds.contains(id)) {
        let what = format!("its money was given back to {}", release.source.as_str());
        history.row(step(release.at, what, "the ledger"));
    }
    if let Some(refund) = recorded {
        let by = "its payment channel, or an operator (below)";
        match &refund.state {
            shared::ledger::ItemState::Succeeded { at } => {
                history.row(step(*at, "succeeded".to_owned(), by));
            }
            shared::ledger::ItemState::Failed { at, code, message } => {
                history.row(step(*at, format!("failed: {code}: {message}"), by));
            }
            shared::ledger::ItemState::Pending { .. } => {}
        }
    }
    history.sort_by_time(0);
    sheet.section(history);
    let subject = format!("refund {id}");
    sheet.section(interventions(session, tenant, |of| of == subject).await?);
    Ok(sheet)
}

async fn of_application(store: &Store, session: &Session, options: &Options) -> Result<Sheet> {
    let id = &options.refund;
    let mut found: Option<ApplicationKey> = None;
    scan_all(store, options.scan, |stored| {
        match stored.content {
            Ok(Content::Application(application)) => match &application.state {
                ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. }
                    if refund.id == *id =>
                {
                    found = Some(application.key.clone());
                }
                _ => {}
            },
            Ok(Content::Failed { application, failed }) if failed.refund.id == *id => {
                found = Some(application);
            }
            _ => {}
        }
        Ok(())
    })
    .await?;
    let Some(key) = found else { bail!("there is no refund {id}") };
    let Some(history) = session.application_history(&key).await? else { bail!("there is no refund {id}") };
    application::sheet(session, &history).await
}
