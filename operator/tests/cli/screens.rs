//! What commands show fits on 80 columns, has no colours, and is as exact for programs: the real binary, through a pipe.

use crate::stack::{Local, run, stderr, stdout};
use serde_json::Value;

const APP: &str = "app_abcdefghweqzadfs";

/// A local stack in which something of everything has happened.
fn stack() -> (Local, String) {
    let local = Local::start(&[]);
    for call in [
        &["refund-single-wallet"][..],
        &["auto-batch-refund"],
        &["begin-single-refund"],
        &["end-single-refund"],
        &["create-batch-refund"],
        &["create-batch-refund", "--batch-no", "pending1", "--charge", "ch_Pq8S4K5yPi1G0mHeX1qDemo0"],
        &["record-entries"],
    ] {
        let sent = run(&[&["send"], call, &["--endpoint", &local.url]].concat());
        assert!(sent.status.success(), "{call:?}: {}{}", stdout(&sent), stderr(&sent));
    }
    let (code, told) = local.agreed(&["application", "withdraw", "demo", "2"]);
    assert_eq!(code, Some(0), "{told}");
    let given_back = local.self_refund("demo", "a70efc7cf71e03ae98b42b22ad4b4288");
    assert!(given_back.status.success(), "{}", stderr(&given_back));
    let shown = run(&["show", "batch", "pending1", "--endpoint", &local.dynamodb, "--output", "json"]);
    let batch: Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let refund = batch["refunds"][0]["refund"].as_str().unwrap().to_owned();
    (local, refund)
}

#[test]
fn every_screen_fits_on_80_columns_without_colour_and_is_json_and_csv_for_programs() {
    let (local, refund) = stack();
    let statement = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        statement.path(),
        "id,amount,status\nseqNoBetseqNoRefund,999,succeeded\nnobody,1,failed\n",
    )
    .unwrap();
    let statement = statement.path().to_str().unwrap();
    let trade_no = "2016080121001004940200000001";
    for (command, code) in [
        (&["show", "wallet", "1", "apitest01"][..], 0),
        (&["show", "wallet", "1", "demo"], 0),
        (&["show", "debit", "1", "seqNoBetseqNoRefund"], 0),
        (&["show", "debit", "1", "a70efc7cf71e03ae98b42b22ad4b4288"], 0),
        (&["show", "request", "1", "seqNoseqNoseqNoseqNo"], 0),
        (&["show", "app"], 0),
        (&["show", "funds"], 0),
        (&["show", "charge", "ch_L8qn10mLmr1GS8e5OODmHaL4"], 0),
        (&["show", "charge", "ch_Pq8S4K5yPi1G0mHeX1qDemo0"], 0),
        (&["show", "refund", &refund], 0),
        (&["show", "batch", "batchrefund20160801001"], 0),
        (&["show", "batch", "pending1"], 0),
        (&["show", "application", "demo", "1"], 0),
        (&["show", "application", "demo", "2"], 0),
        (&["show", "confirmations", "demo", "--trade-no", trade_no], 0),
        (&["show", "tenant", "channel", "1"], 0),
        (&["show", "tenant", "merchant", "demo"], 0),
        (&["show", "tenant", "app", APP], 0),
        (&["batch", "list"], 0),
        (&["report"], 0),
        (&["report", "--by", "tenant"], 0),
        (&["report", "--by", "provider"], 0),
        (&["reconcile", statement, "--channel", "1"], 1),
        (&["verify"], 0),
    ] {
        let shown = |output: &str| {
            let shown = run(&[command, &["--endpoint", &local.dynamodb, "--output", output]].concat());
            assert_eq!(shown.status.code(), Some(code), "{command:?}: {}", stderr(&shown));
            stdout(&shown)
        };
        let table = shown("table");
        assert!(table.lines().count() > 1 || command == ["batch", "list"], "{command:?}: {table}");
        for line in table.lines() {
            assert!(console::measure_text_width(line) <= 80, "{command:?}: {line}");
            assert!(!line.contains('\u{1b}'), "{command:?}: {line:?}");
        }
        let json = shown("json");
        serde_json::from_str::<Value>(&json).unwrap_or_else(|error| panic!("{command:?}: {error}: {json}"));
        let csv = shown("csv");
        let mut rows = csv::Reader::from_reader(csv.as_bytes());
        assert!(rows.headers().unwrap().len() > 1, "{command:?}: {csv}");
        for row in rows.records() {
            row.unwrap_or_else(|error| panic!("{command:?}: {error}: {csv}"));
        }
    }
}

