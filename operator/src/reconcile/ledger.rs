//! What the ledger has of the refunds that a statement is about.

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::Result;
use shared::ledger::{
    Amount, Application, ApplicationState, BatchState, Debit, DebitState, FailedRefund, ItemRefund,
    ItemState, RefundBatch, TenantKey,
};
use shared::store::{Content, Stored};

use super::statement::State;

/// A refund in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refund {
    pub(super) amount: Amount,
    pub(super) state: State,
    /// When it was decided, or else begun, in Unix milliseconds; none if that isn't known.
    pub(super) at: Option<u64>,
}

/// What the ledger has under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Refund(Refund),
    /// A bet in this state, which nobody refunded.
    Unrefunded(&'static str),
}

impl Here {
    pub(super) fn refund(self) -> Option<Refund> {
        match self {
            Self::Refund(refund) => Some(refund),
            Self::Unrefunded(_) => None,
        }
    }
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refund(refund) => f.write_str(refund.state.as_str()),
            Self::Unrefunded(state) => write!(f, "not refunded here ({state})"),
        }
    }
}

/// A tenant's refunds by the ids that statements have: several of one id where several players have such a bet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) by_id: HashMap<String, Vec<Here>>,
    /// Items of the tenant that can't be read.
    pub(super) damaged: u64,
}

impl Ledger {
    pub(super) fn under(&self, id: &str) -> &[Here] {
        self.by_id.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A tenant's refunds, as its items come.
pub(super) struct Gathered<'a> {
    pub(super) tenant: &'a TenantKey,
    /// The ids in the statement.
    pub(super) named: HashSet<&'a str>,
    pub(super) ledger: Ledger,
    /// Refunds of batches, by their ids: how much, and when the batch was made.
    pub(super) begun: HashMap<String, (Amount, u64)>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(tenant: &'a TenantKey, named: impl Iterator<Item = &'a str>) -> Self {
        Self { tenant, named: named.collect(), ledger: Ledger::default(), begun: HashMap::new() }
    }

    pub(super) fn take(&mut self, stored: Stored) -> Result<()> {
        let Stored { partition, content, .. } = stored;
        let Ok(content) = content else {
            let rest = partition.strip_prefix(self.tenant.as_str());
            self.ledger.damaged += u64::from(rest.is_some_and(|rest| rest.starts_with('#')));
            return Ok(());
        };
        match content {
            Content::Debit(debit) if debit.key.account.tenant() == *self.tenant => self.debit(&debit),
            Content::Refund(refund) if refund.charge.tenant == *self.tenant => self.item(&refund)?,
            Content::Batch(batch) if batch.key.tenant == *self.tenant => self.batch(&batch)?,
            Content::Application(application) if application.key.merchant == *self.tenant => {
                self.application(&application);
            }
            Content::Failed { application, failed } if application.merchant == *self.tenant => {
                self.failed(&failed);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn debit(&mut self, debit: &Debit) {
        let id = debit.key.id.as_str();
        let here = match &debit.state {
            DebitState::Refunded(refund) => {
                Here::Refund(Refund { amount: refund.amount, state: State::Succeeded, at: Some(refund.at) })
            }
            // No refund: it matters only if the statement says that there is one.
            _ if !self.named.contains(id) => return,
            state => Here::Unrefunded(state.as_str()),
        };
        self.ledger.by_id.entry(id.to_owned()).or_default().push(here);
    }

    pub(super) fn item(&mut self, refund: &ItemRefund) -> Result<()> {
        let (state, at) = match refund.state {
            ItemState::Succeeded { at } => (State::Succeeded, Some(at)),
            ItemState::Failed { at, .. } => (State::Failed, Some(at)),
            ItemState::Pending { .. } => (State::Pending, None),
        };
        self.put(refund.id.as_str(), Refund { amount: refund.amount.amount()?, state, at });
        Ok(())
    }

    pub(super) fn batch(&mut self, batch: &RefundBatch) -> Result<()> {
        // Nobody was told of these.
        if let BatchState::Creating | BatchState::Void = batch.state {
            return Ok(());
        }
        for item in &batch.items {
            self.begun.insert(item.refund.to_string(), (item.amount.amount()?, batch.at));
        }
        Ok(())
    }

    pub(super) fn application(&mut self, application: &Application) {
        let (refund, state, at) = match &application.state {
            ApplicationState::Done { refund, completion } => (refund, State::Succeeded, completion.at),
            ApplicationState::Processing(refund) => (refund, State::Pending, refund.at),
            ApplicationState::Requested | ApplicationState::Withdrawn(_) => return,
        };
        self.put(refund.batch_no.as_str(), Refund { amount: refund.amount, state, at: Some(at) });
    }

    pub(super) fn failed(&mut self, failed: &FailedRefund) {
        let FailedRefund { refund, at, .. } = failed;
        let failed = Refund { amount: refund.amount, state: State::Failed, at: Some(*at) };
        self.put(refund.batch_no.as_str(), failed);
    }

    /// The one refund of its id. It may have been decided while the table was read: then that counts.
    pub(super) fn put(&mut self, id: &str, refund: Refund) {
        let known = self.ledger.by_id.entry(id.to_owned()).or_default();
        let is_decided = |here: &Here| here.refund().is_some_and(|known| known.state != State::Pending);
        if !known.iter().any(is_decided) {
            *known = vec![Here::Refund(refund)];
        }
    }

    pub(super) fn finish(self) -> Ledger {
        let Self { mut ledger, begun, .. } = self;
        for (id, (amount, at)) in begun {
            let known = ledger.by_id.entry(id).or_default();
            if known.is_empty() {
                known.push(Here::Refund(Refund { amount, state: State::Pending, at: None }));
            }
            for here in known {
                if let Here::Refund(refund) = here {
                    refund.at.get_or_insert(at);
                }
            }
        }
        ledger
    }
}
