//! The rules that make a refund happen once, tried on states by hand and on thousands by chance.

use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::*;
use crate::ledger::{Balance, DebitId, TenantKey, check_chain};

const ACTIONS_MAX: usize = 100;

fn tenant() -> TenantKey {
    TenantKey::new("ebet", "1")
}

fn debit_key(holder: &str, id: &str) -> DebitKey {
    DebitKey { account: tenant().account(holder), id: id.parse::<DebitId>().unwrap() }
}

fn debit(holder: &str, id: &str, amount: &str, state: DebitState) -> Debit {
    Debit {
        key: debit_key(holder, id),
        round: "B1-1".parse().unwrap(),
        amount: amount.parse().unwrap(),
        taken: None,
        asked: None,
        state,
    }
}

/// A whole ledger in memory: what any request's snapshot is taken from.
#[derive(Clone)]
struct Ledger {
    snapshot: Snapshot,
    records: HashMap<RecordKey, RequestRecord>,
}

/// Where the record of a request, or of a part of one, lies.
type RecordKey = (RequestKey, Option<AccountKey>);

fn record_key(request: &RefundRequest) -> RecordKey {
    (request.key.clone(), request.part.clone())
}

fn ledger(wallets: &[(&str, &str)], debits: &[Debit]) -> Ledger {
    let open = |(holder, balance): &(&str, &str)| {
        let key = tenant().account(holder);
        (key.clone(), Account::open(key, "CNY".parse().unwrap(), balance.parse().unwrap()))
    };
    let accounts = wallets.iter().map(open).collect();
    let debits = debits.iter().map(|debit| (debit.key.clone(), debit.clone())).collect();
    Ledger { snapshot: Snapshot { accounts, debits, ..Snapshot::default() }, records: HashMap::new() }
}

impl Ledger {
    fn read(&self, request: &RefundRequest) -> Snapshot {
        Snapshot { record: self.records.get(&record_key(request)).cloned(), ..self.snapshot.clone() }
    }

    fn decide(&self, request: &RefundRequest) -> Result<Vec<Verdict>, KeyReused> {
        decide(request, &self.read(request))
    }

    /// Decides and carries out all of `request`, as the store does when nothing collides.
    fn execute(&mut self, request: &RefundRequest, actions_max: usize) -> Result<Vec<Verdict>, KeyReused> {
        loop {
            let snapshot = self.read(request);
            let mut verdicts = decide(request, &snapshot)?;
            let transaction = plan(request, &mut verdicts, &snapshot, 1_577_808_000_000, actions_max);
            let Some(transaction) = transaction else { return Ok(verdicts) };
            self.records.extend(transaction.record.clone().map(|record| (record_key(request), record)));
            transaction.apply(request, &mut self.snapshot, &mut verdicts);
            assert_eq!(verdicts, self.decide(request)?, "as if all were decided anew");
        }
    }

    fn record_debit(&mut self, debit: Debit) {
        self.snapshot.debits.insert(debit.key.clone(), debit);
    }

    fn balance(&self, holder: &str) -> String {
        self.snapshot.accounts[&tenant().account(holder)].balance.to_string()
    }
}

fn ask(holder: &str, id: &str, amount: &str) -> AskedItem {
    AskedItem::Asked(AskedRefund {
        debit: debit_key(holder, id),
        round: None,
        amount: amount.parse().unwrap(),
    })
}

fn request(number: &str, items: Vec<AskedItem>) -> RefundRequest {
    let mut fingerprint = FingerprintBuilder::new("test/1");
    fingerprint.field(Some(&format!("{items:?}")));
    RefundRequest {
        key: tenant().request("test", number),
        part: None,
        fingerprint: fingerprint.finish(),
        by: RefundedBy::Provider,
        partial_refunds: false,
        currency: "CNY".parse().unwrap(),
        items,
        balance_of: None,
    }
}

