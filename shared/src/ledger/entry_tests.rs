use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::ledger::{ChainBreach, Refund, RefundedBy, TenantKey, check_chain};

fn account_key() -> AccountKey {
    TenantKey::new("ebet", "1").account("p")
}

fn wallet(balance: &str) -> Snapshot {
    let account = Account::open(account_key(), "CNY".parse().unwrap(), balance.parse().unwrap());
    Snapshot { accounts: HashMap::from([(account_key(), account)]), ..Snapshot::default() }
}

fn opening(balance: &str) -> AccountEntry {
    AccountEntry::Opening { currency: "CNY".parse().unwrap(), balance: balance.parse().unwrap() }
}

fn bet(id: &str, amount: &str) -> AccountEntry {
    let (id, round) = (id.parse().unwrap(), "B1-1".parse().unwrap());
    AccountEntry::Debit { id, round, amount: amount.parse().unwrap() }
}

fn past(id: &str, amount: &str, is_settled: bool) -> AccountEntry {
    let (id, round) = (id.parse().unwrap(), "B1-1".parse().unwrap());
    AccountEntry::PastDebit { id, round, amount: amount.parse().unwrap(), is_settled }
}

fn settled(id: &str) -> AccountEntry {
    AccountEntry::Settlement { id: id.parse().unwrap() }
}

fn movement(direction: Direction, id: &str, amount: &str) -> AccountEntry {
    let (id, reason) = (id.parse().unwrap(), "because".parse().unwrap());
    AccountEntry::Movement { id, direction, amount: amount.parse().unwrap(), reason }
}

fn credit(id: &str, amount: &str) -> AccountEntry {
    movement(Direction::Credit, id, amount)
}

fn withdrawal(id: &str, amount: &str) -> AccountEntry {
    movement(Direction::Withdrawal, id, amount)
}

fn debit_key(id: &str) -> DebitKey {
    DebitKey { account: account_key(), id: id.parse().unwrap() }
}

/// Decides, and makes the snapshot what the table is once that is carried out; checks that nothing is written over
/// that was not read so.
fn record(snapshot: &mut Snapshot, entries: &[AccountEntry]) -> Vec<EntryOutcome> {
    let (outcomes, recording) = decide_entries(&account_key(), entries, snapshot, 1_700_000_000_000);
    if let Some((before, account)) = recording.account {
        assert_eq!(snapshot.accounts.get(&account.key).map(|account| account.sequence), before);
        snapshot.accounts.insert(account.key.clone(), account);
    }
    for (was, debit) in recording.debits {
        let (there, asked) = (snapshot.debits.get(&debit.key), snapshot.tombstones.remove(&debit.key));
        match was {
            DebitWas::Absent => assert!(there.is_none() && asked.is_none()),
            DebitWas::Asked => {
                assert!(there.is_none() && asked.is_some() && debit.asked == asked && debit.taken.is_none())
            }
            DebitWas::Open => assert!(there.is_some_and(|debit| debit.state == DebitState::Open)),
        }
        snapshot.debits.insert(debit.key.clone(), debit);
    }
    for movement in recording.movements {
        assert!(snapshot.movements.insert(movement.key.clone(), movement).is_none());
    }
    let chain = snapshot.accounts.get(&account_key()).map(|account| {
        check_chain(account, snapshot.debits.values(), snapshot.movements.values())
            .map(|postings| postings.len())
    });
    assert!(chain.is_none_or(|chain| chain.is_ok()), "the chain is intact");
    outcomes
}

/// An outcome in a word: with the balance after it where money moved, or with why it is refused.
fn told(outcome: &EntryOutcome) -> String {
    match outcome {
        EntryOutcome::Recorded(OnRecord { posting: Some(posting), .. }) => {
            format!("recorded {}", posting.after)
        }
        EntryOutcome::Recorded(OnRecord { debit: Some(debit), .. }) if debit.is_due => {
            "recorded, due".to_owned()
        }
        EntryOutcome::Recorded(_) => "recorded".to_owned(),
        EntryOutcome::Unchanged(_) => "unchanged".to_owned(),
        EntryOutcome::Refused(refusal) => refusal.to_string(),
        EntryOutcome::Undecided => "undecided".to_owned(),
    }
}

fn all_told(snapshot: &mut Snapshot, entries: &[AccountEntry]) -> Vec<String> {
    record(snapshot, entries).iter().map(told).collect()
}

