//! Ping++ with refundctl.

use crate::stack::{Local, is_not_stored, lines, run, signal, stderr, stdout};
use serde_json::{Value, json};

const APP: &str = "app_abcdefghweqzadfs";
const BATCH_NO: &str = "batchrefund20160801001";

impl Local {
    /// What is retrieved of a batch.
    fn retrieve(&self, id: &str) -> Value {
        self.json("retrieve-batch-refund", &[id])
    }

    fn json(&self, call: &str, options: &[&str]) -> Value {
        let (code, told) = self.sent(call, options);
        assert_eq!(code, Some(0), "{told}");
        serde_json::from_str(told.split("HTTP 200\n").nth(1).unwrap()).unwrap()
    }
}

#[test]
fn the_documents_example_is_created_settles_by_itself_and_is_shown() {
    let local = Local::start(&[]);
    let created = local.json("create-batch-refund", &[]);
    let charge = |id: &str, refund: &Value, status: &str| {
        json!({"charge": id, "refund": refund, "status": status, "failure_msg": null, "amount": 10,
               "description": "Batch refund description."})
    };
    let ids = ["ch_L8qn10mLmr1GS8e5OODmHaL4", "ch_fdOmHaLmLmr1GOD4qn1dS8e5"];
    let (id, at) = (created["id"].as_str().unwrap().to_owned(), created["created"].as_u64().unwrap());
    let mut expected = json!({
        "id": id, "app": APP, "object": "batch_refund", "batch_no": BATCH_NO, "created": at, "livemode": false,
        "description": "Batch refund description.", "status": "created", "time_succeeded": null,
        "charges": ids.map(|id| charge(id, &Value::Null, "created")),
        "refunds": {"object": "list", "url": null, "has_more": false, "data": []},
        "refund_url": "", "metadata": {}
    });
    assert_eq!(created, expected);

    local.until(&["show", "batch", BATCH_NO], "succeeded at");
    let settled = local.retrieve(&id);
    let refunds = settled["charges"].as_array().unwrap().iter().map(|charge| charge["refund"].clone());
    let refunds: Vec<Value> = refunds.collect();
    let refund = |charge: &str, id: &Value, transaction_no: &str, succeeded: &Value| {
        json!({"id": id, "object": "refund", "order_no": &id.as_str().unwrap()[3..], "amount": 10, "created": at,
               "succeed": true, "status": "succeeded", "time_succeed": succeeded,
               "description": "Batch refund description.", "failure_code": null, "failure_msg": null, "metadata": {},
               "charge": charge, "charge_order_no": "123456789", "transaction_no": transaction_no,
               "funding_source": null, "extra": {}})
    };
    let data = settled["refunds"]["data"].as_array().unwrap();
    expected["status"] = json!("succeeded");
    expected["time_succeeded"] = settled["time_succeeded"].clone();
    expected["charges"] =
        json!([charge(ids[0], &refunds[0], "succeeded"), charge(ids[1], &refunds[1], "succeeded")]);
    expected["refunds"]["data"] = json!([
        refund(ids[0], &refunds[0], "2004450349201512090096425284", &data[0]["time_succeed"]),
        refund(ids[1], &refunds[1], "2004450349201512090096425285", &data[1]["time_succeed"]),
    ]);
    assert_eq!(settled, expected);
    assert_eq!(
        local.json("create-batch-refund", &[]),
        expected,
        "sent again: the same batch as it stands now"
    );
    assert_eq!(local.json("list-batch-refunds", &["--per-page", "1"])["data"], json!([expected]));

    let (code, told) = local.table(&["show", "charge", ids[0]]);
    assert!(code == Some(0) && told.contains("10 refunded, 0 held, 990 left to be refunded"), "{told}");
    let (code, told) = local.table(&["show", "funds"]);
    assert!(code == Some(0) && told.contains("balance 99980"), "{told}");
    assert_eq!(told.matches("chain intact").count(), 2, "{told}");
    let (code, told) = local.agreed(&["batch", "resume", &id]);
    assert!(code == Some(0) && told.contains("succeeded at"), "{told}");
}

