//! Looking again at what seems wrong. A table that is read while it changes is not of one moment, so facts may disagree
//! that never were so. What is wrong is so in two readings, one right after the other, that are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use shared::ledger::AccountKey;
use shared::store::{Content, Deadline, Session, Store, Stored};

use super::breach::Breach;
use super::check::check;
use super::fact::{ApplicationFact, Fact, Facts, Group, Row};
use super::said_once;
use super::spool::Spool;
use crate::scan::Pace;

/// How often a group is read that changes all the time.
const READS_MAX: usize = 20;

/// Between two readings.
const PAUSE: Duration = Duration::from_millis(200);

/// How long one reading may take.
const READ_WITHIN: Duration = Duration::from_secs(60);

const UNREADABLE: &str = "the table can't be read";

/// What is to be read of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Item(String, String),
    Partition(String),
}

/// Looks again.
pub struct Again<'a> {
    pub store: &'a Store,
    pub pace: &'a Pace,
}

impl Again<'_> {
    /// What is wrong with a group that seemed to be wrong, by the table as it is now; none where it changes during each
    /// reading. `keys` are of the items whose facts seemed so, `anchors` the facts that are none of the table's.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn check(
        &self,
        group: &Group,
        keys: &BTreeSet<(String, String)>,
        anchors: &[Row],
    ) -> Result<Option<Vec<Breach>>> {
        let mut last: Option<Vec<Row>> = None;
        for _ in 0..READS_MAX {
            if let Group::Account(path) = group {
                match self.check_account(path, keys, anchors).await? {
                    Some(breaches) => return Ok(Some(breaches)),
                    None => continue,
                }
            }
            let session = self.store.session(Deadline::after(READ_WITHIN));
            let mut rows = read(&session, group, keys).await?;
            rows.sort_by(|one, other| (one.order, &one.key).cmp(&(other.order, &other.key)));
            let breaches = check(group, rows.iter().cloned().map(Ok))?;
            if breaches.is_empty() || last.as_ref() == Some(&rows) {
                return Ok(Some(breaches));
            }
            last = Some(rows);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// An account may be of any size, and grow all the time. What was posted by the time that it was read is there
    /// whenever its postings are read behind that; what is posted since is left out.
    async fn check_account(
        &self,
        path: &str,
        keys: &BTreeSet<(String, String)>,
        anchors: &[Row],
    ) -> Result<Option<Vec<Breach>>> {
        let group = Group::Account(path.to_owned());
        let (name, facts) = (group.text(), Facts::by_now());
        let before = self.account(path).await?;
        let folder = tempfile::tempdir().context("there is no place for what is read again")?;
        let mut spool = Spool::open(&folder.path().join("again"), 1, false)?;
        spool.take_others(anchors.iter().cloned().map(Ok))?;
        if let Some(account) = &before {
            spool.take_others(facts.of(account).into_iter().filter(|row| row.group == name).map(Ok))?;
        }
        let mut partitions: BTreeSet<String> = keys.iter().map(|(partition, _)| partition.clone()).collect();
        partitions.insert(path.to_owned());
        let tenant = AccountKey::recorded(path).tenant();
        let session = self.store.session(Deadline::after(READ_WITHIN));
        let months = session.stored(&format!("{tenant}#batches"), "MONTHS").await.context(UNREADABLE)?;
        if let Some(Ok(Content::Months { months, .. })) = months.map(|stored| stored.content) {
            partitions.extend(months.iter().map(|month| tenant.batches(month)));
        }
        for partition in partitions {
            let mut from: Option<String> = None;
            loop {
                let session = self.store.session(Deadline::after(READ_WITHIN));
                let read = async |_| session.stored_page(&partition, from.as_deref()).await;
                let page = self.pace.page(read).await.context(UNREADABLE)?;
                let rows = page.items.iter().flat_map(|stored| facts.of(stored));
                let of_group = rows.filter(|row| row.group == name && matches!(row.fact, Fact::Posting(_)));
                spool.take_others(of_group.map(Ok))?;
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        let after = self.account(path).await?;
        let sequence = |stored: &Option<Stored>| match stored.as_ref().map(|stored| &stored.content) {
            Some(Ok(Content::Account(account))) => Some(account.sequence),
            _ => None,
        };
        let (first, last) = (sequence(&before), sequence(&after));
        if first.is_some() != last.is_some() {
            return Ok(None);
        }
        let since = |row: &Row| match (&row.fact, first, last) {
            (Fact::Posting(posting), Some(first), Some(last)) => {
                posting.sequence > first && posting.sequence <= last
            }
            _ => false,
        };
        let mut breaches = Vec::new();
        spool
            .groups(async |group, rows| {
                breaches = check(group, rows.filter(|row| !row.as_ref().is_ok_and(since)))?;
                Ok(())
            })
            .await?;
        Ok(Some(breaches))
    }

    async fn account(&self, path: &str) -> Result<Option<Stored>> {
        let session = self.store.session(Deadline::after(READ_WITHIN));
        session.stored(path, "ACCOUNT").await.context(UNREADABLE)
    }
}

/// The group's facts, of all items that may have some.
async fn read(session: &Session, group: &Group, keys: &BTreeSet<(String, String)>) -> Result<Vec<Row>> {
    let (name, facts) = (group.text(), Facts::by_now());
    let mut due = sources(group, keys);
    let mut seen: BTreeSet<Source> = BTreeSet::new();
    let mut items: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
    while let Some(source) = due.pop_first() {
        if !seen.insert(source.clone()) {
            continue;
        }
        let read: Vec<Stored> = match &source {
            Source::Item(partition, sort) => {
                session.stored(partition, sort).await.context(UNREADABLE)?.into_iter().collect()
            }
            Source::Partition(partition) => session.stored_partition(partition).await.context(UNREADABLE)?,
        };
        for stored in read {
            let mut rows = facts.of(&stored);
            rows.retain(|row| row.group == name);
            due.extend(rows.iter().flat_map(|row| related(group, row)));
            if !rows.is_empty() {
                items.insert((stored.partition, stored.sort), rows);
            }
        }
    }
    Ok(said_once(items.into_values().flatten().collect()))
}

/// Where the facts of a group are, as far as its name and what was found tell.
fn sources(group: &Group, keys: &BTreeSet<(String, String)>) -> BTreeSet<Source> {
    let items = || keys.iter().map(|(partition, sort)| Source::Item(partition.clone(), sort.clone()));
    let item = |partition: &str, sort: &str| Source::Item(partition.to_owned(), sort.to_owned());
    match group {
        Group::Item(partition, sort) => [item(partition, sort)].into(),
        Group::Batch(tenant, id) => {
            let month = id.get(2..6).unwrap_or_default();
            items().chain([item(&format!("{tenant}#batches#{month}"), id)]).collect()
        }
        Group::Charge(path) | Group::Application(path) | Group::Number(path) => {
            items().chain([Source::Partition(path.clone())]).collect()
        }
        Group::Request(path) => items().chain([item(path, "REQUEST")]).collect(),
        Group::Tenant(tenant) => items().chain([item(tenant, "TENANT")]).collect(),
        Group::Months(tenant) => items().chain([item(&format!("{tenant}#batches"), "MONTHS")]).collect(),
        // All that may be of it: what names whom is with both.
        Group::Secret(hash) => {
            let secrets =
                ["epay", "pingpp"].map(|provider| item(&format!("key#{provider}#{hash}"), "CREDENTIAL"));
            items().chain(secrets).collect()
        }
        // Read by pages.
        Group::Account(_) => BTreeSet::new(),
    }
}

/// Where else facts of a group are, by one of them.
fn related(group: &Group, row: &Row) -> Vec<Source> {
    match (group, &row.fact) {
        (Group::Batch(..), Fact::Batch(batch)) => {
            let guard = Source::Item(batch.number.clone(), "GUARD".to_owned());
            let charges = batch.items.iter().map(|item| Source::Partition(item.charge.clone()));
            charges.chain([guard]).collect()
        }
        (Group::Application(_), Fact::Application { state, .. }) => match state {
            ApplicationFact::Processing(refund) | ApplicationFact::Done(refund) => {
                vec![Source::Item(refund.number.clone(), "GUARD".to_owned())]
            }
            ApplicationFact::Requested | ApplicationFact::Withdrawn => Vec::new(),
        },
        (Group::Secret(hash), Fact::Secret { names, is_shared }) => {
            let of_name = |name: &String| match is_shared {
                false => vec![Source::Item(name.clone(), "TENANT".to_owned())],
                true => ["test", "live"]
                    .map(|mode| Source::Item(format!("pingpp#{name}#{mode}"), format!("KEY#{hash}")))
                    .to_vec(),
            };
            names.iter().flat_map(of_name).collect()
        }
        (Group::Application(_), Fact::Failed { refund, .. }) => {
            vec![Source::Item(refund.number.clone(), "GUARD".to_owned())]
        }
        _ => Vec::new(),
    }
}
