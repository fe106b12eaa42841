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
        if stopped.is_some() {
            // A transaction that was to put refusals on record may not have come about.
            refunds.reopen_unrecorded(request, &snapshot);
        }
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
        // Or as good as that.
        let mut is_of_one_moment = false;
        *snapshot = match read {
            Some(read) => read,
            None => self.read_snapshot(read::keys(request)).await?,
        };
        loop {
            refunds.decide(request, snapshot)?;
            let mut before = None;
            while !is_of_one_moment
                && !is_conclusive(request, snapshot, &refunds.verdicts, before.as_ref())
                && !mutants::is_on(Decision::RefusalsAreNotReadAgain)
            {
                before = Some(Progress::of(request, snapshot, &refunds.verdicts));
                is_of_one_moment = self.read_again(request, refunds, snapshot).await?;
            }
            if request.part.is_none() && snapshot.record.is_some() {
                claim.hold();
            }
            let came = self.put_tombstones(request, claim, refunds, snapshot).await?;
            if !came.is_empty() {
                came.iter().try_for_each(|item| items::take_in(snapshot, item))?;
                is_of_one_moment = false;
                continue;
            }
            match self.commit_all(request, claim, refunds, snapshot, is_of_one_moment, &mut backoff).await? {
                Next::ReadAtOnce(too_rich) => {
                    self.read_until_known(request, refunds, snapshot, &too_rich).await?;
                    is_of_one_moment = true;
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
            is_of_one_moment = false;
        }
    }

    /// Reads again, in a transaction, or in several where there is more than one may read: whether it was of one moment.
    async fn read_again(
        &self,
        request: &RefundRequest,
        refunds: &mut Refunds,
        snapshot: &mut Snapshot,
    ) -> Result<bool, Stop> {
        refunds.reopen(request, snapshot);
        let keys = read::keys(request);
        let at_a_time = limits::actions_per_transaction();
        let is_of_one_moment = keys.len() <= at_a_time;
        *snapshot = self.read_snapshot_at_once(keys, at_a_time).await?;
        refunds.decide(request, snapshot)?;
        Ok(is_of_one_moment)
    }

    /// Reads again until what is read is as good as of one moment, also of accounts that seem `too_rich`: of several
    /// transactions, until these haven't moved between two reads, and nothing else has come.
    async fn read_until_known(
        &self,
        request: &RefundRequest,
        refunds: &mut Refunds,
        snapshot: &mut Snapshot,
        too_rich: &[AccountKey],
    ) -> Result<(), Stop> {
        let shown = |refunds: &Refunds, snapshot: &Snapshot| {
            let sequence = |key| snapshot.accounts.get(key).map(|account| account.sequence);
            let sequences: Vec<_> = too_rich.iter().map(sequence).collect();
            (Progress::of(request, snapshot, &refunds.verdicts), sequences)
        };
        loop {
            let before = shown(refunds, snapshot);
            if self.read_again(request, refunds, snapshot).await? || shown(refunds, snapshot) == before {
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
        is_of_one_moment: bool,
        backoff: &mut Backoff,
    ) -> Result<Next, Stop> {
        loop {
            let at = clock::unix_now();
            let actions_max = limits::actions_per_transaction();
            let transaction = plan(request, &mut refunds.verdicts, snapshot, at, actions_max);
            let too_rich = refunds.too_rich(request, snapshot);
            if !is_of_one_moment && !too_rich.is_empty() {
                return Ok(Next::ReadAtOnce(too_rich));
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
    /// These accounts seem to be too rich. They may be so by this very refund, whose debit was read before: that is told,
    /// and put on record, of one moment only.
    ReadAtOnce(Vec<AccountKey>),
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
        self.reopen_unrecorded(request, snapshot);
        for (item, verdict) in request.items.iter().zip(&mut self.verdicts) {
            if is_behind(item, request, snapshot) && !verdict.is_executed_by(request) {
                *verdict = Verdict::Due;
            }
        }
    }

    /// What is refused and not on record may be another attempt's to carry out, unless there is nothing to it.
    fn reopen_unrecorded(&mut self, request: &RefundRequest, snapshot: &Snapshot) {
        for (position, (item, verdict)) in request.items.iter().zip(&mut self.verdicts).enumerate() {
            if matches!(verdict, Verdict::Refused(_))
                && item.asked().is_some()
                && !request.is_recorded(snapshot, position)
            {
                *verdict = Verdict::Due;
            }
        }
    }

    /// The accounts that would become too rich, where that is not on record.
    fn too_rich(&self, request: &RefundRequest, snapshot: &Snapshot) -> Vec<AccountKey> {
        let refused =
            request.items.iter().zip(&self.verdicts).enumerate().filter(|(position, (_, verdict))| {
                **verdict == Verdict::Refused(Refusal::BalanceTooLarge)
                    && !request.is_recorded(snapshot, *position)
            });
        refused.filter_map(|(_, (item, _))| Some(item.asked()?.debit.account.clone())).collect()
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
