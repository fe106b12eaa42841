//! `refundctl show`: what the ledger holds, with its history in order and who caused each step.

mod application;
mod batch;
mod charge;
mod debit;
mod funds;
mod postings;
mod refund;
mod request;
mod tenant;
mod wallet;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use shared::ledger::{Intervention, Refund, RefundedBy, TenantKey};
use shared::store::Session;

use crate::screen::{Cell, Output, Section};

pub use crate::screen::{plain, time};
pub use application::state_name;
pub use batch::{batch_state, refund_state};

#[derive(Debug, Subcommand)]
pub enum Thing {
    /// A player's balance and postings, with the chain checked
    #[command(after_help = wallet::EXAMPLES)]
    Wallet(wallet::WalletOptions),
    /// A bet by its number, with all that happened to it
    #[command(after_help = debit::EXAMPLES)]
    Debit(debit::Options),
    /// A provider's request by its number: what it refunded, and refused
    #[command(after_help = request::EXAMPLES)]
    Request(request::Options),
    /// An application for a refund, with all that happened to it
    #[command(after_help = application::EXAMPLES)]
    Application(application::ApplicationOptions),
    /// What is on record under a merchant's batch number, or a payment provider's trade number
    #[command(after_help = application::CONFIRMATIONS_EXAMPLES)]
    Confirmations(application::ConfirmationsOptions),
    /// An app: its settings, keys, funds and open batches
    #[command(after_help = tenant::APP_EXAMPLES)]
    App(tenant::AppShown),
    /// A batch of refunds, with what became of each
    #[command(after_help = batch::EXAMPLES)]
    Batch(batch::Options),
    /// A charge, how much of it is refunded or held, and its refunds
    #[command(after_help = charge::EXAMPLES)]
    Charge(charge::Options),
    /// A refund by its id, with its batch and its charge
    #[command(after_help = refund::EXAMPLES)]
    Refund(refund::Options),
    /// An app's accounts and their postings, with the chains checked
    #[command(after_help = funds::EXAMPLES)]
    Funds(funds::Options),
    /// A channel, merchant or app: settings, keys, and what operators did
    #[command(after_help = tenant::EXAMPLES)]
    Tenant(tenant::Options),
}

pub async fn command(thing: &Thing) -> Result<ExitCode> {
    match thing {
        Thing::Wallet(options) => wallet::command(options).await,
        Thing::Debit(options) => debit::command(options).await,
        Thing::Request(options) => request::command(options).await,
        Thing::Application(options) => application::command(options).await,
        Thing::Confirmations(options) => application::confirmations(options).await,
        Thing::App(options) => tenant::app(options).await,
        Thing::Batch(options) => batch::command(options).await,
        Thing::Charge(options) => charge::command(options).await,
        Thing::Refund(options) => refund::command(options).await,
        Thing::Funds(options) => funds::command(options).await,
        Thing::Tenant(options) => tenant::command(options).await,
    }
}

/// How much of a long history is shown.
#[derive(Debug, Clone, Copy, Args)]
struct Length {
    /// The whole history; people are shown its last 40 steps otherwise
    #[arg(long)]
    all: bool,
}

/// Steps of a history that people are shown at first.
const STEPS_SHOWN: usize = 40;

impl Length {
    /// How many of the first steps are left out.
    fn hidden(self, output: Output, steps: usize) -> usize {
        if self.all || output != Output::Table { 0 } else { steps.saturating_sub(STEPS_SHOWN) }
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

/// Who had a bet refunded; a provider's request as its caller numbers it.
fn refunded_by(refund: &Refund) -> String {
    match refund.by {
        RefundedBy::Provider => {
            format!("the provider's {}", refund.request.within_tenant().replacen('#', " ", 1))
        }
        RefundedBy::Channel => "the channel on its own".to_owned(),
    }
}

/// What operators did with those of a tenant's things that are meant.
async fn interventions(
    session: &Session,
    tenant: &TenantKey,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Section> {
    let mut section =
        Section::new("interventions", &["time"], &["what", "of", "by", "because", "which came to"]);
    for done in session.interventions(tenant).await? {
        if is_meant(&done.subject) {
            section.row(intervention(&done));
        }
    }
    Ok(section)
}

fn intervention(done: &Intervention) -> Vec<Cell> {
    let unknown = "not on record: it was interrupted".to_owned();
    let subject = if done.subject.is_empty() { Cell::Nothing } else { Cell::text(&done.subject) };
    vec![
        Cell::Time(done.at),
        Cell::text(&done.action),
        subject,
        Cell::text(&done.by),
        Cell::text(&done.reason),
        Cell::text(done.outcome.clone().unwrap_or(unknown)),
    ]
}