#[test]
fn each_entry_stands_on_those_before_it() {
    let mut ledger = Snapshot::default();
    let day = [
        opening("0"),
        bet("early", "1"),
        credit("deposit", "100"),
        bet("b1", "10.50"),
        credit("payout", "21"),
        settled("b1"),
        withdrawal("all of it", "110.51"),
        withdrawal("all but a cent", "110.49"),
        past("old", "5", false),
    ];
    let first = [
        "recorded",
        "the balance is 0",
        "recorded 100",
        "recorded 89.5",
        "recorded 110.5",
        "recorded",
        "the balance is 110.5",
        "recorded 0.01",
        "recorded",
    ];
    assert_eq!(all_told(&mut ledger, &day), first);
    let again = all_told(&mut ledger, &day);
    for (again, first) in again.iter().zip(first) {
        let was_refused = first.starts_with("the balance");
        assert_eq!(again, if was_refused { "the balance is 0.01" } else { "unchanged" });
    }
    assert_eq!(ledger.accounts[&account_key()].sequence, 4);
}

#[test]
fn what_is_on_record_under_an_id_stays_as_it_is() {
    let mut ledger = wallet("100");
    record(&mut ledger, &[bet("b", "10"), past("p", "5", false), credit("c", "1")]);
    let other_round = AccountEntry::Debit {
        id: "b".parse().unwrap(),
        round: "B2".parse().unwrap(),
        amount: "10".parse().unwrap(),
    };
    let other_reason = AccountEntry::Movement {
        id: "c".parse().unwrap(),
        direction: Direction::Credit,
        amount: "1".parse().unwrap(),
        reason: "another".parse().unwrap(),
    };
    let before = ledger.clone();
    for (entry, why) in [
        (opening("99"), "the account was opened with 100 CNY"),
        (bet("b", "11"), "the debit of this id took 10"),
        (other_round, "the debit of this id is of round B1-1"),
        (past("b", "10", false), "unchanged"),
        (past("b", "10", true), "the debit of this id is open"),
        (bet("p", "5"), "the debit of this id is one of the past, whose money was gone before"),
        (past("p", "6", false), "the debit of this id took 5"),
        (past("p", "5", true), "the debit of this id is open"),
        (credit("c", "2"), "the movement of this id is a credit of 1, for because"),
        (withdrawal("c", "1"), "the movement of this id is a credit of 1, for because"),
        (other_reason, "the movement of this id is a credit of 1, for because"),
        (settled("nothing"), "there is no such debit"),
    ] {
        assert_eq!(all_told(&mut ledger, std::slice::from_ref(&entry)), [why], "{entry:?}");
    }
    assert_eq!(ledger.accounts, before.accounts);
    assert_eq!((ledger.debits, ledger.movements), (before.debits, before.movements));
}

#[test]
fn a_bet_whose_refund_was_asked_for_takes_nothing_and_one_of_the_past_takes_its_place() {
    let mut ledger = wallet("100");
    ledger.tombstones.insert(debit_key("failed"), 7);
    let asked = "its refund was asked for before";
    assert_eq!(all_told(&mut ledger, &[bet("failed", "10")]), [asked]);
    assert_eq!(all_told(&mut ledger, &[settled("failed")]), ["there is no such debit"]);
    assert!(ledger.debits.is_empty() && ledger.tombstones.len() == 1);
    assert_eq!(
        all_told(&mut ledger, &[past("failed", "10", false), bet("failed", "10")]),
        ["recorded, due", "the debit of this id is one of the past, whose money was gone before"]
    );
    assert!(ledger.tombstones.is_empty());
    assert_eq!(ledger.debits[&debit_key("failed")].asked, Some(7), "when that was stays on record");

    ledger.tombstones.insert(debit_key("played"), 8);
    assert_eq!(
        all_told(&mut ledger, &[past("played", "10", true)]),
        ["recorded"],
        "nothing is due of a played one"
    );
}

#[test]
fn nothing_comes_in_beyond_what_the_ledger_holds() {
    let most = Balance::recorded(rust_decimal::Decimal::from(10i64.pow(18)));
    let account = Account::open(account_key(), "CNY".parse().unwrap(), most);
    let mut ledger = Snapshot { accounts: HashMap::from([(account_key(), account)]), ..Snapshot::default() };
    let (outcomes, recording) = decide_entries(&account_key(), &[credit("c", "0.01")], &ledger, 1);
    assert_eq!(told(&outcomes[0]), "the balance would be more than the ledger holds");
    assert!(recording.is_empty() && rests_on_the_balance(&outcomes));
    assert_eq!(all_told(&mut ledger, &[bet("b", "1")]), ["recorded 999999999999999999"]);
}

#[test]
fn without_its_account_nothing_is_recorded() {
    let mut nothing = Snapshot::default();
    for entry in [bet("b", "1"), past("b", "1", false), credit("c", "1"), withdrawal("c", "1")] {
        assert_eq!(all_told(&mut nothing, &[entry]), ["there is no such account"]);
    }
    assert_eq!(all_told(&mut nothing, &[settled("b")]), ["there is no such debit"]);
}

