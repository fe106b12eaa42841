//! `refundctl verify`: whether the whole table is as the ledger writes it.
//!
//! The table is read once, its parts at the same time; each item is taken apart into facts, which are kept in a file,
//! sorted into groups of those that must agree, and checked group by group. Whatever seems wrong is read again, as the
//! table may have changed meanwhile.

mod again;
pub mod anchor;
mod breach;
mod check;
mod fact;
mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use shared::clock;
use shared::store::{Store, Stored};

use again::Again;
use anchor::Anchor;
pub use breach::{Breach, Kind};
use fact::{Fact, Facts, Group, Row};
pub use spool::Spool;

use crate::agreement::WrongUsage;
use crate::scan::{Pace, ScanOptions, scan};
use crate::screen::{Cell, OutputOptions, Section, Sheet, age, time};
use crate::state;
use crate::target::TableOptions;
use crate::tell;

pub const EXAMPLES: &str = "\
Reads every item once, and checks each for itself and against all others: that payments and postings are what they were
when they were written, that every balance is its opening plus its postings, that nothing is refunded twice or above
its payment, that holds, batches, guards and refunds belong together. It changes nothing. What seems wrong because the
table changed while it was read is read again, and not told unless it is so.

An interrupted run is gone on with by the same command for a day. Facts are kept on disk while it runs: about 300 bytes
for each posting, in ~/.local/state/refundctl, or below XDG_STATE_HOME.

Examples:
  refundctl verify
  refundctl verify --stage prod --max-rcu 500
  refundctl verify --stage prod --anchor heads-2026-11-22.jsonl    also against a chain that was rewritten whole
  refundctl verify --output json

Exit codes: 0 nothing is wrong; 1 something is; 2 wrong usage; 3 not known: the table could not be read to its end.";

/// Breaches that are shown; the others are counted.
const SHOWN_MAX: usize = 1_000;

/// What can't be known: exit code 3.
const UNKNOWN: u8 = 3;

#[derive(Debug, Args)]
pub struct Options {
    /// Compare with the heads that `refundctl anchor` wrote
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Begin anew, even if an interrupted run could be gone on with
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    table: TableOptions,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verified {
    pub items: u64,
    pub read_milliunits: u64,
    pub facts: u64,
    pub groups: u64,
    /// What seemed wrong, and was not when it was read again.
    pub passed: u64,
    /// What seemed wrong, and changed during each reading.
    pub unknown: Vec<String>,
    pub breaches: Vec<Breach>,
    pub counts: BTreeMap<Kind, u64>,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let work = async {
        let store = options.table.store().await?;
        // One that is none makes the command a wrong one.
        let wrong = |error: anyhow::Error| WrongUsage(format!("{error:#}"));
        let anchor = options.anchor.as_deref().map(Anchor::open).transpose().map_err(wrong)?;
        let what = format!(
            "{}\n{:?}\n{}",
            options.table.identity(&store).await?,
            anchor.as_ref().map(|anchor| &anchor.sha256),
            options.scan.segments
        );
        let began = Instant::now();
        let mut spool = Spool::open(&state::file("verify", &what)?, options.scan.segments, options.restart)?;
        let resumed = spool.items;
        if resumed > 0 {
            let ago = age(clock::unix_now().saturating_sub(spool.began));
            tell!("going on with a run of {ago} ago, at {resumed} items; --restart begins anew");
        }
        if let (Some(anchor), false) = (&anchor, spool.has_others) {
            spool.take_others(anchor.rows()?)?;
        }
        let since = spool.began;
        let verified = verify(&store, options.scan.max_rcu, &mut spool).await?;
        spool.remove()?;
        let took = Took { since, time: began.elapsed(), resumed };
        sheet(&verified, &took, anchor.as_ref()).print(options.output)?;
        Ok::<_, anyhow::Error>(verified)
    };
    let told = tokio::select! {
        told = work => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; the same command goes on where it stopped")),
    };
    match told {
        Ok(verified) if !verified.counts.is_empty() => Ok(ExitCode::FAILURE),
        Ok(verified) if verified.unknown.is_empty() => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::from(UNKNOWN)),
        Err(error) if error.downcast_ref::<WrongUsage>().is_some() => Err(error),
        Err(error) => {
            tell!("error: not verified: {error:#}");
            Ok(ExitCode::from(UNKNOWN))
        }
    }
}

/// When a run read, and for how long.
struct Took {
    /// Unix milliseconds.
    since: u64,
    time: Duration,
    /// Items that were read before it.
    resumed: u64,
}

