//! The local stack, eBET's calls, and what an operator does first.

use std::io::{BufRead, Write};
use std::process::{Output, Stdio};

use crate::stack::{Local, lines, refundctl, run, signal, stderr, stdout};
use serde_json::{Value, json};

#[test]
fn the_local_stack_answers_the_documents_example_and_stops_when_told() {
    for name in ["-INT", "-TERM"] {
        let mut local = Local::start(&[]);
        let (code, answer) = local.send(&[]);
        assert_eq!(code, Some(0));
        assert_eq!(
            answer,
            json!({
                "status": 200, "seqNo": "seqNoseqNoseqNoseqNo", "event": "refundSingleWallet",
                "timestamp": 1_577_808_000_000u64, "moneyBefore": 0, "moneyAfter": 1000, "refundMoney": 1000,
                "resultList": [{"refundSeqNo": "seqNoBetseqNoRefund", "status": 200}]
            })
        );
        assert_eq!(local.send(&[]).1, answer, "sent again");
        let shown = local.show("1", "apitest01");
        assert!(shown.contains("balance 1000 CNY = opening 0 and 1 postings, chain intact"), "{shown}");
        let mut try_line = String::new();
        local.output.read_line(&mut try_line).unwrap();
        assert!(try_line.starts_with("try: "), "{try_line}");

        signal(&local.process, name);
        assert!(local.process.wait().unwrap().success(), "{name} stops it cleanly");
    }
}

#[test]
fn the_batch_documents_example_is_answered_with_what_its_bet_took() {
    let local = Local::start(&[]);
    let (code, answer) = local.send_batch(&[]);
    assert_eq!(code, Some(0));
    let bet = "d34fbd4e4734d430c05f443da281d92b";
    assert_eq!(
        answer,
        json!({
            "seqNo": "ee41edc558292f232e992cd011fec3f2", "event": "autoBatchRefund",
            "timestamp": 1_683_786_010_043u64, "status": 200,
            "refundResultList": [{
                "username": "demo", "roundCode": "BP1-230511141338", "refundTotalMoney": 20,
                "sucRefundSeqNoList": [{"seqNo": bet, "refundSeqNo": bet, "status": 200}]
            }]
        })
    );
    assert_eq!(local.send_batch(&[]).1, answer, "sent again");
    for signed in ["channel", "username", "timestamp"] {
        let (_, answer) = local.send_batch(&["--refund", &format!("{bet}=20"), "--signed", signed]);
        assert_eq!(
            (&answer["status"], &answer["refundResultList"][0]["refundTotalMoney"]),
            (&json!(200), &json!(20))
        );
    }
    assert!(local.show("1", "demo").contains("balance 36.85 CNY = opening 16.85 and 1 postings"));
}

#[test]
fn a_sample_is_imported_and_refunded_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sample.jsonl");
    let local = Local::start(&[]);
    let made = run(&["sample", "--debits", "500", "--players", "40"]);
    assert_eq!(made.stdout, run(&["sample", "--debits", "500", "--players", "40"]).stdout, "repeatable");
    assert_ne!(made.stdout, run(&["sample", "--debits", "500", "--players", "40", "--seed", "2"]).stdout);
    std::fs::write(&file, made.stdout).unwrap();
    let imported = local.import(&file, &[]);
    assert!(imported.status.success(), "{}", stderr(&imported));

    let send = |options: &[&str]| {
        let options = [&["send", "auto-batch-refund", "--endpoint", &local.url], options].concat();
        let output = run(&options);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    let told = send(&["--items", "500", "--players", "40"]);
    assert!(told.contains("status 200: 500 bets refunded, of 140 rounds, "), "{told}");
    let told = send(&["--items", "500", "--players", "40", "--seed", "2"]);
    assert!(told.contains("status 200: 0 bets refunded, of 140 rounds, 0 in total"), "{told}");
    let told = send(&["--items", "500", "--players", "40", "--threshold", "0.01"]);
    assert!(told.contains("status 200: 500 bets refunded"), "what is refunded stays so: {told}");
    assert!(local.show("1", "player000039").contains("and 12 postings, chain intact"));
}