#[test]
fn an_open_debit_is_refunded_once_whoever_asks_again() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "bet", "1000", DebitState::Open)]);
    let first = ledger.execute(&request("r1", vec![ask("a", "bet", "1000")]), ACTIONS_MAX).unwrap();
    let again = ledger.execute(&request("r1", vec![ask("a", "bet", "1000")]), ACTIONS_MAX).unwrap();
    let other = ledger.execute(&request("r2", vec![ask("a", "bet", "1000")]), ACTIONS_MAX).unwrap();
    assert!(matches!(&first[..], [Verdict::Refunded(_)]));
    assert_eq!(first, again);
    assert_eq!(first, other);
    assert_eq!(ledger.balance("a"), "1000");
}

#[test]
fn each_refusal_has_its_reason() {
    use Refusal::{Settled, UnknownAccount, UnknownDebit, WrongAmount, WrongRound};
    let ledger = ledger(
        &[("a", "5")],
        &[debit("a", "open", "10", DebitState::Open), debit("a", "played", "10", DebitState::Settled)],
    );
    let other_round = AskedItem::Asked(AskedRefund {
        debit: debit_key("a", "open"),
        round: Some("B1-2".parse().unwrap()),
        amount: "10".parse().unwrap(),
    });
    for (item, refusal) in [
        (ask("nobody", "open", "10"), UnknownAccount),
        (ask("a", "nothing", "10"), UnknownDebit),
        (other_round, WrongRound),
        (ask("a", "played", "10"), Settled),
        (ask("a", "open", "9.99"), WrongAmount),
        (ask("a", "open", "10.01"), WrongAmount),
        (AskedItem::Refused(Refusal::AboveLimit), Refusal::AboveLimit),
    ] {
        let request = request("r", vec![item]);
        let mut verdicts = ledger.decide(&request).unwrap();
        assert_eq!(verdicts, [Verdict::Refused(refusal)]);
        assert_eq!(
            plan(&request, &mut verdicts, &ledger.snapshot, 0, ACTIONS_MAX),
            None,
            "a refusal writes nothing"
        );
    }
}

#[test]
fn less_than_the_debit_is_refunded_only_where_that_is_allowed_and_only_once() {
    let start = || ledger(&[("a", "0")], &[debit("a", "bet", "10", DebitState::Open)]);
    let mut partial = request("r1", vec![ask("a", "bet", "4")]);
    assert_eq!(start().decide(&partial).unwrap(), [Verdict::Refused(Refusal::WrongAmount)]);

    partial.partial_refunds = true;
    let mut ledger = start();
    assert!(matches!(ledger.execute(&partial, ACTIONS_MAX).unwrap()[..], [Verdict::Refunded(_)]));
    let mut rest = request("r2", vec![ask("a", "bet", "6")]);
    rest.partial_refunds = true;
    assert_eq!(ledger.decide(&rest).unwrap(), [Verdict::Refused(Refusal::WrongAmount)]);
    assert_eq!(ledger.balance("a"), "4");
}

#[test]
fn another_body_under_an_executed_key_is_refused_whole() {
    let debits = [debit("a", "one", "1", DebitState::Open), debit("a", "two", "2", DebitState::Open)];
    let mut ledger = ledger(&[("a", "0")], &debits);
    ledger.execute(&request("r", vec![ask("a", "one", "1")]), ACTIONS_MAX).unwrap();
    assert_eq!(ledger.decide(&request("r", vec![ask("a", "two", "2")])), Err(KeyReused));
}

#[test]
fn a_refusal_in_an_executed_request_stays_when_it_is_sent_again() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "one", "1", DebitState::Open)]);
    let both = request("r", vec![ask("a", "one", "1"), ask("a", "late", "2")]);
    let first = ledger.execute(&both, ACTIONS_MAX).unwrap();
    ledger.record_debit(debit("a", "late", "2", DebitState::Open));
    assert_eq!(ledger.execute(&both, ACTIONS_MAX).unwrap(), first);
    assert_eq!(ledger.balance("a"), "1");
    // A new request gets it.
    ledger.execute(&request("r2", vec![ask("a", "late", "2")]), ACTIONS_MAX).unwrap();
    assert_eq!(ledger.balance("a"), "3");
}