#[test]
fn a_bet_that_was_refunded_is_not_settled_and_one_that_was_settled_stays_so() {
    let mut ledger = wallet("0");
    record(&mut ledger, &[past("refunded", "1", false), past("settled", "1", true)]);
    let mut account = ledger.accounts[&account_key()].clone();
    let (amount, request) = ("1".parse().unwrap(), TenantKey::new("ebet", "1").request("r", "1"));
    let (id, by, at) = ("refunded".parse().unwrap(), RefundedBy::Provider, 1);
    let facts = PostingFacts {
        account: &account_key(),
        currency: &account.currency.clone(),
        amount,
        cause: Cause::Refund { debit: &id, by, request: &request },
        at,
    };
    let posting = account.post(&facts).unwrap();
    let refund = Refund { amount, by, request, at, posting };
    ledger.debits.get_mut(&debit_key("refunded")).unwrap().state = DebitState::Refunded(refund);
    ledger.accounts.insert(account_key(), account);
    assert_eq!(
        all_told(&mut ledger, &[settled("refunded"), settled("settled"), past("refunded", "1", true)]),
        ["the debit was refunded", "unchanged", "the debit of this id was refunded"]
    );
}

#[test]
fn a_refund_that_was_posted_before_its_debit_was_taken_breaks_the_chain() {
    let mut account = wallet("10").accounts.remove(&account_key()).unwrap();
    let currency = account.currency.clone();
    let (id, round, amount): (DebitId, RoundCode, Amount) =
        ("b".parse().unwrap(), "B1-1".parse().unwrap(), "1".parse().unwrap());
    let (by, request) = (RefundedBy::Provider, TenantKey::new("ebet", "1").request("r", "1"));
    let mut post = |cause| {
        let facts = PostingFacts { account: &account_key(), currency: &currency, amount, cause, at: 1 };
        account.post(&facts).unwrap()
    };
    let posting = post(Cause::Refund { debit: &id, by, request: &request });
    let taking = Taking { at: 1, posting: post(Cause::Debit { debit: &id, round: &round }) };
    let state = DebitState::Refunded(Refund { amount, by, request, at: 1, posting });
    let debit = Debit { key: debit_key("b"), round, amount, taken: Some(taking), asked: None, state };
    let breach = ChainBreach::TooEarly { sequence: 1, debit: "b".to_owned() };
    assert_eq!(check_chain(&account, [&debit], []).err(), Some(breach));
}

/// Any entries, few ids and amounts: so that they meet.
fn entries() -> impl Strategy<Value = Vec<AccountEntry>> {
    let entry = (0..6u8, 0..3u8, 1..4u8).prop_map(|(kind, id, amount)| {
        let (id, amount) = (format!("i{id}"), amount.to_string());
        match kind {
            0 => opening(&amount),
            1 => bet(&id, &amount),
            2 => past(&id, &amount, false),
            3 => settled(&id),
            4 => credit(&id, &amount),
            _ => withdrawal(&id, &amount),
        }
    });
    prop::collection::vec(entry, 0..12)
}

proptest! {
    /// One call of many entries comes to the same as many calls of one: outcomes, balance and states.
    #[test]
    fn entries_together_come_to_the_same_as_one_by_one(entries in entries(), is_open: bool) {
        let start = if is_open { wallet("2") } else { Snapshot::default() };
        let (mut together, mut one_by_one) = (start.clone(), start);
        let all = all_told(&mut together, &entries);
        let each: Vec<String> = entries
            .iter()
            .flat_map(|entry| all_told(&mut one_by_one, std::slice::from_ref(entry)))
            .collect();
        prop_assert_eq!(all, each);
        prop_assert_eq!(together.accounts, one_by_one.accounts);
        prop_assert_eq!(together.debits, one_by_one.debits);
        prop_assert_eq!(together.movements, one_by_one.movements);
    }

    /// Said again, whatever was recorded is unchanged, and nothing is written for it.
    #[test]
    fn what_is_said_again_changes_nothing(entries in entries()) {
        let mut ledger = wallet("2");
        let first = record(&mut ledger, &entries);
        let recorded: Vec<AccountEntry> = entries
            .into_iter()
            .zip(&first)
            .filter(|(_, outcome)| matches!(outcome, EntryOutcome::Recorded(_)))
            .map(|(entry, _)| entry)
            .collect();
        let (again, recording) = decide_entries(&account_key(), &recorded, &ledger, 2);
        // A debit of the past that was settled since is as it was said, too.
        prop_assert!(again.iter().all(|outcome| matches!(outcome, EntryOutcome::Unchanged(_))), "{again:?}");
        prop_assert!(recording.is_empty());
    }
}
