//! Statements of providers against the ledger, as operators reconcile them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::stack::{Local, lines, refundctl, run, stderr, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

const APP: &str = "app_abcdefghweqzadfs";

/// A statement in a file of its own.
fn statement(folder: &TempDir, text: &str) -> PathBuf {
    let file = folder.path().join("statement.csv");
    std::fs::write(&file, text).unwrap();
    file
}

impl Local {
    /// The exit code, what is printed, and what is said beside it.
    fn reconcile(&self, file: &Path, options: &[&str]) -> (Option<i32>, String, String) {
        let file = file.to_str().unwrap();
        let output = run(&[&["reconcile", file, "--endpoint", &self.dynamodb], options].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    }

    /// The exit code, and the sheet as programs get it.
    fn reconciled(&self, file: &Path, options: &[&str]) -> (Option<i32>, Value) {
        let (code, told, said) = self.reconcile(file, &[options, &["--output", "json"]].concat());
        (code, serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}{said}")))
    }

    fn refund(&self, username: &str, bet: &str) {
        let (code, answer) = self.send(&["--username", username, "--refund", bet]);
        assert_eq!(code, Some(0), "{answer}");
    }

    /// The ids of a new batch's refunds, once it has come to this status.
    fn refunds(&self, batch_no: &str, charges: &[&str], status: &str) -> Vec<String> {
        let asked = charges.iter().flat_map(|charge| ["--charge", *charge]);
        let options: Vec<&str> = ["--batch-no", batch_no].into_iter().chain(asked).collect();
        let (_, created) = self.call("create-batch-refund", &options);
        let id = created["id"].as_str().unwrap();
        let since = Instant::now();
        loop {
            let (_, batch) = self.call("retrieve-batch-refund", &[id]);
            // A pending batch may have refunds that its payment channels were not asked for yet.
            let refund = |charge: &Value| Some(charge["refund"].as_str()?.to_owned());
            let refunds: Option<Vec<String>> =
                batch["charges"].as_array().unwrap().iter().map(refund).collect();
            if let Some(refunds) = refunds.filter(|_| batch["status"] == status) {
                return refunds;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "never {status}: {batch}");
        }
    }
}

/// Each difference: its line, kind, id, amounts and states.
fn differences(sheet: &Value) -> Vec<String> {
    let text = |cell: &Value| match cell {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        cell => cell.to_string(),
    };
    let told = |row: &Value| {
        let cells = ["line", "kind", "id", "amountThere", "amountHere", "stateThere", "stateHere"];
        cells.map(|name| text(&row[name])).join(" | ")
    };
    sheet["differences"].as_array().unwrap().iter().map(told).collect()
}

#[test]
fn a_channels_statement_is_compared_bet_by_bet() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(&[]);
    let (played, first, second) =
        ("played-bet", "a70efc7cf71e03ae98b42b22ad4b4288", "d34fbd4e4734d430c05f443da281d92b");
    local.send(&[]);
    local.refund("demo", &format!("{first}=100"));
    // All agree, whatever the columns are called; of a bet that was played the provider says itself that it failed.
    let text = format!(
        "\u{feff}Player,SeqNo,Money,Result\r\napitest01,seqNoBetseqNoRefund,\"-1000.00\",SUCCESS\r\n\
         demo,{first},-100,200\r\napitest01,{played},-50,failure\r\n"
    );
    let named = ["--channel", "1", "--id", "seqno", "--amount", "money", "--status", "result"];
    let (code, told, said) = local.reconcile(&statement(&folder, &text), &named);
    assert_eq!(code, Some(0), "{told}{said}");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "the ledger of channel 1: no difference",
        "rows in the statement 3",
        "refunds in the ledger 2",
        "matching 3",
        "ambiguous 0",
        "sum in the statement 1100",
        "sum in the ledger 1100",
        "amounts in CNY",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }

    // Two players with a bet of one number.
    let bet = |username: &str, amount: &str| {
        json!({"kind": "debit", "channelId": 1, "username": username, "seqNo": "same", "roundCode": "R1",
               "amount": amount})
    };
    let facts = folder.path().join("facts.jsonl");
    lines(&facts, &[bet("demo", "5"), bet("apitest01", "7")]);
    assert!(local.import(&facts, &[]).status.success());
    local.refund("demo", "same=5");
    local.refund("apitest01", "same=7");
    let text = format!(
        "id,amount,status\nsame,7,done\nsame,5,done\nseqNoBetseqNoRefund,1000,1\n{first},100.50,2\n{first},100,2\n\
         {played},50,done\n{second},20,refunded\nnobody's,1,refunded\n"
    );
    let file = statement(&folder, &text);
    let (code, sheet) = local.reconciled(&file, &["--channel", "1"]);
    assert_eq!(
        differences(&sheet),
        [
            "4 | different state | seqNoBetseqNoRefund | 1000 | 1000 | pending | succeeded".to_owned(),
            format!("5 | twice in the statement | {first} | 100.5 | 100 | succeeded | succeeded"),
            format!("7 | different state | {played} | 50 | - | succeeded | not refunded here (settled)"),
            format!("8 | different state | {second} | 20 | - | succeeded | not refunded here (open)"),
            "9 | missing here | nobody's | 1 | - | succeeded | -".to_owned(),
        ]
    );
    assert_eq!((code, &sheet["matching"], &sheet["differentState"]), (Some(1), &json!(3), &json!(3)));
    assert_eq!((&sheet["sumInTheStatement"], &sheet["sumInTheLedger"]), (&json!("1283.5"), &json!("1112")));

    let (code, told, _) = local.reconcile(&file, &["--channel", "1", "--output", "csv"]);
    assert_eq!((code, told.lines().count()), (Some(1), 6), "{told}");
    assert!(told.starts_with("line,amountThere,amountHere,kind,id,stateThere,stateHere\n"), "{told}");
    let (_, told, _) = local.reconcile(&file, &["--channel", "1"]);
    assert!(told.lines().all(|line| line.chars().count() <= 80) && told.contains(first), "{told}");

    let (_, sheet) =
        local.reconciled(&statement(&folder, "id,amount,status\nsame,6,done\n"), &["--channel", "1"]);
    let told = differences(&sheet);
    assert_eq!(
        (told.len(), &sheet["ambiguous"], &sheet["missingThere"]),
        (3, &json!(1), &json!(2)),
        "{told:?}"
    );
    assert!(told[0].starts_with("2 | ambiguous | same | 6 | - | succeeded | "), "{told:?}");
    assert!(told[0].contains("5 succeeded") && told[0].contains("7 succeeded"), "{told:?}");

    let (code, _, said) = local.reconcile(&file, &["--channel", "9"]);
    assert!(code == Some(1) && said.contains("there is no channel 9"), "{said}");
}