#[test]
fn what_was_refunded_stays_so_when_the_rules_of_the_day_change() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "bet", "9", DebitState::Open)]);
    let first = ledger.execute(&request("r", vec![ask("a", "bet", "9")]), ACTIONS_MAX).unwrap();
    let AskedItem::Asked(asked) = ask("a", "bet", "9") else { panic!("it is asked") };
    for (number, refusal, verdict) in [
        ("r", Refusal::AboveLimit, first[0].clone()),
        ("r", Refusal::WrongCurrency, first[0].clone()),
        ("another", Refusal::AboveLimit, first[0].clone()),
        ("another", Refusal::WrongCurrency, Verdict::Refused(Refusal::WrongCurrency)),
    ] {
        let mut again = request(number, vec![AskedItem::Barred(asked.clone(), refusal)]);
        again.fingerprint = request("r", vec![ask("a", "bet", "9")]).fingerprint;
        assert_eq!(ledger.decide(&again).unwrap(), [verdict], "{number} {refusal:?}");
    }
    let other = DebitKey { id: "other".parse().unwrap(), ..asked.debit.clone() };
    let barred = AskedItem::Barred(AskedRefund { debit: other, ..asked }, Refusal::AboveLimit);
    ledger.record_debit(debit("a", "other", "9", DebitState::Open));
    assert_eq!(
        ledger.decide(&request("new", vec![barred])).unwrap(),
        [Verdict::Refused(Refusal::AboveLimit)]
    );
}

#[test]
fn an_account_in_another_currency_is_not_credited() {
    let ledger = ledger(&[("a", "0")], &[debit("a", "bet", "9", DebitState::Open)]);
    let mut request = request("r", vec![ask("a", "bet", "9")]);
    request.currency = "USD".parse().unwrap();
    assert_eq!(ledger.decide(&request).unwrap(), [Verdict::Refused(Refusal::WrongCurrency)]);
}

#[test]
fn what_executed_nothing_claims_nothing() {
    let mut ledger = ledger(&[("a", "0")], &[]);
    let early = request("r", vec![ask("a", "bet", "2")]);
    assert_eq!(ledger.execute(&early, ACTIONS_MAX).unwrap(), [Verdict::Refused(Refusal::UnknownDebit)]);
    assert!(ledger.records.is_empty());
    ledger.record_debit(debit("a", "bet", "2", DebitState::Open));
    assert!(matches!(ledger.execute(&early, ACTIONS_MAX).unwrap()[..], [Verdict::Refunded(_)]));
}

#[test]
fn the_same_debit_twice_in_a_request_is_one_refund_answered_twice() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "bet", "7", DebitState::Open)]);
    let twice = request("r", vec![ask("a", "bet", "7"), ask("a", "bet", "7")]);
    let verdicts = ledger.execute(&twice, ACTIONS_MAX).unwrap();
    assert_eq!(verdicts[0], verdicts[1]);
    assert!(matches!(verdicts[0], Verdict::Refunded(_)));
    assert_eq!(ledger.balance("a"), "7");
}

#[test]
fn a_debit_asked_for_with_the_right_and_a_wrong_round_has_the_same_two_answers_every_time() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "bet", "7", DebitState::Open)]);
    let of_round = |round: &str| {
        let AskedItem::Asked(asked) = ask("a", "bet", "7") else { panic!("it is asked") };
        AskedItem::Asked(AskedRefund { round: Some(round.parse().unwrap()), ..asked })
    };
    let both = request("r", vec![of_round("B1-1"), of_round("B1-2")]);
    for _ in 0..2 {
        let verdicts = ledger.execute(&both, ACTIONS_MAX).unwrap();
        assert!(matches!(verdicts[..], [Verdict::Refunded(_), Verdict::Refused(Refusal::WrongRound)]));
    }
    assert_eq!(ledger.balance("a"), "7");
}

