//! Deciding what the operator's own systems say of an account: bets taken and played, money that comes and goes. Pure
//! functions: from the entries and what the ledger holds to one outcome an entry, and to the changes that carry all
//! of them out together.

use std::collections::BTreeMap;

use super::{
    Account, AccountKey, Amount, Balance, Cause, Currency, Debit, DebitDifference, DebitId, DebitKey,
    DebitState, Direction, Hash, InvalidMoney, Movement, MovementId, MovementKey, Posting, PostingFacts,
    Reason, RoundCode, Snapshot, Taking,
};

/// What is said of an account. Said again, it changes nothing: each has an id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEntry {
    /// It begins.
    Opening { currency: Currency, balance: Balance },
    /// A bet takes its stake now. Refused where the balance doesn't hold it, and where its refund was asked for before.
    Debit { id: DebitId, round: RoundCode, amount: Amount },
    /// A bet whose stake was gone before the account was opened: no money moves.
    PastDebit { id: DebitId, round: RoundCode, amount: Amount, is_settled: bool },
    /// A bet was played: no refund any more.
    Settlement { id: DebitId },
    /// Money comes in or leaves that is no bet's.
    Movement { id: MovementId, direction: Direction, amount: Amount, reason: Reason },
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryOutcome {
    Recorded(OnRecord),
    /// It was on record before: by another call, by an entry before it, or by an attempt of this call whose answer was lost.
    Unchanged(OnRecord),
    /// Nothing of it is on record.
    Refused(EntryRefusal),
    /// Not known in time: said again, it is recorded, or found to be so.
    Undecided,
}

/// What is on record of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnRecord {
    /// Of what moves money.
    pub posting: Option<Posting>,
    /// Of a debit or its settlement.
    pub debit: Option<DebitNow>,
}

/// How a debit is now, whatever it was when it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitNow {
    /// `open`, `settled` or `refunded`.
    pub state: &'static str,
    /// Its refund was asked for before it was on record, and refused because it was not there. It is open: asked for
    /// under a new number, it is refunded.
    pub is_due: bool,
}

impl OnRecord {
    fn of_debit(debit: &Debit) -> Self {
        let debit_now = DebitNow { state: debit.state.as_str(), is_due: debit.is_due() };
        let posting = debit.taken.as_ref().map(|taking| taking.posting.clone());
        Self { posting, debit: Some(debit_now) }
    }

    /// A settlement posts nothing.
    fn of_settlement(debit: &Debit) -> Self {
        Self { posting: None, ..Self::of_debit(debit) }
    }

    fn of_movement(movement: &Movement) -> Self {
        Self { posting: Some(movement.posting.clone()), debit: None }
    }
}

/// Why an entry is not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryRefusal {
    #[error("there is no such account")]
    UnknownAccount,
    #[error("there is no such debit")]
    UnknownDebit,
    #[error("the balance is {balance}")]
    Insufficient { balance: Balance },
    #[error("the balance would be more than the ledger holds")]
    BalanceTooLarge,
    /// A debit that comes late: its bet has failed, and its refund was refused because nothing was taken.
    #[error("its refund was asked for before")]
    RefundAsked,
    /// A settlement that comes late.
    #[error("the debit was refunded")]
    Refunded,
    /// Something else is on record under its id.
    #[error("{0}")]
    Conflict(Conflict),
}

/// What is on record instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("the account was opened with {balance} {currency}")]
    Opening { balance: Balance, currency: Currency },
    #[error("the debit of this id {0}")]
    Debit(DebitDifference),
    #[error("the movement of this id is a {} of {amount}, for {reason}", .direction.as_str())]
    Movement { direction: Direction, amount: Amount, reason: Reason },
}

/// What a debit was when it was read: what is written over it must still be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebitWas {
    Absent,
    /// A tombstone: its refund was asked for.
    Asked,
    Open,
}

/// Changes of one account that happen together or not at all, if the ledger still is as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// The account as it will be; it moves only from the sequence beside it, or, of a new one, is opened.
    pub account: Option<(Option<u64>, Account)>,
    pub debits: Vec<(DebitWas, Debit)>,
    /// New ones.
    pub movements: Vec<Movement>,
}

impl Recording {
    /// The hashes of its postings.
    pub fn hashes(&self) -> impl Iterator<Item = Hash> {
        let takings = self.debits.iter().filter_map(|(_, debit)| Some(debit.taken.as_ref()?.posting.hash));
        takings.chain(self.movements.iter().map(|movement| movement.posting.hash))
    }

