//! `refundctl show`: what the ledger holds, for people.

mod application;
mod batch;
mod charge;
mod funds;
mod wallet;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;
use jiff::Timestamp;

pub use application::state_name;
pub use batch::{batch_state, refund_state};

#[derive(Debug, Subcommand)]
pub enum Thing {
    /// A player's balance and postings, with the chain checked
    #[command(after_help = wallet::EXAMPLES)]
    Wallet(wallet::WalletOptions),
    /// An application for a refund, with all that happened to it
    #[command(after_help = application::EXAMPLES)]
    Application(application::ApplicationOptions),
    /// What payment providers said of a merchant's batch number
    #[command(after_help = application::CONFIRMATIONS_EXAMPLES)]
    Confirmations(application::ConfirmationsOptions),
    /// A batch of refunds, with what became of each
    #[command(after_help = batch::EXAMPLES)]
    Batch(batch::Options),
    /// A charge, how much of it is refunded or held, and its refunds
    #[command(after_help = charge::EXAMPLES)]
    Charge(charge::Options),
    /// An app's accounts and their postings, with the chains checked
    #[command(after_help = funds::EXAMPLES)]
    Funds(funds::Options),
}

pub async fn command(thing: &Thing) -> Result<ExitCode> {
    match thing {
        Thing::Wallet(options) => wallet::command(options).await,
        Thing::Application(options) => application::command(options).await,
        Thing::Confirmations(options) => application::confirmations(options).await,
        Thing::Batch(options) => batch::command(options).await,
        Thing::Charge(options) => charge::command(options).await,
        Thing::Funds(options) => funds::command(options).await,
    }
}

/// How often accounts are read that change all the time.
const READS_MAX: usize = 20;

/// Reads accounts with their postings, and again while postings are being made: what is read is not of one moment, so
/// a chain is known to be broken only if it is so in two reads between which nothing was posted.
///
/// # Errors
/// If they can't be read, or change during each read; `name` is what people call them.
async fn unchanged<T, H: PartialEq>(
    name: &str,
    read: impl AsyncFn() -> Result<T>,
    heads: impl Fn(&T) -> H,
    is_intact: impl Fn(&T) -> bool,
) -> Result<T> {
    let mut last_heads = None;
    for _ in 0..READS_MAX {
        let found = read().await?;
        let heads = Some(heads(&found));
        if is_intact(&found) || heads == last_heads {
            return Ok(found);
        }
        last_heads = heads;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("{name} is too busy to be checked now: it changed during each of {READS_MAX} reads")
}

/// A text that others wrote, fit for a terminal.
pub fn plain(text: &str) -> String {
    // Those that no terminal shows, and those that turn the direction of what follows.
    let is_hidden = |character: char| {
        matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let plain = |character: char| match character.is_control() || is_hidden(character) {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(plain).collect()
}

/// Unix milliseconds, in UTC.
pub fn time(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    time.map_or("?".to_owned(), |time| time.strftime("%F %T").to_string())
}