#[test]
fn a_part_that_is_refunded_whole_at_once_needs_no_record() {
    let debits = ["one", "two", "three"].map(|id| debit("a", id, "1", DebitState::Open));
    let all = ["one", "two", "three"];
    let with = |more: &'static str| [&all[..], &[more]].concat();
    for (what, bets, actions_max, has_record) in [
        ("whole and at once", all.to_vec(), 100, false),
        ("the same bet twice", with("one"), 100, false),
        ("a refusal", with("unknown"), 100, true),
        ("more than fits", all.to_vec(), 4, true),
    ] {
        let ledger = ledger(&[("a", "0")], &debits);
        let items = bets.iter().map(|bet| ask("a", bet, "1")).collect();
        let whole = request("r", items);
        let part = RefundRequest { part: Some(tenant().account("a")), ..whole.clone() };
        for (request, has_record) in [(whole, true), (part, has_record)] {
            let mut verdicts = ledger.decide(&request).unwrap();
            let planned = plan(&request, &mut verdicts, &ledger.snapshot, 0, actions_max).unwrap();
            assert_eq!(planned.record.is_some(), has_record, "{what}");
        }
    }
}

#[test]
fn a_part_has_nothing_to_do_with_the_record_of_a_request_whose_number_it_has_again() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "one", "1", DebitState::Open)]);
    let part = |bets: &[&str]| RefundRequest {
        part: Some(tenant().account("a")),
        ..request("r", bets.iter().map(|bet| ask("a", bet, "1")).collect())
    };
    ledger.execute(&part(&["one", "unknown"]), ACTIONS_MAX).unwrap();
    for id in ["two", "unknown"] {
        ledger.record_debit(debit("a", id, "1", DebitState::Open));
    }
    let again = part(&["two", "unknown", "three"]);
    let verdicts = ledger.execute(&again, ACTIONS_MAX).unwrap();
    assert!(matches!(
        verdicts[..],
        [Verdict::Refunded(_), Verdict::Refunded(_), Verdict::Refused(Refusal::UnknownDebit)]
    ));
    let record = &ledger.records[&record_key(&again)];
    assert_eq!((record.version, record.fingerprint), (2, again.fingerprint));
}

#[test]
fn a_transaction_never_has_more_actions_than_fit_and_splits_in_order() {
    let ids: Vec<String> = (0..250).map(|number| format!("bet{number}")).collect();
    let debits: Vec<Debit> = ids.iter().map(|id| debit("a", id, "1", DebitState::Open)).collect();
    let mut ledger = ledger(&[("a", "0")], &debits);
    let request = request("r", ids.iter().map(|id| ask("a", id, "1")).collect());
    let mut sizes = Vec::new();
    loop {
        let mut verdicts = ledger.decide(&request).unwrap();
        let planned = plan(&request, &mut verdicts, &ledger.snapshot, 0, ACTIONS_MAX);
        let Some(transaction) = planned else { break };
        sizes.push(transaction.refunds.len());
        assert!(transaction.refunds.len() + transaction.accounts.len() < ACTIONS_MAX);
        transaction.apply(&request, &mut ledger.snapshot, &mut verdicts);
    }
    assert_eq!(sizes, [98, 98, 54]);
    assert_eq!(ledger.balance("a"), "250");
}

