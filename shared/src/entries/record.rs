//! Putting entries on record: those about the same thing in their order, the others at the same time.

use std::collections::BTreeMap;

use futures::future::join_all;
use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

use super::{Entry, InvalidEntry, currency_of, tenant_name};
use crate::ledger::{
    AccountEntry, AccountKey, Application, ApplicationKey, ApplicationState, BatchNo, Charge, Currency,
    EntryOutcome, EntryRefusal, OnRecord, Reason, TenantKey,
};
use crate::store::{
    ChargeChange, Creation, Executed, Failing, Session, SettingsCache, StoreError, Withdrawing,
};

/// What became of an entry.
#[derive(Debug, EnumDiscriminants)]
#[strum_discriminants(
    name(OutcomeName),
    doc = "An outcome, as programs know it.",
    derive(IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum Outcome {
    Recorded(OnRecord),
    /// It was on record before.
    Unchanged(OnRecord),
    /// Nothing of it is on record.
    Refused(Refusal),
    /// Not known in time: sent again, it is recorded, or found to be so.
    Undecided(StoreError),
}

/// Why an entry is not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Unreadable(#[from] InvalidEntry),
    #[error("there is no {0}")]
    UnknownTenant(String),
    #[error("{tenant} takes no charges in {currency}")]
    WrongCurrency { tenant: String, currency: Currency },
    #[error(transparent)]
    OfAccount(#[from] EntryRefusal),
    /// Something else is on record under its id.
    #[error("{0}")]
    Different(String),
    #[error("there is no such application")]
    UnknownApplication,
    #[error("the application is {0}")]
    NotRequested(String),
    #[error("no refund is under way under this batch number: the application is {0}")]
    NotUnderWay(String),
    #[error("the payment provider has said that it paid, by trade number {0}")]
    Confirmed(String),
}

/// Why an entry is not recorded, as programs know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RefusalCode {
    BadEntry,
    UnknownTenant,
    UnknownAccount,
    UnknownDebit,
    UnknownApplication,
    InsufficientBalance,
    BalanceTooLarge,
    RefundAsked,
    Refunded,
    Conflict,
    WrongCurrency,
    NotRequested,
    NotUnderWay,
    Confirmed,
}

impl Refusal {
    /// As programs know it.
    pub fn code(&self) -> &'static str {
        let code = match self {
            Self::Unreadable(_) => RefusalCode::BadEntry,
            Self::UnknownTenant(_) => RefusalCode::UnknownTenant,
            Self::WrongCurrency { .. } => RefusalCode::WrongCurrency,
            Self::OfAccount(refusal) => match refusal {
                EntryRefusal::UnknownAccount => RefusalCode::UnknownAccount,
                EntryRefusal::UnknownDebit => RefusalCode::UnknownDebit,
                EntryRefusal::Insufficient { .. } => RefusalCode::InsufficientBalance,
                EntryRefusal::BalanceTooLarge => RefusalCode::BalanceTooLarge,
                EntryRefusal::RefundAsked => RefusalCode::RefundAsked,
                EntryRefusal::Refunded => RefusalCode::Refunded,
                EntryRefusal::Conflict(_) => RefusalCode::Conflict,
            },
            Self::Different(_) => RefusalCode::Conflict,
            Self::UnknownApplication => RefusalCode::UnknownApplication,
            Self::NotRequested(_) => RefusalCode::NotRequested,
            Self::NotUnderWay(_) => RefusalCode::NotUnderWay,
            Self::Confirmed(_) => RefusalCode::Confirmed,
        };
        code.into()
    }
}

/// Puts entries on record, with what it keeps between calls.
#[derive(Debug, Default)]
pub struct Recorder {
    currencies: SettingsCache<TenantKey, Currency>,
}

/// Entries about the same thing, each with its place in the call.
type Group<'a> = Vec<(usize, &'a Entry)>;

