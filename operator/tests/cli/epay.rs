//! EPay with refundctl.

use crate::stack::{Local, is_not_stored, lines, run, stderr, stdout};
use serde_json::json;

#[test]
fn the_documents_example_is_begun_in_every_format_under_the_same_tag_and_then_done() {
    let local = Local::start(&[]);
    let tag = "rf_90865514c7cb11dd3c8f4b77cd293d60";
    let xml = format!("<errcode>0</errcode><errmsg>ok</errmsg><tag>{tag}</tag>");
    let json = format!("\"errcode\": 0,\n  \"errmsg\": \"ok\",\n  \"tag\": \"{tag}\"");
    let bson = format!("{{ \"errcode\": 0, \"errmsg\": \"ok\", \"tag\": \"{tag}\" }}    (78 bytes of BSON)");
    for (options, answer) in [
        (&[][..], &json),
        (&["--format", "xml"], &xml),
        (&["--format", "form"], &json),
        (&["--format", "bson"], &bson),
        (&["--format", "form", "--accept", "text/xml"], &xml),
        (&["--format", "json", "--accept", "application/bson"], &bson),
    ] {
        let (code, told) = local.sent("begin-single-refund", options);
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("HTTP 200") && told.contains(answer), "{options:?}: {told}");
    }
    let (_, shown) = local.table(&["show", "application", "demo", "1"]);
    assert!(shown.contains("application 1 of merchant demo: being processed (1)"), "{shown}");
    for format in ["json", "xml", "form", "bson"] {
        let (code, told) = local.sent("end-single-refund", &["--format", format]);
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains(tag), "{told}");
    }
    let (_, shown) = local.table(&["show", "application", "demo", "1"]);
    for line in ["done (2)", "paid 2, order YC20160801001", tag, "confirmed: 2 by trade number 20160801"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn an_application_is_failed_begun_again_and_withdrawn_and_its_history_tells() {
    let local = Local::start(&[]);
    let begin = |batch_no: &str| {
        local.sent("begin-single-refund", &["--autoid", "2", "--amount", "358.50", "--batch-no", batch_no])
    };
    assert_eq!(begin("B1").0, Some(0));
    let (code, told) = local.agreed(&["application", "withdraw", "demo", "2"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("nothing was changed: application 2 is being processed (1), under batch number B1")
    );

    let fail = ["application", "fail", "demo", "2", "B1", "--reason", "account closed"];
    let (code, told) = local.agreed(&fail);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("failed: refund rf_"), "{told}");
    let (code, told) = local.agreed(&fail);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("unchanged: refund rf_"), "{told}");
    let (code, told) = begin("B1");
    assert!(code == Some(1) && told.contains("批次号 B1 的退款已失败"), "{told}");
    let (code, told) =
        local.sent("end-single-refund", &["--batch-no", "B1", "--trade-no", "T", "--amount", "358.50"]);
    assert!(code == Some(1) && told.contains("303"), "{told}");

    let (code, told) =
        local.agreed(&["application", "withdraw", "demo", "2", "--reason", "keeps the tickets"]);
    assert!(code == Some(0) && told.starts_with("withdrawn: application 2\n"), "{told}");
    let (_, told) = local.agreed(&["application", "withdraw", "demo", "2"]);
    assert!(told.starts_with("unchanged: application 2 was withdrawn"), "{told}");
    assert!(begin("B2").1.contains("退款申请 2 已撤消"));

    let (_, shown) = local.table(&["show", "application", "demo", "2"]);
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
    assert!(at("begun under batch number B1: 358.5") < at("recorded as failed: batch number B1"));
    assert!(at("because account closed") < at("COMPLETED NOTHING"));
    assert!(at("COMPLETED NOTHING") < at("because keeps the tickets"));

    let (code, told) = local.table(&["show", "confirmations", "demo", "B1"]);
    assert!(code == Some(0) && told.contains("refund rf_") && told.contains("COMPLETED NOTHING"), "{told}");
    local.sent("end-single-refund", &["--batch-no", "unknown"]);
    let (_, told) = local.table(&["show", "confirmations", "demo", "unknown"]);
    assert!(told.contains("no refund was begun under it"), "{told}");
    let (code, told) = local.table(&["show", "confirmations", "demo", "nothing"]);
    assert!(code == Some(1) && told.contains("has nothing under batch number nothing"), "{told}");
    let (code, told) = local.table(&["show", "application", "demo", "99"]);
    assert!(code == Some(1) && told.contains("merchant demo has no application 99"), "{told}");
    assert_eq!(run(&["application", "withdraw", "a/b", "1"]).status.code(), Some(2));
}