#[test]
fn a_changed_fact_of_a_refund_is_no_longer_vouched_for() {
    let mut ledger = ledger(&[("a", "0")], &[debit("a", "bet", "7", DebitState::Open)]);
    ledger.execute(&request("r", vec![ask("a", "bet", "7")]), ACTIONS_MAX).unwrap();
    let account = ledger.snapshot.accounts[&tenant().account("a")].clone();
    let DebitState::Refunded(refund) = ledger.snapshot.debits[&debit_key("a", "bet")].state.clone() else {
        panic!("it was refunded")
    };
    let key = debit_key("a", "bet");
    assert!(refund.is_vouched_for(&key, &account));
    let balance = |text: &str| text.parse::<Balance>().unwrap();
    let changes: [&dyn Fn(&mut Refund); 6] = [
        &|refund| refund.amount = "7.01".parse().unwrap(),
        &|refund| refund.by = RefundedBy::Channel,
        &|refund| refund.at += 1,
        &|refund| refund.request = tenant().request("test", "other"),
        &|refund| refund.posting.sequence = 2,
        &|refund| (refund.posting.before, refund.posting.after) = (balance("1"), balance("8")),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = refund.clone();
        change(&mut changed);
        assert!(!changed.is_vouched_for(&key, &account), "change {number}");
    }
    assert!(!refund.is_vouched_for(&debit_key("a", "other"), &account));
    assert!(!refund.is_vouched_for(&debit_key("b", "bet"), &account));
}

proptest! {
    /// Any requests in any order, some sent again, cut into transactions of any size.
    #[test]
    fn no_history_of_requests_breaks_an_invariant(
        debits in prop::collection::vec((0usize..3, 1i64..100_000, prop::bool::weighted(0.2)), 1..20),
        asks in prop::collection::vec(
            (0usize..6, prop::collection::vec((0usize..20, prop::option::weighted(0.2, 1i64..100_000)), 1..12)),
            1..20,
        ),
        actions_max in 3usize..12,
        partial_refunds: bool,
    ) {
        let holders = ["a", "b", "c"];
        let money = |cents: i64| rust_decimal::Decimal::new(cents, 2).to_string();
        let table: Vec<Debit> = debits
            .iter()
            .enumerate()
            .map(|(number, (holder, cents, settled))| {
                let state = if *settled { DebitState::Settled } else { DebitState::Open };
                debit(holders[*holder], &format!("bet{number}"), &money(*cents), state)
            })
            .collect();
        let mut ledger = ledger(&[("a", "0"), ("b", "12.34"), ("c", "-5")], &table);
        let mut answers: HashMap<(RequestKey, String), Vec<Verdict>> = HashMap::new();

        for (number, items) in asks {
            let items: Vec<AskedItem> = items
                .into_iter()
                .map(|(bet, cents)| {
                    let debit = &table[bet % table.len()];
                    let amount = cents.map_or(debit.amount.to_string(), money);
                    AskedItem::Asked(AskedRefund {
                        debit: debit.key.clone(),
                        round: None,
                        amount: amount.parse().unwrap(),
                    })
                })
                .collect();
            let mut request = request(&format!("r{number}"), items);
            request.partial_refunds = partial_refunds;
            let before = ledger.snapshot.clone();
            match ledger.execute(&request, actions_max) {
                Ok(verdicts) => {
                    prop_assert!(!verdicts.contains(&Verdict::Due), "everything is decided");
                    if ledger.records.contains_key(&record_key(&request)) {
                        let name = (request.key.clone(), format!("{:?}", request.items));
                        let first = answers.entry(name).or_insert_with(|| verdicts.clone());
                        prop_assert_eq!(first, &verdicts, "the same request, the same answer");
                    }
                }
                Err(KeyReused) => prop_assert_eq!(&ledger.snapshot.debits, &before.debits),
            }
            for (key, debit) in &before.debits {
                if matches!(debit.state, DebitState::Refunded(_) | DebitState::Settled) {
                    prop_assert_eq!(debit, &ledger.snapshot.debits[key], "what is done stays as it is");
                }
            }
        }
        for account in ledger.snapshot.accounts.values() {
            prop_assert_eq!(check_chain(account, ledger.snapshot.debits.values(), []).err(), None);
        }
        for debit in ledger.snapshot.debits.values() {
            if let DebitState::Refunded(refund) = &debit.state {
                prop_assert!(refund.amount <= debit.amount, "never more than was taken");
            }
        }
    }
}

