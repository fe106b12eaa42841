//! Looking again at what seems wrong. A table that is read while it changes is not of one moment, so facts may disagree
//! that never were so. What is wrong is so in two readings, one right after the other, that are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use shared::store::{Content, Deadline, Session, Store, Stored};

use super::breach::Breach;
use super::check::check;
use super::fact::{ApplicationFact, Fact, Facts, Group, Row};

/// How often a group is read that changes all the time.
const READS_MAX: usize = 20;

/// Between two readings.
const PAUSE: Duration = Duration::from_millis(200);

/// How long one reading may take.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// What is to be read of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Item(String, String),
    Partition(String),
}

/// What is wrong with a group that seemed to be wrong, by the table as it is now. `keys` are of the items whose facts
/// seemed so, `anchors` the facts that are none of the table's.
///
/// # Errors
/// If it can't be read, or changes during each reading.
pub async fn check_again(
    store: &Store,
    facts: Facts,
    group: &Group,
    keys: &BTreeSet<(String, String)>,
    anchors: &[Row],
) -> Result<Vec<Breach>> {
    let mut last: Option<Vec<Row>> = None;
    for _ in 0..READS_MAX {
        let session = store.session(Deadline::after(READ_WITHIN));
        let mut rows = read(&session, facts, group, keys).await?;
        rows.extend(anchors.iter().cloned());
        rows.sort_by(|one, other| (one.order, &one.key).cmp(&(other.order, &other.key)));
        let breaches = check(group, rows.iter().cloned().map(Ok))?;
        if breaches.is_empty() || last.as_ref() == Some(&rows) {
            return Ok(breaches);
        }
        last = Some(rows);
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!(
        "{} changed during each of {READS_MAX} readings: verify again",
        group.text().replace('\n', " ")
    )
}

/// The group's facts, of all items that may have some.
async fn read(
    session: &Session,
    facts: Facts,
    group: &Group,
    keys: &BTreeSet<(String, String)>,
) -> Result<Vec<Row>> {
    let name = group.text();
    let mut due = sources(group, keys);
    let mut seen: BTreeSet<Source> = BTreeSet::new();
    let mut items: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
    while let Some(source) = due.pop_first() {
        if !seen.insert(source.clone()) {
            continue;
        }
        let read: Vec<Stored> = match &source {
            Source::Item(partition, sort) => session
                .stored(partition, sort)
                .await
                .context("the table can't be read")?
                .into_iter()
                .collect(),
            Source::Partition(partition) => {
                session.stored_partition(partition).await.context("the table can't be read")?
            }
        };
        for stored in read {
            let rows = facts.of(&stored);
            due.extend(rows.iter().filter(|row| row.group == name).flat_map(|row| related(group, row)));
            if let (Group::Account(path), Ok(Content::Months { tenant, months })) = (group, &stored.content) {
                let is_of_account = path.starts_with(&format!("{tenant}#"));
                let partitions = months.iter().map(|month| Source::Partition(tenant.batches(month)));
                due.extend(partitions.filter(|_| is_of_account));
            }
            items.insert((stored.partition, stored.sort), rows);
        }
    }
    let mut said = BTreeSet::new();
    let of_group = items.into_values().flatten().filter(|row| row.group == name);
    Ok(of_group.filter(|row| !row.fact.is_said_once() || said.insert(format!("{:?}", row.fact))).collect())
}

/// Where the facts of a group are, as far as its name and what was found tell.
fn sources(group: &Group, keys: &BTreeSet<(String, String)>) -> BTreeSet<Source> {
    let items = || keys.iter().map(|(partition, sort)| Source::Item(partition.clone(), sort.clone()));
    let item = |partition: &str, sort: &str| Source::Item(partition.to_owned(), sort.to_owned());
    match group {
        Group::Item(partition, sort) => [item(partition, sort)].into(),
        Group::Account(path) => {
            let partitions = keys.iter().map(|(partition, _)| Source::Partition(partition.clone()));
            let tenant = path.rsplit_once('#').map_or("", |(tenant, _)| tenant);
            let own = [Source::Partition(path.clone()), item(&format!("{tenant}#batches"), "MONTHS")];
            partitions.chain(own).collect()
        }
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
        (Group::Application(_), Fact::Failed { refund }) => {
            vec![Source::Item(refund.number.clone(), "GUARD".to_owned())]
        }
        _ => Vec::new(),
    }
}
