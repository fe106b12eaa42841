//! Carrying out a request for refunds: read, decide, write; and again where the ledger has moved.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::claim::Claim;
use super::deadline::Backoff;
use super::error::Stop;
use super::transact::Commit;
use super::{Session, StoreError, items, read};
use crate::clock;
use crate::ledger::{
    Account, AccountKey, DebitKey, KeyReused, Progress, RefundRequest, Refusal, Snapshot, Verdict, decide,
    is_behind, is_conclusive, plan, tombstones_due,
};
use crate::limits;
use crate::mutants::{self, Decision};

/// What a request for refunds came to.
#[derive(Debug)]
pub struct Refunds {
    /// One for each item, in the request's order. [`Verdict::Due`] is undecided: the deadline came first,
    /// and sending the request again completes it.
    pub verdicts: Vec<Verdict>,
    /// The accounts as last seen; none where the table could not be read.
    pub accounts: HashMap<AccountKey, Account>,
    pub executed: Executed,
    /// What stood in the way, where items stayed undecided. What was written before it stays, and is
    /// consistent: sending the request again completes it.
    pub trouble: Option<StoreError>,
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
    /// A transaction without an answer that left no trace has not happened, and can't any more: nothing
    /// that it was for is still due.
    fn where_all_is_decided(self) -> Self {
        if self == Self::Unknown { Self::No } else { self }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl Session {
    /// Refunds what is due of `request`, once, and says what became of every item.
    ///
    /// Two round trips where nothing collides, one for a replay or a refusal. Safe to call again with the
    /// same request at any time, and from several processes at once.
    ///
    /// # Errors
    /// If another request was executed under its key: then no money moves.
    pub async fn refund(&self, request: &RefundRequest) -> Result<Refunds, KeyReused> {
        self.refund_part(request, &Claim::new(request), Refunds::undecided(request), None).await
    }

    /// Refunds what is due of a part, from what is known of it: `refunds`, of an attempt that was broken off,
    /// and `read`, what the ledger holds of it, where that was read just now.
    pub(super) async fn refund_part(
        &self,
        request: &RefundRequest,
        claim: &Claim<'_>,
        mut refunds: Refunds,
        read: Option<Snapshot>,
    ) -> Result<Refunds, KeyReused> {
        let mut snapshot = Snapshot::default();
        let stopped = self.carry_out(request, claim, read, &mut refunds, &mut snapshot).await.err();
        refunds.accounts = snapshot.accounts;
        if request.part.is_none() {
            claim.leave();
        }
        refunds.trouble = match stopped {
            None => None,
            Some(Stop::KeyReused(reused)) => return Err(reused),
            Some(Stop::Store(trouble)) => Some(trouble),
        };
        Ok(refunds)
    }

    /// Works until nothing is due; `refunds` and `snapshot` always hold what is known so far.
    async fn carry_out(
        &self,
        request: &RefundRequest,
        claim: &Claim<'_>,
        read: Option<Snapshot>,
        refunds: &mut Refunds,
        snapshot: &mut Snapshot,
    ) -> Result<(), Stop> {
        let mut backoff = Backoff::default();
        let mut is_sure = false;
        *snapshot = match read {
            Some(read) => read,
            None => self.read_snapshot(read::keys(request)).await?,
        };
        loop {
            refunds.decide(request, snapshot)?;
            if !is_sure
                && !is_conclusive(request, snapshot, &refunds.verdicts)
                && !mutants::is_on(Decision::RefusalsAreNotReadAgain)
            {
                self.read_surely(request, refunds, snapshot).await?;
                is_sure = true;
            }
            if request.part.is_none() && snapshot.record.is_some() {
                claim.hold();
            }
            let came = self.put_tombstones(request, claim, refunds, snapshot).await?;
            if !came.is_empty() {
                came.iter().try_for_each(|item| items::take_in(snapshot, item))?;
                is_sure = false;
                continue;
            }
            match self.commit_all(request, claim, refunds, snapshot, is_sure, &mut backoff).await? {
                Next::ReadSurely => {
                    self.read_surely(request, refunds, snapshot).await?;
                    is_sure = true;
                    continue;
                }
                Next::Done => {
                    refunds.executed = refunds.executed.where_all_is_decided();
                    return Ok(());
                }
                Next::DecideWith(now) => now.iter().try_for_each(|item| items::take_in(snapshot, item))?,
                Next::ReadAgain => {
                    *snapshot = self.read_snapshot(read::keys(request)).await?;
                }
            }
            is_sure = false;
        }
    }

    /// Reads what can be told as it is: at one moment, or, of more keys than can be read so, until nothing has come to
    /// it between two reads.
    async fn read_surely(
        &self,
        request: &RefundRequest,
        refunds: &mut Refunds,
        snapshot: &mut Snapshot,
    ) -> Result<(), Stop> {
        loop {
            let before = Progress::of(request, snapshot, &refunds.verdicts);
            refunds.reopen(request, snapshot);
            let keys = read::keys(request);
            let is_of_one_moment = keys.len() <= limits::KEYS_PER_READ_MAX;
            *snapshot = self.read_snapshot_at_once(keys).await?;
            refunds.decide(request, snapshot)?;
            if is_of_one_moment || Progress::of(request, snapshot, &refunds.verdicts) == before {
                return Ok(());
            }
        }
    }

    /// Commits what is due, one transaction after another, until nothing is due or one was not done.
    async fn commit_all(
        &self,
        request: &RefundRequest,
        claim: &Claim<'_>,
        refunds: &mut Refunds,
        snapshot: &mut Snapshot,
        is_sure: bool,
        backoff: &mut Backoff,
    ) -> Result<Next, Stop> {
        loop {
            let at = clock::unix_now();
            let actions_max = limits::actions_per_transaction();
            let transaction = plan(request, &mut refunds.verdicts, snapshot, at, actions_max);
            if !is_sure && refunds.rest_on_a_balance(request, snapshot) {
                return Ok(Next::ReadSurely);
            }
            let Some(transaction) = transaction else { return Ok(Next::Done) };

            if request.part.is_some() && !mutants::is_on(Decision::KeyIsNotClaimed) {
                claim.make_sure(self).await?;
            }
            let sent = Instant::now();
            let mut commit = self.commit(request, &transaction).await;
            if mutants::is_on(Decision::RefundWithoutAnswerIsDone) && matches!(commit, Ok(Commit::Unknown(_)))
            {
                commit = Ok(Commit::Done);
            }
            if request.part.is_none() {
                if matches!(commit, Ok(Commit::Done)) { claim.hold() } else { claim.leave() }
            }
            // Whatever else came back: an earlier attempt of the SDK's may have been carried out.
            let moves_money = !transaction.refunds.is_empty();
            if moves_money
                && refunds.executed == Executed::No
                && !matches!(commit, Ok(Commit::Done | Commit::Moved(_)))
            {
                refunds.executed = Executed::Unknown;
            }
            let (has_time, cause) = match commit? {
                Commit::Done => {
                    for (_, refund) in &transaction.refunds {
                        self.count_refund(&request.currency, refund.amount.value());
                    }
                    transaction.apply(request, snapshot, &mut refunds.verdicts);
                    if moves_money {
                        refunds.executed = Executed::Yes;
                    }
                    *backoff = Backoff::default();
                    continue;
                }
                Commit::Moved(now) if backoff.may_retry_at_once(sent.elapsed()) => {
                    return Ok(Next::DecideWith(now));
                }
                Commit::Moved(_) | Commit::Refused => {
                    let has_time = backoff.pause_after_race(self).await;
                    (has_time, "others were writing to the same items".to_owned())
                }
                Commit::Unknown(cause) => (backoff.pause(self).await, cause),
            };
            if !has_time {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) }.into());
            }
            return Ok(Next::ReadAgain);
        }
    }
}