/// The ledger as it was at every moment: for reads that are not of one moment, as the table's are not.
struct History(Vec<Ledger>);

impl History {
    fn now(&self) -> &Ledger {
        self.0.last().expect("it starts with one")
    }

    /// Each item as it was at one of `moments`, every one at another.
    fn torn_read(
        &self,
        request: &RefundRequest,
        moments: RangeInclusive<usize>,
        ages: &mut impl Iterator<Item = usize>,
    ) -> Snapshot {
        let most = moments.end() - moments.start();
        let mut then = || &self.0[moments.end() - ages.next().unwrap_or(0).min(most)];
        let record = then().records.get(&record_key(request)).cloned();
        let mut snapshot = Snapshot { record, ..Snapshot::default() };
        for item in &request.items {
            let Some(asked) = item.asked() else { continue };
            if let Some(debit) = then().snapshot.debits.get(&asked.debit) {
                snapshot.debits.insert(debit.key.clone(), debit.clone());
            }
            if let Some(account) = then().snapshot.accounts.get(&asked.debit.account) {
                snapshot.accounts.insert(account.key.clone(), account.clone());
            }
        }
        snapshot
    }

    /// What the table does with a transaction: all of it if every condition holds, else nothing.
    fn commit(&mut self, request: &RefundRequest, transaction: Transaction, verdicts: &mut [Verdict]) {
        let now = self.now();
        let as_read =
            |(read, account): &(u64, Account)| now.snapshot.accounts[&account.key].sequence == *read;
        let open = |(debit, _): &(Debit, Refund)| now.snapshot.debits[&debit.key].state == DebitState::Open;
        let version = now.records.get(&record_key(request)).map_or(0, |record| record.version);
        let record_is_as_read =
            transaction.record.as_ref().is_none_or(|record| version + 1 == record.version);
        if record_is_as_read
            && transaction.accounts.iter().all(as_read)
            && transaction.refunds.iter().all(open)
        {
            let mut next = now.clone();
            next.records.extend(transaction.record.clone().map(|record| (record_key(request), record)));
            transaction.apply(request, &mut next.snapshot, verdicts);
            self.0.push(next);
        }
    }

    fn import(&mut self, debit: Debit) {
        let mut next = self.now().clone();
        next.record_debit(debit);
        self.0.push(next);
    }

    /// As another part does that comes first.
    fn claim(&mut self, request: &RefundRequest) {
        let mut next = self.now().clone();
        next.records.entry(record_key(request)).or_insert_with(|| claim_of(request));
        self.0.push(next);
    }
}

/// The record of a request of which nothing is decided.
fn claim_of(request: &RefundRequest) -> RequestRecord {
    RequestRecord { fingerprint: request.fingerprint, version: 1, refused: BTreeMap::new() }
}

/// A copy of a request, between whose reads another copy was carried out.
#[test]
fn a_read_that_shows_more_executed_than_the_one_before_it_decides_no_refusal() {
    let request = request("r", vec![ask("a", "bet0", "1"), ask("a", "bet1", "1")]);
    let mut history = History(vec![ledger(&[("a", "0")], &[])]);
    history.claim(&request);
    for id in ["bet0", "bet1"] {
        history.import(debit("a", id, "1", DebitState::Open));
    }
    let mut next = history.now().clone();
    next.execute(&request, 100).unwrap();
    history.0.push(next);
    let [claimed, executed] = [1, 4];

    let read = |begin, end, ages: &[usize]| {
        let snapshot = history.torn_read(&request, begin..=end, &mut ages.iter().copied());
        let verdicts = decide(&request, &snapshot).unwrap();
        (snapshot, verdicts)
    };
    let (snapshot, verdicts) = read(claimed, claimed, &[]);
    assert!(!is_conclusive(&request, &snapshot, &verdicts, None), "there is a record without these refusals");
    let before = Progress::of(&request, &snapshot, &verdicts);
    assert!(is_conclusive(&request, &snapshot, &verdicts, Some(&before)), "the same again");

    // The record, bet0, its account; bet1, its account.
    let (snapshot, verdicts) = read(claimed, executed, &[3, 3, 3, 0, 0]);
    assert_eq!(verdicts[0], Verdict::Refused(Refusal::UnknownDebit));
    assert!(verdicts[1].is_executed_by(&request));
    assert!(!is_conclusive(&request, &snapshot, &verdicts, Some(&before)), "the record is an old one");
    let (snapshot, verdicts) = read(executed, executed, &[]);
    assert!(is_conclusive(&request, &snapshot, &verdicts, None) && verdicts[0].is_executed_by(&request));
}

