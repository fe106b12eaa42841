//! Carrying out a request for refunds: read, decide, write; and again where the ledger has moved.

use std::collections::HashMap;
use std::time::SystemTime;

use super::deadline::Backoff;
use super::transact::Commit;
use super::{Session, StoreError};
use crate::clock::unix_milliseconds;
use crate::ledger::{Account, AccountKey, KeyReused, RefundRequest, Verdict, decide, plan};
use crate::limits;

/// What a request for refunds came to.
#[derive(Debug)]
pub struct Refunds {
    /// One for each item, in the request's order. [`Verdict::Due`] is undecided: the deadline came first,
    /// and sending the request again completes it.
    pub verdicts: Vec<Verdict>,
    /// The accounts as last seen; none where the table could not be read.
    pub accounts: HashMap<AccountKey, Account>,
    pub executed: Executed,
    /// Why items stayed undecided, where something stood in the way. For logs.
    pub cause: Option<String>,
}

/// Whether this attempt moved money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    Yes,
    No,
    /// A transaction was sent and its answer never came.
    Unknown,
}

impl Executed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// Trouble that trying again soon won't mend. What was written before it stays, and is consistent:
    /// sending the request again completes it.
    #[error("{cause}")]
    Store { cause: StoreError, executed: Executed },
}

impl Session {
    /// Refunds what is due of `request`, once, and says what became of every item.
    ///
    /// Two round trips where nothing collides, one for a replay or a refusal. Safe to call again with the
    /// same request at any time, and from several processes at once.
    ///
    /// # Errors
    /// [`RefundError::KeyReused`] if another request was executed under its key: then nothing is written.
    pub async fn refund(&self, request: &RefundRequest) -> Result<Refunds, RefundError> {
        let undecided = vec![Verdict::Due; request.items.len()];
        let mut refunds =
            Refunds { verdicts: undecided, accounts: HashMap::new(), executed: Executed::No, cause: None };
        let mut sent_without_answer = false;
        let mut backoff = Backoff::default();

        'read: loop {
            let mut snapshot = match self.read_snapshot(request).await {
                Ok(snapshot) => snapshot,
                Err(StoreError::DeadlinePassed { cause }) => {
                    refunds.cause = cause;
                    break 'read;
                }
                Err(cause) => return Err(RefundError::Store { cause, executed: refunds.executed }),
            };
            loop {
                let mut verdicts = decide(request, &snapshot)?;
                if sent_without_answer && verdicts.iter().any(|verdict| is_of(verdict, request)) {
                    refunds.executed = Executed::Yes;
                }
                let at = unix_milliseconds(SystemTime::now());
                let actions_max = limits::ACTIONS_PER_TRANSACTION_MAX;
                let transaction = plan(request, &mut verdicts, &snapshot, at, actions_max);
                refunds.verdicts = verdicts;
                refunds.accounts.clone_from(&snapshot.accounts);
                let Some(transaction) = transaction else {
                    return Ok(refunds);
                };
                let committed = self.commit(&transaction).await;
                match committed.map_err(|cause| RefundError::Store { cause, executed: refunds.executed })? {
                    Commit::Done => {
                        transaction.apply(&mut snapshot);
                        refunds.executed = Executed::Yes;
                        sent_without_answer = false;
                        backoff = Backoff::default();
                    }
                    Commit::Moved => {
                        refunds.cause = Some("others were writing to the same account".to_owned());
                        break;
                    }
                    Commit::Unknown(cause) => {
                        refunds.cause = Some(cause);
                        sent_without_answer = true;
                        break;
                    }
                }
            }
            if !backoff.pause(self.deadline).await {
                break 'read;
            }
        }
        if sent_without_answer && refunds.executed == Executed::No {
            refunds.executed = Executed::Unknown;
        }
        Ok(refunds)
    }
}

fn is_of(verdict: &Verdict, request: &RefundRequest) -> bool {
    matches!(verdict, Verdict::Refunded(refund) if refund.request == request.key)
}
