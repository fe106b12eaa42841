//! `refundctl show funds`: an app's accounts and their postings, with the chains checked.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use shared::ledger::{Account, FundingSource, Hash, RefundBatch, check_funds};
use shared::store::Store;

use super::{time, unchanged};
use crate::app::AppOptions;
use crate::target::{TableOptions, long_session};

pub const EXAMPLES: &str = "\
Reads all of the app's batches, to check each posting.

Examples:
  refundctl show funds
  refundctl show funds --app app_1Gqj58ynP0mHeX1q --live --table refunds-prod

Exit codes: 0 shown; 1 the app has no funds, or a chain is broken; 2 wrong usage.";

/// The last postings that are shown; the others are counted.
const POSTINGS_SHOWN: usize = 40;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    table: TableOptions,
}

type Funds = (Vec<(FundingSource, Account)>, Vec<RefundBatch>);

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let (accounts, batches) = read(&store, &options.app).await?;
    let mut is_intact = true;
    for (source, account) in &accounts {
        is_intact &= print(&options.app, *source, account, &batches);
    }
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn read(store: &Store, app: &AppOptions) -> Result<Funds> {
    let read = async || {
        let session = long_session(store).await?;
        let mut accounts = Vec::new();
        for source in FundingSource::ALL {
            accounts.extend(session.funds(&app.tenant(), source).await?.map(|account| (source, account)));
        }
        if accounts.is_empty() {
            bail!("{} has no funds; --app APP and --live choose another", app.name());
        }
        Ok((accounts, session.every_batch(&app.tenant()).await?))
    };
    let heads =
        |(accounts, _): &Funds| -> Vec<Hash> { accounts.iter().map(|(_, account)| account.head).collect() };
    let is_intact = |(accounts, batches): &Funds| {
        accounts.iter().all(|(source, account)| check_funds(account, *source, batches).is_ok())
    };
    unchanged(&app.name(), read, heads, is_intact).await
}

/// Whether the account's chain is intact.
fn print(app: &AppOptions, source: FundingSource, account: &Account, batches: &[RefundBatch]) -> bool {
    let checked = check_funds(account, source, batches);
    let state = if checked.is_ok() { "chain intact" } else { "CHAIN BROKEN" };
    println!(
        "{} of {}, in the smallest unit of {}\nbalance {} = opening {} and {} postings, {state}\nhead {}",
        source.as_str(),
        app.name(),
        account.currency,
        account.balance,
        account.opening,
        account.sequence,
        account.head,
    );
    let postings = match checked {
        Ok(postings) => postings,
        Err(breach) => {
            eprintln!("error: the chain of {} is broken: {breach}", source.as_str());
            return false;
        }
    };
    let hidden = postings.len().saturating_sub(POSTINGS_SHOWN);
    if hidden > 0 {
        println!("{hidden} earlier postings, and");
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["#", "time (UTC)", "what", "amount", "before", "after", "batch"]);
    for (batch, funds) in postings.into_iter().skip(hidden) {
        let posting = &funds.posting;
        let what = if posting.after < posting.before { "held" } else { "released" };
        table.add_row([
            posting.sequence.to_string(),
            time(funds.at),
            what.to_owned(),
            funds.amount.to_string(),
            posting.before.to_string(),
            posting.after.to_string(),
            batch.key.id.to_string(),
        ]);
    }
    for column in [0, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if !table.is_empty() {
        println!("{table}");
    }
    true
}
