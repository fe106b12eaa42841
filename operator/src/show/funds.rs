//! `refundctl show funds`: an app's accounts and their postings, with the chains checked.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::ledger::{Account, ChainBreach, FundingSource, Hash, Movement, Posted, RefundBatch, check_funds};
use shared::store::Store;

use super::postings::history;
use super::wallet::balance;
use super::{Length, unchanged};
use crate::app::AppOptions;
use crate::screen::{Cell, OutputOptions, Sheet, print_list};
use crate::target::{TableOptions, long_session};
use crate::tell;

pub const EXAMPLES: &str = "\
Reads all of the app's batches, to check each posting.

Examples:
  refundctl show funds
  refundctl show funds --app app_1Gqj58ynP0mHeX1q --live --stage prod
  refundctl show funds --source unsettled_funds --output csv

Exit codes: 0 shown; 1 the app has no funds, or a chain is broken; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// One of the accounts alone: unsettled_funds or recharge_funds
    #[arg(long, value_name = "NAME")]
    source: Option<FundingSource>,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    length: Length,
    #[command(flatten)]
    output: OutputOptions,
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
    let (accounts, batches) = read(&store, options).await?;
    let mut is_intact = true;
    let mut sheets = Vec::new();
    for funds in &accounts {
        let checked = funds.check(&batches);
        sheets.push(sheet(options, funds, checked.as_deref().ok()));
        if let Err(breach) = checked {
            tell!("error: the chain is broken: {breach}");
            is_intact = false;
        }
    }
    print_list(&sheets, options.output)?;
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn read(store: &Store, options: &Options) -> Result<All> {
    let app = &options.app;
    let read = async || {
        let session = long_session(store).await?;
        let mut accounts = Vec::new();
        for source in
            FundingSource::ALL.into_iter().filter(|source| options.source.is_none_or(|only| only == *source))
        {
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

/// What is shown of an account; its postings if its chain is intact.
fn sheet(options: &Options, funds: &Funds, postings: Option<&[Posted<'_>]>) -> Sheet {
    let account = &funds.account;
    let mut sheet = Sheet::default();
    let balance = balance(&mut sheet, account, postings.is_some());
    let (source, app) = (funds.source.as_str(), options.app.name());
    let smallest = format!("in the smallest unit of {}", account.currency);
    sheet.title = format!("{source} of {app}, {smallest}\n{balance}");
    sheet.fact("head", Cell::text(account.head));
    history(&mut sheet, postings.unwrap_or_default(), options.length, options.output.output);
    sheet
}