#[test]
fn what_someone_must_confirm_is_settled_or_failed_by_its_refunds_id_alone() {
    let local = Local::start(&[]);
    let charge = "ch_Pq8S4K5yPi1G0mHeX1qDemo0";
    for (batch_no, command, status, funds) in [
        ("refused", &["fail", "--code", "no_account"][..], "failed", "balance 100000"),
        ("paid", &["settle"], "succeeded", "balance 95000"),
    ] {
        let created = local.json("create-batch-refund", &["--batch-no", batch_no, "--charge", charge]);
        let id = created["id"].as_str().unwrap();
        local.until(&["show", "batch", batch_no], "waits for its confirmation");
        let pending = local.retrieve(id);
        assert_eq!(
            (&pending["status"], &pending["charges"][0]["status"]),
            (&json!("pending"), &json!("pending"))
        );
        assert!(pending["refund_url"].as_str().unwrap().starts_with("https://"), "{pending}");
        let refund = pending["charges"][0]["refund"].as_str().unwrap();
        let (code, told) = local.agreed(&["batch", "resume", batch_no]);
        assert!(code == Some(1) && told.contains("1 refunds wait for someone's confirmation"), "{told}");

        let agreed = ["--yes", "--reason", "test"];
        let command = [&["refund", command[0], refund], &agreed[..], &command[1..]].concat();
        for _ in 0..2 {
            local.until(&command, &format!("refund {refund}: {status}"));
        }
        let ended = local.retrieve(id);
        assert_eq!((&ended["status"], &ended["refund_url"]), (&json!(status), &json!("")));
        let other = if status == "failed" { "settle" } else { "fail" };
        let (code, told) = local.agreed(&["refund", other, refund]);
        assert!(code == Some(1) && told.contains("nothing was changed"), "{told}");
        assert!(local.until(&["show", "batch", id], "CONTRADICTED").contains(refund));
        let (_, told) = local.table(&["show", "funds"]);
        assert!(told.contains(funds) && told.matches("chain intact").count() == 2, "{told}");
    }
    for (command, told) in [
        (
            &["refund", "settle", "re_0123456789abcdefABCDEF01"][..],
            "there is no refund re_0123456789abcdefABCDEF01",
        ),
        (&["show", "batch", "unknown1"], "has no batch unknown1; --app APP and --live choose another"),
        (&["show", "charge", "ch_unknown"], "has no charge ch_unknown"),
        (&["show", "funds", "--live"], "app app_abcdefghweqzadfs in live mode has no funds"),
        (&["batch", "resume", "000000000000000000"], "has no batch 000000000000000000"),
    ] {
        let (code, said) = local.table(command);
        assert!(code == Some(1) && said.contains(told), "{command:?}: {said}");
    }
    assert_eq!(run(&["refund", "settle", "re_short"]).status.code(), Some(2));
}

#[test]
fn a_batch_that_was_accepted_before_a_kill_is_settled_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("refunds.db");
    let options = ["--data", data.to_str().unwrap()];
    // Killed as soon as the batch is accepted, whatever its worker has done by then.
    let mut local = Local::start(&options);
    local.json("create-batch-refund", &[]);
    signal(&local.process, "-KILL");
    local.process.wait().unwrap();
    let local = Local::start(&options);
    let (_, told) = local.table(&["show", "batch", BATCH_NO]);
    // Who was killed may have it for two minutes: then each refund is held, or done.
    match told.contains("being settled") {
        true => {
            for charge in ["ch_L8qn10mLmr1GS8e5OODmHaL4", "ch_fdOmHaLmLmr1GOD4qn1dS8e5"] {
                let (_, told) = local.table(&["show", "charge", charge]);
                let is_kept = told.contains("0 refunded, 10 held") || told.contains("10 refunded, 0 held");
                assert!(is_kept, "{told}");
            }
        }
        false => {
            local.until(&["show", "batch", BATCH_NO], "succeeded at");
        }
    }
    let (_, told) = local.table(&["show", "funds"]);
    assert!(told.contains("balance 99980") && told.matches("chain intact").count() == 2, "{told}");
}

