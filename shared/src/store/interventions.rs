//! Interventions on record, with their tenant.

use super::attribute::{PARTITION_KEY, SORT_KEY};
use super::change::Change;
use super::items::{self, Item, Reader};
use super::{Session, StoreError};
use crate::ledger::{Intervention, TenantKey};

pub(super) const PREFIX: &str = "INTERVENTION#";

fn key(intervention: &Intervention) -> Item {
    // In the order of time.
    let sort = format!("{PREFIX}{:015}#{}", intervention.at, intervention.id);
    items::key(intervention.tenant.as_str(), &sort)
}

fn item(intervention: &Intervention) -> Item {
    let mut item = key(intervention);
    item.extend([
        items::text("subject", &intervention.subject),
        items::text("action", &intervention.action),
        items::text("by", &intervention.by),
        items::text("reason", &intervention.reason),
        items::number("at", intervention.at),
    ]);
    item.extend(intervention.outcome.as_deref().map(|outcome| items::text("outcome", outcome)));
    item
}

impl Reader<'_> {
    pub(super) fn intervention(&self) -> Result<Intervention, StoreError> {
        let id = self.get(SORT_KEY, |value| value.as_s().ok()?.rsplit_once('#').map(|(_, id)| id))?;
        Ok(Intervention {
            tenant: TenantKey::recorded(self.text(PARTITION_KEY)?),
            subject: self.text("subject")?.to_owned(),
            action: self.text("action")?.to_owned(),
            by: self.text("by")?.to_owned(),
            reason: self.text("reason")?.to_owned(),
            at: self.integer("at")?,
            id: id.to_owned(),
            outcome: self.optional_text("outcome")?,
        })
    }
}

impl Session {
    /// Puts an intervention on record, before it changes anything.
    ///
    /// # Errors
    /// If that is not known to be done: then it must change nothing.
    pub async fn record_intervention(&self, intervention: &Intervention) -> Result<(), StoreError> {
        self.put_new(item(intervention)).await.map(|_| ())
    }

    /// Puts on record what an intervention came to.
    pub async fn record_outcome(&self, intervention: &Intervention, outcome: &str) -> Result<(), StoreError> {
        let change = Change {
            key: key(intervention),
            expression: "SET outcome = :outcome",
            condition: Some("attribute_exists(subject)"),
            name: None,
            values: Item::from([items::text(":outcome", outcome)]),
        };
        self.change(&change).await.map(|_| ())
    }

    /// What operators did with a tenant and all it has, in the order of time.
    pub async fn interventions(&self, tenant: &TenantKey) -> Result<Vec<Intervention>, StoreError> {
        let found = self.read_beginning(tenant.as_str(), PREFIX).await?;
        found.iter().map(|item| Reader::new(item).intervention()).collect()
    }
}
