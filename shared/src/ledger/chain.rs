//! Checking an account's chain: it is its opening plus its postings, numbered, linked and adding up.

use super::{Account, Balance, Debit, DebitKey, DebitState, Hash, Refund, opening_head};

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

    let mut head: Hash = opening_head(&account.key, &account.currency, account.opening);
    let mut balance = account.opening;
    for (expected, (debit, refund)) in (1..).zip(&postings) {
        let posting = &refund.posting;
        let sequence = posting.sequence;
        if sequence != expected {
            return Err(ChainBreach::Number { expected, found: sequence });
        }
        if posting.previous != head || posting.before != balance {
            return Err(ChainBreach::Link { sequence });
        }
        if !refund.is_vouched_for(&debit.key, account) {
            return Err(ChainBreach::Facts { sequence });
        }
        if refund.amount > debit.amount {
            return Err(ChainBreach::TooMuch { sequence, debit: debit.key.id.to_string() });
        }
        (head, balance) = (posting.hash, posting.after);
    }
    let found = postings.len() as u64;
    if (account.sequence, account.balance) != (found, balance) {
        let recorded = account.sequence;
        return Err(ChainBreach::Account { recorded, balance: account.balance, found, sum: balance });
    }
    if account.head != head {
        return Err(ChainBreach::Head);
    }
    Ok(postings)
}
