//! Changes to a table that nobody may make, and what they are found by.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use refundctl::verify::Kind;

use crate::whole::{Item, Items, number, text};

/// The wallet that most is planted in.
const WALLET: &str = "ebet#1#p";
const APP: &str = "pingpp#app_1#test";

/// A change that nobody may make.
pub struct Planted {
    pub what: &'static str,
    pub plant: fn(&mut Items),
    /// All kinds of breaches that it is found by.
    pub found: &'static [Kind],
}

fn item<'a>(items: &'a mut Items, pk: &str, sk: &str) -> &'a mut Item {
    let key = (pk.to_owned(), sk.to_owned());
    items.get_mut(&key).unwrap_or_else(|| panic!("there is no {pk} {sk}"))
}

fn set(items: &mut Items, pk: &str, sk: &str, path: &str, value: AttributeValue) {
    let mut item = item(items, pk, sk);
    let mut names: Vec<&str> = path.split('.').collect();
    let last = names.pop().unwrap();
    for name in names {
        item = match item.get_mut(name) {
            Some(AttributeValue::M(map)) => map,
            other => panic!("{path}: {other:?}"),
        };
    }
    assert_ne!(item.insert(last.to_owned(), value.clone()), Some(value), "{path} is changed");
}

fn remove(items: &mut Items, pk: &str, sk: &str) {
    items.remove(&(pk.to_owned(), sk.to_owned())).unwrap_or_else(|| panic!("there is no {pk} {sk}"));
}

fn copy(items: &mut Items, pk: &str, sk: &str, to: &str) {
    let mut copied = item(items, pk, sk).clone();
    copied.insert("sk".to_owned(), text(to));
    items.insert((pk.to_owned(), to.to_owned()), copied);
}

/// The batch of this number: its month's partition, and its id.
fn batch(items: &Items, batch_no: &str) -> (String, String) {
    let is_it = |item: &Item| item.contains_key("holds") && item.get("batchNo") == Some(&text(batch_no));
    let found = items.iter().find(|(_, item)| is_it(item));
    found.map(|(key, _)| key.clone()).expect("there is such a batch")
}

/// The charge's first hold or refund: its id.
fn refund_of(items: &Items, charge: &str) -> String {
    let partition = format!("{APP}#{charge}");
    let sort = items.keys().find(|(pk, sk)| *pk == partition && sk.starts_with("REFUND#"));
    sort.expect("the charge has a refund on record").1.clone()
}

/// A secret's partition.
fn secret(items: &Items, prefix: &str) -> String {
    let found = items.keys().find(|(partition, _)| partition.starts_with(prefix));
    found.expect("there is such a secret").0.clone()
}

fn charge(id: &str) -> String {
    format!("{APP}#{id}")
}

/// The wallet's item that has this posting, and where in it that is.
fn posting(items: &Items, sequence: u64) -> (String, &'static str) {
    let has = |item: &Item, path: &str| {
        let map = match (path, item.get(path)) {
            ("", _) => Some(item),
            (_, Some(AttributeValue::M(map))) => Some(map),
            _ => None,
        };
        map.is_some_and(|map| map.get("sequence") == Some(&number(sequence)))
    };
    let of_wallet = items.iter().filter(|((pk, sk), _)| pk == WALLET && sk != "ACCOUNT");
    for ((_, sk), item) in of_wallet {
        for path in ["", "taken", "refund"] {
            if has(item, path) {
                return (sk.clone(), path);
            }
        }
    }
    panic!("there is no posting {sequence}")
}

fn set_posting(items: &mut Items, sequence: u64, member: &str, value: AttributeValue) {
    let (sk, path) = posting(items, sequence);
    let path = if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") };
    set(items, WALLET, &sk, &path, value);
}