    pub fn is_empty(&self) -> bool {
        self.account.is_none() && self.debits.is_empty() && self.movements.is_empty()
    }
}

/// One outcome for each of `entries`, in their order, each on top of those before it; and the changes that make those
/// that are recorded so. `at` is the time, in Unix milliseconds.
pub fn decide_entries(
    account: &AccountKey,
    entries: &[AccountEntry],
    snapshot: &Snapshot,
    at: u64,
) -> (Vec<EntryOutcome>, Recording) {
    let mut draft = Draft {
        key: account,
        at,
        snapshot,
        account: snapshot.accounts.get(account).cloned(),
        debits: BTreeMap::new(),
        movements: BTreeMap::new(),
    };
    let outcomes = entries
        .iter()
        .map(|entry| match draft.take_in(entry) {
            Ok(outcome) => outcome,
            Err(refusal) => EntryOutcome::Refused(refusal),
        })
        .collect();
    (outcomes, draft.recording())
}

/// Whether any of `outcomes` is refused for what the account holds. Such a refusal is true only if the entry's own item
/// was read after the account: or the entry itself, recorded meanwhile by another copy of the call, may be why.
pub fn rests_on_the_balance(outcomes: &[EntryOutcome]) -> bool {
    outcomes.iter().any(|outcome| {
        use EntryRefusal::{BalanceTooLarge, Insufficient};
        matches!(outcome, EntryOutcome::Refused(Insufficient { .. } | BalanceTooLarge))
    })
}

/// What the ledger will hold, entry by entry.
struct Draft<'a> {
    key: &'a AccountKey,
    at: u64,
    snapshot: &'a Snapshot,
    account: Option<Account>,
    /// Those that are new or change.
    debits: BTreeMap<DebitKey, Debit>,
    movements: BTreeMap<MovementKey, Movement>,
}