impl Recorder {
    /// One outcome for each of `entries`, in their order; and whether anything was put on record.
    ///
    /// Safe to call again with the same entries at any time, and from several processes at once.
    pub async fn record(&self, session: &Session, entries: &[Entry]) -> (Vec<Outcome>, Executed) {
        let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
        for (place, entry) in entries.iter().enumerate() {
            groups.entry(entry.subject()).or_default().push((place, entry));
        }
        let groups = groups.into_values().map(|group| self.record_group(session, group));
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut executed = Executed::No;
        for (group, of_group) in join_all(groups).await {
            outcomes.extend(group);
            executed = match (executed, of_group) {
                (Executed::Yes, _) | (_, Executed::Yes) => Executed::Yes,
                (Executed::Unknown, _) | (_, Executed::Unknown) => Executed::Unknown,
                (Executed::No, Executed::No) => Executed::No,
            };
        }
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        (outcomes.into_iter().map(|(_, outcome)| outcome).collect(), executed)
    }

    async fn record_group(&self, session: &Session, group: Group<'_>) -> (Vec<(usize, Outcome)>, Executed) {
        let account = group.iter().find_map(|(_, entry)| match entry {
            Entry::Wallet { account, .. } | Entry::OfAccount { account, .. } => Some(account),
            _ => None,
        });
        if let Some(account) = account {
            return self.record_account(session, account, &group).await;
        }
        let mut outcomes = Vec::with_capacity(group.len());
        let mut executed = Executed::No;
        for (place, entry) in group {
            let outcome = match entry {
                Entry::Charge(charge) => self.record_charge(session, charge).await,
                Entry::Application(application) => self.record_application(session, application).await,
                Entry::Withdraw { application, reason } => {
                    withdraw(session, application, reason.as_ref()).await
                }
                Entry::Fail { application, batch_no, reason } => {
                    fail(session, application, batch_no, reason.as_ref()).await
                }
                Entry::Wallet { .. } | Entry::OfAccount { .. } => continue,
            };
            let outcome = outcome.unwrap_or_else(Outcome::Undecided);
            match &outcome {
                Outcome::Recorded(_) => executed = Executed::Yes,
                Outcome::Undecided(_) if executed == Executed::No => executed = Executed::Unknown,
                _ => {}
            }
            outcomes.push((place, outcome));
        }
        (outcomes, executed)
    }

    /// What is of one account, in one transaction.
    async fn record_account(
        &self,
        session: &Session,
        account: &AccountKey,
        group: &[(usize, &Entry)],
    ) -> (Vec<(usize, Outcome)>, Executed) {
        let mut outcomes = Vec::with_capacity(group.len());
        let (mut places, mut entries) = (Vec::new(), Vec::new());
        let mut is_stuck = false;
        for (place, entry) in group {
            let entry = match entry {
                // On top of what is not known nothing can be decided.
                _ if is_stuck => Err(Outcome::Undecided(StoreError::DeadlinePassed { cause: None })),
                Entry::OfAccount { entry, .. } => Ok(entry.clone()),
                Entry::Wallet { channel, balance, .. } => {
                    let currency = self.currency(session, &channel.tenant()).await;
                    currency.map(|currency| AccountEntry::Opening { currency, balance: *balance })
                }
                _ => continue,
            };
            match entry {
                Ok(entry) => {
                    places.push(*place);
                    entries.push(entry);
                }
                Err(outcome) => {
                    is_stuck |= matches!(outcome, Outcome::Undecided(_));
                    outcomes.push((*place, outcome));
                }
            }
        }
        let recorded = session.record_entries(account, &entries).await;
        let mut trouble = recorded.trouble;
        let told = recorded.outcomes.into_iter().map(|outcome| match outcome {
            EntryOutcome::Recorded(on_record) => Outcome::Recorded(on_record),
            EntryOutcome::Unchanged(on_record) => Outcome::Unchanged(on_record),
            EntryOutcome::Refused(refusal) => Outcome::Refused(refusal.into()),
            // What stood in the way is told with the first of those that it held up.
            EntryOutcome::Undecided => {
                Outcome::Undecided(trouble.take().unwrap_or(StoreError::DeadlinePassed { cause: None }))
            }
        });
        outcomes.extend(places.into_iter().zip(told));
        (outcomes, recorded.executed)
    }

