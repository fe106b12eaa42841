//! verify and anchor.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::stack::{Local, TABLE, refundctl, run, signal, stderr, stdout};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

/// A local stack with a sample in it, and a folder for what commands keep.
fn with_sample(debits: &str) -> (Local, tempfile::TempDir) {
    let local = Local::start(&["--no-demo"]);
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("sample.jsonl");
    let channel = r#"{"kind":"channel","channelId":1,"currency":"CNY","publicKeys":["KEY"]}"#;
    let key = include_str!("../../demo/data.jsonl").lines().next().unwrap();
    let key: Value = serde_json::from_str(key).unwrap();
    let key = key["publicKeys"][0].to_string();
    let sample = run(&["sample", "--debits", debits, "--players", "50"]);
    std::fs::write(&lines, channel.replace("\"KEY\"", &key) + "\n" + &stdout(&sample)).unwrap();
    let imported = local.import(&lines, &[]);
    assert!(imported.status.success(), "{}", stderr(&imported));
    (local, folder)
}

fn verify(local: &Local, folder: &Path, options: &[&str]) -> Command {
    let mut command = refundctl(&[&["verify", "--endpoint", &local.dynamodb], options].concat());
    command.env("XDG_STATE_HOME", folder);
    command
}

fn verified(local: &Local, folder: &Path, options: &[&str]) -> (Option<i32>, Value, String) {
    let output = verify(local, folder, &[&["--output", "json"], options].concat()).output().unwrap();
    let told = serde_json::from_str(&stdout(&output)).unwrap_or(Value::Null);
    (output.status.code(), told, stderr(&output))
}

/// The file that facts are kept in on their way; it grows.
fn spool(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder.join("refundctl")).ok()?;
    let mut files = files.filter_map(|file| Some(file.ok()?.path()));
    files.find(|path| path.to_string_lossy().ends_with("-wal"))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// A run that is stopped in the middle, as `stop` does.
fn interrupted(local: &Local, folder: &Path, stop: impl Fn(&mut Child)) -> Option<i32> {
    let mut command = verify(local, folder, &["--max-rcu", "40", "--segments", "2"]);
    let started = SystemTime::now();
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let written =
        || spool(folder).and_then(|path| path.metadata().ok()?.modified().ok()).unwrap_or(UNIX_EPOCH);
    until("the file is begun", || written() > started);
    let begun = written();
    // Pages are some tenths of a second apart, so slow is reading allowed to be.
    let later = || written().duration_since(begun).unwrap_or_default() > Duration::from_millis(300);
    until("facts come", later);
    stop(&mut run);
    run.wait().unwrap().code()
}

#[test]
fn a_run_that_is_killed_or_stopped_goes_on_where_it_was_and_reads_nothing_twice() {
    let (local, folder) = with_sample("3000");
    let (code, whole, told) = verified(&local, folder.path(), &["--segments", "2"]);
    assert_eq!(code, Some(0), "{told}");
    let items = whole["items"].as_u64().unwrap();
    assert!(items > 3_050 && whole["readBefore"].is_null(), "{whole}");

    assert_eq!(interrupted(&local, folder.path(), |run| run.kill().unwrap()), None);
    let stopped = interrupted(&local, folder.path(), |run| signal(run, "-INT"));
    assert_eq!(stopped, Some(3), "stopped by hand, it is not known whether anything is wrong");
    let (code, on, told) = verified(&local, folder.path(), &["--segments", "2"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("going on with a run of"), "{told}");
    let before = on["readBefore"].as_u64().unwrap();
    assert!(before > 0 && before < items, "{on}");
    assert_eq!((on["items"].as_u64(), &on["facts"]), (Some(items), &whole["facts"]), "{on}");
    assert!(spool(folder.path()).is_none(), "it leaves nothing behind");

    assert_eq!(interrupted(&local, folder.path(), |run| run.kill().unwrap()), None);
    let (code, anew, told) = verified(&local, folder.path(), &["--segments", "2", "--restart"]);
    assert!(code == Some(0) && anew["readBefore"].is_null(), "{told}");
}

#[test]
fn a_breach_is_told_with_its_items_and_an_unreachable_table_is_not_taken_for_a_clean_one() {
    let local = Local::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(local.send(&[]).0, Some(0));
    let (code, told, error) = verified(&local, folder.path(), &[]);
    assert!(code == Some(0) && told["breaches"] == serde_json::json!([]), "{told} {error}");
    let heads = folder.path().join("heads.jsonl");
    let anchor = ["anchor", heads.to_str().unwrap(), "--endpoint", &local.dynamodb];
    let written = run(&anchor);
    assert!(stdout(&written).contains("4 heads in "), "{}{}", stdout(&written), stderr(&written));
    assert_eq!(run(&anchor).status.code(), Some(1), "an anchor is never overwritten");

    let text = |text: &str| AttributeValue::S(text.to_owned());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = shared::store::client(Some(&local.dynamodb)).await;
        let change = client.update_item().table_name(TABLE);
        let change = change.key("pk", text("ebet#1#apitest01")).key("sk", text("ACCOUNT"));
        let change = change.update_expression("SET balance = balance + :cent");
        let cent = AttributeValue::N("0.01".to_owned());
        change.expression_attribute_values(":cent", cent).send().await.unwrap();
    });
    let (code, told, _) = verified(&local, folder.path(), &["--anchor", heads.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{told}");
    let breach = &told["breaches"][0];
    assert_eq!(breach["breach"], "wrong balance", "{told}");
    assert_eq!(breach["items"], "ebet#1#apitest01 ACCOUNT");
    assert_eq!(told["kinds"][0], serde_json::json!({"breaches": 1, "kind": "wrong balance"}));
    let for_people = verify(&local, folder.path(), &[]).output().unwrap();
    assert!(stdout(&for_people).starts_with("1 breach\n"), "{}", stdout(&for_people));

    let nowhere = run(&["verify", "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(nowhere.status.code(), Some(3), "{}", stderr(&nowhere));
    let none = run(&["verify", "--endpoint", &local.dynamodb, "--table", "none"]);
    assert_eq!(none.status.code(), Some(3), "{}", stderr(&none));
    let wrong = verified(&local, folder.path(), &["--anchor", "/no/such/file"]);
    assert_eq!(wrong.0, Some(2), "{}", wrong.2);
    assert_eq!(run(&["verify", "--max-rcu", "0"]).status.code(), Some(2));
}
