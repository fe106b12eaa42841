//! `refundctl reconcile`: what a provider says it has refunded, against the ledger.

mod comparison;
mod ledger;
pub mod statement;
#[cfg(test)]
mod tests;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use jiff::civil::Date;
use shared::ebet::ChannelId;
use shared::entries::{currency_of, tenant_name};
use shared::epay::MerchantId;
use shared::ledger::TenantKey;
use shared::pingpp::{AppId, Mode};

use crate::agreement::WrongUsage;
use crate::scan::{ScanOptions, scan_all};
use crate::screen::{Cell, Output, OutputOptions};
use crate::target::{TableOptions, session};
use comparison::{Comparison, Period};
use ledger::{Gathered, Ledger};
use statement::{Columns, Statement, complaint};

pub const EXAMPLES: &str = "\
Reads the whole table. The statement is CSV in UTF-8, and its first line names the columns; others than these three are
not looked at:
  id,amount,status
  a70efc7cf71e03ae98b42b22ad4b4288,100.00,succeeded
  d34fbd4e4734d430c05f443da281d92b,-20,pending

  id       a channel's: the bet's seqNo; a merchant's: the batch number; an app's: the refund's id, re_…
  amount   with up to two decimals; an app's: whole numbers of the currency's smallest unit; its sign means nothing
  status   succeeded, success, refunded, done, 200 or 2; failed, failure or refused; pending, processing, open or 1.
           Without this column states are not compared, and only what has succeeded here must be in the statement.

With --from and --to only refunds of these days must be in it: those that were decided then, or begun then and not
decided yet. What the statement names is compared whenever it was.

Differences:
  missing here             the ledger has no such refund
  missing there            the statement has no such refund
  different amount
  different state          of a bet that is there and was not refunded, too, unless the statement says so itself
  twice in the statement   further rows of a refund
  ambiguous                several players have a bet of this number, and it can't be told whose is meant

The sums leave out what has failed.

Examples:
  refundctl reconcile statement.csv --channel 1
  refundctl reconcile statement.csv --merchant demo --from 2026-11-01 --to 2026-11-30 --table refunds-prod
  refundctl reconcile statement.csv --app app_1Gqj58ynP0mHeX1q --live --id 'Refund ID' --amount Fee --output csv
  zcat statement.csv.gz | refundctl reconcile - --channel 1 --id seqNo --status result

Exit codes: 0 all agree; 1 there are differences, or the statement or an item of the table can't be read; 2 wrong usage.";

/// Differences that people are shown; the others are counted.
const DIFFERENCES_SHOWN: usize = 200;

#[derive(Debug, Args)]
pub struct Options {
    /// The statement, CSV with a header; - for standard input
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// The app in live mode rather than in test mode
    #[arg(long, conflicts_with_all = ["channel", "merchant"])]
    live: bool,
    /// First day whose refunds must be in the statement, UTC [default: the first there is]
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Date>,
    /// Last day whose refunds must be in the statement, UTC [default: the last there is]
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: Option<Date>,
    /// Column of the refunds' ids
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    id: String,
    /// Column of the amounts
    #[arg(long, value_name = "COLUMN", default_value = "amount")]
    amount: String,
    /// Column of the states [default: status, where there is one]
    #[arg(long, value_name = "COLUMN")]
    status: Option<String>,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    scan: ScanOptions,
}

/// Whose refunds the statement has.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// A channel of eBET's, by its number
    #[arg(long, value_name = "ID")]
    channel: Option<ChannelId>,
    /// A merchant of EPay's
    #[arg(long, value_name = "NAME")]
    merchant: Option<MerchantId>,
    /// An app of Ping++'s
    #[arg(long, value_name = "APP")]
    app: Option<AppId>,
}

fn date(text: &str) -> Result<Date, String> {
    let is_plain = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let date =
        text.parse::<Date>().ok().filter(|_| text.len() == 10 && text.bytes().enumerate().all(is_plain));
    date.ok_or_else(|| "must be a day such as 2026-11-22".to_owned())
}

impl Options {
    fn tenant(&self) -> Result<TenantKey> {
        match (&self.whose.channel, &self.whose.merchant, &self.whose.app) {
            (Some(channel), _, _) => Ok(channel.tenant()),
            (_, Some(merchant), _) => Ok(merchant.tenant()),
            (_, _, Some(app)) => Ok(app.tenant(Mode::of(self.live))),
            (None, None, None) => {
                Err(WrongUsage("say whose refunds these are: --channel, --merchant or --app".to_owned())
                    .into())
            }
        }
    }

    fn period(&self) -> Result<Period> {
        let period = Period { from: self.from, to: self.to };
        match (period.from, period.to) {
            (Some(from), Some(to)) if from > to => {
                Err(WrongUsage(format!("--from {from} is after --to {to}")).into())
            }
            _ => Ok(period),
        }
    }

    fn columns(&self) -> Columns<'_> {
        Columns { id: &self.id, amount: &self.amount, status: self.status.as_deref() }
    }
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let (tenant, period) = (options.tenant()?, options.period()?);
    let is_minor = options.whose.app.is_some();
    let read = Statement::read(&bytes_of(&options.file)?, &options.columns(), is_minor);
    let statement = match read {
        Ok(statement) => statement,
        Err(problems) => bail!("{}", complaint(&problems)),
    };
    let store = options.table.store().await?;
    let name = tenant_name(&tenant);
    let settings = session(&store).settings(&tenant).await?;
    let settings = settings.with_context(|| format!("there is no {name}"))?;
    let currency = currency_of(&tenant, &settings).map_err(|error| anyhow!("settings of {name}: {error}"))?;
    let mut gathered = Gathered::new(&tenant, statement.rows.iter().map(|row| row.id.as_str()));
    scan_all(&store, options.scan, |stored| gathered.take(stored)).await?;
    let ledger = gathered.finish();

    let comparison = Comparison::of(&statement, &ledger, period);
    let output = options.output.output;
    let shown = if output == Output::Table { DIFFERENCES_SHOWN } else { usize::MAX };
    let file = match options.file.as_os_str() == "-" {
        true => "from standard input".to_owned(),
        false => options.file.display().to_string(),
    };
    let mut sheet = comparison.sheet(&format!("statement {file} against the ledger of {name}"), shown);
    let unit = if is_minor { "the smallest unit of " } else { "" };
    sheet.fact("amounts in", Cell::text(format!("{unit}{currency}")));
    sheet.fact("from", Cell::maybe(period.from));
    sheet.fact("to", Cell::maybe(period.to));
    for note in notes(&statement, &ledger, &comparison, shown) {
        sheet.note(note);
    }
    sheet.print(options.output)?;
    let is_sure = ledger.damaged == 0 && comparison.differences.is_empty();
    Ok(if is_sure { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bytes_of(file: &Path) -> Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file).with_context(|| format!("could not read {}", file.display()));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).context("could not read standard input")?;
    Ok(bytes)
}

/// What people must know of a comparison beside its differences.
fn notes(statement: &Statement, ledger: &Ledger, comparison: &Comparison, shown: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if !statement.has_states {
        notes.push(
            "the statement has no states: they are not compared, and only what has succeeded here must be in it"
                .to_owned(),
        );
    }
    if ledger.damaged > 0 {
        notes.push(format!(
            "{} of its items in the table can't be read, and are left out: it is not known that all agree",
            ledger.damaged
        ));
    }
    let hidden = comparison.differences.len().saturating_sub(shown);
    if hidden > 0 {
        notes.push(format!("{hidden} more differences are not shown: --output csv has them all"));
    }
    notes
}
