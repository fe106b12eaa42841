//! Checking an account's chain: it is its opening plus its postings, numbered, linked and adding up.

use super::{
    Account, Balance, Cause, Debit, DebitState, FundingSource, FundsPosting, Hash, Movement, Posting,
    PostingFacts, Refund, RefundBatch, Taking, opening_head,
};

/// What of a chain is not as the ledger writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreach {
    #[error("posting {expected} is missing, or numbered {found}")]
    Number { expected: u64, found: u64 },
    #[error("posting {sequence} does not follow the one before it")]
    Link { sequence: u64 },
    #[error("posting {sequence} is not what its hash vouches for")]
    Facts { sequence: u64 },
    #[error("posting {sequence} refunds more than {debit} took")]
    TooMuch { sequence: u64, debit: String },
    #[error("posting {sequence} refunds {debit} before it was taken")]
    TooEarly { sequence: u64, debit: String },
    #[error("the account says {recorded} postings, balance {balance}; its postings say {found}, {sum}")]
    Account { recorded: u64, balance: Balance, found: u64, sum: Balance },
    #[error("the account's head is not its last posting's hash")]
    Head,
}

/// What a posting of an account is of.
#[derive(Debug, Clone, Copy)]
pub enum Posted<'a> {
    Debit(&'a Debit, &'a Taking),
    Refund(&'a Debit, &'a Refund),
    Movement(&'a Movement),
    /// A batch of refunds takes money, or gives some back.
    Funds(&'a RefundBatch, &'a FundsPosting, Cause<'a>),
}

impl Posted<'_> {
    pub fn posting(&self) -> &Posting {
        match self {
            Self::Debit(_, taking) => &taking.posting,
            Self::Refund(_, refund) => &refund.posting,
            Self::Movement(movement) => &movement.posting,
            Self::Funds(_, funds, _) => &funds.posting,
        }
    }

    /// Whether the posting's hash vouches for what it is of.
    fn is_vouched_for(&self, account: &Account) -> bool {
        match self {
            Self::Debit(debit, taking) => debit.is_vouched_for(taking, account),
            Self::Refund(debit, refund) => refund.is_vouched_for(&debit.key, account),
            Self::Movement(movement) => movement.is_vouched_for(account),
            Self::Funds(_, funds, cause) => funds.amount.amount().is_ok_and(|amount| {
                let (currency, cause, at) = (&account.currency, *cause, funds.at);
                PostingFacts { account: &account.key, currency, amount, cause, at }.vouch_for(&funds.posting)
            }),
        }
    }
}

/// The postings of `account` among `debits` and `movements`, in their order.
///
/// # Errors
/// The first breach on the way from the opening to the head.
pub fn check_chain<'a>(
    account: &Account,
    debits: impl IntoIterator<Item = &'a Debit>,
    movements: impl IntoIterator<Item = &'a Movement>,
) -> Result<Vec<Posted<'a>>, ChainBreach> {
    let mut postings = movements_of(account, movements);
    for debit in debits.into_iter().filter(|debit| debit.key.account == account.key) {
        postings.extend(debit.taken.as_ref().map(|taking| Posted::Debit(debit, taking)));
        if let DebitState::Refunded(refund) = &debit.state {
            postings.push(Posted::Refund(debit, refund));
        }
    }
    let postings = check_links(account, postings)?;
    for posted in &postings {
        let Posted::Refund(debit, refund) = posted else { continue };
        let (sequence, id) = (refund.posting.sequence, || debit.key.id.to_string());
        if refund.amount > debit.amount {
            return Err(ChainBreach::TooMuch { sequence, debit: id() });
        }
        if debit.taken.as_ref().is_some_and(|taking| taking.posting.sequence > sequence) {
            return Err(ChainBreach::TooEarly { sequence, debit: id() });
        }
    }
    Ok(postings)
}

/// The postings that `batches` and `movements` made in an app's account, in their order.
///
/// # Errors
/// The first breach on the way from the opening to the head.
pub fn check_funds<'a>(
    account: &Account,
    source: FundingSource,
    batches: impl IntoIterator<Item = &'a RefundBatch>,
    movements: impl IntoIterator<Item = &'a Movement>,
) -> Result<Vec<Posted<'a>>, ChainBreach> {
    let mut postings = movements_of(account, movements);
    for batch in batches {
        let id = batch.key.id.as_str();
        let holds = batch.holds.iter().map(|hold| (hold, Cause::Hold { batch: id }));
        let releases = batch.releases.iter().map(|release| (release, Cause::Release { batch: id }));
        let of_source = holds.chain(releases).filter(|(funds, _)| funds.source == source);
        postings.extend(of_source.map(|(funds, cause)| Posted::Funds(batch, funds, cause)));
    }
    check_links(account, postings)
}

fn movements_of<'a>(account: &Account, movements: impl IntoIterator<Item = &'a Movement>) -> Vec<Posted<'a>> {
    let of_account = movements.into_iter().filter(|movement| movement.key.account == account.key);
    of_account.map(Posted::Movement).collect()
}

/// An account's postings in the order of their numbers, checked.
fn check_links<'a>(account: &Account, mut postings: Vec<Posted<'a>>) -> Result<Vec<Posted<'a>>, ChainBreach> {
    postings.sort_by_key(|posted| posted.posting().sequence);
    let mut chain = Chain::of(account);
    for posted in &postings {
        chain.next(posted.posting(), posted.is_vouched_for(account))?;
    }
    chain.end(account).map(|()| postings)
}

/// The way along a chain, from its opening on.
#[derive(Debug, Clone)]
pub struct Chain {
    head: Hash,
    balance: Balance,
    found: u64,
}

impl Chain {
    pub fn of(account: &Account) -> Self {
        let head = opening_head(&account.key, &account.currency, account.opening);
        Self { head, balance: account.opening, found: 0 }
    }

    /// The hash of the last posting that was passed, or of the opening.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// The number of the last posting that was passed.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Passes the next posting; `is_vouched_for` says whether its hash is that of its facts.
    ///
    /// # Errors
    /// If it isn't the next one. Those behind it can be checked all the same, as if it were.
    pub fn next(&mut self, posting: &Posting, is_vouched_for: bool) -> Result<(), ChainBreach> {
        let (expected, sequence) = (self.found.saturating_add(1), posting.sequence);
        let follows = posting.previous == self.head && posting.before == self.balance;
        (self.head, self.balance, self.found) = (posting.hash, posting.after, sequence);
        if sequence != expected {
            return Err(ChainBreach::Number { expected, found: sequence });
        }
        if !follows {
            return Err(ChainBreach::Link { sequence });
        }
        if is_vouched_for { Ok(()) } else { Err(ChainBreach::Facts { sequence }) }
    }

    /// The account is where its postings have come to.
    ///
    /// # Errors
    /// If it says otherwise.
    pub fn end(&self, account: &Account) -> Result<(), ChainBreach> {
        if (account.sequence, account.balance) != (self.found, self.balance) {
            return Err(ChainBreach::Account {
                recorded: account.sequence,
                balance: account.balance,
                found: self.found,
                sum: self.balance,
            });
        }
        if account.head != self.head { Err(ChainBreach::Head) } else { Ok(()) }
    }
}
