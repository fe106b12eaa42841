//! Statements, and what they come to.

use jiff::Timestamp;
use shared::ledger::{
    AccountKey, Amount, Application, ApplicationKey, ApplicationRefund, ApplicationState, BatchItem,
    BatchState, ChargeKey, Completion, Confirmation, Debit, DebitKey, DebitState, FailedRefund,
    FingerprintBuilder, ItemRefund, ItemState, MinorUnits, RefundBatch, RefundBatchKey, RefundId, TenantKey,
};
use shared::store::{Content, Stored};

use super::comparison::{Comparison, Difference, Period};
use super::ledger::{Gathered, Here, Ledger, Refund};
use super::statement::{Columns, Row, State, Statement, complaint};
use super::*;

const COLUMNS: Columns<'static> = Columns { id: "id", amount: "amount", status: None };

fn read(text: &str) -> Statement {
    Statement::read(text.as_bytes(), &COLUMNS, false).unwrap()
}

fn told(rows: &[Row]) -> Vec<String> {
    let state = |row: &Row| row.state.map_or("-", State::as_str);
    rows.iter().map(|row| format!("{} {} {} {}", row.line, row.id, row.amount, state(row))).collect()
}

#[test]
fn a_statement_is_read_whatever_its_columns_are_called_and_wherever_they_stand() {
    let named = Columns { id: " Refund ID", amount: "FEE", status: Some("result") };
    for (text, columns, is_minor, rows) in [
        (
            "id,amount,status\na,1.50,SUCCESS\nb,-2,failure\n",
            &COLUMNS,
            false,
            &["2 a 1.5 succeeded", "3 b 2 failed"][..],
        ),
        (
            "\u{feff}Status , ID,Amount\r\n\r\n1, a ,1\r\n,,\r\n200,b,2",
            &COLUMNS,
            false,
            &["3 a 1 pending", "5 b 2 succeeded"],
        ),
        (
            "note,refund id,fee,Result\n\"two\nlines, \"\"quoted\"\"\",a,10,Open\n5\" disk,b,-11,2\n",
            &named,
            true,
            &["2 a 10 pending", "4 b 11 succeeded"],
        ),
        ("id,amount\na,\"1e3\"\na,1000.00", &COLUMNS, false, &["2 a 1000 -", "3 a 1000 -"]),
        ("id,amount\n", &COLUMNS, false, &[]),
    ] {
        let statement = Statement::read(text.as_bytes(), columns, is_minor).unwrap();
        assert_eq!(told(&statement.rows), rows, "{text:?}");
        assert_eq!(statement.has_states, statement.rows.iter().any(|row| row.state.is_some()), "{text:?}");
    }
}