#[test]
fn a_channel_refunds_a_bet_on_its_own_once() {
    let local = Local::start(&[]);
    let bet = "a70efc7cf71e03ae98b42b22ad4b4288";
    let made = local.self_refund("demo", bet);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert_eq!(stdout(&made), format!("credited demo with {bet}: 16.85 + 100 = 116.85, posting 1\n"));
    let again = local.self_refund("demo", bet);
    assert_eq!(again.status.code(), Some(0));
    assert!(stdout(&again).starts_with(&format!("unchanged: {bet} was given back ")), "{}", stdout(&again));
    let (code, answer) = local.send_batch(&["--refund", &format!("{bet}=100")]);
    assert_eq!(code, Some(0));
    assert_eq!(answer["refundResultList"][0]["sucRefundSeqNoList"][0]["status"], 209);
    let (_, answer) = local.send(&["--username", "demo", "--refund", &format!("{bet}=100")]);
    assert_eq!((&answer["status"], &answer["resultList"][0]["status"]), (&json!(200), &json!(209)));
    assert!(local.show("1", "demo").contains("balance 116.85 CNY = opening 16.85 and 1 postings"));

    local.send(&[]);
    for (username, bet, reason) in [
        ("apitest01", "seqNoBetseqNoRefund", "its provider has had it refunded"),
        ("apitest01", "played-bet", "the bet was played"),
        ("apitest01", "nothing", "has no bet nothing"),
        ("nobody", "nothing", "player nobody of channel 1 has no bet nothing"),
    ] {
        let refused = local.self_refund(username, bet);
        assert_eq!(refused.status.code(), Some(1), "{bet}");
        assert!(stderr(&refused).contains(reason), "{bet}: {}", stderr(&refused));
    }
    let unknown = run(&["self-refund", "9", "demo", bet, "--endpoint", &local.dynamodb]);
    assert!(stderr(&unknown).contains("there is no channel 9"), "{}", stderr(&unknown));
    assert_eq!(run(&["self-refund", "1", "a/b", bet]).status.code(), Some(2));
}

#[test]
fn nothing_is_lost_when_a_stack_on_a_file_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refunds.db");
    let options = ["--data", file.to_str().unwrap()];
    let mut balances = Vec::new();
    for bet in ["d34fbd4e4734d430c05f443da281d92b=20", "a70efc7cf71e03ae98b42b22ad4b4288=100"] {
        let local = Local::start(&options);
        let (_, answer) = local.send(&["--username", "demo", "--refund", bet]);
        assert_eq!(answer["status"], 200, "{answer}");
        signal(&local.process, "-KILL");
        balances.push(answer["moneyAfter"].to_string());
    }
    assert_eq!(balances, ["36.85", "136.85"]);
    let shown = Local::start(&options).show("1", "demo");
    assert!(shown.contains("balance 136.85 CNY = opening 16.85 and 2 postings, chain intact"), "{shown}");
}

#[test]
fn a_channel_with_a_key_of_its_own_is_imported_and_called() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("seven");
    for bits in ["512", "1024"] {
        let prefix = format!("{}-{bits}", prefix.display());
        let made = run(&["keygen", "--bits", bits, "--out", &prefix]);
        assert!(made.status.success(), "{}", stderr(&made));
        let again = run(&["keygen", "--out", &prefix]);
        assert!(!again.status.success(), "a key is never overwritten");

        let channel: Value = serde_json::from_str(&stdout(&made)).unwrap();
        let file = folder.path().join("facts.jsonl");
        lines(
            &file,
            &[
                channel,
                json!({"kind": "wallet", "channelId": 7, "username": "player1", "balance": "1.5"}),
                json!({"kind": "debit", "channelId": 7, "username": "player1", "seqNo": "bet",
                       "roundCode": "R1", "amount": "999999999999999.99"}),
            ],
        );
        let local = Local::start(&["--no-demo"]);
        let imported = local.import(&file, &[]);
        assert!(imported.status.success(), "{}", stderr(&imported));
        let key = format!("{prefix}.private.pem");
        let refund = ["--channel", "7", "--username", "player1", "--refund", "bet=999999999999999.99"];
        let (code, answer) = local.send(&[&refund[..], &["--key", &key]].concat());
        assert_eq!((code, &answer["status"]), (Some(0), &json!(200)), "{answer}");
        let (code, answer) = local.send(&refund);
        assert_eq!((code, &answer["status"]), (Some(1), &json!(4026)), "the demo key opens no other channel");
        assert!(local.show("7", "player1").contains("balance 1000000000000001.49 CNY"));
    }
}

fn facts() -> Vec<Value> {
    let key = include_str!("../../demo/data.jsonl").lines().next().unwrap();
    let channel: Value = serde_json::from_str(key).unwrap();
    vec![
        channel,
        json!({"kind": "wallet", "channelId": 1, "username": "p", "balance": "10"}),
        json!({"kind": "debit", "channelId": 1, "username": "p", "seqNo": "bet", "roundCode": "R1", "amount": "5"}),
    ]
}