/// Reads the table into `spool`, from where that has come to, and checks all that is there.
///
/// # Errors
/// If the table or the spool can't be read.
pub async fn verify(store: &Store, max_rcu: Option<u64>, spool: &mut Spool) -> Result<Verified> {
    let facts = Facts::by_now();
    let pace = Arc::new(Pace::new(max_rcu));
    let positions = spool.positions()?;
    let before = spool.items;
    scan(store, &pace, &positions, before, |read| {
        let rows: Vec<_> = read.items.iter().flat_map(|stored| facts.of(stored)).collect();
        spool.take(read.segment, &read.next, read.items.len() as u64, read.read_milliunits, &rows)
    })
    .await?;
    let mut verified = Verified {
        items: spool.items,
        read_milliunits: spool.read_milliunits,
        facts: spool.count()?,
        ..Verified::default()
    };
    let progress = ProgressBar::new_spinner().with_style(ProgressStyle::with_template(
        "{spinner} {human_pos} groups of facts checked, {per_sec}",
    )?);
    progress.enable_steady_tick(Duration::from_millis(200));
    spool
        .groups(async |group, rows| {
            let mut keys = BTreeSet::new();
            let mut anchors = Vec::new();
            // Of a large group not all keys are needed: what it is made of is known by its name.
            let rows = rows.inspect(|row| {
                if let Ok(row) = row {
                    if keys.len() < KEYS_KEPT {
                        keys.insert(row.key.clone());
                    }
                    if matches!(row.fact, Fact::Anchor { .. }) {
                        anchors.push(row.clone());
                    }
                }
            });
            let suspected = check::check(group, rows)?;
            verified.groups += 1;
            progress.inc(1);
            if suspected.is_empty() {
                return Ok(());
            }
            keys.extend(suspected.iter().flat_map(|breach| breach.keys.iter().cloned()));
            let again = Again { store, pace: &pace };
            let Some(breaches) = again.check(group, &keys, &anchors).await? else {
                verified.unknown.push(group.text().replace('\n', " "));
                return Ok(());
            };
            if breaches.is_empty() {
                verified.passed += 1;
            }
            for breach in breaches {
                *verified.counts.entry(breach.kind).or_default() += 1 + breach.more;
                if verified.breaches.len() < SHOWN_MAX {
                    verified.breaches.push(breach);
                }
            }
            Ok(())
        })
        .await?;
    progress.finish_and_clear();
    verified.breaches.sort_by(|one, other| (one.kind, &one.keys).cmp(&(other.kind, &other.keys)));
    Ok(verified)
}

/// All that is wrong with the items of a whole table, which are of one moment.
///
/// # Errors
/// Never: no fact is read from a file.
pub fn check_items<'a>(items: impl IntoIterator<Item = &'a Stored>) -> Result<Vec<Breach>> {
    let facts = Facts::by_now();
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in items.into_iter().flat_map(|stored| facts.of(stored)) {
        groups.entry(row.group.clone()).or_default().push(row);
    }
    let mut breaches = Vec::new();
    for (name, mut rows) in groups {
        let group = Group::read(&name).with_context(|| format!("no group: {name}"))?;
        rows.sort_by(|one, other| (one.order, &one.key).cmp(&(other.order, &other.key)));
        breaches.extend(check::check(&group, said_once(rows).into_iter().map(Ok))?);
    }
    Ok(breaches)
}

/// Without what others of the group say, too.
fn said_once(mut rows: Vec<Row>) -> Vec<Row> {
    let mut said = BTreeSet::new();
    rows.retain(|row| !row.fact.is_said_once() || said.insert(format!("{:?}", row.fact)));
    rows
}

/// Keys of a group that are kept for reading it again.
const KEYS_KEPT: usize = 1_000;

fn sheet(verified: &Verified, took: &Took, anchor: Option<&Anchor<'_>>) -> Sheet {
    let count: u64 = verified.counts.values().sum();
    let since = match took.resumed {
        0 => String::new(),
        _ => format!(" with what was read since {}", time(took.since)),
    };
    let mut sheet = Sheet::new(match (count, verified.unknown.is_empty()) {
        (0, true) => format!("nothing is wrong{since}"),
        (0, false) => format!("nothing is known to be wrong{since}"),
        (1, _) => format!("1 breach{since}"),
        (count, _) => format!("{count} breaches{since}"),
    });
    sheet.fact("items", Cell::Count(verified.items));
    sheet.fact("facts", Cell::Count(verified.facts));
    sheet.fact("groups", Cell::Count(verified.groups));
    sheet.fact("read units", Cell::Count(verified.read_milliunits.div_ceil(1_000)));
    sheet.fact("read since", Cell::Time(took.since));
    sheet.fact("seconds", Cell::Count(took.time.as_secs()));
    if took.resumed > 0 {
        sheet.fact("read before", Cell::Count(took.resumed));
    }
    if verified.passed > 0 {
        sheet.fact("changed meanwhile", Cell::Count(verified.passed));
    }
    sheet.fact("anchor of", Cell::maybe(anchor.map(|anchor| &anchor.origin)));
    for group in &verified.unknown {
        sheet.note(format!("not known: {group} changed during each reading; verify again"));
    }
    let mut breaches = Section::new("breaches", &["rule"], &["breach", "what", "items"]);
    for breach in &verified.breaches {
        let keys: Vec<String> =
            breach.keys.iter().map(|(partition, sort)| format!("{partition} {sort}")).collect();
        breaches.row([
            Cell::Count(breach.kind.invariant().into()),
            Cell::text(breach.kind),
            Cell::text(&breach.what),
            Cell::text(keys.join("\n")),
        ]);
    }
    let mut kinds = Section::new("kinds", &["breaches", "kind"], &[]);
    for (kind, count) in &verified.counts {
        kinds.row([Cell::Count(*count), Cell::text(kind)]);
    }
    sheet.section(breaches);
    sheet.section(kinds);
    if count as usize > verified.breaches.len() {
        sheet.note(format!("{} of them are shown", verified.breaches.len()));
    }
    sheet
}