/// One of each kind at least, for a world with everything.
pub const PLANTED: &[Planted] = &[
    // ---- payments ----
    Planted {
        what: "a past bet that took more",
        plant: |items| set(items, WALLET, "PAYMENT#old3", "amount", number("7.51")),
        found: &[Kind::ChangedPayment],
    },
    Planted {
        what: "a past bet of another round",
        plant: |items| set(items, WALLET, "PAYMENT#old4", "roundCode", text("other")),
        found: &[Kind::ChangedPayment],
    },
    Planted {
        what: "a past bet without its seal",
        plant: |items| drop(item(items, WALLET, "PAYMENT#old3").remove("seal")),
        found: &[Kind::ChangedPayment],
    },
    Planted {
        what: "a bet that took more than its posting says",
        plant: |items| set(items, WALLET, "PAYMENT#bet1", "amount", number("11")),
        found: &[Kind::ChangedPosting],
    },
    Planted {
        what: "a charge of more",
        plant: |items| set(items, &charge("ch_3"), "PAYMENT", "amount", number(301)),
        found: &[Kind::ChangedPayment],
    },
    Planted {
        what: "a charge of which more was refunded",
        plant: |items| set(items, &charge("ch_3"), "PAYMENT", "refunded", number(2)),
        found: &[Kind::ChangedAmount],
    },
    Planted {
        what: "a charge of which less was refunded than its refunds say",
        plant: |items| set(items, &charge("ch_1"), "PAYMENT", "refunded", number(0)),
        found: &[Kind::ChangedAmount],
    },
    Planted {
        what: "an application that was paid more",
        plant: |items| set(items, "epay#demo#1", "PAYMENT", "paid", number("2.01")),
        found: &[Kind::ChangedPayment],
    },
    Planted {
        what: "a payment that would vanish",
        plant: |items| set(items, WALLET, "PAYMENT#old2", "expires", number(4_000_000_000_u64)),
        found: &[Kind::WouldExpire],
    },
    // ---- postings ----
    Planted {
        what: "a posting of another amount",
        plant: |items| set(items, WALLET, "MOVEMENT#payout", "amount", number("13")),
        found: &[Kind::ChangedPosting],
    },
    Planted {
        what: "a posting at another time",
        plant: |items| set(items, WALLET, "MOVEMENT#payout", "at", number(1)),
        found: &[Kind::ChangedPosting],
    },
    Planted {
        what: "a posting for another reason",
        plant: |items| set(items, WALLET, "MOVEMENT#payout", "reason", text("present")),
        found: &[Kind::ChangedPosting],
    },
    Planted {
        what: "a refund by another request",
        plant: |items| {
            let request = text("ebet#1#request#autoBatchRefund#batch");
            set(items, WALLET, "PAYMENT#bet1", "refund.request", request);
        },
        found: &[Kind::ChangedPosting],
    },
    Planted {
        what: "a posting that came to another balance",
        plant: |items| set_posting(items, 2, "after", number("999")),
        found: &[Kind::ChangedPosting, Kind::ReorderedPosting],
    },
    Planted {
        what: "a posting that was removed from the middle",
        plant: |items| remove(items, WALLET, "MOVEMENT#payout"),
        found: &[Kind::MissingPosting],
    },
    Planted {
        what: "a refund that was undone, the last posting with it",
        plant: |items| {
            let refunded = item(items, WALLET, "PAYMENT#old1");
            refunded.remove("refund");
            refunded.insert("state".to_owned(), text("open"));
        },
        found: &[Kind::MissingPosting],
    },
    Planted {
        what: "a posting that was added at the end",
        plant: |items| {
            copy(items, WALLET, "MOVEMENT#payout", "MOVEMENT#another");
            set(items, WALLET, "MOVEMENT#another", "sequence", number(100));
        },
        found: &[Kind::MissingPosting, Kind::WrongHead],
    },
    Planted {
        what: "a posting that was duplicated",
        plant: |items| copy(items, WALLET, "MOVEMENT#out", "MOVEMENT#out2"),
        found: &[Kind::DuplicatePosting],
    },
    Planted {
        what: "two postings in the other's place",
        plant: |items| {
            let (four, five) = (posting(items, 4), posting(items, 5));
            for ((sk, path), sequence) in [(four, 5), (five, 4)] {
                let path = if path.is_empty() { "sequence".to_owned() } else { format!("{path}.sequence") };
                set(items, WALLET, &sk, &path, number(sequence));
            }
        },
        found: &[Kind::ReorderedPosting],
    },
    Planted {
        what: "a balance off by a hundredth",
        plant: |items| set(items, "ebet#1#quiet", "ACCOUNT", "balance", number("5.01")),
        found: &[Kind::WrongBalance],
    },
    Planted {
        what: "a balance off by a hundredth, after postings",
        plant: |items| {
            let AttributeValue::N(balance) = &item(items, WALLET, "ACCOUNT")["balance"] else { panic!() };
            let off = balance.parse::<rust_decimal::Decimal>().unwrap() - rust_decimal::Decimal::new(1, 2);
            set(items, WALLET, "ACCOUNT", "balance", number(off));
        },
        found: &[Kind::WrongBalance],
    },
    Planted {
        what: "another opening balance",
        plant: |items| set(items, WALLET, "ACCOUNT", "opening", number("101")),
        found: &[Kind::ChangedOpening],
    },
    Planted {
        what: "another opening balance, and the balance with it",
        plant: |items| {
            set(items, "ebet#1#quiet", "ACCOUNT", "opening", number("6"));
            set(items, "ebet#1#quiet", "ACCOUNT", "balance", number("6"));
        },
        found: &[Kind::ChangedOpening],
    },
    Planted {
        what: "an account's head of its own",
        plant: |items| {
            let head = item(items, "ebet#1#quiet", "ACCOUNT")["head"].clone();
            set(items, WALLET, "ACCOUNT", "head", head);
        },
        found: &[Kind::WrongHead],
    },
    Planted {
        what: "an account that is gone",
        plant: |items| remove(items, WALLET, "ACCOUNT"),
        found: &[Kind::PostingWithoutAccount],
    },
    Planted {
        what: "an app's account that is gone",
        plant: |items| remove(items, &format!("{APP}#recharge_funds"), "ACCOUNT"),
        found: &[Kind::PostingWithoutAccount],
    },
    Planted {
        what: "an app's posting of another amount",
        plant: |items| {
            let (pk, id) = batch(items, "created");
            let AttributeValue::L(holds) = &mut item(items, &pk, &id).get_mut("holds").unwrap() else {
                panic!()
            };
            let AttributeValue::M(hold) = &mut holds[0] else { panic!() };
            hold.insert("amount".to_owned(), number(59));
        },
        found: &[Kind::ChangedPosting, Kind::ChangedAmount],
    },
    // ---- refunds ----
    Planted {
        what: "a refund above its bet",
        plant: |items| set(items, WALLET, "PAYMENT#old1", "refund.amount", number("20.01")),
        found: &[Kind::ChangedPosting, Kind::AbovePayment],
    },
    Planted {
        what: "a charge refunded above what was paid",
        plant: |items| {
            let sort = refund_of(items, "ch_1");
            copy(items, &charge("ch_1"), &sort, "REFUND#re_another");
            set(items, &charge("ch_1"), "REFUND#re_another", "amount", number(900));
            set(items, &charge("ch_1"), "REFUND#re_another", "gsi1pk", text("pingpp#refund#re_another"));
            set(items, &charge("ch_1"), "PAYMENT", "refunded", number(1_400));
        },
        found: &[Kind::AbovePayment, Kind::RefundWithoutBatch],
    },
    Planted {
        what: "an application refunded above what was paid",
        plant: |items| {
            set(items, "epay#demo#2", "PAYMENT", "refund.amount", number("2.5"));
            set(items, "epay#demo#batchno#B2", "GUARD", "refund.amount", number("2.5"));
        },
        found: &[Kind::AbovePayment],
    },
    Planted {
        what: "a refund of another amount than its batch says",
        plant: |items| {
            let sort = refund_of(items, "ch_1");
            set(items, &charge("ch_1"), &sort, "amount", number(99));
        },
        found: &[Kind::ChangedAmount],
    },
    Planted {
        what: "a refund whose outcome was removed",
        plant: |items| {
            let sort = refund_of(items, "ch_1");
            remove(items, &charge("ch_1"), &sort);
        },
        found: &[Kind::ChangedAmount, Kind::ContradictingState],
    },
    Planted {
        what: "a charge that is gone, with refunds",
        plant: |items| remove(items, &charge("ch_1"), "PAYMENT"),
        found: &[Kind::RefundWithoutPayment],
    },
    Planted {
        what: "a failed refund that has succeeded",
        plant: |items| {
            let (pk, id) = batch(items, "fails");
            let refund = match &item(items, &pk, &id)["items"] {
                AttributeValue::L(refunds) => refunds[0].as_m().unwrap()["refund"].as_s().unwrap().clone(),
                _ => panic!(),
            };
            let sort = format!("REFUND#{refund}");
            set(items, &charge("ch_2"), &sort, "state", text("succeeded"));
        },
        found: &[Kind::ChangedAmount, Kind::ContradictingState],
    },
    Planted {
        what: "an ended batch that ended otherwise",
        plant: |items| {
            let (pk, id) = batch(items, "partly");
            set(items, &pk, &id, "state", text("succeeded"));
        },
        found: &[Kind::ContradictingState],
    },
    // ---- holds, guards, records ----
    Planted {
        what: "a hold without a batch",
        plant: |items| {
            let hold = AttributeValue::M(
                [("amount".to_owned(), number(5)), ("batchId".to_owned(), text("152611220930009999"))].into(),
            );
            set(items, &charge("ch_1"), "PAYMENT", "holds.re_000000000000000000000000", hold);
        },
        found: &[Kind::HoldWithoutBatch],
    },
    Planted {
        what: "a batch without its holds",
        plant: |items| set(items, &charge("ch_5"), "PAYMENT", "holds", AttributeValue::M([].into())),
        found: &[Kind::BatchWithoutHolds],
    },
    Planted {
        what: "a batch half created, without one of its holds",
        plant: |items| set(items, &charge("ch_h7"), "PAYMENT", "holds", AttributeValue::M([].into())),
        found: &[Kind::BatchWithoutHolds],
    },
    Planted {
        what: "a batch that is gone",
        plant: |items| {
            let (pk, id) = batch(items, "waits");
            remove(items, &pk, &id);
        },
        found: &[
            Kind::MissingPosting,
            Kind::HoldWithoutBatch,
            Kind::GuardWithoutOwner,
            Kind::RefundWithoutBatch,
        ],
    },
    Planted {
        what: "a batch without its guard",
        plant: |items| remove(items, &format!("{APP}#batchno#partly"), "GUARD"),
        found: &[Kind::RefundWithoutGuard],
    },
    Planted {
        what: "a guard whose batch is another number's",
        plant: |items| {
            let (_, id) = batch(items, "created");
            set(items, &format!("{APP}#batchno#succeeds"), "GUARD", "batchId", text(&id));
        },
        found: &[Kind::GuardWithoutOwner, Kind::RefundWithoutGuard],
    },
    Planted {
        what: "a guard without an application",
        plant: |items| remove(items, "epay#demo#2", "PAYMENT"),
        found: &[Kind::GuardWithoutOwner],
    },
    Planted {
        what: "a guard whose application was requested again",
        plant: |items| {
            let application = item(items, "epay#demo#2", "PAYMENT");
            application.remove("refund");
            application.insert("state".to_owned(), text("requested"));
        },
        found: &[Kind::GuardWithoutOwner],
    },
    Planted {
        what: "an application without its guard",
        plant: |items| remove(items, "epay#demo#batchno#B3", "GUARD"),
        found: &[Kind::RefundWithoutGuard],
    },
    Planted {
        what: "a failed refund that is forgotten",
        plant: |items| remove(items, "epay#demo#5", "FAILED#B5"),
        found: &[Kind::GuardWithoutOwner, Kind::ContradictingState],
    },
    Planted {
        what: "a failure that is counted twice",
        plant: |items| set(items, "epay#demo#5", "PAYMENT", "failures", number(2)),
        found: &[Kind::ContradictingState],
    },
    Planted {
        what: "an application that was withdrawn while it is refunded",
        plant: |items| {
            let application = item(items, "epay#demo#2", "PAYMENT");
            application.remove("refund");
            application.insert("state".to_owned(), text("withdrawn"));
            application.insert(
                "withdrawal".to_owned(),
                AttributeValue::M(
                    [("at".to_owned(), number(1)), ("attempt".to_owned(), AttributeValue::S("a".to_owned()))]
                        .into(),
                ),
            );
        },
        found: &[Kind::WithdrawnAndRefunded],
    },
    Planted {
        what: "a completion that nobody confirmed",
        plant: |items| remove(items, "epay#demo#batchno#B3", "CONFIRMATION"),
        found: &[Kind::ContradictingState],
    },
    Planted {
        what: "a further confirmation that is gone",
        plant: |items| set(items, "epay#demo#batchno#B3", "CONFIRMATION", "further", number(1)),
        found: &[Kind::ContradictingState],
    },
    Planted {
        what: "a request's record that is gone before its time",
        plant: |items| remove(items, "ebet#1#request#refundSingleWallet#single", "REQUEST"),
        found: &[Kind::MissingRecord],
    },
    // ---- what others rest on ----
    Planted {
        what: "a tenant that is gone",
        plant: |items| remove(items, "ebet#1", "TENANT"),
        found: &[Kind::WithoutTenant],
    },
    Planted {
        what: "a charge in another currency",
        plant: |items| set(items, &charge("ch_4"), "PAYMENT", "currency", text("USD")),
        found: &[Kind::ChangedPayment, Kind::WrongCurrency],
    },
    Planted {
        what: "an open batch that no sweep finds",
        plant: |items| {
            let (pk, id) = batch(items, "batch1");
            item(items, &pk, &id).remove("gsi1pk");
        },
        found: &[Kind::WrongIndex],
    },
    Planted {
        what: "a month whose batches no list finds",
        plant: |items| remove(items, &format!("{APP}#batches"), "MONTHS"),
        found: &[Kind::UnlistedBatch],
    },
    Planted {
        what: "one refund on record of two charges",
        plant: |items| {
            let sort = refund_of(items, "ch_1");
            let mut copied = item(items, &charge("ch_1"), &sort).clone();
            copied.insert("pk".to_owned(), text(&charge("ch_h1")));
            copied.insert("charge".to_owned(), text("ch_h1"));
            items.insert((charge("ch_h1"), sort), copied);
        },
        found: &[Kind::RefundWithoutBatch, Kind::ChangedAmount, Kind::AbovePayment],
    },
    Planted {
        what: "a charge that was never paid, and is refunded",
        plant: |items| set(items, &charge("ch_3"), "PAYMENT", "paid", AttributeValue::Bool(false)),
        found: &[Kind::ChangedPayment, Kind::ContradictingState],
    },
    Planted {
        what: "a batch that asks to pay to another number",
        plant: |items| {
            let (pk, id) = batch(items, "created");
            let Some(AttributeValue::L(refunds)) = item(items, &pk, &id).get_mut("items") else { panic!() };
            let AttributeValue::M(refund) = &mut refunds[0] else { panic!() };
            refund.insert("transactionNo".to_owned(), text("another"));
        },
        found: &[Kind::ChangedPayment, Kind::ContradictingState],
    },
    Planted {
        what: "a guard for another request than its batch",
        plant: |items| {
            let guard = format!("{APP}#batchno#partly");
            let other = item(items, &format!("{APP}#batchno#fails"), "GUARD")["fingerprint"].clone();
            set(items, &guard, "GUARD", "fingerprint", other);
        },
        found: &[Kind::GuardWithoutOwner],
    },
    Planted {
        what: "an application's refund of another id",
        plant: |items| {
            let id = text("rf_00000000000000000000000000000000");
            set(items, "epay#demo#2", "PAYMENT", "refund.id", id.clone());
            set(items, "epay#demo#batchno#B2", "GUARD", "refund.id", id);
        },
        found: &[Kind::ContradictingState],
    },
    Planted {
        what: "a failure under another number",
        plant: |items| copy(items, "epay#demo#5", "FAILED#B5", "FAILED#other"),
        found: &[Kind::DamagedItem, Kind::GuardWithoutOwner, Kind::ContradictingState],
    },
    Planted {
        what: "a failure at another time than its guard says",
        plant: |items| set(items, "epay#demo#5", "FAILED#B5", "at", number(1)),
        found: &[Kind::RefundWithoutGuard, Kind::GuardWithoutOwner],
    },
    Planted {
        what: "a request's record that vanishes too early",
        plant: |items| {
            set(items, "ebet#1#request#refundSingleWallet#single", "REQUEST", "expires", number(1))
        },
        found: &[Kind::WouldExpire],
    },
    Planted {
        what: "a tombstone that stays",
        plant: |items| drop(item(items, WALLET, "PAYMENT#unknown").remove("expires")),
        found: &[Kind::WouldExpire],
    },
    Planted {
        what: "an open batch that is to be brought on when all are dead",
        plant: |items| {
            let (pk, id) = batch(items, "waits");
            set(items, &pk, &id, "gsi1sk", text(&format!("999999999999999#{id}")));
        },
        found: &[Kind::WrongIndex],
    },
    Planted {
        what: "an open batch that somebody has for ever",
        plant: |items| {
            let (pk, id) = batch(items, "waits");
            set(items, &pk, &id, "takenUntil", number(99_999_999_999_999_u64));
        },
        found: &[Kind::WrongIndex],
    },
    Planted {
        what: "a merchant's secret that names another one",
        plant: |items| {
            let key = secret(items, "key#epay#");
            set(items, &key, "CREDENTIAL", "tenant", text("epay#other"));
        },
        found: &[Kind::WrongSecret],
    },
    Planted {
        what: "a secret of nobody's that names an app",
        plant: |items| {
            let key = secret(items, "key#pingpp#");
            let mut copied = item(items, &key, "CREDENTIAL").clone();
            let forged = format!("key#pingpp#{}", "0".repeat(64));
            copied.insert("pk".to_owned(), text(&forged));
            items.insert((forged, "CREDENTIAL".to_owned()), copied);
        },
        found: &[Kind::WrongSecret],
    },
    Planted {
        what: "a bet of a channel that is not there",
        plant: |items| {
            let mut debit = item(items, WALLET, "PAYMENT#old3").clone();
            debit.insert("pk".to_owned(), text("ebet#99#quiet"));
            debit.insert("gsi1pk".to_owned(), text("ebet#99#debit#old3"));
            items.insert(("ebet#99#quiet".to_owned(), "PAYMENT#old3".to_owned()), debit);
        },
        found: &[Kind::ChangedPayment, Kind::WithoutTenant],
    },
    Planted {
        what: "an attribute that the ledger does not write",
        plant: |items| drop(item(items, WALLET, "PAYMENT#old3").insert("note".to_owned(), text("x"))),
        found: &[Kind::DamagedItem],
    },
    Planted {
        what: "a posting with a number beyond all",
        plant: |items| set(items, WALLET, "MOVEMENT#out", "sequence", number(u64::MAX)),
        found: &[Kind::MissingPosting, Kind::WrongHead],
    },
    Planted {
        what: "an item that the ledger does not write",
        plant: |items| copy(items, WALLET, "ACCOUNT", "ACCOUNT2"),
        found: &[Kind::DamagedItem],
    },
    Planted {
        what: "an amount that is none",
        plant: |items| set(items, WALLET, "PAYMENT#old3", "amount", text("7.5")),
        found: &[Kind::DamagedItem],
    },
];

/// All of `clean` with as many changes as don't touch the same items, one of each kind if that can be; and the kinds
/// changes.
pub fn one_of_each(clean: &Items) -> (Items, Vec<&'static Planted>) {
    let mut changed = clean.clone();
    let (mut touched, mut kinds, mut planted) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for one in PLANTED {
        let Planted { plant, found, .. } = one;
        if found.iter().all(|kind| kinds.contains(kind)) {
            continue;
        }
        let mut alone = clean.clone();
        plant(&mut alone);
        let keys: BTreeSet<(String, String)> = clean
            .keys()
            .chain(alone.keys())
            .filter(|key| clean.get(*key) != alone.get(*key))
            .cloned()
            .collect();
        // Of an account that is gone nothing else can be told.
        let hides =
            |key: &(String, String)| key.1 == "ACCOUNT" && key.0 == WALLET && !alone.contains_key(key);
        if !keys.is_disjoint(&touched) || keys.iter().any(hides) {
            continue;
        }
        touched.extend(keys.iter().cloned());
        for key in keys {
            match alone.remove(&key) {
                Some(item) => changed.insert(key, item),
                None => changed.remove(&key),
            };
        }
        kinds.extend(found.iter().copied());
        planted.push(one);
    }
    (changed, planted)
}
