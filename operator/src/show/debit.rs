//! `refundctl show debit`: a bet by its number, with all that happened to it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::ebet::{ChannelId, Username};
use shared::ledger::{Debit, DebitId, DebitKey, DebitState};
use shared::store::{Content, Session};

use super::{interventions, refunded_by};
use crate::screen::{Cell, OutputOptions, Section, Sheet, print_list};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
Examples:
  refundctl show debit 1 seqNoBetseqNoRefund
  refundctl show debit 1 seqNoBetseqNoRefund --player apitest01 --stage prod

Exit codes: 0 shown; 1 no such bet; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// The channel's number
    channel: ChannelId,
    /// The bet's number
    seq_no: DebitId,
    /// Whose bet it is; found by its number otherwise
    #[arg(long, value_name = "NAME")]
    player: Option<Username>,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

/// A bet, or what stands in its place.
enum Found {
    Debit(Box<Debit>),
    Asked { debit: DebitKey, since: u64 },
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let accounts = match &options.player {
        Some(player) => vec![options.channel.wallet(player)],
        None => session.accounts_of_debit(&options.channel.tenant(), &options.seq_no).await?,
    };
    let mut found = Vec::new();
    for account in accounts {
        let key = DebitKey { account, id: options.seq_no.clone() };
        found.extend(read(&session, key).await?);
    }
    if found.is_empty() {
        bail!(
            "channel {} has no bet {}; one whose refund was asked for before it came is found with --player",
            options.channel,
            options.seq_no
        );
    }
    let mut sheets = Vec::new();
    for found in &found {
        sheets.push(describe(&session, options, found).await?);
    }
    print_list(&sheets, options.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn read(session: &Session, debit: DebitKey) -> Result<Option<Found>> {
    let stored = session.stored(debit.account.as_str(), &format!("PAYMENT#{}", debit.id)).await?;
    Ok(match stored.map(|stored| stored.content) {
        Some(Ok(Content::Debit(debit))) => Some(Found::Debit(debit)),
        Some(Ok(Content::Tombstone { debit, since })) => Some(Found::Asked { debit, since }),
        Some(Ok(_)) | None => None,
        Some(Err(damage)) => bail!("bet {} is damaged: {damage}", debit.id),
    })
}

async fn describe(session: &Session, options: &Options, found: &Found) -> Result<Sheet> {
    let mut sheet = Sheet::default();
    let mut history =
        Section::new("history", &["time", "amount", "before", "after"], &["what", "by", "posting"]);
    let key = match found {
        Found::Asked { debit, since } => {
            sheet.title = format!(
                "bet {} of {} in channel {}: not on record",
                debit.id,
                debit.account.holder(),
                options.channel
            );
            let what = "its refund was asked for, and refused: it can't be taken any more";
            let nothing = || Cell::Nothing;
            history.row([
                Cell::Time(*since),
                nothing(),
                nothing(),
                nothing(),
                Cell::text(what),
                nothing(),
                nothing(),
            ]);
            debit
        }
        Found::Debit(debit) => {
            sheet.title = format!(
                "bet {} of {} in channel {}: {}",
                debit.key.id,
                debit.key.account.holder(),
                options.channel,
                debit.state.as_str()
            );
            sheet.fact("amount", Cell::amount(debit.amount));
            sheet.fact("round", Cell::text(&debit.round));
            let origin = if debit.taken.is_some() { "taken by an entry" } else { "of the past, imported" };
            sheet.fact("origin", Cell::text(origin));
            steps(debit, &mut history);
            &debit.key
        }
    };
    let holder = key.account.holder();
    sheet.value("player", Cell::text(&holder));
    sheet.value("debit", Cell::text(&key.id));
    sheet.section(history);
    let subject = format!("debit {holder} {}", key.id);
    sheet.section(interventions(session, &options.channel.tenant(), |of| of == subject).await?);
    Ok(sheet)
}

fn steps(debit: &Debit, history: &mut Section) {
    if let Some(asked) = debit.asked {
        history.row([
            Cell::Time(asked),
            Cell::Nothing,
            Cell::Nothing,
            Cell::Nothing,
            Cell::text("its refund was asked for before it was on record"),
            Cell::text("the provider"),
            Cell::Nothing,
        ]);
    }
    if let Some(taking) = &debit.taken {
        let posting = &taking.posting;
        history.row([
            Cell::Time(taking.at),
            Cell::amount(debit.amount),
            Cell::amount(posting.before),
            Cell::amount(posting.after),
            Cell::text("taken"),
            Cell::text("an entry"),
            Cell::Count(posting.sequence),
        ]);
    }
    if let DebitState::Refunded(refund) = &debit.state {
        let posting = &refund.posting;
        let by = refunded_by(refund);
        history.row([
            Cell::Time(refund.at),
            Cell::amount(refund.amount),
            Cell::amount(posting.before),
            Cell::amount(posting.after),
            Cell::text("refunded"),
            Cell::text(by),
            Cell::Count(posting.sequence),
        ]);
    }
}
