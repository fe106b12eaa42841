//! `refundctl report`: what was refunded in a period, added up: for people, for the books, and as a page with plots.
//!
//! The table is read once, and each item is added to small sums: what is kept grows with days and tenants, and with the
//! batches that are open, but not with items.

mod html;
mod lines;
mod period;
#[cfg(test)]
mod tests;
mod totals;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::scan::{ScanOptions, scan_all};
use crate::screen::{self, OutputOptions, plain};
use crate::target::TableOptions;
use crate::tell;

use period::{Moment, milliseconds, moment};
use totals::Totals;

pub const EXAMPLES: &str = "\
Reads every item of the table once, and changes nothing. Amounts are exact and in units of their currency, and those of
different currencies are never added. Days are UTC's. What is told:

  refunds   made in the period because a caller asked for them
  own       made in the period by channels on their own, unasked; they are not among the refunds
  failed    recorded as failed in the period: no money went back
  open      begun, and neither made nor failed now, whatever the period; by day, on the day on which it began

Examples:
  refundctl report                                          the last 30 days and today, day by day
  refundctl report --from 2026-11-01 --to 2026-11-30 --by tenant
  refundctl report --from 2026-11-01 --to 2026-11-30 --output csv > november.csv
  refundctl report --from 2026-11-22T09:00:00+08:00 --to 2026-11-22T18:00:00+08:00 --by provider
  refundctl report --stage prod --max-rcu 500 --html report.html     a page with plots, too

Exit codes: 0 shown; 1 the table, or some of its items, can't be read, or the page not written; 2 wrong usage.";

/// How long before its end a period begins where that is not said.
const DAYS_DEFAULT: i32 = 30;

/// The width of the longest bar.
const BAR_COLUMNS: usize = 8;

/// Tenants that a note names; the others are counted.
const NAMED_MAX: usize = 5;

#[derive(Debug, Args)]
pub struct Options {
    /// First day (UTC), as 2026-11-22, or a time, as 2026-11-22T09:30:00Z [default: 30 days before --to]
    #[arg(long, value_name = "DATE", value_parser = moment)]
    from: Option<Moment>,
    /// Last day (UTC), or the time before which the period ends [default: today]
    #[arg(long, value_name = "DATE", value_parser = moment)]
    to: Option<Moment>,
    /// What refunds are added up by, besides their currency
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Write a page with plots to this file, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    #[default]
    Day,
    Tenant,
    Provider,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let now = Timestamp::now();
    let period = options.period(now)?;
    if let Some(file) = &options.html {
        html::check(file)?;
    }
    let store = options.table.store().await?;
    let mut totals = Totals::new(period);
    scan_all(&store, options.scan, |stored| {
        totals.take(&stored);
        Ok(())
    })
    .await?;
    let is_whole = totals.unreadable == 0;
    let report = totals.finish();
    if let Some(file) = &options.html {
        html::write(file, &html::page(&report, options.by, &options.table.place()?, now)?)?;
        tell!("wrote {}", plain(&file.display().to_string()));
    }
    let sheet = report.sheet(options.by, options.output.output, screen::width(), milliseconds(now));
    sheet.print(options.output)?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
