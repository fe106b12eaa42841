//! `refundctl show wallet`: a player's balance and postings.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use shared::ebet::{ChannelId, Username};
use shared::ledger::{Account, ChainBreach, DebitState};
use shared::store::{Store, Wallet};

use super::postings::history;
use super::{Length, interventions, unchanged};
use crate::screen::{Cell, Output, OutputOptions, Section, Sheet};
use crate::target::{TableOptions, session};
use crate::tell;

pub const EXAMPLES: &str = "\
Examples:
  refundctl show wallet 1 apitest01
  refundctl show wallet 1 apitest01 --stage prod               in AWS, by your AWS settings
  refundctl show wallet 1 apitest01 --output csv > history.csv

Exit codes: 0 shown; 1 unknown wallet, or its chain is broken; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct WalletOptions {
    /// The channel's number
    channel: ChannelId,
    /// The player
    username: Username,
    #[command(flatten)]
    length: Length,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &WalletOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let wallet = read(&store, options).await?;
    let (mut sheet, breach) = describe(options, &wallet);
    let subject = format!("debit {} ", options.username);
    let of_wallet = |of: &str| of.starts_with(&subject);
    sheet.section(interventions(&session(&store), &options.channel.tenant(), of_wallet).await?);
    sheet.print(options.output)?;
    if let Some(breach) = breach {
        tell!("error: the chain is broken: {breach}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(store: &Store, options: &WalletOptions) -> Result<Wallet> {
    let key = options.channel.wallet(&options.username);
    let read = async || {
        let wallet = session(store).wallet(&key).await?;
        wallet.with_context(|| format!("channel {} has no wallet {}", options.channel, options.username))
    };
    let is_intact = |wallet: &Wallet| wallet.check().is_ok();
    unchanged(&format!("wallet {}", options.username), read, |wallet| wallet.account.head, is_intact).await
}

/// An account in a line, and its parts for programs.
pub fn balance(sheet: &mut Sheet, account: &Account, is_intact: bool) -> String {
    let state = if is_intact { "chain intact" } else { "CHAIN BROKEN" };
    sheet.value("account", Cell::text(&account.key));
    sheet.value("currency", Cell::text(&account.currency));
    sheet.value("balance", Cell::amount(account.balance));
    sheet.value("opening", Cell::amount(account.opening));
    sheet.value("postings", Cell::Count(account.sequence));
    sheet.value("chain intact", Cell::Flag(is_intact));
    format!(
        "balance {} {} = opening {} and {} postings, {state}",
        account.balance, account.currency, account.opening, account.sequence
    )
}

fn describe(options: &WalletOptions, wallet: &Wallet) -> (Sheet, Option<ChainBreach>) {
    let account = &wallet.account;
    let checked = wallet.check();
    let mut sheet = Sheet::default();
    let balance = balance(&mut sheet, account, checked.is_ok());
    sheet.title = format!("wallet {} of channel {}\n{balance}", options.username, options.channel);
    sheet.fact("head", Cell::text(account.head));
    let count = |is: fn(&DebitState) -> bool| wallet.debits.iter().filter(|debit| is(&debit.state)).count();
    let debits = format!(
        "{} open, {} settled, {} refunded",
        count(|state| matches!(state, DebitState::Open)),
        count(|state| matches!(state, DebitState::Settled)),
        count(|state| matches!(state, DebitState::Refunded(_))),
    );
    sheet.fact("debits", Cell::text(debits));
    if !wallet.movements.is_empty() {
        sheet.fact("movements", Cell::Count(wallet.movements.len() as u64));
    }
    for asked in &wallet.tombstones {
        sheet.note(format!("refund asked for before its debit came: {}", asked.id));
    }
    let breach = match checked {
        Ok(postings) => {
            history(&mut sheet, &postings, options.length, options.output.output);
            None
        }
        Err(breach) => Some(breach),
    };
    let mut open = Section::new("open debits", &["amount"], &["debit", "round", "and"]);
    for debit in wallet.debits.iter().filter(|debit| debit.state == DebitState::Open) {
        let due = debit.is_due().then_some("its refund was asked for before it was on record");
        let cells = [Cell::amount(debit.amount), Cell::text(&debit.key.id), Cell::text(&debit.round)];
        open.row(cells.into_iter().chain([Cell::maybe(due)]).collect::<Vec<_>>());
    }
    if options.output.output != Output::Table || open.len() <= super::STEPS_SHOWN || options.length.all {
        sheet.section(open);
    }
    (sheet, breach)
}
