//! One item of the table as the ledger understands it: for whoever reads the whole of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attribute::{EXPIRES, INDEX_PARTITION_KEY, INDEX_SORT_KEY, PARTITION_KEY, SORT_KEY};
use super::items::{self, Item, Payment, Reader};
use super::refund_batch_items as batch_items;
use super::refund_batches::months;
use super::{StoreError, application_items as app_items, credentials, interventions};
use crate::ledger::{
    Account, AccountKey, Application, ApplicationKey, BatchGuard, BatchKey, CHARGES_PREFIX, Charge,
    Confirmation, Debit, DebitKey, FailedRefund, Fingerprint, Hash, Intervention, ItemRefund, Movement,
    RefundBatch, RefundBatchId, TenantKey, unescaped,
};

/// One item, with what all items may have.
#[derive(Debug, Clone)]
pub struct Stored {
    pub partition: String,
    pub sort: String,
    /// Why it is none that the ledger writes, where it isn't.
    pub content: Result<Content, String>,
    /// Of a payment: the hash over what of it never changes.
    pub seal: Option<Hash>,
    /// Where the index has it.
    pub index: Option<(String, String)>,
    /// When it may vanish by itself, in Unix seconds.
    pub expires: Option<u64>,
    /// Of a batch: until when somebody has it alone, in Unix milliseconds.
    pub taken_until: Option<u64>,
    /// Whether it is exactly what the ledger would write of its content: nothing more, nothing written otherwise.
    pub is_plain: bool,
}

/// What an item is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A tenant's settings, as JSON.
    Tenant {
        tenant: TenantKey,
        settings: String,
    },
    /// A secret, by its hash, that names its tenant.
    Credential {
        tenant: TenantKey,
    },
    /// A secret, by its hash, that names several tenants by their ids.
    SharedCredential {
        ids: Vec<String>,
    },
    /// That a tenant has a secret, by its hash.
    KeyOfTenant {
        tenant: TenantKey,
        hash: String,
    },
    Intervention(Box<Intervention>),
    Account(Account),
    Debit(Box<Debit>),
    Tombstone {
        debit: DebitKey,
        since: u64,
    },
    Movement(Box<Movement>),
    /// What ties an idempotency key to a request; by its path, or as a part of one with an account.
    Request {
        path: String,
        at: u64,
    },
    RequestPart {
        account: AccountKey,
        /// Its call and its number.
        request: String,
        refused: usize,
        at: u64,
    },
    Charge(Box<Charge>),
    Refund(Box<ItemRefund>),
    Batch(Box<RefundBatch>),
    /// What is put under a merchant's number of a batch.
    Number {
        tenant: TenantKey,
        batch: RefundBatchId,
        fingerprint: Fingerprint,
    },
    Months {
        tenant: TenantKey,
        months: Vec<String>,
    },
    Application(Box<Application>),
    /// Of an application that is not there, and was asked for.
    ApplicationTombstone {
        application: ApplicationKey,
        since: u64,
    },
    Failed {
        application: ApplicationKey,
        failed: Box<FailedRefund>,
    },
    Guard {
        path: String,
        guard: Box<BatchGuard>,
    },
    Confirmation {
        path: String,
        confirmation: Box<Confirmation>,
        /// How many more there are, as the first one counts them; none of the others does.
        further: Option<u64>,
    },
}

/// An item's sort key in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexSort {
    Named(String),
    /// It begins with when an open batch is to be brought on, in Unix milliseconds of 15 digits, and goes on with this.
    Timed(String),
}

impl Stored {
    /// An item, as DynamoDB has it.
    pub fn of(item: &HashMap<String, AttributeValue>) -> Self {
        let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let index = part(INDEX_PARTITION_KEY).zip(part(INDEX_SORT_KEY));
        let seal = item.get(items::SEAL).and_then(|value| value.as_b().ok());
        let whole = |name: &str| item.get(name).map(|value| value.as_n().ok()?.parse().ok());
        // What is there and can't be read is as good as never.
        let whole = |name: &str| whole(name).map(|number: Option<u64>| number.unwrap_or(u64::MAX));
        let content = Content::of(item);
        Self {
            partition: part(PARTITION_KEY).unwrap_or_default(),
            sort: part(SORT_KEY).unwrap_or_default(),
            is_plain: content.as_ref().is_ok_and(|content| content.is_all_of(item)),
            content: content.map_err(|error| match error {
                StoreError::Damaged { what, .. } => what,
                error => error.to_string(),
            }),
            seal: seal.and_then(|bytes| Hash::recorded(bytes.as_ref())),
            index,
            expires: whole(EXPIRES),
            taken_until: whole("takenUntil"),
        }
    }

