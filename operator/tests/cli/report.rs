//! `refundctl report`.

use crate::stack::{Local, run, stderr, stdout};
use serde_json::{Value, json};

/// An Alipay charge: someone must confirm its refund.
const CONFIRMED_CHARGE: &str = "ch_Pq8S4K5yPi1G0mHeX1qDemo0";

const SUMS: [&str; 8] =
    ["refunds", "amount", "ownRefunds", "ownAmount", "failed", "failedAmount", "open", "openAmount"];

impl Local {
    /// The demo data, with refunds of all providers that were made, have failed, and are open.
    fn with_refunds() -> Self {
        let local = Self::start(&[]);
        assert!(local.self_refund("demo", "a70efc7cf71e03ae98b42b22ad4b4288").status.success());
        for (call, options) in [
            ("refund-single-wallet", &[][..]),
            ("auto-batch-refund", &[]),
            ("begin-single-refund", &[]),
            ("end-single-refund", &[]),
            ("begin-single-refund", &["--autoid", "2", "--amount", "358.50", "--batch-no", "B1"]),
            ("create-batch-refund", &[]),
            ("create-batch-refund", &["--batch-no", "waiting", "--charge", CONFIRMED_CHARGE]),
        ] {
            let (code, answer) = local.call(call, options);
            assert_eq!(code, Some(0), "{call}: {answer}");
        }
        local.until(&["show", "batch", "batchrefund20160801001"], "succeeded at");
        local.until(&["show", "batch", "waiting"], "waits for its confirmation");
        local
    }

    /// What a report prints.
    fn report(&self, options: &[&str]) -> String {
        let output = run(&[&["report", "--endpoint", &self.dynamodb], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    }

    fn reported(&self, options: &[&str]) -> Value {
        serde_json::from_str(&self.report(&[options, &["--output", "json"]].concat())).unwrap()
    }
}

/// Of each row that has `name`, its value and the sums.
fn sums(report: &Value, name: &str) -> Vec<Value> {
    let row = |row: &Value| {
        let sums: Vec<Value> = SUMS.iter().map(|sum| row[*sum].clone()).collect();
        json!([row[name], row["currency"], sums])
    };
    report["refunds"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn refunds_of_all_protocols_are_added_up_by_provider_tenant_and_day() {
    let local = Local::with_refunds();
    let ebet = json!([2, "1020.00", 1, "100.00", 0, "0.00", 0, "0.00"]);
    let epay = json!([1, "2.00", 0, "0.00", 0, "0.00", 1, "358.50"]);
    let pingpp = json!([2, "0.20", 0, "0.00", 0, "0.00", 1, "50.00"]);
    let report = local.reported(&["--by", "provider"]);
    assert_eq!(
        sums(&report, "provider"),
        [json!(["eBET", "CNY", ebet]), json!(["EPay", "CNY", epay]), json!(["Ping++", "CNY", pingpp])]
    );
    assert_eq!((&report["tenants"], &report["notes"]), (&json!(3), &Value::Null));
    assert!(report["itemsRead"].as_u64().unwrap() > 15, "{report}");
    let open: Vec<Value> =
        report["open"].as_array().unwrap().iter().map(|row| json!([row["tenant"], row["amount"]])).collect();
    let app = "app app_abcdefghweqzadfs in test mode";
    assert_eq!(open, [json!(["merchant demo", "358.50"]), json!([app, "50.00"])]);

    let report = local.reported(&["--by", "tenant", "--segments", "1", "--max-rcu", "1000"]);
    assert_eq!(
        sums(&report, "tenant"),
        [
            json!(["channel 1", "CNY", ebet]),
            json!(["merchant demo", "CNY", epay]),
            json!([app, "CNY", pingpp])
        ]
    );
    // They were made before and after midnight, maybe.
    let by_day = sums(&local.reported(&[]), "day");
    let count = |at: usize| by_day.iter().map(|row| row[2][at].as_u64().unwrap()).sum::<u64>();
    assert_eq!((count(0), count(2), count(4), count(6)), (5, 1, 0, 2));

    let before = local.reported(&["--from", "2020-01-01", "--to", "2020-01-31"]);
    let open = json!([0, "0.00", 0, "0.00", 0, "0.00", 2, "408.50"]);
    assert_eq!(sums(&before, "day"), [json!([null, "CNY", open])], "what is open is so whatever the period");
    assert_eq!(
        (&before["from"], &before["until"]),
        (&json!("2020-01-01T00:00:00Z"), &json!("2020-02-01T00:00:00Z"))
    );

    let (code, told) =
        local.agreed(&["application", "fail", "demo", "2", "B1", "--reason", "account closed"]);
    assert_eq!(code, Some(0), "{told}");
    let report = local.reported(&["--by", "provider"]);
    assert_eq!(sums(&report, "provider")[1][2], json!([1, "2.00", 0, "0.00", 1, "358.50", 0, "0.00"]));
    assert_eq!(report["open"].as_array().unwrap().len(), 1);
}

#[test]
fn a_report_is_for_people_for_the_books_and_a_page() {
    let local = Local::with_refunds();
    for by in ["day", "tenant", "provider"] {
        let text = local.report(&["--by", by]);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for told in [
            "refunds from ",
            " (UTC)\n",
            "items read",
            "in all\n",
            "refunds\n",
            "open\n",
            "1022.20",
            "358.50",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
        assert_eq!(text.contains("████"), by == "day", "{text}");

        let csv = local.report(&["--by", by, "--output", "csv"]);
        let header = csv.lines().next().unwrap();
        let columns: Vec<&str> = header.split(',').collect();
        assert!(columns.starts_with(&["from", "until"]) && columns.ends_with(&SUMS), "{header}");
        assert!(columns.contains(&by) && !csv.contains('█'), "{csv}");
        assert!(csv.lines().all(|line| line.split(',').count() == columns.len()), "{csv}");
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let name = file.to_str().unwrap();
    for _ in 0..2 {
        let output = run(&["report", "--endpoint", &local.dynamodb, "--html", name]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("wrote {name}\n")), "{}", stderr(&output));
        assert!(stdout(&output).starts_with("refunds from "), "{}", stdout(&output));
    }
    let page = std::fs::read_to_string(&file).unwrap();
    for told in ["<svg ", "refunds-dev at http://127.0.0.1:", "Amount paid back each day, in CNY", "358.50"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    for foreign in ["<script", "<link", "src=", "href=", "url("] {
        assert!(!page.contains(foreign), "{foreign}: {page}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn nothing_is_told_as_such_and_what_is_no_period_is_wrong_usage() {
    let local = Local::start(&["--no-demo"]);
    let text = local.report(&[]);
    assert!(text.contains("! in this period nothing was refunded"), "{text}");
    let csv = local.report(&["--output", "csv"]);
    assert_eq!(csv.lines().count(), 1, "the header alone: {csv}");

    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none/report.html");
    for wrong in [
        &["--from", "2026-02-02", "--to", "2026-02-01"][..],
        &["--from", "2026-02-30"],
        &["--to", "tomorrow"],
        &["--by", "month"],
        &["--html", nowhere.to_str().unwrap()],
    ] {
        let (code, told) = local.table(&[&["report"], wrong].concat());
        assert_eq!(code, Some(2), "{wrong:?}: {told}");
    }
    let (code, told) = local.table(&["report", "--table", "none"]);
    assert!(code == Some(1) && told.contains("the table can't be read"), "{told}");
}
