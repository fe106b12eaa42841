//! `refundctl show wallet`: a player's balance and postings.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use shared::ebet::{ChannelId, Username};
use shared::ledger::{ChainBreach, DebitState, Posted};
use shared::store::{Store, Wallet};

use super::{plain, time, unchanged};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show wallet 1 apitest01
  refundctl show wallet 1 apitest01 --table refunds-prod   in AWS, by your AWS settings

Exit codes: 0 shown; 1 unknown wallet, or its chain is broken; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct WalletOptions {
    /// The channel's number
    channel: ChannelId,
    /// The player
    username: Username,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &WalletOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let wallet = read(&store, options).await?;
    let (text, breach) = describe(options, &wallet);
    print!("{text}");
    if let Some(breach) = breach {
        eprintln!("error: the chain is broken: {breach}");
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

fn describe(options: &WalletOptions, wallet: &Wallet) -> (String, Option<ChainBreach>) {
    let account = &wallet.account;
    let checked = wallet.check();
    let state = if checked.is_ok() { "chain intact" } else { "CHAIN BROKEN" };
    let mut text = format!(
        "wallet {} of channel {}\nbalance {} {} = opening {} and {} postings, {state}\nhead {}\n",
        options.username,
        options.channel,
        account.balance,
        account.currency,
        account.opening,
        account.sequence,
        account.head,
    );
    let count = |is: fn(&DebitState) -> bool| wallet.debits.iter().filter(|debit| is(&debit.state)).count();
    text.push_str(&format!(
        "debits: {} open, {} settled, {} refunded\n",
        count(|state| matches!(state, DebitState::Open)),
        count(|state| matches!(state, DebitState::Settled)),
        count(|state| matches!(state, DebitState::Refunded(_))),
    ));
    if !wallet.movements.is_empty() {
        text.push_str(&format!("credits and withdrawals: {}\n", wallet.movements.len()));
    }
    for asked in &wallet.tombstones {
        text.push_str(&format!("refund asked for before its debit came: {}\n", plain(asked.id.as_str())));
    }
    match checked {
        Ok(postings) if postings.is_empty() => (text, None),
        Ok(postings) => {
            let mut table = Table::new();
            table.load_style(presets::UTF8_HORIZONTAL_ONLY);
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header(["#", "time (UTC)", "what", "of", "amount", "before", "after", "why"]);
            for posted in postings {
                let (at, what, of, amount, why) = match posted {
                    Posted::Debit(debit, taking) => (
                        taking.at,
                        "debit",
                        debit.key.id.as_str(),
                        debit.amount,
                        format!("round {}", debit.round),
                    ),
                    Posted::Refund(debit, refund) => {
                        let why = format!("{} by {}", refund.request, refund.by.as_str());
                        (refund.at, "refund", debit.key.id.as_str(), refund.amount, why)
                    }
                    Posted::Movement(movement) => {
                        let (what, why) = (movement.direction.as_str(), movement.reason.to_string());
                        (movement.at, what, movement.key.id.as_str(), movement.amount, why)
                    }
                    Posted::Funds(..) => continue, // no wallet has such
                };
                let posting = posted.posting();
                table.add_row([
                    posting.sequence.to_string(),
                    time(at),
                    what.to_owned(),
                    plain(of),
                    amount.to_string(),
                    posting.before.to_string(),
                    posting.after.to_string(),
                    plain(&why),
                ]);
            }
            for column in [0, 4, 5, 6] {
                if let Some(column) = table.column_mut(column) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            (format!("{text}{table}\n"), None)
        }
        Err(breach) => (text, Some(breach)),
    }
}
