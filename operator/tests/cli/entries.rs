//! A wallet's whole life against the local stack, as the operator's own system and its provider live it.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::stack::{Local, lines, refundctl, run, signal, stderr, stdout};
use serde_json::{Value, json};

fn bet(seq_no: &str, amount: &str) -> Value {
    json!({"kind": "debit", "channelId": 1, "username": "player1", "seqNo": seq_no, "roundCode": "B1-1",
           "amount": amount, "live": true})
}

fn credit(id: &str, amount: &str, reason: &str) -> Value {
    json!({"kind": "credit", "channelId": 1, "username": "player1", "id": id, "amount": amount,
           "reason": reason})
}

fn settle(seq_no: &str) -> Value {
    json!({"kind": "settle", "channelId": 1, "username": "player1", "seqNo": seq_no})
}

/// Sends entries; the exit code, and what is printed.
fn send(local: &Local, folder: &Path, entries: &[Value]) -> (Option<i32>, String) {
    let file = folder.join("entries.jsonl");
    lines(&file, entries);
    let output = run(&["send", "record-entries", file.to_str().unwrap(), "--endpoint", &local.url]);
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn a_wallets_whole_life_comes_out_to_the_cent() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(&[]);
    let sent = |entries: &[Value], counts: &str| {
        let (_, told) = send(&local, folder.path(), entries);
        assert!(told.contains(counts), "{told}");
    };

    // Opened, a deposit, and 100 bets of 3.33.
    let opened = json!({"kind": "wallet", "channelId": 1, "username": "player1", "balance": "0"});
    sent(
        &[opened, credit("deposit", "500.00", "deposit")],
        "2 recorded, 0 unchanged, 0 refused, 0 undecided",
    );
    let names: Vec<String> = (0..100).map(|number| format!("life-{number}")).collect();
    let bets: Vec<Value> = names.iter().map(|name| bet(name, "3.33")).collect();
    sent(&bets, "100 recorded, 0 unchanged");
    sent(&bets, "0 recorded, 100 unchanged");
    assert!(
        local.show("1", "player1").contains("balance 167 CNY = opening 0 and 101 postings, chain intact")
    );

    // Ten failed, and are given back by single calls; twenty by two batches, of which one has not come yet.
    for name in &names[..10] {
        let (code, answer) = local.send(&["--username", "player1", "--refund", &format!("{name}=3.33")]);
        assert_eq!((code, &answer["refundMoney"]), (Some(0), &json!(3.33)), "{answer}");
    }
    let mut failed: Vec<String> = names[10..29].iter().map(|name| format!("{name}=3.33")).collect();
    failed.push("too-late=3.33".to_owned());
    for (batch, money) in failed.chunks(10).zip([33.3, 29.97]) {
        let mut asked = vec!["--username", "player1"];
        asked.extend(batch.iter().flat_map(|refund| ["--refund", refund.as_str()]));
        let (code, answer) = local.send_batch(&asked);
        assert_eq!(code, Some(0), "{answer}");
        assert_eq!(answer["refundResultList"][0]["refundTotalMoney"], json!(money), "{answer}");
    }

    // What was asked for before it came takes nothing.
    let (code, told) = send(&local, folder.path(), &[bet("too-late", "3.33"), bet("not-too-late", "3.33")]);
    assert_eq!(code, Some(1));
    assert!(told.contains("line 1: refused: refund_asked its refund was asked for before"), "{told}");
    assert!(told.contains("1 recorded, 0 unchanged, 1 refused"), "{told}");

    // All that did not fail are settled, and no refund comes after that; thirty have won.
    let settled: Vec<Value> = names[29..].iter().map(|name| settle(name)).collect();
    sent(&settled, "71 recorded");
    let payouts: Vec<Value> =
        names[29..59].iter().map(|name| credit(&format!("payout of {name}"), "6.66", "payout")).collect();
    sent(&payouts, "30 recorded");
    let (code, answer) = local.send(&["--username", "player1", "--refund", "life-50=3.33"]);
    assert_eq!((code, &answer["status"]), (Some(1), &json!(208)), "{answer}");
    let (_, answer) = local.send_batch(&["--username", "player1", "--refund", "life-60=3.33"]);
    assert_eq!(answer["refundResultList"][0]["refundTotalMoney"], json!(0), "{answer}");
    let (_, told) = send(&local, folder.path(), &[settle("life-0")]);
    assert!(told.contains("line 1: refused: refunded the debit was refunded"), "{told}");

    // The player takes out all but a cent.
    let cash_out = |id: &str, amount: &str| {
        json!({"kind": "withdrawal", "channelId": 1, "username": "player1",
                                                    "id": id, "amount": amount, "reason": "cash out"})
    };
    // 500 - 100 × 3.33 + 29 × 3.33 - 3.33 + 30 × 6.66 = 460.04
    let (_, told) =
        send(&local, folder.path(), &[cash_out("all and more", "460.05"), cash_out("out", "460.03")]);
    assert!(told.contains("line 1: refused: insufficient_balance the balance is 460.04"), "{told}");
    let shown = local.show("1", "player1");
    // 1 deposit, 101 bets, 29 refunds, 30 payouts, 1 cash-out.
    assert!(shown.contains("balance 0.01 CNY = opening 0 and 162 postings, chain intact"), "{shown}");
    assert!(shown.contains("1 open, 71 settled, 29 refunded"), "{shown}");
    assert!(shown.contains("movements  32"), "{shown}");
    assert!(shown.contains("refund asked for before its debit came: too-late"), "{shown}");
}