#[test]
fn apps_keys_and_charges_are_imported_once_and_of_a_key_the_hash_alone_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("facts.jsonl"), folder.path().join("refunds.db"));
    let local = Local::start(&["--no-demo", "--data", data.to_str().unwrap()]);
    let app =
        json!({"kind": "app", "app": "app_1", "livemode": false, "currency": "cny", "unsettledFunds": 100});
    let secret = "sk_test_aSecretOfThisMerchant";
    let key = json!({"kind": "key", "secret": secret, "apps": ["app_1"]});
    let charge = json!({"kind": "charge", "app": "app_1", "livemode": false, "id": "ch_1", "amount": 50,
                        "amountRefunded": 20, "currency": "cny", "channel": "wx", "orderNo": "o", "created": 1});
    let counts = |output: std::process::Output| {
        (output.status.code(), stdout(&output).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let import = |facts: &[&Value]| {
        let facts: Vec<Value> = facts.iter().map(|line| (*line).clone()).collect();
        lines(&file, &facts);
        local.import(&file, &[])
    };
    let all = counts(import(&[&charge, &key, &app]));
    assert_eq!(all, (Some(0), "app created 1 charge created 1 key created 1".to_owned()));
    let create = |secret: &str, charge: &str, batch_no: &str| {
        let options = ["--app", "app_1", "--secret", secret, "--batch-no", batch_no, "--charge", charge];
        local.sent("create-batch-refund", &options).1
    };
    assert!(create("sk_test_ibbTe5jLGCi5rzfH4OqPW9KC", "ch_1", "b01").contains("HTTP 401"));
    assert!(create(secret, "ch_1=31", "b01").contains("has 30 left to be refunded"));
    assert!(
        create(secret, "ch_1", "b01").contains("\"amount\": 30"),
        "what was refunded before is not again"
    );
    let again = counts(import(&[&app, &key, &charge]));
    assert_eq!(again, (Some(0), "app unchanged 1 charge unchanged 1 key unchanged 1".to_owned()));

    let changed = |line: &Value, member: &str, value: Value| {
        let mut line = line.clone();
        line[member] = value;
        line
    };
    let other_app = json!({"kind": "app", "app": "app_2", "livemode": false, "currency": "cny"});
    for (lines, conflict) in [
        (vec![changed(&charge, "amount", json!(60))], "charge ch_1 has amount 50"),
        (vec![changed(&app, "unsettledFunds", json!(101))], "was opened with 100 CNY"),
        (
            vec![changed(&key, "apps", json!(["app_2"])), other_app],
            "this key names other apps; --replace replaces",
        ),
    ] {
        let (code, told) = counts(import(&lines.iter().collect::<Vec<_>>()));
        assert!(code == Some(1) && told.contains(conflict), "{told}");
    }
    for (line, wrong) in [
        (changed(&key, "secret", json!("a-secret-that-is-none")), "secret must be sk_test_ or sk_live_"),
        (changed(&key, "secret", json!(["a-secret-that-is-none"])), "secret must be a text"),
        (
            changed(&key, "secret", json!("sk_live_aSecretOfThisMerchant")),
            "app app_1 in live mode is neither in",
        ),
        (
            changed(&key, "apps", json!(["sk_live_misplaced1234567890"])),
            "app sk_live_… in test mode is neither",
        ),
        (changed(&charge, "currency", json!("usd")), "takes no charges in USD"),
        (changed(&charge, "amount", json!(0)), "amount 0"),
        (changed(&charge, "amount", json!("50")), "invalid type"),
        (changed(&charge, "amountRefunded", json!(51)), "amountRefunded 51 is above the amount"),
        (
            changed(&charge, "app", json!("app_9")),
            "app app_9 in test mode is neither in the file nor in the table",
        ),
        (changed(&app, "currency", json!("usd")), "a currency can't be changed"),
        (changed(&app, "requireSignature", json!(true)), "requireSignature needs a publicKey"),
        (changed(&app, "app", json!("a#b")), "app must be 1 to 64"),
    ] {
        let output = import(&[&line]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {told}");
        assert!(told.contains(wrong) && told.contains("nothing was written"), "{line}: {told}");
        for shown in ["a-secret-that-is-none", "misplaced1234567890", secret] {
            assert!(!told.contains(shown), "{told}");
        }
    }
    // An app whose funds are in conflict keeps its settings; a key that names no app opens nothing.
    let conflicting = changed(&changed(&app, "unsettledFunds", json!(101)), "currency", json!("CNY"));
    lines(&file, &[conflicting]);
    assert_eq!(local.import(&file, &["--replace"]).status.code(), Some(1));
    assert_eq!(counts(import(&[&app])).1, "app unchanged 1");
    lines(&file, &[changed(&key, "apps", json!([]))]);
    assert_eq!(counts(local.import(&file, &["--replace"])), (Some(0), "key replaced 1".to_owned()));
    // A running function knows a key for half a minute.
    drop(local);
    let local = Local::start(&["--no-demo", "--data", data.to_str().unwrap()]);
    let (_, told) = local.sent("list-batch-refunds", &["--app", "app_1", "--secret", secret]);
    assert!(told.contains("HTTP 401"), "{told}");

    drop(local);
    is_not_stored(folder.path(), secret);
}