#[test]
fn every_problem_of_a_statement_is_told_with_its_line() {
    let status = Columns { status: Some("result"), ..COLUMNS };
    for (text, columns, is_minor, problems) in [
        (&b""[..], &COLUMNS, false, &[(1, "the statement is empty")][..]),
        (b"\n\r\n", &COLUMNS, false, &[(1, "the statement is empty")]),
        (
            b"no;sum\na;1\n",
            &COLUMNS,
            false,
            &[
                (1, "has no column \"id\", but \"no;sum\": --id names another; commas must divide"),
                (1, "--amount"),
            ],
        ),
        (b"id,amount\na,1\n", &status, false, &[(1, "has no column \"result\", but \"id\", \"amount\"")]),
        (b"id,amount,ID\na,1,b\n", &COLUMNS, false, &[(1, "has 2 columns \"id\"")]),
        (b"id,amount\na,1\nb,\xb9\xfe\n", &COLUMNS, false, &[(3, "is not UTF-8")]),
        (
            b"id,amount,status\n\na,1\nb,1,000,done\n,\"1,000.50\",chargeback\n",
            &COLUMNS,
            false,
            &[
                (3, "has 2 cells, and the line with the columns has 3"),
                (4, "has 4 cells"),
                (5, "has no id"),
                (5, "amount \"1,000.50\" has a separator"),
                (5, "status \"chargeback\" is none of succeeded, success, refunded, done, 200, 2; failed,"),
            ],
        ),
        (
            b"id,amount\na,\nb,0\nc,1.001\nd,ten\ne,--1\nf,1e99\n",
            &COLUMNS,
            false,
            &[
                (2, "has no amount"),
                (3, "amount \"0\" must be more than zero"),
                (4, "has more than 2 decimals"),
                (5, "amount \"ten\" is not a decimal number"),
                (6, "amount \"--1\" is not a number"),
                (7, "amount \"1e99\""),
            ],
        ),
        (
            b"id,amount\na,10.00\nb,1e3\nc,0\nd,99999999999999999999\n",
            &COLUMNS,
            true,
            &[
                (2, "amount \"10.00\" is not a whole number of the currency's smallest unit"),
                (3, "amount \"1e3\" is not a whole number"),
                (4, "must be more than zero"),
                (5, "is above the limit of"),
            ],
        ),
        (b"id,amount,note\na,1,\"x\nb,2,y\n", &COLUMNS, false, &[(2, "has a quotation mark that is not")]),
        (
            b"id,amount,note\na,1,\"x\nb,2,\"y\nc,\x1b[31m,z\n",
            &COLUMNS,
            false,
            &[(2, "has a quotation mark that is not closed"), (4, "amount \"\\u{1b}[31m\"")],
        ),
    ] {
        let shown = String::from_utf8_lossy(text);
        let wrong = Statement::read(text, columns, is_minor).unwrap_err();
        let lines: Vec<u64> = wrong.iter().map(|problem| problem.line).collect();
        let expected: Vec<u64> = problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, expected, "{shown:?}: {wrong:?}");
        for (problem, (_, what)) in wrong.iter().zip(problems) {
            assert!(problem.what.contains(what), "{shown:?}: {problem:?}");
            assert!(!problem.what.contains('\u{1b}'), "{problem:?}");
        }
    }
    let text = format!("id,amount\n{}", "a,b\n".repeat(25));
    let told = complaint(&Statement::read(text.as_bytes(), &COLUMNS, false).unwrap_err());
    assert!(told.contains("line 21: ") && told.contains("and 5 more") && !told.contains("line 22"), "{told}");
}

