//! `refundctl batch list`: batches of refunds that have not ended, of all apps, the oldest first.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures::{StreamExt, stream};
use shared::clock::{self, milliseconds};
use shared::entries::tenant_name;
use shared::ledger::{BatchItem, BatchState, ItemRefund, RefundBatch, RefundBatchKey, RefundId, TenantKey};
use shared::pingpp::AppId;
use shared::store::{Store, StoreError};

use crate::screen::{Cell, OutputOptions, Section, Sheet, age};
use crate::target::{TableOptions, session};

pub const EXAMPLES: &str = "\
A batch ends in seconds, unless someone must confirm a refund, or a payment channel gives no answer. Amounts are in the
smallest unit of the currency. What was made or has ended a moment ago may not be seen yet.

Examples:
  refundctl batch list
  refundctl batch list --stage prod --stuck
  refundctl batch list --stage prod --stuck --older-than 2h --output json

Exit codes: 0 listed, also if there are none; 1 with --stuck, if there are any; 1 always, if some can't be read; 2 wrong
usage.";

/// Batches that are listed at most.
const BATCHES_MAX: usize = 1_000;

/// Batches that are read at the same time.
const READS_AT_ONCE: usize = 16;

/// How long a batch is open at least for it to be stuck, unless told otherwise.
const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Args)]
pub struct Options {
    /// Only those that have been open for long
    #[arg(long)]
    stuck: bool,
    /// For how long, in s, m, h or d [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "stuck")]
    older_than: Option<Duration>,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Such as `15m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number of s, m, h or d, such as 30s, 15m, 2h, 3d".to_owned();
    let units = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];
    let split = |(unit, seconds): (&str, u64)| Some((text.strip_suffix(unit)?, seconds));
    let (number, seconds) = units.into_iter().find_map(split).ok_or_else(wrong)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let found = find(&store).await?;
    let now = clock::unix_now();
    let listed: Vec<&Open> = found.open.iter().filter(|open| open.age(now) >= options.least_age()).collect();
    sheet(options, &found, &listed, now).print(options.output)?;
    let is_calm = found.unreadable.is_empty() && (listed.is_empty() || !options.stuck);
    Ok(if is_calm { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    /// How long a batch has been open at least to be listed, in milliseconds.
    fn least_age(&self) -> u64 {
        if self.stuck { milliseconds(self.older_than.unwrap_or(STUCK_AFTER)) } else { 0 }
    }
}

/// What was found, the oldest first.
#[derive(Debug, Default)]
struct Found {
    open: Vec<Open>,
    /// Batches that are not as the ledger writes them, and what is wrong.
    unreadable: Vec<(RefundBatchKey, StoreError)>,
    /// Whether there are more.
    has_more: bool,
}

/// A batch that has not ended, and what is on record of its refunds.
#[derive(Debug)]
struct Open {
    batch: RefundBatch,
    refunds: HashMap<RefundId, ItemRefund>,
}

async fn find(store: &Store) -> Result<Found> {
    let mut keys = session(store).all_open_batches(BATCHES_MAX).await?;
    let has_more = keys.len() > BATCHES_MAX;
    // An id tells when its batch was made.
    keys.sort_by(|one, other| one.id.cmp(&other.id));
    keys.truncate(BATCHES_MAX);
    let reads = keys.into_iter().map(|key| async move {
        let read = read(store, &key).await;
        (key, read)
    });
    let mut found = Found { has_more, ..Found::default() };
    let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
    while let Some((key, read)) = reads.next().await {
        match read {
            Ok(open) => found.open.extend(open),
            Err(error @ StoreError::Damaged { .. }) => found.unreadable.push((key, error)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// A batch as it is now, unless it has ended: the index is a moment behind.
async fn read(store: &Store, key: &RefundBatchKey) -> Result<Option<Open>, StoreError> {
    let session = session(store);
    let batch = session.batch(key).await?.filter(|batch| batch.state.is_open());
    let Some(batch) = batch else { return Ok(None) };
    let refunds = session.refunds_of(&batch).await?;
    Ok(Some(Open { batch, refunds }))
}

impl Open {
    /// In milliseconds.
    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.batch.at)
    }

    fn undecided(&self) -> impl Iterator<Item = &BatchItem> {
        let is_pending = |refund: &ItemRefund| refund.state.is_pending();
        let items = self.batch.items.iter();
        items.filter(move |item| self.refunds.get(&item.refund).is_none_or(is_pending))
    }

    fn state(&self) -> &'static str {
        match self.batch.state {
            BatchState::Creating => "creating",
            BatchState::Created => "created",
            BatchState::Settling => "settling",
            BatchState::Void => "void",
            BatchState::Ended { .. } => "ended",
        }
    }

    /// Why it has not ended.
    fn why(&self) -> &'static str {
        let is_known = |item: &BatchItem| self.refunds.contains_key(&item.refund);
        match self.batch.state {
            BatchState::Creating => "not all charges are held yet",
            BatchState::Created => "nothing was asked of payment channels yet",
            _ if self.undecided().next().is_none() => "all refunds are decided: it is about to end",
            _ if self.undecided().all(is_known) => "waits for someone's confirmation",
            _ => "no answer of its payment channel is known",
        }
    }

    fn row(&self, now: u64) -> Vec<Cell> {
        let batch = &self.batch;
        let amount: u64 = batch.items.iter().map(|item| item.amount.value()).sum();
        vec![
            Cell::text(age(self.age(now))),
            Cell::text(self.state()),
            Cell::Count(batch.items.len() as u64),
            Cell::Count(self.undecided().count() as u64),
            Cell::amount(amount),
            Cell::text(&batch.key.id),
            Cell::text(tenant_name(&batch.key.tenant)),
            Cell::text(&batch.batch_no),
            Cell::maybe(batch.currency.as_ref()),
            Cell::Time(batch.at),
            Cell::text(self.why()),
        ]
    }
}

fn sheet(options: &Options, found: &Found, listed: &[&Open], now: u64) -> Sheet {
    let title = "batches of refunds that have not ended";
    let mut sheet = Sheet::new(match options.stuck {
        true => format!("{title} for {} or longer", age(options.least_age())),
        false => title.to_owned(),
    });
    sheet.fact("open", Cell::Count((found.open.len() + found.unreadable.len()) as u64));
    if options.stuck {
        sheet.fact("stuck", Cell::Count(listed.len() as u64));
    }
    sheet.fact("oldest", Cell::maybe(found.open.first().map(|open| age(open.age(now)))));
    if found.has_more {
        sheet.note(format!("there are more than {BATCHES_MAX}; those that are not looked at may be older"));
    }
    for (key, error) in &found.unreadable {
        sheet.note(format!("batch {} of {} can't be read: {error}", key.id, tenant_name(&key.tenant)));
    }
    for step in next_steps(listed, &options.table.repeated()) {
        sheet.note(step);
    }
    let columns = &["age", "state", "refunds", "undecided", "amount"];
    let stacked = &["batch", "tenant", "number", "currency", "made", "why"];
    let mut batches = Section::new("batches", columns, stacked);
    for open in listed {
        batches.row(open.row(now));
    }
    sheet.section(batches);
    sheet
}

/// What can be done, with the oldest ones for examples; `place` is what tells commands where the table is.
fn next_steps(listed: &[&Open], place: &str) -> Vec<String> {
    let bring_on = listed.first().map(|Open { batch, .. }| {
        let app = app_options(&batch.key.tenant);
        format!("bring it on, as far as it goes now: `refundctl batch resume {}{app}{place}`", batch.key.id)
    });
    let is_settling = |open: &&&Open| open.batch.state == BatchState::Settling;
    let refund = listed.iter().filter(is_settling).find_map(|open| open.undecided().next());
    let decide = refund.map(|BatchItem { refund, .. }| {
        format!(
            "once the payment channel has said what became of it: `refundctl refund settle {refund}{place}` or `refundctl refund fail {refund}{place}`"
        )
    });
    bring_on.into_iter().chain(decide).collect()
}

fn app_options(tenant: &TenantKey) -> String {
    let Some((app, mode)) = AppId::of_tenant(tenant) else { return String::new() };
    format!(" --app {app}{}", if mode.is_live() { " --live" } else { "" })
}

#[cfg(test)]
mod tests {
    use shared::ledger::{ChargeKey, Fingerprint, ItemState, MinorUnits};
    use shared::pingpp::{Mode, tenant_of};

    use super::*;
    use crate::screen::Output;

    const NOW: u64 = 1_795_340_000_000;

    /// A batch with as many refunds, of each what is on record.
    fn open(state: BatchState, refunds: &[Option<ItemState>]) -> Open {
        let tenant = tenant_of("app_abcdefghweqzadfs", Mode::Live);
        let key = RefundBatchKey { tenant: tenant.clone(), id: "152611221530450042".parse().unwrap() };
        let item = |number: usize| BatchItem {
            charge: format!("ch_{number}").parse().unwrap(),
            refund: RefundId::recorded(&format!("re_{number}")),
            amount: MinorUnits::new(5_000_000).unwrap(),
            description: None,
            funding_source: None,
            channel: "alipay".parse().unwrap(),
            order_no: "1".parse().unwrap(),
            transaction_no: None,
        };
        let items: Vec<BatchItem> = (0..refunds.len()).map(item).collect();
        let refund = |(item, state): (&BatchItem, &Option<ItemState>)| {
            let refund = ItemRefund {
                id: item.refund.clone(),
                charge: ChargeKey { tenant: tenant.clone(), id: item.charge.clone() },
                batch: key.id.clone(),
                amount: item.amount,
                state: state.clone()?,
                contradiction: None,
            };
            Some((item.refund.clone(), refund))
        };
        let refunds = items.iter().zip(refunds).filter_map(refund).collect();
        let batch = RefundBatch {
            key: key.clone(),
            batch_no: "batchrefund2016080100001".parse().unwrap(),
            fingerprint: Fingerprint::recorded(&[0; 32]).unwrap(),
            currency: Some("CNY".parse().unwrap()),
            description: String::new(),
            metadata: "{}".to_owned(),
            at: NOW - (23 * 60 + 59) * 60_000,
            state,
            items,
            holds: Vec::new(),
            releases: Vec::new(),
        };
        Open { batch, refunds }
    }

    fn pending() -> Option<ItemState> {
        Some(ItemState::Pending { url: "https://example.com".to_owned() })
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, seconds) in [
            ("0s", Some(0)),
            ("30s", Some(30)),
            ("15m", Some(900)),
            ("2h", Some(7_200)),
            ("3d", Some(259_200)),
            ("15", None),
            ("m", None),
            ("", None),
            ("+1m", None),
            ("-1m", None),
            ("1.5h", None),
            ("1 h", None),
            ("1w", None),
            ("99999999999d", None),
        ] {
            assert_eq!(duration(text).ok().map(|duration| duration.as_secs()), seconds, "{text:?}");
        }
    }

    #[test]
    fn why_a_batch_is_open_is_told_by_its_refunds() {
        let succeeded = || Some(ItemState::Succeeded { at: 1 });
        for (state, refunds, undecided, why) in [
            (BatchState::Creating, vec![None], 1, "not all charges are held yet"),
            (BatchState::Created, vec![None], 1, "nothing was asked of payment channels yet"),
            (BatchState::Settling, vec![pending(), succeeded()], 1, "waits for someone's confirmation"),
            (BatchState::Settling, vec![pending(), None], 2, "no answer of its payment channel is known"),
            (BatchState::Settling, vec![succeeded()], 0, "all refunds are decided: it is about to end"),
        ] {
            let open = open(state, &refunds);
            assert_eq!((open.undecided().count(), open.why()), (undecided, why));
        }
    }

    #[test]
    fn what_people_see_fits_on_80_columns_with_no_id_split_and_says_what_to_do() {
        let options = Options {
            stuck: true,
            older_than: None,
            table: TableOptions::default(),
            output: OutputOptions::default(),
        };
        let found = Found { open: vec![open(BatchState::Settling, &[pending()])], ..Found::default() };
        let listed: Vec<&Open> = found.open.iter().collect();
        let text = sheet(&options, &found, &listed, NOW).render(Output::Table, 80).unwrap();
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
        for whole in [
            "have not ended for 15 min or longer",
            "oldest  23 h 59 min",
            "152611221530450042",
            "batchrefund2016080100001",
            "5000000",
        ] {
            assert!(text.contains(whole), "{whole}: {text}");
        }
        assert_eq!(
            next_steps(&listed, " --stage prod"),
            [
                "bring it on, as far as it goes now: `refundctl batch resume 152611221530450042 --app \
                 app_abcdefghweqzadfs --live --stage prod`",
                "once the payment channel has said what became of it: `refundctl refund settle re_0 --stage prod` or \
                 `refundctl refund fail re_0 --stage prod`",
            ]
        );
        assert!(next_steps(&[], "").is_empty());
    }
}