#[test]
fn an_apps_statement_is_compared_refund_by_refund() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(&[]);
    let charges = ["ch_L8qn10mLmr1GS8e5OODmHaL4=10", "ch_fdOmHaLmLmr1GOD4qn1dS8e5=20"];
    let done = local.refunds("decided", &charges, "succeeded");
    let waits = local.refunds("waiting", &["ch_Pq8S4K5yPi1G0mHeX1qDemo0=300"], "pending");
    let (ten, twenty, pending) = (&done[0], &done[1], &waits[0]);
    let rows = |rows: &[String]| statement(&folder, &format!("id,amount,status\n{}\n", rows.join("\n")));

    let all = [format!("{pending},300,open"), format!("{ten},-10,done"), format!("{twenty},20,succeeded")];
    let (code, sheet) = local.reconciled(&rows(&all), &["--app", APP]);
    assert_eq!((code, differences(&sheet).len(), &sheet["matching"]), (Some(0), 0, &json!(3)), "{sheet}");
    assert_eq!(sheet["amountsIn"], "the smallest unit of CNY");
    assert_eq!((&sheet["sumInTheStatement"], &sheet["sumInTheLedger"]), (&json!("330"), &json!("330")));

    let (code, sheet) = local.reconciled(&rows(&[format!("{twenty},21,failed")]), &["--app", APP]);
    let mut missing = [
        format!("- | missing there | {ten} | - | 10 | - | succeeded"),
        format!("- | missing there | {pending} | - | 300 | - | pending"),
    ];
    missing.sort_by_key(|row| if row.contains(ten.as_str()) { ten } else { pending });
    let expected = [
        format!("2 | different amount | {twenty} | 21 | 20 | failed | succeeded"),
        format!("2 | different state | {twenty} | 21 | 20 | failed | succeeded"),
        missing[0].clone(),
        missing[1].clone(),
    ];
    assert_eq!((code, differences(&sheet)), (Some(1), expected.to_vec()));

    // What was refunded before or after its days is not missing.
    let one = rows(&all[1..2]);
    for (days, code, missing) in [
        (&["--to", "2020-01-01"][..], Some(0), 0),
        (&["--from", "2999-01-01"], Some(0), 0),
        (&["--from", "2020-01-01", "--to", "2999-01-01"], Some(1), 2),
    ] {
        let (exit, sheet) = local.reconciled(&one, &[&["--app", APP], days].concat());
        assert_eq!((exit, &sheet["missingThere"]), (code, &json!(missing)), "{days:?}");
    }

    // Without states only what has succeeded must be there.
    let text = format!("refund,fee\n{ten},10\n{twenty},20\n");
    let named = ["--app", APP, "--id", "refund", "--amount", "fee"];
    let (code, told, _) = local.reconcile(&statement(&folder, &text), &named);
    assert!(code == Some(0) && told.contains("! the statement has no states"), "{told}");
    let (code, _, said) = local.reconcile(&rows(&all), &["--app", APP, "--live"]);
    assert!(code == Some(1) && said.contains("there is no app app_abcdefghweqzadfs in live mode"), "{said}");
    let (code, told, said) =
        local.reconcile(&statement(&folder, &format!("id,amount\n{ten},0.10\n")), &["--app", APP]);
    assert!(code == Some(1) && told.is_empty(), "{told}");
    assert!(
        said.contains("line 2: amount \"0.10\" is not a whole number of the currency's smallest"),
        "{said}"
    );
}