#[test]
fn a_wrong_line_is_named_with_its_reason_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("facts.jsonl");
    let local = Local::start(&["--no-demo"]);
    let wallet = |member: &str, value: Value| {
        let mut line = facts()[1].clone();
        line[member] = value;
        line
    };
    let debit = |member: &str, value: Value| {
        let mut line = facts()[2].clone();
        line[member] = value;
        line
    };
    let channel = |member: &str, value: Value| {
        let mut line = facts()[0].clone();
        line[member] = value;
        line
    };
    let merchant = |member: &str, value: Value| {
        let mut line = json!({"kind": "merchant", "merchant": "m", "currency": "CNY",
                              "apiKeys": ["sixteen-characters"]});
        line[member] = value;
        line
    };
    let application = |member: &str, value: Value| {
        let mut line =
            json!({"kind": "application", "merchant": "m", "autoid": 1, "amount": "2", "orderNo": "o"});
        line[member] = value;
        line
    };
    for (line, reason) in [
        (json!("wallet"), "line 5: "),
        (json!({"channelId": 1}), "missing field `kind`"),
        (json!({"kind": "purse"}), "kind \"purse\" is none of channel,"),
        (json!({"kind": "credit"}), "credit happens now: `refundctl send record-entries` sends it"),
        (debit("live", json!(true)), "a live debit happens now: `refundctl send record-entries` sends it"),
        (wallet("balance", json!(10)), "expected a string"),
        (wallet("balance", json!("10.001")), "more than 2 decimals"),
        (wallet("balance", json!("ten")), "not a decimal number"),
        (wallet("username", json!("a/b")), "username \"a/b\" must be"),
        (wallet("channelId", json!(9)), "channel 9 is neither in the file nor in the table"),
        (wallet("colour", json!("red")), "unknown field `colour`"),
        (wallet("balance", json!("11")), "contradicts line 2"),
        (debit("amount", json!("0")), "more than zero"),
        (debit("seqNo", json!("")), "is empty"),
        (debit("state", json!("refunded")), "unknown variant `refunded`"),
        (channel("publicKeys", json!([])), "at least one key"),
        (channel("publicKeys", json!(["secret"])), "not a public key"),
        (channel("allowedIps", json!(["localhost"])), "neither an address nor a network"),
        (channel("refundLimit", json!("-1")), "refundLimit must be more than zero"),
        (channel("currency", json!("yuan")), "currency"),
        (merchant("apiKeys", json!(["short"])), "16 to 128 visible ASCII characters"),
        (merchant("apiKeys", json!([])), "at least one key"),
        (merchant("merchant", json!("a/b")), "merchant must be 1 to 64"),
        (merchant("merchant", json!(null)), "expected a string"),
        (application("merchant", json!("other")), "merchant other is neither in the file nor in the table"),
        (application("amount", json!("0")), "amount \"0\" must be more than zero"),
        (application("autoid", json!("1")), "expected i64"),
        (application("orderNo", json!("")), "orderNo \"\" is empty"),
        (application("status", json!(1)), "only requested applications (0) are recorded"),
    ] {
        let mut all = facts();
        all.push(json!({"kind": "wallet", "channelId": 1, "username": "other", "balance": "1"}));
        all.push(line.clone());
        lines(&file, &all);
        let output = local.import(&file, &[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {told}");
        assert!(told.contains("nothing was written") && told.contains("line 5: "), "{line}: {told}");
        assert!(told.contains(reason), "{line}: {told}");
    }
    let output = run(&["show", "wallet", "1", "p", "--endpoint", &local.dynamodb]);
    assert!(stderr(&output).contains("channel 1 has no wallet p"), "{}", stderr(&output));
}

#[test]
fn importing_again_changes_nothing_and_conflicts_are_reported_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("facts.jsonl");
    let local = Local::start(&["--no-demo"]);
    lines(&file, &facts());
    let counts = |output: &Output| stdout(output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(counts(&local.import(&file, &[])), "channel created 1 debit created 1 wallet created 1");
    // A refund in between is no difference: the facts of the past are the same.
    assert_eq!(local.send(&["--username", "p", "--refund", "bet=5"]).1["moneyAfter"], 15);
    let again = local.import(&file, &[]);
    assert!(again.status.success());
    assert_eq!(counts(&again), "channel unchanged 1 debit unchanged 1 wallet unchanged 1");

    let mut other = facts();
    other[0]["enabled"] = json!(false);
    other[1]["balance"] = json!("99");
    other[2]["amount"] = json!("6");
    lines(&file, &other);
    let output = local.import(&file, &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = stdout(&output);
    for conflict in [
        "line 1: conflict: channel 1 has other settings; --replace replaces them",
        "line 2: conflict: wallet ebet#1#p was opened with 10 CNY",
        "line 3: conflict: debit bet took 5",
    ] {
        assert!(told.contains(conflict), "{told}");
    }
    let replaced = local.import(&file, &["--replace"]);
    assert_eq!(replaced.status.code(), Some(1), "money facts are not replaced");
    assert!(counts(&replaced).starts_with("channel replaced 1 debit conflict 1 wallet conflict 1"));
    other[0]["currency"] = json!("USD");
    lines(&file, &other);
    let refused = local.import(&file, &["--replace"]);
    assert!(stderr(&refused).contains("a currency can't be changed"), "{}", stderr(&refused));
    assert!(local.show("1", "p").contains("balance 15 CNY = opening 10 and 1 postings, chain intact"));
}

#[test]
fn an_import_from_a_pipe_that_was_killed_goes_on_where_it_was() {
    const WALLETS: usize = 4_000;
    let mut text = facts()[0].to_string();
    for number in 0..WALLETS {
        text.push_str(&format!(
            "\n{{\"kind\":\"wallet\",\"channelId\":1,\"username\":\"p{number}\",\"balance\":\"{number}.01\"}}"
        ));
    }
    let local = Local::start(&["--no-demo"]);
    let import = || {
        let mut import =
            refundctl(&["import", "-", "--yes", "--reason", "test", "--endpoint", &local.dynamodb])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
        import.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        import
    };
    let mut killed = import();
    // Killed somewhere in the middle.
    let wrote = || run(&["show", "wallet", "1", "p1500", "--endpoint", &local.dynamodb]).status.success();
    while !wrote() && killed.try_wait().unwrap().is_none() {}
    let _ = killed.kill();
    killed.wait().unwrap();

    let finished = import().wait_with_output().unwrap();
    assert!(finished.status.success());
    let told = stdout(&finished);
    let total: usize = told
        .lines()
        .filter(|line| line.contains("wallet"))
        .map(|line| line.split_whitespace().last().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(total, WALLETS, "{told}");
    assert!(stderr(&finished).contains("going on behind line "), "{}", stderr(&finished));
    assert!(local.show("1", &format!("p{}", WALLETS - 1)).contains(&format!("balance {}.01", WALLETS - 1)));
}

#[test]
fn what_can_not_work_says_what_to_do() {
    let local = Local::start(&[]);
    let port = local.url.rsplit(':').next().unwrap();
    let taken = run(&["local", "--port", port, "--dynamodb-port", "0"]);
    assert!(stderr(&taken).contains("choose another with --port N"), "{}", stderr(&taken));

    let nobody = run(&["send", "refund-single-wallet", "--endpoint", "http://127.0.0.1:1"]);
    assert!(stderr(&nobody).contains("is `cargo run` (the local stack) running?"), "{}", stderr(&nobody));

    let remote = run(&["local", "--port", "0", "--dynamodb-endpoint", "http://dynamodb.example"]);
    assert!(stderr(&remote).contains("add --no-demo to use http://dynamodb.example"), "{}", stderr(&remote));

    let nothing = run(&["show", "wallet", "1", "p", "--endpoint", "http://127.0.0.1:1"]);
    assert!(
        stderr(&nothing).contains("is the local stack (`refundctl local`) running"),
        "{}",
        stderr(&nothing)
    );

    let unknown = run(&["show", "wallet", "1", "nobody", "--endpoint", &local.dynamodb]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("channel 1 has no wallet nobody"), "{}", stderr(&unknown));

    assert_eq!(run(&["show", "wallet", "1", "a/b"]).status.code(), Some(2));
    assert_eq!(run(&["import", "/no/such/file"]).status.code(), Some(1));
    for command in [
        "",
        "application confirm",
        "application fail",
        "application withdraw",
        "local",
        "import",
        "keygen",
        "openapi",
        "sample",
        "self-refund",
        "send auto-batch-refund",
        "send begin-single-refund",
        "send end-single-refund",
        "show application",
        "show confirmations",
        "show wallet",
    ] {
        let help = run(&command.split_whitespace().chain(["--help"]).collect::<Vec<_>>());
        assert!(help.status.success() && stdout(&help).contains("Examples:"), "{command}");
    }
}