/// An account that can't take a refund is no action of the transaction.
#[test]
fn accounts_that_would_become_too_rich_keep_nobody_else_from_a_refund() {
    let highest = Balance::recorded("1000000000000000000".parse().unwrap());
    let bets = ["a", "b", "c", "d"].map(|holder| debit(holder, "bet", "1", DebitState::Open));
    let mut ledger = ledger(&[("a", "0"), ("b", "0"), ("c", "0"), ("d", "0")], &bets);
    for holder in ["a", "b", "c"] {
        ledger.snapshot.accounts.get_mut(&tenant().account(holder)).unwrap().balance = highest;
    }
    let request = request("r", ["a", "b", "c", "d"].map(|holder| ask(holder, "bet", "1")).to_vec());
    let mut verdicts = decide(&request, &ledger.snapshot).unwrap();
    let transaction = plan(&request, &mut verdicts, &ledger.snapshot, 1, 3).expect("one can be refunded");
    assert_eq!(verdicts[..3], [(); 3].map(|()| Verdict::Refused(Refusal::BalanceTooLarge)));
    assert_eq!((transaction.accounts.len(), transaction.refunds.len()), (1, 1));
}

/// Another request's refund, between whose items a copy was read.
#[test]
fn a_balance_is_not_told_beside_a_refund_that_it_is_without() {
    let bet = debit("a", "bet", "1", DebitState::Open);
    let mut history = History(vec![ledger(&[("a", "0")], &[bet])]);
    let mut next = history.now().clone();
    next.execute(&request("other", vec![ask("a", "bet", "1")]), 100).unwrap();
    history.0.push(next);
    let [before, after] = [0, 1];

    let balance_of = Some(tenant().account("a"));
    let request = RefundRequest { balance_of, ..request("r", vec![ask("a", "bet", "1")]) };
    let is_told = |begin, ages: &[usize]| {
        let snapshot = history.torn_read(&request, begin..=after, &mut ages.iter().copied());
        let verdicts = decide(&request, &snapshot).unwrap();
        assert!(matches!(verdicts[0], Verdict::Refunded(_)));
        is_conclusive(&request, &snapshot, &verdicts, None)
    };
    // The record, the bet, its account.
    assert!(!is_told(before, &[0, 0, 1]), "the account is as it was before");
    assert!(is_told(after, &[]));
}