    async fn record_charge(&self, session: &Session, charge: &Charge) -> Result<Outcome, StoreError> {
        match self.currency(session, &charge.key.tenant).await {
            Ok(currency) if currency == charge.currency => {}
            Ok(_) => {
                let (tenant, currency) = (tenant_name(&charge.key.tenant), charge.currency.clone());
                return Ok(Outcome::Refused(Refusal::WrongCurrency { tenant, currency }));
            }
            Err(outcome) => return Ok(outcome),
        }
        Ok(match session.record_charge(charge).await? {
            ChargeChange::Created | ChargeChange::Paid => RECORDED,
            ChargeChange::Unchanged => UNCHANGED,
            ChargeChange::Different(difference) => {
                Outcome::Refused(Refusal::Different(format!("the charge {difference}")))
            }
        })
    }

    async fn record_application(
        &self,
        session: &Session,
        application: &Application,
    ) -> Result<Outcome, StoreError> {
        if let Err(outcome) = self.currency(session, &application.key.merchant).await {
            return Ok(outcome);
        }
        Ok(match session.create_application(application).await? {
            Creation::Created => RECORDED,
            Creation::Existing(there) => match there.difference(application) {
                None => UNCHANGED,
                Some(difference) => {
                    Outcome::Refused(Refusal::Different(format!("the application {difference}")))
                }
            },
        })
    }

    /// A tenant's currency, at most [`crate::limits::SETTINGS_CACHED`] old: it is never another one.
    ///
    /// # Errors
    /// What an entry comes to whose tenant is not there, or can't be read.
    async fn currency(&self, session: &Session, tenant: &TenantKey) -> Result<Currency, Outcome> {
        let read = session.settings_as(tenant, |settings| currency_of(tenant, settings));
        match self.currencies.get(tenant, read).await {
            Ok(Some(currency)) => Ok((*currency).clone()),
            Ok(None) => Err(Outcome::Refused(Refusal::UnknownTenant(tenant_name(tenant)))),
            Err(trouble) => Err(Outcome::Undecided(trouble)),
        }
    }
}

const RECORDED: Outcome = Outcome::Recorded(OnRecord { posting: None, debit: None });
const UNCHANGED: Outcome = Outcome::Unchanged(OnRecord { posting: None, debit: None });

async fn withdraw(
    session: &Session,
    application: &ApplicationKey,
    reason: Option<&Reason>,
) -> Result<Outcome, StoreError> {
    Ok(match session.withdraw(application, reason.map(Reason::as_str)).await? {
        Withdrawing::Withdrawn => RECORDED,
        Withdrawing::Before(_) => UNCHANGED,
        Withdrawing::Refused(state) => Outcome::Refused(Refusal::NotRequested(in_words(&state))),
        Withdrawing::Unknown => Outcome::Refused(Refusal::UnknownApplication),
    })
}

async fn fail(
    session: &Session,
    application: &ApplicationKey,
    batch_no: &BatchNo,
    reason: Option<&Reason>,
) -> Result<Outcome, StoreError> {
    Ok(match session.fail(application, batch_no, reason.map(Reason::as_str), &[]).await? {
        Failing::Failed(_) => RECORDED,
        Failing::Before(_) => UNCHANGED,
        Failing::Confirmed(said) => Outcome::Refused(Refusal::Confirmed(said.trade_no.to_string())),
        Failing::NotUnderWay(state) => Outcome::Refused(Refusal::NotUnderWay(in_words(&state))),
        Failing::Unknown => Outcome::Refused(Refusal::UnknownApplication),
    })
}

fn in_words(state: &ApplicationState) -> String {
    match state {
        ApplicationState::Requested => "requested".to_owned(),
        ApplicationState::Processing(refund) => {
            format!("being processed, under batch number {}", refund.batch_no)
        }
        ApplicationState::Done { refund, .. } => format!("done, under batch number {}", refund.batch_no),
        ApplicationState::Withdrawn(_) => "withdrawn".to_owned(),
    }
}
