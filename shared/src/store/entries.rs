//! Recording what the operator's own systems say of an account: read, decide, write together what is of one account;
//! and again where the ledger has moved.

use std::collections::{BTreeSet, HashSet};

use tokio::time::Instant;

use super::change::{Change, Changed, PutCondition};
use super::deadline::Backoff;
use super::items::{self, Item};
use super::transact::{Action, Commit};
use super::{Executed, Session, StoreError};
use crate::clock;
use crate::ledger::{
    AccountEntry, AccountKey, Debit, DebitKey, DebitState, DebitWas, EntryOutcome, Hash, MovementKey,
    Recording, decide_entries, rests_on_the_balance,
};
use crate::limits;
use crate::mutants::{self, Decision};

/// What entries came to.
#[derive(Debug)]
pub struct Recorded {
    /// One for each entry, in their order.
    pub outcomes: Vec<EntryOutcome>,
    /// Whether this call has put anything on record.
    pub executed: Executed,
    /// What stood in the way, where entries stayed undecided. Recording them again is safe, and completes them.
    pub trouble: Option<StoreError>,
}

impl Session {
    /// Records what is said of one account, each entry once, on top of those before it.
    ///
    /// Those that are recorded happen together or not at all; those that are refused change nothing, and hold up none
    /// of the others. (More than [`limits::ENTRIES_PER_TRANSACTION_MAX`] are recorded in several steps, in order.) Two
    /// round trips where nothing collides, one where all is on record. Safe to call again with the same entries at any
    /// time, and from several processes at once: what is on record stays as it is.
    ///
    /// # Examples
    ///
    /// A bet takes its stake; once it was played it is settled, and then pays out. What depends on an entry follows in a
    /// call of its own: a refused one holds up none of the others.
    ///
    /// ```
    /// use shared::ebet::ChannelId;
    /// use shared::ledger::{AccountEntry, Direction, EntryOutcome};
    /// use shared::store::Session;
    ///
    /// /// Whether the bet may be played: its stake was taken, and is not given back.
    /// async fn place(session: &Session) -> Result<bool, Box<dyn std::error::Error>> {
    ///     let wallet = ChannelId(1).wallet(&"player1".parse()?);
    ///     let (id, round) = ("bet-1".parse()?, "B1-1".parse()?);
    ///     let stake = AccountEntry::Debit { id, round, amount: "10.50".parse()? };
    ///     let recorded = session.record_entries(&wallet, &[stake]).await;
    ///     Ok(match recorded.outcomes.first() {
    ///         Some(EntryOutcome::Recorded(_)) => true,
    ///         Some(EntryOutcome::Unchanged(bet)) => bet.debit.is_some_and(|debit| debit.state == "open"),
    ///         Some(EntryOutcome::Refused(refusal)) => {
    ///             println!("refused: {refusal}");
    ///             false
    ///         }
    ///         Some(EntryOutcome::Undecided) | None => return Err("record it again".into()),
    ///     })
    /// }
    ///
    /// async fn pay_out(session: &Session) -> Result<(), Box<dyn std::error::Error>> {
    ///     let wallet = ChannelId(1).wallet(&"player1".parse()?);
    ///     let settlement = AccountEntry::Settlement { id: "bet-1".parse()? };
    ///     let settled = session.record_entries(&wallet, &[settlement]).await;
    ///     let Some(EntryOutcome::Recorded(_) | EntryOutcome::Unchanged(_)) = settled.outcomes.first() else {
    ///         return Err("not settled: refunded, or to be recorded again".into());
    ///     };
    ///     let payout = AccountEntry::Movement {
    ///         id: "payout-of-bet-1".parse()?,
    ///         direction: Direction::Credit,
    ///         amount: "21".parse()?,
    ///         reason: "payout".parse()?,
    ///     };
    ///     session.record_entries(&wallet, &[payout]).await;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A wallet is opened with its first deposit, in one step:
    ///
    /// ```
    /// use shared::ebet::ChannelId;
    /// use shared::ledger::{AccountEntry, Balance, Direction};
    /// use shared::store::{Recorded, Session};
    ///
    /// async fn open(session: &Session) -> Result<Recorded, Box<dyn std::error::Error>> {
    ///     let wallet = ChannelId(1).wallet(&"player2".parse()?);
    ///     let opening = AccountEntry::Opening { currency: "CNY".parse()?, balance: "0".parse::<Balance>()? };
    ///     let deposit = AccountEntry::Movement {
    ///         id: "deposit-1".parse()?,
    ///         direction: Direction::Credit,
    ///         amount: "100".parse()?,
    ///         reason: "deposit".parse()?,
    ///     };
    ///     Ok(session.record_entries(&wallet, &[opening, deposit]).await)
    /// }
    /// ```
    pub async fn record_entries(&self, account: &AccountKey, entries: &[AccountEntry]) -> Recorded {
        let mut recorded =
            Recorded { outcomes: Vec::with_capacity(entries.len()), executed: Executed::No, trouble: None };
        for step in entries.chunks(limits::ENTRIES_PER_TRANSACTION_MAX) {
            match self.record_together(account, step, &mut recorded.executed).await {
                Ok(outcomes) => recorded.outcomes.extend(outcomes),
                Err(trouble) => {
                    recorded.trouble = Some(trouble);
                    break;
                }
            }
        }
        recorded.outcomes.resize(entries.len(), EntryOutcome::Undecided);
        recorded
    }