    /// Its key, as people are told.
    pub fn key(&self) -> String {
        format!("{} {}", self.partition, self.sort)
    }
}

impl Content {
    fn of(item: &Item) -> Result<Self, StoreError> {
        let reader = Reader::new(item);
        let (partition, sort) = (reader.text(PARTITION_KEY)?, reader.text(SORT_KEY)?);
        let tenant = || TenantKey::recorded(partition);
        let is_of_charges = partition.strip_prefix(CHARGES_PREFIX).is_some_and(|rest| rest.starts_with('#'));
        if let Some(hash) = sort.strip_prefix(credentials::KEY_PREFIX) {
            return Ok(Self::KeyOfTenant { tenant: tenant(), hash: hash.to_owned() });
        }
        if sort.starts_with(interventions::PREFIX) {
            return Ok(Self::Intervention(Box::new(reader.intervention()?)));
        }
        if sort.starts_with(items::PAYMENT_PREFIX) {
            return Ok(match reader.payment()? {
                Payment::Debit(debit) => Self::Debit(debit),
                Payment::Tombstone { debit, since } => Self::Tombstone { debit, since },
            });
        }
        if sort.starts_with(items::MOVEMENT_PREFIX) {
            return Ok(Self::Movement(Box::new(reader.movement()?)));
        }
        if let Some(request) = sort.strip_prefix(items::REQUEST).and_then(|rest| rest.strip_prefix('#')) {
            let refused = reader.record()?.refused.len();
            let (account, request) = (AccountKey::recorded(partition), request.to_owned());
            return Ok(Self::RequestPart { account, request, refused, at: reader.integer("at")? });
        }
        if sort.starts_with(batch_items::REFUND_PREFIX) {
            return Ok(Self::Refund(Box::new(reader.item_refund()?)));
        }
        if sort.starts_with(app_items::FAILED_PREFIX) {
            let failed = Box::new(reader.failed()?);
            let application = application_of(partition)
                .ok_or_else(|| reader.damaged("it is in no application's partition"))?;
            return Ok(Self::Failed { application, failed });
        }
        if sort.starts_with(app_items::CONFIRMATION) {
            let confirmation = Box::new(reader.confirmation()?);
            let further = (sort == app_items::CONFIRMATION).then(|| reader.integer("further")).transpose()?;
            return Ok(Self::Confirmation { path: partition.to_owned(), confirmation, further });
        }
        Ok(match sort {
            items::TENANT => Self::Tenant { tenant: tenant(), settings: reader.text("settings")?.to_owned() },
            items::CREDENTIAL if reader.has("ids") => {
                reader.integer("version")?;
                Self::SharedCredential { ids: reader.texts("ids")? }
            }
            items::CREDENTIAL => Self::Credential { tenant: TenantKey::recorded(reader.text("tenant")?) },
            items::ACCOUNT => Self::Account(reader.account()?),
            items::REQUEST => {
                reader.record()?;
                Self::Request { path: partition.to_owned(), at: reader.integer("at")? }
            }
            batch_items::CHARGE if is_of_charges => Self::Charge(Box::new(reader.charge()?)),
            app_items::APPLICATION => match reader.application_or_tombstone()? {
                Ok(application) => Self::Application(Box::new(application)),
                Err(since) => Self::ApplicationTombstone {
                    application: application_of(partition)
                        .ok_or_else(|| reader.damaged("it is no application's"))?,
                    since,
                },
            },
            batch_items::GUARD if is_of_charges => {
                let owner = partition.rsplit_once("#batchno#").map(|(tenant, _)| tenant);
                let owner = owner.ok_or_else(|| reader.damaged("it is under no batch number"))?;
                let (batch, fingerprint) = reader.batch_guard()?;
                Self::Number { tenant: TenantKey::recorded(owner), batch, fingerprint }
            }
            app_items::GUARD => Self::Guard { path: partition.to_owned(), guard: Box::new(reader.guard()?) },
            batch_items::MONTHS => {
                let owner = partition.strip_suffix("#batches");
                let owner = owner.ok_or_else(|| reader.damaged("it is no app's"))?;
                Self::Months { tenant: TenantKey::recorded(owner), months: months(item) }
            }
            _ if partition.contains("#batches#") => Self::Batch(Box::new(reader.batch()?)),
            _ => return Err(reader.damaged("the ledger writes no such item")),
        })
    }