#[test]
fn a_merchants_statement_is_compared_by_batch_numbers_and_read_from_a_pipe() {
    let local = Local::start(&[]);
    assert_eq!(local.call("begin-single-refund", &[]).0, Some(0));
    assert_eq!(local.call("end-single-refund", &[]).0, Some(0));
    let begin = ["--autoid", "2", "--amount", "358.50", "--batch-no", "B1"];
    assert_eq!(local.call("begin-single-refund", &begin).0, Some(0));
    let reconcile = |text: &str| {
        let options = ["--merchant", "demo", "--output", "json", "--endpoint", &local.dynamodb];
        let mut process = refundctl(&[&["reconcile", "-"], &options[..]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        let sheet: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        (output.status.code(), sheet)
    };
    let (code, sheet) = reconcile("id,amount,status\nsample string 3,2.00,done\nB1,-358.5,Processing\n");
    assert_eq!((code, differences(&sheet).len()), (Some(0), 0), "{sheet}");
    assert_eq!((&sheet["sumInTheStatement"], &sheet["sumInTheLedger"]), (&json!("360.5"), &json!("360.5")));
    let (code, sheet) = reconcile("id,amount,status\nB1,358.5,success\nB1,358.5,success\n");
    assert_eq!(
        (code, differences(&sheet)),
        (
            Some(1),
            [
                "2 | different state | B1 | 358.5 | 358.5 | succeeded | pending",
                "3 | twice in the statement | B1 | 358.5 | 358.5 | succeeded | pending",
                "- | missing there | sample string 3 | - | 2 | - | succeeded",
            ]
            .map(str::to_owned)
            .to_vec()
        )
    );
}

#[test]
fn a_statement_that_cant_be_read_is_compared_with_nothing_and_all_its_problems_are_told() {
    let folder = tempfile::tempdir().unwrap();
    // No table is needed for that.
    let reconcile = |text: &str, options: &[&str]| {
        let file = statement(&folder, text);
        let output = run(&[&["reconcile", file.to_str().unwrap(), "--channel", "1"], options].concat());
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{text:?}");
        stderr(&output)
    };
    let told = reconcile("id,amount,status\na,\"1,000\",done\nb,2\n\u{1b}[31m,x,charge\u{1b}back\n", &[]);
    for part in [
        "nothing was compared",
        "line 2: amount \"1,000\" has a separator",
        "line 3: has 2 cells",
        "line 4: amount \"x\"",
        "line 4: status \"charge\\u{1b}back\" is none of succeeded, success",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains('\u{1b}'), "{told}");
    let told = reconcile("no,sum\na,1\n", &["--status", "state"]);
    for part in
        ["line 1: has no column \"id\", but \"no\", \"sum\": --id", "--amount names", "--status names"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = reconcile(&format!("id,amount\n{}", "a,b\n".repeat(500)), &[]);
    assert!(told.contains("and 480 more") && told.lines().count() < 30, "{told}");
    let output = run(&["reconcile", "/nonexistent.csv", "--channel", "1"]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("could not read /nonexistent.csv"));
}

#[test]
fn exactly_one_tenant_is_named_and_days_are_days() {
    for options in [
        &[][..],
        &["--channel", "1", "--merchant", "demo"],
        &["--channel", "1", "--live"],
        &["--live"],
        &["--channel", "x"],
        &["--channel", "1", "--from", "2026-11-31"],
        &["--channel", "1", "--to", "20261122"],
        &["--channel", "1", "--from", "2026-11-23", "--to", "2026-11-22"],
    ] {
        let output = run(&[&["reconcile", "statement.csv"], options].concat());
        assert_eq!(output.status.code(), Some(2), "{options:?}: {}", stderr(&output));
    }
}