#[test]
fn a_confirmation_that_came_too_early_is_completed_by_its_operator() {
    let local = Local::start(&[]);
    let (code, told) = local.sent("end-single-refund", &[]);
    assert!(code == Some(1) && told.contains("300"), "{told}");
    assert_eq!(local.sent("begin-single-refund", &[]).0, Some(0));
    let (_, shown) = local.table(&["show", "application", "demo", "1"]);
    assert!(shown.contains("NOT COMPLETED YET"), "{shown}");
    let confirm = |amount: &str| {
        let trade_no = "2016080121001004940200000001";
        local.agreed(&["application", "confirm", "demo", "sample string 3", trade_no, amount])
    };
    let (code, told) = confirm("1.5");
    assert!(
        code == Some(1) && told.contains("kept, and completes nothing: the refund is of another amount"),
        "{told}"
    );
    let (code, told) = confirm("2.00");
    assert!(code == Some(0) && told.starts_with("done: refund rf_"), "{told}");
    let (code, told) = confirm("2.00");
    assert!(code == Some(0) && told.starts_with("unchanged: refund rf_"), "{told}");
    assert_eq!(local.sent("end-single-refund", &[]).0, Some(0));
}

#[test]
fn merchants_and_applications_are_imported_once_and_of_a_key_the_hash_alone_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("facts.jsonl"), folder.path().join("refunds.db"));
    let local = Local::start(&["--no-demo", "--data", data.to_str().unwrap()]);
    let merchant =
        |key: &str| json!({"kind": "merchant", "merchant": "m", "currency": "CNY", "apiKeys": [key]});
    let application = json!({"kind": "application", "merchant": "m", "autoid": 7, "amount": "10",
                             "orderNo": "o", "status": 0});
    let secret = "a-secret-of-this-merchant";
    lines(&file, &[merchant(secret), application.clone()]);
    let counts = |output: std::process::Output| {
        (output.status.code(), stdout(&output).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        counts(local.import(&file, &[])),
        (Some(0), "application created 1 merchant created 1".to_owned())
    );
    let begin = |key: &str| {
        let options = ["--api-key", key, "--autoid", "7", "--amount", "10", "--batch-no", "B"];
        local.sent("begin-single-refund", &options).1
    };
    assert!(begin(secret).contains("\"errcode\": 0"));
    assert!(begin("demo-key-for-this-machine-only").contains("HTTP 401"));
    let again = counts(local.import(&file, &[]));
    assert_eq!(again, (Some(0), "application unchanged 1 merchant unchanged 1".to_owned()));

    let mut other = application.clone();
    other["amount"] = json!("11");
    lines(&file, &[merchant("another-secret-of-it"), other]);
    let (code, told) = counts(local.import(&file, &[]));
    assert_eq!(code, Some(1));
    for conflict in ["merchant m has other settings; --replace replaces them", "application 7 was paid 10"] {
        assert!(told.contains(conflict), "{told}");
    }
    lines(&file, &[merchant("another-secret-of-it")]);
    assert_eq!(counts(local.import(&file, &["--replace"])).1, "merchant replaced 1");
    // A key that is another's opens nothing, and leaves its owner and the other keys as they were.
    let mut thief = merchant("another-secret-of-it");
    thief["merchant"] = json!("thief");
    lines(&file, &[thief.clone()]);
    let refused = local.import(&file, &[]);
    let told = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.contains("nothing was written:\n  line 1: a key of merchant thief is another one's"),
        "{told}"
    );
    assert!(begin("another-secret-of-it").contains("\"errcode\": 0"));
    thief["apiKeys"] = json!(["a-secret-of-its-very-own"]);
    lines(&file, &[thief.clone()]);
    assert_eq!(counts(local.import(&file, &[])), (Some(0), "merchant created 1".to_owned()));
    thief["apiKeys"] = json!(["another-secret-of-it"]);
    lines(&file, &[merchant("another-secret-of-it"), thief]);
    let told = stderr(&local.import(&file, &["--replace"]));
    assert!(told.contains("line 2: names a key that is merchant m's"), "{told}");
    lines(&file, &[json!({"kind": "merchant", "merchant": "m", "currency": "CNY", "apiKeys": secret})]);
    let told = stderr(&local.import(&file, &[]));
    assert!(told.contains("apiKeys must be a list of texts") && !told.contains(secret), "{told}");
    lines(&file, &[json!({"kind": "merchant", "merchant": "m", "currency": "USD", "apiKeys": [secret]})]);
    assert!(stderr(&local.import(&file, &["--replace"])).contains("a currency can't be changed"));

    drop(local);
    is_not_stored(folder.path(), secret);
}
