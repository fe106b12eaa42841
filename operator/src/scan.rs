//! Reading the whole table: its parts at the same time, no faster than is allowed, with progress.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use shared::store::{Deadline, Page, Store, Stored};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long one page is tried for.
const PAGE_WITHIN: Duration = Duration::from_secs(60);

/// Items of a page. DynamoDB ends one at 1 MB by itself.
const PAGE_ITEMS_MAX: u64 = 2_000;

/// Items of the first page where reading is limited: what one costs is not known yet.
const FIRST_PAGE_ITEMS: u64 = 25;

#[derive(Debug, Clone, Copy, Args)]
pub struct ScanOptions {
    /// Read units that may be used in a second [default: as many as the table gives]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_rcu: Option<u64>,
    /// Parts of the table that are read at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub segments: u32,
}

/// How far a part of the table has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    Beginning,
    At(String),
    End,
}

/// Items of one part of the table, and where it goes on.
#[derive(Debug)]
pub struct Read {
    pub segment: u32,
    pub items: Vec<Stored>,
    pub next: Position,
    /// In thousandths.
    pub read_milliunits: u64,
}

/// What reading the table came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scanned {
    pub items: u64,
    /// In thousandths.
    pub read_milliunits: u64,
}

/// Reads all items, those of one part in their order, and gives them to `take`.
///
/// # Errors
/// If the table can't be read, or `take` fails.
pub async fn scan_all(
    store: &Store,
    options: ScanOptions,
    mut take: impl FnMut(Stored) -> Result<()>,
) -> Result<Scanned> {
    let positions = vec![Position::Beginning; options.segments as usize];
    let pace = Arc::new(Pace::new(options.max_rcu));
    scan(store, &pace, &positions, 0, |read| read.items.into_iter().try_for_each(&mut take)).await
}

/// Reads on from these positions, one for each part of the table; `before` items were read before.
///
/// # Errors
/// If the table can't be read, or `take` fails.
pub async fn scan(
    store: &Store,
    pace: &Arc<Pace>,
    positions: &[Position],
    before: u64,
    mut take: impl FnMut(Read) -> Result<()>,
) -> Result<Scanned> {
    let session = store.session(Deadline::after(PAGE_WITHIN));
    let count = match session.count_items().await {
        // Who may not ask how many there are can read them all the same.
        Err(error) if !error.passes() => 0,
        counted => counted.context("the table can't be read")?,
    };
    let progress =
        ProgressBar::new(count.max(before)).with_position(before).with_style(ProgressStyle::with_template(
            "{wide_bar} {human_pos} of about {human_len} items, {per_sec}, {eta} left",
        )?);
    let segments = u32::try_from(positions.len())?;
    let (sender, mut pages) = mpsc::channel(positions.len().max(1));
    let mut tasks = JoinSet::new();
    for (segment, position) in (0..segments).zip(positions) {
        let (store, pace, sender) = (store.clone(), pace.clone(), sender.clone());
        tasks.spawn(read_segment(store, pace, segment, segments, position.clone(), sender));
    }
    drop(sender);
    let mut scanned = Scanned::default();
    while let Some(page) = pages.recv().await {
        let read: Read = page?;
        let items = read.items.len() as u64;
        scanned.items += items;
        scanned.read_milliunits += read.read_milliunits;
        take(read)?;
        progress.inc(items);
        if progress.position() > count {
            progress.set_length(progress.position());
        }
    }
    progress.finish_and_clear();
    Ok(scanned)
}

async fn read_segment(
    store: Store,
    pace: Arc<Pace>,
    segment: u32,
    segments: u32,
    mut position: Position,
    sender: mpsc::Sender<Result<Read>>,
) {
    while position != Position::End {
        let from = match &position {
            Position::At(from) => Some(from.as_str()),
            Position::Beginning | Position::End => None,
        };
        let session = store.session(Deadline::after(PAGE_WITHIN));
        let page = match pace.page(async |count| session.scan(segment, segments, count, from).await).await {
            Ok(page) => page,
            Err(error) => {
                let _ = sender.send(Err(error).context("the table can't be read")).await;
                return;
            }
        };
        position = page.next.map_or(Position::End, Position::At);
        let (next, read_milliunits) = (position.clone(), page.read_milliunits);
        let read = Read { segment, items: page.items, next, read_milliunits };
        // Nobody waits for it any more where whoever takes it has failed.
        if sender.send(Ok(read)).await.is_err() {
            return;
        }
    }
}

/// Keeps reading below a limit, on average: who has read waits until it was allowed.
#[derive(Debug)]
pub struct Pace {
    /// In a second.
    milliunits_max: Option<u64>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    /// When the next page may be read.
    next: Instant,
    milliunits: u64,
    items: u64,
}

impl Pace {
    pub fn new(max_rcu: Option<u64>) -> Self {
        let used = Used { next: Instant::now(), milliunits: 0, items: 0 };
        Self { milliunits_max: max_rcu.map(|units| units.saturating_mul(1_000)), used: Mutex::new(used) }
    }

    /// Reads a page of at most so many items, once that is allowed.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn page<E>(&self, read: impl AsyncFnOnce(u32) -> Result<Page, E>) -> Result<Page, E> {
        let Some(max) = self.milliunits_max else { return read(PAGE_ITEMS_MAX as u32).await };
        // One page at a time: what it costs is known behind it.
        let mut used = self.used.lock().await;
        tokio::time::sleep_until(used.next).await;
        // What a second allows, by what items have cost so far.
        let allowed = max.saturating_mul(used.items).checked_div(used.milliunits);
        let count = allowed.unwrap_or(FIRST_PAGE_ITEMS).clamp(1, PAGE_ITEMS_MAX) as u32;
        let page = read(count).await?;
        used.milliunits += page.read_milliunits;
        used.items += page.items.len() as u64;
        let time = Duration::from_micros(page.read_milliunits.saturating_mul(1_000_000) / max);
        used.next = used.next.max(Instant::now()) + time;
        Ok(page)
    }
}
