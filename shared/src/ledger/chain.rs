//! Checking an account's chain: it is its opening plus its postings, numbered, linked and adding up.

use super::{
    Account, Balance, Cause, Debit, DebitKey, DebitState, FundingSource, FundsPosting, Hash, Posting,
    PostingFacts, Refund, RefundBatch, opening_head,
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
    #[error("the account says {recorded} postings, balance {balance}; its postings say {found}, {sum}")]
    Account { recorded: u64, balance: Balance, found: u64, sum: Balance },
    #[error("the account's head is not its last posting's hash")]
    Head,
}

/// The refunds of `account` among `debits`, in the order of their postings.
///
/// # Errors
/// The first breach on the way from the opening to the head.
pub fn check_chain<'a>(
    account: &Account,
    debits: impl IntoIterator<Item = &'a Debit>,
) -> Result<Vec<(&'a Debit, &'a Refund)>, ChainBreach> {
    let of_account = |key: &DebitKey| key.account == account.key;
    let refunded = debits.into_iter().filter_map(|debit| match &debit.state {
        DebitState::Refunded(refund) if of_account(&debit.key) => Some((debit, refund)),
        _ => None,
    });
    let mut postings: Vec<_> = refunded.collect();
    postings.sort_by_key(|(_, refund)| refund.posting.sequence);
    check_links(
        account,
        postings.iter().map(|(debit, refund)| (&refund.posting, refund.is_vouched_for(&debit.key, account))),
    )?;
    for (debit, refund) in &postings {
        if refund.amount > debit.amount {
            let sequence = refund.posting.sequence;
            return Err(ChainBreach::TooMuch { sequence, debit: debit.key.id.to_string() });
        }
    }
    Ok(postings)
}

/// The postings that `batches` made in an app's account, in their order.
///
/// # Errors
/// The first breach on the way from the opening to the head.
pub fn check_funds<'a>(
    account: &Account,
    source: FundingSource,
    batches: impl IntoIterator<Item = &'a RefundBatch>,
) -> Result<Vec<(&'a RefundBatch, &'a FundsPosting)>, ChainBreach> {
    let mut postings = Vec::new();
    for batch in batches {
        let id = batch.key.id.as_str();
        let holds = batch.holds.iter().map(|hold| (hold, Cause::Hold { batch: id }));
        let releases = batch.releases.iter().map(|release| (release, Cause::Release { batch: id }));
        let of_source = holds.chain(releases).filter(|(funds, _)| funds.source == source);
        postings.extend(of_source.map(|(funds, cause)| (batch, funds, cause)));
    }
    postings.sort_by_key(|(_, funds, _)| funds.posting.sequence);
    let links = postings.iter().map(|(_, funds, cause)| {
        let (account, currency, at) = (&account.key, &account.currency, funds.at);
        let is_vouched_for = funds.amount.amount().is_ok_and(|amount| {
            PostingFacts { account, currency, amount, cause: *cause, at }.vouch_for(&funds.posting)
        });
        (&funds.posting, is_vouched_for)
    });
    check_links(account, links)?;
    Ok(postings.into_iter().map(|(batch, funds, _)| (batch, funds)).collect())
}

/// Checks an account's postings, in the order of their numbers; of each, whether its facts are vouched for.
fn check_links<'a>(
    account: &Account,
    postings: impl Iterator<Item = (&'a Posting, bool)>,
) -> Result<(), ChainBreach> {
    let mut head: Hash = opening_head(&account.key, &account.currency, account.opening);
    let mut balance = account.opening;
    let mut found = 0;
    for (posting, is_vouched_for) in postings {
        let (expected, sequence) = (found + 1, posting.sequence);
        if sequence != expected {
            return Err(ChainBreach::Number { expected, found: sequence });
        }
        if posting.previous != head || posting.before != balance {
            return Err(ChainBreach::Link { sequence });
        }
        if !is_vouched_for {
            return Err(ChainBreach::Facts { sequence });
        }
        (head, balance, found) = (posting.hash, posting.after, expected);
    }
    if (account.sequence, account.balance) != (found, balance) {
        let recorded = account.sequence;
        return Err(ChainBreach::Account { recorded, balance: account.balance, found, sum: balance });
    }
    if account.head != head { Err(ChainBreach::Head) } else { Ok(()) }
}