/// What follows on transactions.
enum Next {
    /// Nothing: all is decided.
    Done,
    /// Decide again with these items, as a refusal showed them a moment ago.
    DecideWith(Vec<items::Item>),
    /// An account seems to be too rich. It may be so by this very refund, whose debit was read before: that is told, and
    /// put on record, only of what was read surely.
    ReadSurely,
    /// It has waited, and what it knows is old.
    ReadAgain,
}

impl Refunds {
    pub(super) fn undecided(request: &RefundRequest) -> Self {
        Self {
            verdicts: vec![Verdict::Due; request.items.len()],
            accounts: HashMap::new(),
            executed: Executed::No,
            trouble: None,
        }
    }

    /// Until it is read again nobody can say whether these are refused, or which balance stands beside these.
    fn reopen(&mut self, request: &RefundRequest, snapshot: &Snapshot) {
        for (item, verdict) in request.items.iter().zip(&mut self.verdicts) {
            let is_refused = matches!(verdict, Verdict::Refused(_));
            if is_refused || (is_behind(item, snapshot) && !verdict.is_executed_by(request)) {
                *verdict = Verdict::Due;
            }
        }
    }

    /// Whether something is refused because its account is too rich, and not on record so.
    fn rest_on_a_balance(&self, request: &RefundRequest, snapshot: &Snapshot) -> bool {
        let mut verdicts = self.verdicts.iter().enumerate();
        verdicts.any(|(position, verdict)| {
            *verdict == Verdict::Refused(Refusal::BalanceTooLarge) && !request.is_recorded(snapshot, position)
        })
    }

    /// Until its tombstone is there nobody can say that a debit is not: it may be taken at any time.
    pub(super) fn reopen_without_tombstone(&mut self, request: &RefundRequest, snapshot: &Snapshot, at: u64) {
        let due = tombstones_due(request, snapshot, &self.verdicts, at);
        let due: HashSet<&DebitKey> = due.into_iter().collect();
        for (item, verdict) in request.items.iter().zip(&mut self.verdicts) {
            if item.asked().is_some_and(|asked| due.contains(&asked.debit)) {
                *verdict = Verdict::Due;
            }
        }
    }

    /// Takes the verdicts of `snapshot`; a transaction whose answer was lost shows in them.
    fn decide(&mut self, request: &RefundRequest, snapshot: &Snapshot) -> Result<(), KeyReused> {
        self.verdicts = decide(request, snapshot)?;
        let is_executed = || self.verdicts.iter().any(|verdict| verdict.is_executed_by(request));
        if self.executed == Executed::Unknown && is_executed() {
            self.executed = Executed::Yes;
        }
        Ok(())
    }
}