#[test]
fn what_is_quoted_is_found_with_who_caused_it() {
    let (local, refund) = stack();
    for (command, told) in [
        (&["show", "debit", "1", "a70efc7cf71e03ae98b42b22ad4b4288"][..], "by the channel on its own"),
        (&["show", "debit", "1", "seqNoBetseqNoRefund"], "by the provider's refundSingleWallet"),
        (&["show", "request", "1", "seqNoseqNoseqNoseqNo"], "bet seqNoBetseqNoRefund"),
        (&["show", "wallet", "1", "demo"], "because test"),
        (&["show", "application", "demo", "2"], "because test"),
        (&["show", "application", "demo", "1"], "by its merchant's call"),
        (&["show", "refund", &refund], "batch number  pending1"),
        (&["show", "batch", "pending1"], "by its merchant's call"),
    ] {
        let (code, shown) = local.table(command);
        assert!(code == Some(0) && shown.contains(told), "{command:?}: {shown}");
    }
    for (command, told) in [
        (&["show", "debit", "1", "nothing"][..], "channel 1 has no bet nothing"),
        (&["show", "request", "1", "nothing"], "nothing is on record under nothing in channel 1"),
        (&["show", "refund", "rf_0"], "there is no refund rf_0"),
        (&["show", "tenant", "merchant", "nobody"], "there is no merchant nobody"),
        (
            &["show", "confirmations", "demo", "--trade-no", "nothing"],
            "has nothing with trade number nothing",
        ),
    ] {
        let (code, shown) = local.table(command);
        assert!(code == Some(1) && shown.contains(told), "{command:?}: {shown}");
    }
}

#[test]
fn a_change_needs_a_reason_and_an_agreement_and_a_dry_run_changes_nothing() {
    let local = Local::start(&[]);
    let bet = "a70efc7cf71e03ae98b42b22ad4b4288";
    let command = ["self-refund", "1", "demo", bet];
    let before = local.show("1", "demo");
    for (options, code, told) in [
        (&["--dry-run"][..], 0, "would change: wallet demo of channel 1: credited with 100"),
        (&[], 2, "say why, for the record: --reason TEXT"),
        (&["--yes"], 2, "say why, for the record: --reason TEXT"),
        (&["--reason", "test"], 2, "--yes agrees, --dry-run only shows"),
        (&["--yes", "--reason", " "], 2, "is empty"),
    ] {
        let (status, said) = local.table(&[&command[..], options].concat());
        assert!(status == Some(code) && said.contains(told), "{options:?}: {said}");
    }
    assert_eq!(local.show("1", "demo"), before);
    let (status, said) = local.agreed(&command);
    assert_eq!(status, Some(0), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        assert!(stdout(&completions).contains("self-refund"), "{shell}");
    }
    for wrong in [&["--endpoint", ""][..], &["--endpoint", "nowhere"], &["--table", ""], &["--stage", "Prod"]]
    {
        assert_eq!(
            run(&[&["show", "wallet", "1", "demo"], wrong].concat()).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
    let no_settings = run(&["show", "wallet", "1", "demo", "--stage", "prod"]);
    let told = stderr(&no_settings);
    assert!(no_settings.status.code() == Some(2) && told.contains("there are no AWS settings"), "{told}");
}