#[test]
fn the_example_is_recorded_once_and_shown() {
    let local = Local::start(&[]);
    let send = || {
        let output = run(&["send", "record-entries", "--endpoint", &local.url]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let (told, counts) = send();
    assert!(told.contains("HTTP 200") && counts.contains("3 recorded"), "{told}{counts}");
    assert!(send().1.contains("3 unchanged"));
    let shown = local.show("1", "demo");
    // 16.85 + 100 - 10.50
    assert!(shown.contains("balance 106.35 CNY = opening 16.85 and 2 postings, chain intact"), "{shown}");
    for word in ["deposit-20261122-1", "live-bet-1", "round BP1-261122093000"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn wrong_lines_are_named_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(&[]);
    let wrong = [
        bet("b", "1"),
        json!({"kind": "credit"}),
        json!({"kind": "key", "secret": "sk_test_0123456789abcdef", "apps": []}),
        json!({"kind": "wal\u{1b}[31mlet"}),
    ];
    let (code, told) = send(&local, folder.path(), &wrong);
    assert_eq!(code, Some(1));
    for part in [
        "nothing was sent",
        "line 2: missing field `channelId`",
        "line 3: key is settings: `refundctl import` puts them on record",
        "line 4: kind \"wal",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains('\u{1b}') && !told.contains("0123456789abcdef"), "{told}");
    let many: Vec<Value> = (0..500).map(|_| json!({"kind": "credit"})).collect();
    let (_, told) = send(&local, folder.path(), &many);
    assert!(told.contains("and 480 more lines") && told.lines().count() < 30, "{told}");
    let (code, told) = send(&local, folder.path(), &[]);
    assert_eq!((code, told.trim()), (Some(1), "error: there is no entry to send"));
    let output = run(&["send", "record-entries", "--endpoint", "http://refunds.example"]);
    assert!(stderr(&output).contains("is neither https://... nor http://... on this machine"));
}

#[test]
fn a_stack_that_dies_on_the_way_leaves_what_is_sent_again_to_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("refunds.db");
    let start = || Local::start(&["--data", data.to_str().unwrap()]);
    let entries: Vec<Value> = (0..1_000).map(|number| credit(&format!("c{number}"), "0.01", "x")).collect();
    let text: Vec<String> = entries.iter().map(Value::to_string).collect();
    let mut all =
        vec![json!({"kind": "wallet", "channelId": 1, "username": "player1", "balance": "0"}).to_string()];
    all.extend(text);

    let mut local = start();
    let send = |url: &str| {
        let arguments = ["send", "record-entries", "-", "--endpoint", url];
        let mut sending = refundctl(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        sending.stdin.take().unwrap().write_all(all.join("\n").as_bytes()).unwrap();
        sending
    };
    let sending = send(&local.url);
    // The stack dies in the middle, as far as the sender gets in that time.
    while !local.table(&["show", "wallet", "1", "player1"]).1.contains("postings") {}
    signal(&local.process, "-KILL");
    let _ = local.process.wait();
    let output = sending.wait_with_output().unwrap();
    if !output.status.success() {
        let told = stderr(&output);
        assert!(told.contains("on are not known: send them all again to finish"), "{told}");
    }

    let local = start();
    let output = send(&local.url).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        local.show("1", "player1").contains("balance 10 CNY = opening 0 and 1000 postings, chain intact")
    );
}