    /// Whether an item has what the ledger writes of this content, and nothing else. Of those that are changed in parts,
    /// or have more than is read here, that is not asked.
    fn is_all_of(&self, item: &Item) -> bool {
        match self {
            Self::Account(account) => *item == items::account_item(account),
            Self::Debit(debit) => *item == items::debit_item(debit),
            Self::Tombstone { debit, since } => *item == items::tombstone_item(debit, *since),
            Self::Movement(movement) => *item == items::movement_item(movement),
            Self::Charge(charge) => *item == batch_items::charge_item(charge),
            Self::Application(application) => *item == app_items::application_item(application),
            Self::ApplicationTombstone { application, since } => {
                *item == app_items::tombstone_item(application, *since)
            }
            Self::Failed { application, failed } => *item == app_items::failed_item(application, failed),
            Self::Guard { path, guard } => {
                let merchant = guard.application.merchant.clone();
                let batch = BatchKey { merchant, no: guard.refund.batch_no.clone() };
                // One under another number is told of as that.
                batch.path() != *path || *item == app_items::guard_item(&batch, guard)
            }
            Self::Confirmation { path, confirmation, further } => {
                let Some((merchant, no)) = path.rsplit_once("#batchno#") else { return false };
                let Ok(no) = unescaped(no).parse() else { return false };
                let batch = BatchKey { merchant: TenantKey::recorded(merchant), no };
                let key = match further {
                    Some(_) => app_items::first_confirmation_key(&batch),
                    None => app_items::further_confirmation_key(&batch, confirmation),
                };
                let mut due = app_items::confirmation_item(key, &batch, confirmation);
                due.extend(further.map(app_items::further));
                *item == due
            }
            Self::Tenant { .. }
            | Self::Credential { .. }
            | Self::SharedCredential { .. }
            | Self::KeyOfTenant { .. }
            | Self::Intervention(_)
            | Self::Request { .. }
            | Self::RequestPart { .. }
            | Self::Refund(_)
            | Self::Batch(_)
            | Self::Number { .. }
            | Self::Months { .. } => true,
        }
    }

    /// Where the index must have it: the partition, and the sort key in it.
    pub fn index_due(&self) -> Option<(String, IndexSort)> {
        let named = |sort: &str| IndexSort::Named(sort.to_owned());
        match self {
            Self::Debit(debit) => Some((items::index_partition(&debit.key), named("PAYMENT"))),
            Self::Refund(refund) => Some((batch_items::refund_partition(&refund.id), named("REFUND"))),
            Self::Batch(batch) if batch.state.is_open() => {
                let partition = batch_items::open_partition(batch_items::shard_of(&batch.key));
                Some((partition, IndexSort::Timed(format!("#{}", batch.key.id))))
            }
            Self::Confirmation { path, confirmation, .. } => {
                let (merchant, no) = path.rsplit_once("#batchno#")?;
                let merchant = TenantKey::recorded(merchant);
                let partition = app_items::trade_partition(&merchant, &confirmation.trade_no);
                Some((partition, IndexSort::Named(unescaped(no))))
            }
            _ => None,
        }
    }
}

fn application_of(path: &str) -> Option<ApplicationKey> {
    let (merchant, id) = path.rsplit_once('#')?;
    Some(ApplicationKey { merchant: TenantKey::recorded(merchant), id: id.parse().ok()? })
}