    async fn record_together(
        &self,
        account: &AccountKey,
        entries: &[AccountEntry],
        executed: &mut Executed,
    ) -> Result<Vec<EntryOutcome>, StoreError> {
        let mut backoff = Backoff::default();
        let keys = || keys(account, entries);
        let mut snapshot = self.read_snapshot(keys()).await?;
        let mut is_of_one_moment = false;
        // The hashes of the postings that were sent without an answer.
        let mut sent_before: HashSet<Hash> = HashSet::new();
        loop {
            let at = clock::unix_now();
            let (mut outcomes, recording) = decide_entries(account, entries, &snapshot, at);
            if rests_on_the_balance(&outcomes)
                && !is_of_one_moment
                && !mutants::is_on(Decision::LackOfMoneyIsNotReadAgain)
            {
                snapshot = self.read_snapshot_at_once(keys(), limits::ACTIONS_PER_TRANSACTION_MAX).await?;
                is_of_one_moment = true;
                continue;
            }
            // What was sent without an answer is on record by now, or never will be.
            let is_ours = recognise(&mut outcomes, &sent_before);
            if recording.is_empty() {
                // What has no posting can't be told from another call's.
                let may_be_ours = |outcome: &EntryOutcome| match outcome {
                    EntryOutcome::Unchanged(on_record) => on_record.posting.is_none(),
                    _ => false,
                };
                if *executed == Executed::Unknown && is_ours {
                    *executed = Executed::Yes;
                } else if *executed == Executed::Unknown && !outcomes.iter().any(may_be_ours) {
                    *executed = Executed::No;
                }
                return Ok(outcomes);
            }
            let sent = Instant::now();
            let mut commit = self.commit_entries(&recording).await;
            if mutants::is_on(Decision::EntryWithoutAnswerIsDone) && matches!(commit, Ok(Commit::Unknown(_)))
            {
                commit = Ok(Commit::Done);
            }
            if *executed == Executed::No && !matches!(commit, Ok(Commit::Done | Commit::Moved(_))) {
                *executed = Executed::Unknown;
            }
            let (has_time, cause) = match commit? {
                Commit::Done => {
                    *executed = Executed::Yes;
                    return Ok(outcomes);
                }
                Commit::Moved(now) if backoff.may_retry_at_once(sent.elapsed()) => {
                    now.iter().try_for_each(|item| items::take_in(&mut snapshot, item))?;
                    is_of_one_moment = false;
                    continue;
                }
                Commit::Moved(_) | Commit::Refused => {
                    let has_time = backoff.pause_after_race(self).await;
                    (has_time, "others were writing to the same items".to_owned())
                }
                Commit::Unknown(cause) => {
                    sent_before.extend(recording.hashes());
                    (backoff.pause(self).await, cause)
                }
            };
            if !has_time {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
            snapshot = self.read_snapshot(keys()).await?;
            is_of_one_moment = false;
        }
    }

    async fn commit_entries(&self, recording: &Recording) -> Result<Commit, StoreError> {
        if let Recording { account: None, debits, movements } = recording
            && let ([(DebitWas::Open, debit)], []) = (&debits[..], &movements[..])
        {
            // By itself it needs no transaction, and costs half.
            return Ok(match self.change(&settling(debit)).await? {
                Changed::Done => Commit::Done,
                Changed::Refused(Some(item)) => Commit::Moved(vec![item]),
                Changed::Refused(None) => Commit::Refused,
            });
        }
        let account = recording.account.iter().map(|(before, account)| match before {
            Some(sequence) => self.move_account(*sequence, account),
            None => self.new_item(items::account_item(account)),
        });
        let debits = recording.debits.iter().map(|(was, debit)| match was {
            DebitWas::Absent => self.new_item(items::debit_item(debit)),
            DebitWas::Asked => self.put_if(items::debit_item(debit), PutCondition::asked()),
            DebitWas::Open => Ok((settling(debit).action(self.store.table())?, items::debit_item(debit))),
        });
        let movements =
            recording.movements.iter().map(|movement| self.new_item(items::movement_item(movement)));
        let actions = account.chain(debits).chain(movements).collect::<Result<_, _>>()?;
        self.transact(actions).await.map(Commit::from)
    }

    fn new_item(&self, item: Item) -> Result<Action, StoreError> {
        self.put_if(item, PutCondition::absent())
    }

    fn put_if(&self, item: Item, condition: PutCondition) -> Result<Action, StoreError> {
        Ok((self.put_action_if(&item, Some(condition))?, item))
    }
}

/// The keys of the account, and of what is on record under the entries' ids: no more than one read of one moment takes.
fn keys(account: &AccountKey, entries: &[AccountEntry]) -> Vec<Item> {
    let (mut debits, mut movements) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        match entry {
            AccountEntry::Opening { .. } => {}
            AccountEntry::Debit { id, .. }
            | AccountEntry::PastDebit { id, .. }
            | AccountEntry::Settlement { id } => {
                debits.insert(DebitKey { account: account.clone(), id: id.clone() });
            }
            AccountEntry::Movement { id, .. } => {
                movements.insert(MovementKey { account: account.clone(), id: id.clone() });
            }
        }
    }
    let debits = debits.iter().map(items::debit_key);
    let movements = movements.iter().map(items::movement_key);
    // A settlement moves no money: the account has nothing to do with it.
    let is_of_account = |entry: &AccountEntry| !matches!(entry, AccountEntry::Settlement { .. });
    let account = entries.iter().any(is_of_account).then(|| items::account_key(account));
    account.into_iter().chain(debits).chain(movements).collect()
}

/// Makes those of `outcomes` recorded ones whose postings this call has sent before; whether there are any.
fn recognise(outcomes: &mut [EntryOutcome], sent: &HashSet<Hash>) -> bool {
    let mut is_ours = false;
    for outcome in outcomes {
        if let EntryOutcome::Unchanged(on_record) = outcome
            && on_record.posting.as_ref().is_some_and(|posting| sent.contains(&posting.hash))
        {
            *outcome = EntryOutcome::Recorded(on_record.clone());
            is_ours = true;
        }
    }
    is_ours
}

/// The debit's way from open to settled.
fn settling(debit: &Debit) -> Change {
    Change {
        key: items::debit_key(&debit.key),
        expression: "SET #state = :settled",
        condition: Some("#state = :open"),
        name: Some(("#state", "state".to_owned())),
        values: Item::from([
            items::text(":open", DebitState::Open.as_str()),
            items::text(":settled", DebitState::Settled.as_str()),
        ]),
    }
}