impl Draft<'_> {
    fn take_in(&mut self, entry: &AccountEntry) -> Result<EntryOutcome, EntryRefusal> {
        match entry {
            AccountEntry::Opening { currency, balance } => self.open(currency, *balance),
            AccountEntry::Debit { id, round, amount } => self.debit(id, round, *amount),
            AccountEntry::PastDebit { id, round, amount, is_settled } => {
                self.past_debit(id, round, *amount, *is_settled)
            }
            AccountEntry::Settlement { id } => self.settle(id),
            AccountEntry::Movement { id, direction, amount, reason } => {
                self.move_money(id, *direction, *amount, reason)
            }
        }
    }

    fn open(&mut self, currency: &Currency, balance: Balance) -> Result<EntryOutcome, EntryRefusal> {
        match &self.account {
            Some(there) if (&there.currency, there.opening) == (currency, balance) => {
                Ok(EntryOutcome::Unchanged(OnRecord::default()))
            }
            Some(there) => {
                let (balance, currency) = (there.opening, there.currency.clone());
                Err(EntryRefusal::Conflict(Conflict::Opening { balance, currency }))
            }
            None => {
                self.account = Some(Account::open(self.key.clone(), currency.clone(), balance));
                Ok(EntryOutcome::Recorded(OnRecord::default()))
            }
        }
    }

    fn debit(
        &mut self,
        id: &DebitId,
        round: &RoundCode,
        amount: Amount,
    ) -> Result<EntryOutcome, EntryRefusal> {
        let key = DebitKey { account: self.key.clone(), id: id.clone() };
        if let Some(there) = self.known_debit(&key) {
            let past = || there.taken.is_none().then_some(DebitDifference::Past);
            return match there.difference(round, amount).or_else(past) {
                Some(difference) => Err(EntryRefusal::Conflict(Conflict::Debit(difference))),
                None => Ok(EntryOutcome::Unchanged(OnRecord::of_debit(there))),
            };
        }
        if self.snapshot.tombstones.contains_key(&key) {
            return Err(EntryRefusal::RefundAsked);
        }
        let posting = self.post(amount, Cause::Debit { debit: id, round })?;
        let taken = Some(Taking { at: self.at, posting });
        let state = DebitState::Open;
        Ok(self.put_debit(Debit { key, round: round.clone(), amount, taken, asked: None, state }))
    }

    fn past_debit(
        &mut self,
        id: &DebitId,
        round: &RoundCode,
        amount: Amount,
        is_settled: bool,
    ) -> Result<EntryOutcome, EntryRefusal> {
        if self.account.is_none() {
            return Err(EntryRefusal::UnknownAccount);
        }
        let key = DebitKey { account: self.key.clone(), id: id.clone() };
        if let Some(there) = self.known_debit(&key) {
            return match there.difference_from_past(round, amount, is_settled) {
                Some(difference) => Err(EntryRefusal::Conflict(Conflict::Debit(difference))),
                None => Ok(EntryOutcome::Unchanged(OnRecord::of_debit(there))),
            };
        }
        let asked = self.snapshot.tombstones.get(&key).copied();
        let state = if is_settled { DebitState::Settled } else { DebitState::Open };
        Ok(self.put_debit(Debit { key, round: round.clone(), amount, taken: None, asked, state }))
    }

    fn settle(&mut self, id: &DebitId) -> Result<EntryOutcome, EntryRefusal> {
        let key = DebitKey { account: self.key.clone(), id: id.clone() };
        let there = self.known_debit(&key).ok_or(EntryRefusal::UnknownDebit)?;
        match there.state {
            DebitState::Settled => Ok(EntryOutcome::Unchanged(OnRecord::of_settlement(there))),
            DebitState::Refunded(_) => Err(EntryRefusal::Refunded),
            DebitState::Open => {
                let settled = Debit { state: DebitState::Settled, ..there.clone() };
                let on_record = OnRecord::of_settlement(&settled);
                self.put_debit(settled);
                Ok(EntryOutcome::Recorded(on_record))
            }
        }
    }

    fn move_money(
        &mut self,
        id: &MovementId,
        direction: Direction,
        amount: Amount,
        reason: &Reason,
    ) -> Result<EntryOutcome, EntryRefusal> {
        let key = MovementKey { account: self.key.clone(), id: id.clone() };
        if let Some(there) = self.movements.get(&key).or_else(|| self.snapshot.movements.get(&key)) {
            if (there.direction, there.amount, &there.reason) == (direction, amount, reason) {
                return Ok(EntryOutcome::Unchanged(OnRecord::of_movement(there)));
            }
            let (direction, amount, reason) = (there.direction, there.amount, there.reason.clone());
            return Err(EntryRefusal::Conflict(Conflict::Movement { direction, amount, reason }));
        }
        let posting = self.post(amount, Cause::Movement { id, direction, reason })?;
        let movement =
            Movement { key: key.clone(), direction, amount, reason: reason.clone(), at: self.at, posting };
        let on_record = OnRecord::of_movement(&movement);
        self.movements.insert(key, movement);
        Ok(EntryOutcome::Recorded(on_record))
    }

    fn put_debit(&mut self, debit: Debit) -> EntryOutcome {
        let on_record = OnRecord::of_debit(&debit);
        self.debits.insert(debit.key.clone(), debit);
        EntryOutcome::Recorded(on_record)
    }

    /// Makes the account's next posting.
    fn post(&mut self, amount: Amount, cause: Cause<'_>) -> Result<Posting, EntryRefusal> {
        let account = self.account.as_mut().ok_or(EntryRefusal::UnknownAccount)?;
        let currency = account.currency.clone();
        let facts = PostingFacts { account: self.key, currency: &currency, amount, cause, at: self.at };
        let balance = account.balance;
        account.post(&facts).map_err(|error| match error {
            InvalidMoney::Insufficient => EntryRefusal::Insufficient { balance },
            _ => EntryRefusal::BalanceTooLarge,
        })
    }

    fn known_debit(&self, key: &DebitKey) -> Option<&Debit> {
        self.debits.get(key).or_else(|| self.snapshot.debits.get(key))
    }

    fn recording(self) -> Recording {
        let before = self.snapshot.accounts.get(self.key);
        let changed = self.account.filter(|account| before != Some(account));
        let debits = self.debits.into_values().map(|debit| {
            let was = match () {
                () if self.snapshot.debits.contains_key(&debit.key) => DebitWas::Open,
                () if self.snapshot.tombstones.contains_key(&debit.key) => DebitWas::Asked,
                () => DebitWas::Absent,
            };
            (was, debit)
        });
        Recording {
            account: changed.map(|account| (before.map(|before| before.sequence), account)),
            debits: debits.collect(),
            movements: self.movements.into_values().collect(),
        }
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
