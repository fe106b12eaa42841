//! Batches of refunds that do not end by themselves, as an operator finds them.

use std::time::{Duration, Instant};

use crate::stack::{Local, run, stderr, stdout};
use serde_json::{Value, json};

/// Of the demo data: someone must confirm its refund.
const CHARGE: &str = "ch_Pq8S4K5yPi1G0mHeX1qDemo0";

impl Local {
    /// The exit code and what is listed for programs.
    fn batches(&self, options: &[&str]) -> (Option<i32>, Value) {
        let command = ["batch", "list", "--output", "json", "--endpoint", self.dynamodb.as_str()];
        let output = run(&[&command[..], options].concat());
        let listed = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        (output.status.code(), listed)
    }

    /// What is listed once it is as it should be: the worker has its time.
    fn batches_until(&self, is_due: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let (code, listed) = self.batches(&[]);
            assert_eq!(code, Some(0), "{listed}");
            if is_due(&listed) {
                return listed;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "{listed}");
        }
    }
}

#[test]
fn a_batch_that_waits_for_someone_is_listed_until_its_refund_is_decided() {
    let local = Local::start(&[]);
    let none = json!({"open": 0, "oldest": null, "batches": []});
    assert_eq!(local.batches(&[]), (Some(0), none.clone()));
    let (code, listed) = local.batches(&["--stuck"]);
    assert_eq!((code, &listed["stuck"]), (Some(0), &json!(0)));

    let create = ["send", "create-batch-refund", "--batch-no", "waits01", "--charge", CHARGE];
    let created = run(&[&create[..], &["--endpoint", &local.url]].concat());
    assert!(created.status.success(), "{}", stderr(&created));

    let why = "waits for someone's confirmation";
    let listed = local.batches_until(|listed| listed["batches"][0]["why"] == why);
    let batch = &listed["batches"][0];
    let id = batch["batch"].as_str().unwrap();
    let expected = json!({
        "age": batch["age"], "state": "settling", "refunds": 1, "undecided": 1, "amount": "5000", "batch": id,
        "tenant": "app app_abcdefghweqzadfs in test mode", "number": "waits01", "currency": "CNY",
        "made": batch["made"], "why": why
    });
    assert_eq!((&listed["open"], &listed["batches"]), (&json!(1), &json!([expected])));
    assert!(batch["age"].as_str().unwrap().ends_with(" s"), "{batch}");

    let (code, old) = local.batches(&["--stuck"]);
    assert_eq!(
        (code, &old["open"], &old["stuck"], &old["batches"]),
        (Some(0), &json!(1), &json!(0), &json!([]))
    );
    let (code, stuck) = local.batches(&["--stuck", "--older-than", "0s"]);
    assert_eq!((code, &stuck["stuck"], &stuck["batches"][0]["batch"]), (Some(1), &json!(1), &json!(id)));
    let (code, told) = local.table(&["batch", "list"]);
    assert!(code == Some(0) && told.contains(id) && told.contains("undecided"), "{told}");

    // What it says can be done is done.
    let notes = stuck["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap());
    let steps: Vec<&str> =
        notes.flat_map(|note| note.split('`')).filter(|step| step.starts_with("refundctl ")).collect();
    let [resume, settle, fail] = steps[..] else { panic!("{steps:?}") };
    assert!(
        resume.starts_with(&format!("refundctl batch resume {id} --app app_abcdefghweqzadfs")),
        "{resume}"
    );
    assert!(fail.starts_with("refundctl refund fail re_"), "{fail}");
    let resume: Vec<&str> = resume.split(' ').skip(1).chain(["--yes", "--reason", "test"]).collect();
    assert_eq!(run(&resume).status.code(), Some(1), "it waits for someone");
    let settle: Vec<&str> = settle.split(' ').skip(1).chain(["--yes", "--reason", "test"]).collect();
    let since = Instant::now();
    // The worker may have the batch for a moment.
    while !stdout(&run(&settle)).contains("succeeded at") {
        assert!(since.elapsed() < Duration::from_secs(20), "{settle:?}");
    }
    assert_eq!(local.batches_until(|listed| listed["open"] == 0), none);
    assert_eq!(local.batches(&["--stuck", "--older-than", "0s"]).0, Some(0));
}

#[test]
fn wrong_usage_is_told_before_the_table_is_asked() {
    for wrong in [
        &["--stuck", "--older-than", "15"][..],
        &["--stuck", "--older-than", "1.5h"],
        &["--older-than", "15m"],
        &["--output", "yaml"],
    ] {
        let output = run(&[&["batch", "list"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", stderr(&output));
    }
}