proptest! {
    // A fault in what is read again shows in one of a thousand.
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Attempts of a few requests, many times over, each on items read at different moments, while debits
    /// are still being recorded. What an executed request has refused, no attempt of it ever executes.
    #[test]
    fn reads_that_are_not_of_one_moment_break_nothing(
        attempts in prop::collection::vec(
            (0usize..5, 0usize..4, prop::collection::vec(0usize..4, 0..32)),
            1..60,
        ),
        late in prop::collection::vec(prop::bool::weighted(0.5), 8),
        actions_max in 3usize..8,
    ) {
        let holder = |number: usize| ["a", "b"][number % 2];
        let bet = |number: usize| debit(holder(number), &format!("bet{number}"), "1", DebitState::Open);
        let (late, early): (Vec<usize>, Vec<usize>) = (0..8).partition(|number| late[*number]);
        let start: Vec<Debit> = early.into_iter().map(bet).collect();
        let mut history = History(vec![ledger(&[("a", "0"), ("b", "0")], &start)]);
        let mut late = late.into_iter();
        let mut answers = Vec::new();
        // Two whole requests, and two of which one account's part is looked at.
        let requests: Vec<RefundRequest> = (0..4)
            .map(|number| {
                let is_part = number % 2 == 1;
                let bets = (0..8).filter(|bet| (bet + number) % 3 != 0 && (!is_part || bet % 2 == 0));
                let items = bets.map(|number| ask(holder(number), &format!("bet{number}"), "1"));
                let part = is_part.then(|| tenant().account("a"));
                let balance_of = (!is_part).then(|| tenant().account("a"));
                RefundRequest { part, balance_of, ..request(&format!("r{number}"), items.collect()) }
            })
            .collect();

        for (number, age, ages) in attempts {
            if number == 3 && let Some(number) = late.next() {
                history.import(bet(number));
            }
            if number == 4 {
                history.claim(&requests[0]);
            }
            let request = &requests[number % 4];
            let mut ages = ages.into_iter();
            let now = history.0.len() - 1;
            // The first read was some moments ago; each further one begins when the one before it has ended.
            let mut end = now.saturating_sub(age);
            let mut snapshot = history.torn_read(request, 0..=end, &mut ages);
            let mut verdicts = decide(request, &snapshot).unwrap();
            let mut before = None;
            while !is_conclusive(request, &snapshot, &verdicts, before.as_ref()) {
                before = Some(Progress::of(request, &snapshot, &verdicts));
                let begin = end;
                end = (end + ages.next().unwrap_or(1)).min(now);
                snapshot = history.torn_read(request, begin..=end, &mut ages);
                verdicts = decide(request, &snapshot).unwrap();
            }
            prop_assert!(
                !request.items.iter().any(|item| is_behind(item, request, &snapshot)),
                "no balance is told beside a refund that it is without"
            );
            let is_claim = |record: &RequestRecord| *record == claim_of(request);
            let has_begun = snapshot.record.as_ref().is_some_and(|record| !is_claim(record))
                || verdicts.iter().any(|verdict| verdict.is_executed_by(request));
            match plan(request, &mut verdicts, &snapshot, 1, actions_max) {
                Some(transaction) => history.commit(request, transaction, &mut verdicts),
                None => answers.push((request, has_begun, verdicts, history.0.len() - 1)),
            }
        }

        let executed = |moment: &Ledger, request: &RefundRequest, position: usize| {
            let debit = request.items[position].asked().and_then(|asked| moment.snapshot.debits.get(&asked.debit));
            debit.is_some_and(|debit| {
                matches!(&debit.state, DebitState::Refunded(refund) if refund.request == request.key)
            })
        };
        for (request, has_begun, verdicts, moment) in answers {
            for (position, verdict) in verdicts.iter().enumerate() {
                let told_refunded = matches!(verdict, Verdict::Refunded(_));
                let is_executed = executed(&history.0[moment], request, position);
                prop_assert!(told_refunded || !is_executed || !has_begun, "what is done is said");
                let is_ever_executed = executed(history.now(), request, position);
                prop_assert!(told_refunded || !is_ever_executed || !has_begun, "what is refused is not done");
            }
        }
        for moment in &history.0 {
            for request in &requests {
                let Some(record) = moment.records.get(&record_key(request)) else { continue };
                for (position, refusal) in &record.refused {
                    let at_last = &history.now().records[&record_key(request)].refused;
                    prop_assert_eq!(at_last.get(position), Some(refusal), "what was refused stays refused");
                    prop_assert!(!executed(history.now(), request, *position), "and is never executed");
                }
            }
        }
        let end = history.now();
        for account in end.snapshot.accounts.values() {
            prop_assert_eq!(check_chain(account, end.snapshot.debits.values(), []).err(), None);
        }
    }
}