fn at(time: &str) -> u64 {
    u64::try_from(time.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
}

/// A ledger of ids, amounts and states.
fn ledger(refunds: &[(&str, &str, &'static str)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (id, amount, state) in refunds {
        let here = match State::of_word(state) {
            Ok(state) if !amount.is_empty() => {
                let at = Some(at("2026-11-22T12:00:00Z"));
                Here::Refund(Refund { amount: amount.parse().unwrap(), state, at })
            }
            _ => Here::Unrefunded(state),
        };
        ledger.by_id.entry((*id).to_owned()).or_default().push(here);
    }
    ledger
}

fn lines(comparison: &Comparison) -> Vec<String> {
    let line = |difference: &Difference| {
        let amount = |amount: Option<Amount>| amount.map_or("-".to_owned(), |amount| amount.to_string());
        format!(
            "{} {} {}: {} {}, {} {}",
            difference.line.map_or("-".to_owned(), |line| line.to_string()),
            difference.id,
            difference.kind.as_str(),
            amount(difference.amount_there),
            difference.state_there.map_or("-", State::as_str),
            amount(difference.amount_here),
            difference.state_here.as_deref().unwrap_or("-"),
        )
    };
    comparison.differences.iter().map(line).collect()
}

#[test]
fn what_differs_is_told_and_what_agrees_is_counted() {
    let both = [("a", "10", "succeeded"), ("b", "2.5", "failed")];
    let bets = [("a", "", "open"), ("b", "", "settled")];
    let players = [("a", "10", "succeeded"), ("a", "20", "succeeded"), ("a", "", "open")];
    for (rows, here, counts, differences) in [
        // Rows, what the ledger has, refunds compared, matching, sums there and here, and differences.
        ("a,10.00,done\nb,2.50,refused", &both[..], (2, 2, "10", "10"), &[][..]),
        ("a,10,done", &both, (2, 1, "10", "10"), &["- b missing there: - -, 2.5 failed"]),
        (
            "a,11,failed\nb,3,failed\nc,1,1",
            &both,
            (2, 0, "1", "10"),
            &[
                "2 a different amount: 11 failed, 10 succeeded",
                "2 a different state: 11 failed, 10 succeeded",
                "3 b different amount: 3 failed, 2.5 failed",
                "4 c missing here: 1 pending, - -",
            ],
        ),
        (
            "a,9,done\na,10,done\na,10,done\nb,2.5,failed\nc,1,done\nc,1,done",
            &both,
            (2, 2, "31", "10"),
            &[
                "2 a twice in the statement: 9 succeeded, 10 succeeded",
                "4 a twice in the statement: 10 succeeded, 10 succeeded",
                "6 c missing here: 1 succeeded, - -",
                "7 c twice in the statement: 1 succeeded, - -",
            ],
        ),
        // Bets that nobody refunded.
        (
            "a,10,done\nb,2,failed",
            &bets,
            (0, 1, "10", "0"),
            &["2 a different state: 10 succeeded, - not refunded here (open)"],
        ),
        ("", &bets, (0, 0, "0", "0"), &[]),
        // Bets of several players.
        ("a,20,done\na,10,done", &players, (2, 2, "30", "30"), &[]),
        ("a,20,done", &players, (2, 1, "20", "30"), &["- a missing there: - -, 10 succeeded"]),
        (
            "a,15,done\na,15,done\na,15,done\na,15,done",
            &players,
            (2, 0, "60", "30"),
            &[
                "2 a ambiguous: 15 succeeded, - 10 succeeded, 20 succeeded, not refunded here (open)",
                "3 a ambiguous: 15 succeeded, - 10 succeeded, 20 succeeded, not refunded here (open)",
                "4 a ambiguous: 15 succeeded, - 10 succeeded, 20 succeeded, not refunded here (open)",
                "5 a twice in the statement: 15 succeeded, - -",
            ],
        ),
        (
            "a,10,done\na,21,done",
            &players[..2],
            (2, 1, "31", "30"),
            &["3 a different amount: 21 succeeded, 20 succeeded"],
        ),
    ] {
        let statement = read(&format!("id,amount,status\n{rows}\n"));
        let comparison = Comparison::of(&statement, &ledger(here), Period::default());
        assert_eq!(lines(&comparison), differences, "{rows:?}");
        let sums = [comparison.sum_there, comparison.sum_here].map(|sum| sum.normalize().to_string());
        let counted = (comparison.refunds, comparison.matching, sums[0].as_str(), sums[1].as_str());
        assert_eq!(counted, counts, "{rows:?}");
    }
}

#[test]
fn without_states_none_are_compared_and_only_what_has_succeeded_must_be_there() {
    let here = [
        ("a", "10", "failed"),
        ("b", "20", "succeeded"),
        ("c", "30", "failed"),
        ("d", "40", "pending"),
        ("e", "", "settled"),
    ];
    let statement = read("id,amount\na,10\ne,5\n");
    let comparison = Comparison::of(&statement, &ledger(&here), Period::default());
    let told =
        ["3 e different state: 5 -, - not refunded here (settled)", "- b missing there: - -, 20 succeeded"];
    assert_eq!(lines(&comparison), told);
    assert!(notes(&statement, &Ledger::default(), &comparison, 1)[0].contains("has no states"));
    assert!(notes(&statement, &Ledger::default(), &comparison, 1)[1].contains("1 more differences"));
}

#[test]
fn a_period_has_its_last_day_and_limits_only_what_must_be_there() {
    let day = |text: &str| date(text).unwrap();
    let period = Period { from: Some(day("2026-11-21")), to: Some(day("2026-11-22")) };
    for (time, is_in) in [
        ("2026-11-20T23:59:59.999Z", false),
        ("2026-11-21T00:00:00Z", true),
        ("2026-11-22T23:59:59.999Z", true),
        ("2026-11-23T00:00:00Z", false),
    ] {
        assert_eq!(period.has(Some(at(time))), is_in, "{time}");
    }
    assert!(period.has(None) && Period::default().has(Some(0)));
    let later = Period { from: Some(day("2026-11-23")), to: None };
    let here = ledger(&[("a", "10", "succeeded"), ("b", "20", "succeeded")]);
    let comparison = Comparison::of(&read("id,amount,status\na,11,done\n"), &here, later);
    assert_eq!(lines(&comparison), ["2 a different amount: 11 succeeded, 10 succeeded"]);
    assert_eq!(comparison.refunds, 1);
    for wrong in ["2026-11-31", "20261122", "2026-11-22T00:00", "26-11-22", "", "2026-1-02", "yesterday!"] {
        assert!(date(wrong).is_err(), "{wrong}");
    }
}

fn gathered(tenant: &TenantKey, named: &[&str], contents: Vec<Result<Content, String>>) -> Ledger {
    let mut gathered = Gathered::new(tenant, named.iter().copied());
    for content in contents {
        let partition = format!("{tenant}#x");
        let (sort, seal, index) = (String::new(), None, None);
        gathered
            .take(Stored {
                partition,
                sort,
                content,
                seal,
                index,
                expires: None,
                taken_until: None,
                is_plain: true,
            })
            .unwrap();
    }
    gathered.finish()
}

fn under(ledger: &Ledger, id: &str) -> Vec<(String, &'static str, Option<u64>)> {
    let refund = |here: &Here| match here {
        Here::Refund(refund) => (refund.amount.to_string(), refund.state.as_str(), refund.at),
        Here::Unrefunded(state) => (String::new(), *state, None),
    };
    ledger.under(id).iter().map(refund).collect()
}

#[test]
fn a_channels_open_bets_are_kept_only_if_the_statement_names_them() {
    let debit = |account: &str, id: &str, state: DebitState| {
        Ok(Content::Debit(Box::new(Debit {
            key: DebitKey { account: AccountKey::recorded(account), id: id.parse().unwrap() },
            round: "R".parse().unwrap(),
            amount: "5".parse().unwrap(),
            taken: None,
            asked: None,
            state,
        })))
    };
    let contents = vec![
        debit("ebet#1#p", "a", DebitState::Open),
        debit("ebet#1#q", "a", DebitState::Settled),
        debit("ebet#1#p", "b", DebitState::Open),
        debit("ebet#11#p", "a", DebitState::Open),
        Err("damaged".to_owned()),
    ];
    let ledger = gathered(&ChannelId(1).tenant(), &["a"], contents);
    assert_eq!(ledger.by_id.len(), 1);
    assert_eq!(under(&ledger, "a"), [(String::new(), "open", None), (String::new(), "settled", None)]);
    assert_eq!(ledger.damaged, 1);
    let comparison = Comparison::of(&read("id,amount\n"), &ledger, Period::default());
    assert!(notes(&read("id,amount,status\n"), &ledger, &comparison, 1)[0].contains("1 of its items"));
}

#[test]
fn a_merchants_refund_is_what_was_decided_of_its_batch_number() {
    let merchant: MerchantId = "m".parse().unwrap();
    let key = |id: i64| merchant.application(id);
    let refund = |no: &str| ApplicationRefund {
        id: RefundId::recorded("rf_1"),
        batch_no: no.parse().unwrap(),
        amount: "2.50".parse().unwrap(),
        account: "x".parse().unwrap(),
        at: 1,
        invocation: "i".to_owned(),
    };
    let application = |key: ApplicationKey, state: ApplicationState| {
        let (order_no, paid) = ("o".parse().unwrap(), "9".parse().unwrap());
        Ok(Content::Application(Box::new(Application { key, order_no, paid, state, failures: None })))
    };
    let completion = Completion {
        confirmation: Confirmation {
            trade_no: "t".parse().unwrap(),
            amount: "2.5".parse().unwrap(),
            at: 2,
            invocation: "i".to_owned(),
        },
        at: 3,
        invocation: "i".to_owned(),
    };
    let failed = |no: &str| {
        let failed = Box::new(FailedRefund { refund: refund(no), at: 4, reason: None });
        Ok(Content::Failed { application: key(1), failed })
    };
    let contents = vec![
        application(key(1), ApplicationState::Processing(refund("B1"))),
        failed("B1"),
        failed("B2"),
        application(key(2), ApplicationState::Processing(refund("B2"))),
        application(key(3), ApplicationState::Processing(refund("B3"))),
        application(key(4), ApplicationState::Done { refund: refund("B4"), completion }),
        application(key(5), ApplicationState::Requested),
        application(
            "n".parse::<MerchantId>().unwrap().application(1),
            ApplicationState::Processing(refund("B5")),
        ),
    ];
    let ledger = gathered(&merchant.tenant(), &[], contents);
    assert_eq!(ledger.by_id.len(), 4);
    for (no, state, at) in
        [("B1", "failed", 4), ("B2", "failed", 4), ("B3", "pending", 1), ("B4", "succeeded", 3)]
    {
        assert_eq!(under(&ledger, no), [("2.5".to_owned(), state, Some(at))], "{no}");
    }
}

#[test]
fn an_apps_refund_without_an_answer_is_pending_since_its_batch_was_accepted() {
    let tenant = "app_1".parse::<AppId>().unwrap().tenant(Mode::Test);
    let refund = |tenant: &TenantKey, id: &str, state: ItemState| {
        Ok(Content::Refund(Box::new(ItemRefund {
            id: RefundId::recorded(id),
            charge: ChargeKey { tenant: tenant.clone(), id: "ch_1".parse().unwrap() },
            batch: "151601010230050000".parse().unwrap(),
            amount: MinorUnits::new(10).unwrap(),
            state,
            contradiction: None,
        })))
    };
    let batch = |id: &str, state: BatchState, refunds: &[&str]| {
        let item = |refund: &&str| BatchItem {
            charge: "ch_1".parse().unwrap(),
            refund: RefundId::recorded(refund),
            amount: MinorUnits::new(10).unwrap(),
            description: None,
            funding_source: None,
            channel: "wx".parse().unwrap(),
            order_no: "o".parse().unwrap(),
            transaction_no: None,
        };
        Ok(Content::Batch(Box::new(RefundBatch {
            key: RefundBatchKey { tenant: tenant.clone(), id: id.parse().unwrap() },
            batch_no: "b".parse().unwrap(),
            fingerprint: FingerprintBuilder::new("test/1").finish(),
            currency: None,
            description: String::new(),
            metadata: "{}".to_owned(),
            at: 7,
            state,
            items: refunds.iter().map(item).collect(),
            holds: Vec::new(),
            releases: Vec::new(),
        })))
    };
    let live = "app_1".parse::<AppId>().unwrap().tenant(Mode::Live);
    let failed = ItemState::Failed { at: 9, code: "c".to_owned(), message: "m".to_owned() };
    let contents = vec![
        refund(&tenant, "re_1", ItemState::Succeeded { at: 8 }),
        batch("151601010230050000", BatchState::Settling, &["re_1", "re_2", "re_3", "re_4"]),
        refund(&tenant, "re_2", failed),
        refund(&tenant, "re_3", ItemState::Pending { url: "https://x".to_owned() }),
        refund(&live, "re_5", ItemState::Succeeded { at: 8 }),
        batch("151601010230050001", BatchState::Creating, &["re_6"]),
        batch("151601010230050002", BatchState::Void, &["re_7"]),
    ];
    let ledger = gathered(&tenant, &[], contents);
    assert_eq!(ledger.by_id.len(), 4);
    for (id, state, at) in
        [("re_1", "succeeded", 8), ("re_2", "failed", 9), ("re_3", "pending", 7), ("re_4", "pending", 7)]
    {
        assert_eq!(under(&ledger, id), [("10".to_owned(), state, Some(at))], "{id}");
    }
}

#[test]
fn what_people_see_fits_on_80_columns_with_no_id_split() {
    let id = "d34fbd4e4734d430c05f443da281d92b";
    let statement = read(&format!("id,amount,status\n{id},999999999999999.99,done\n\u{1b}[31m,1,1\n"));
    let here = ledger(&[(id, "", "open"), ("re_0123456789abcdefABCDEF01", "12345.67", "failed")]);
    let comparison = Comparison::of(&statement, &here, Period::default());
    let text = comparison.sheet("statement x.csv", 200).render(Output::Table, 80).unwrap();
    for line in text.lines() {
        assert!(console::measure_text_width(line) <= 80, "{line}");
    }
    for whole in [
        id,
        "re_0123456789abcdefABCDEF01",
        "999999999999999.99",
        "not refunded here (open)",
        "statement x.csv: 3 differences",
        "\\u{1b}",
    ] {
        assert!(text.contains(whole), "{whole}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    let csv = comparison.sheet("", usize::MAX).render(Output::Csv, 80).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "line,amountThere,amountHere,kind,id,stateThere,stateHere");
    assert_eq!(
        lines[1],
        format!("2,999999999999999.99,,different state,{id},succeeded,not refunded here (open)")
    );
    assert_eq!(lines[3], ",,12345.67,missing there,re_0123456789abcdefABCDEF01,,failed");
    assert_eq!(comparison.sheet("", 1).render(Output::Csv, 80).unwrap().lines().count(), 2);
}
