//! `refundctl show request`: a provider's request by its number.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::ebet::{ChannelId, Username};
use shared::ledger::{Debit, DebitState, Refund, RequestKey};
use shared::store::{Content, Stored};

use crate::scan::{ScanOptions, scan_all};
use crate::screen::{Cell, OutputOptions, Section, Sheet, hex};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
What a request refunded stands with the bets. They are looked for in the whole table, as no index has requests; with
--player in that player's wallet alone, which is one read.

Examples:
  refundctl show request 1 seqNoRefund
  refundctl show request 1 seqNoRefund --player apitest01 --stage prod

Exit codes: 0 shown; 1 nothing is on record under this number; 2 wrong usage.";

/// The calls whose requests have numbers.
const CALLS: [&str; 2] = ["refundSingleWallet", "autoBatchRefund"];

#[derive(Debug, Args)]
pub struct Options {
    /// The channel's number
    channel: ChannelId,
    /// The request's number
    seq_no: String,
    /// Look in this player's wallet alone
    #[arg(long, value_name = "NAME")]
    player: Option<Username>,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let tenant = options.channel.tenant();
    let keys: Vec<RequestKey> = CALLS.iter().map(|call| tenant.request(call, &options.seq_no)).collect();
    let mut records = Vec::new();
    for key in &keys {
        let Some((record, at)) = session.request_record(key).await? else { continue };
        records.push((key, record, at));
    }
    let is_known = !records.is_empty();
    let mut found: Vec<(Debit, Refund)> = Vec::new();
    let of_channel = format!("{}#", tenant.as_str());
    // A batch's refusals lie with their players, but for those of the leading one.
    let mut refused_of_parts: BTreeMap<String, usize> = BTreeMap::new();
    let mut take = |stored: Stored| match stored.content {
        Ok(Content::Debit(debit)) => {
            if let DebitState::Refunded(refund) = &debit.state
                && keys.contains(&refund.request)
            {
                found.push((*debit.clone(), refund.clone()));
            }
        }
        Ok(Content::RequestPart { account, request, refused, .. })
            if account.as_str().starts_with(&of_channel) =>
        {
            *refused_of_parts.entry(request).or_default() += refused;
        }
        _ => {}
    };
    match &options.player {
        Some(player) => {
            let wallet = options.channel.wallet(player);
            session.stored_partition(wallet.as_str()).await?.into_iter().for_each(&mut take);
        }
        None => {
            scan_all(&store, options.scan, |stored| {
                take(stored);
                Ok(())
            })
            .await?;
        }
    }
    let mut requests = Section::new("requests", &["time", "refused"], &["call", "fingerprint"]);
    for (key, record, at) in records {
        let of_parts = refused_of_parts.get(key.within_tenant()).copied().unwrap_or_default();
        let refused = Cell::Count((record.refused.len() + of_parts) as u64);
        let fingerprint = hex(record.fingerprint.as_bytes());
        requests.row([Cell::Time(at), refused, Cell::text(call(key)), Cell::text(fingerprint)]);
    }
    if !is_known && found.is_empty() {
        bail!("nothing is on record under {} in channel {}", options.seq_no, options.channel);
    }
    let mut sheet = Sheet::new(format!("request {} of channel {}", options.seq_no, options.channel));
    if !is_known {
        sheet.note("its record has expired; its refunds stay");
    }
    sheet.fact("refunded", Cell::Count(found.len() as u64));
    found.sort_by_key(|(debit, refund)| (refund.at, debit.key.clone()));
    let mut refunds =
        Section::new("refunds", &["time", "amount", "after"], &["player", "bet", "round", "call"]);
    for (debit, refund) in &found {
        refunds.row([
            Cell::Time(refund.at),
            Cell::amount(refund.amount),
            Cell::amount(refund.posting.after),
            Cell::text(debit.key.account.holder()),
            Cell::text(&debit.key.id),
            Cell::text(&debit.round),
            Cell::text(call(&refund.request)),
        ]);
    }
    sheet.section(refunds);
    sheet.section(requests);
    sheet.print(options.output)?;
    Ok(ExitCode::SUCCESS)
}

fn call(request: &RequestKey) -> String {
    request.within_tenant().split('#').next().unwrap_or_default().to_owned()
}
