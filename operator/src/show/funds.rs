//! `refundctl show funds`: an app's accounts and their postings, with the chains checked.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use shared::ledger::{
    Account, Cause, ChainBreach, FundingSource, Hash, Movement, Posted, RefundBatch, check_funds,
};
use shared::store::Store;

use super::{plain, time, unchanged};
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

/// An app's account, with the movements that were posted to it.
struct Funds {
    source: FundingSource,
    account: Account,
    movements: Vec<Movement>,
}

/// All accounts of an app, and its batches, which have the other postings.
type All = (Vec<Funds>, Vec<RefundBatch>);

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let (accounts, batches) = read(&store, &options.app).await?;
    let mut is_intact = true;
    for funds in &accounts {
        is_intact &= print(&options.app, funds, &batches);
    }
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn read(store: &Store, app: &AppOptions) -> Result<All> {
    let read = async || {
        let session = long_session(store).await?;
        let mut accounts = Vec::new();
        for source in FundingSource::ALL {
            let found = session.wallet(&app.tenant().account(source.as_str())).await?;
            accounts.extend(found.map(|found| Funds {
                source,
                account: found.account,
                movements: found.movements,
            }));
        }
        if accounts.is_empty() {
            bail!("{} has no funds; --app APP and --live choose another", app.name());
        }
        Ok((accounts, session.every_batch(&app.tenant()).await?))
    };
    let heads =
        |(accounts, _): &All| -> Vec<Hash> { accounts.iter().map(|funds| funds.account.head).collect() };
    let is_intact = |(accounts, batches): &All| accounts.iter().all(|funds| funds.check(batches).is_ok());
    unchanged(&app.name(), read, heads, is_intact).await
}

impl Funds {
    fn check<'a>(&'a self, batches: &'a [RefundBatch]) -> Result<Vec<Posted<'a>>, ChainBreach> {
        check_funds(&self.account, self.source, batches, &self.movements)
    }
}

/// Whether the account's chain is intact.
fn print(app: &AppOptions, funds: &Funds, batches: &[RefundBatch]) -> bool {
    let checked = funds.check(batches);
    let (source, account) = (funds.source, &funds.account);
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
    table.set_header(["#", "time (UTC)", "what", "amount", "before", "after", "of"]);
    for posted in postings.into_iter().skip(hidden) {
        let (at, what, amount, of) = match posted {
            Posted::Funds(batch, funds, cause) => {
                let what = if matches!(cause, Cause::Hold { .. }) { "held" } else { "released" };
                (funds.at, what, funds.amount.to_string(), format!("batch {}", batch.key.id))
            }
            Posted::Movement(movement) => {
                let of = format!("{}, {}", movement.key.id, movement.reason);
                (movement.at, movement.direction.as_str(), movement.amount.to_string(), plain(&of))
            }
            Posted::Debit(..) | Posted::Refund(..) => continue, // no app's funds have such
        };
        let posting = posted.posting();
        table.add_row([
            posting.sequence.to_string(),
            time(at),
            what.to_owned(),
            amount,
            posting.before.to_string(),
            posting.after.to_string(),
            of,
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
