//! Tenants with refundctl.

use std::path::Path;
use std::process::Stdio;

use crate::stack::{Local, TABLE, is_not_stored, lines, refundctl, run, stderr, stdout};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::target::session;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::epay::{Merchant, MerchantId};
use shared::ledger::{Intervention, TenantKey};
use shared::store::{Session, Store, client};

/// What a command came to: its exit code, and what it wrote on either output.
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn of(output: &std::process::Output) -> Self {
        Self { code: output.status.code(), out: stdout(output), err: stderr(output) }
    }

    /// The one new secret, which stands nowhere else.
    fn secret(&self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert!(self.err.contains("shown only this once; of it the hash alone is kept"), "{}", self.err);
        let secret = self.out.strip_suffix('\n').unwrap().to_owned();
        assert!(secret.len() >= 32 && !secret.contains(char::is_whitespace), "{}", self.err);
        assert!(!self.err.contains(&secret), "it is shown twice");
        secret
    }

    /// Done, with this said and no secret printed.
    fn says(&self, text: &str) {
        assert!(self.code == Some(0) && self.err.contains(text), "{:?}: {}", self.code, self.err);
        assert_eq!(self.out, "", "{}", self.err);
    }

    /// Not done, with this said.
    fn refuses(&self, code: i32, text: &str) {
        assert!(self.code == Some(code) && self.err.contains(text), "{:?}: {}", self.code, self.err);
        assert_eq!(self.out, "", "{}", self.err);
    }

    /// The command that ends an old key, as it is printed, to be agreed to.
    fn end_of_old_key(&self) -> Told {
        let command = self.err.lines().find_map(|line| line.split_once("until it is ended: refundctl "));
        let (_, command) = command.unwrap_or_else(|| panic!("{}", self.err));
        assert!(self.err.contains("within 30 s"), "{}", self.err);
        let agreed = ["--yes", "--reason", "the new one is in use"];
        Told::of(&run(&command.split_whitespace().chain(agreed).collect::<Vec<_>>()))
    }
}

impl Local {
    /// A command on tenants, agreed to.
    fn tenant(&self, arguments: &[&str]) -> Told {
        self.tenant_only(&[arguments, &["--yes", "--reason", "as agreed in November"]].concat())
    }

    /// A command on tenants, with nothing agreed to.
    fn tenant_only(&self, arguments: &[&str]) -> Told {
        Told::of(&run(&[&["tenant"], arguments, &["--endpoint", &self.dynamodb]].concat()))
    }

    /// Stopped and started again on its file: functions know settings for half a minute.
    fn again(self, data: &Path) -> Self {
        drop(self);
        start(data)
    }

    fn with_table<T>(&self, work: impl AsyncFnOnce(Session) -> T) -> T {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::new(client(Some(&self.dynamodb)).await, TABLE);
            work(session(&store)).await
        })
    }

    fn settings(&self, tenant: &TenantKey) -> Option<Value> {
        let settings = self.with_table(async |table| table.settings(tenant).await.unwrap());
        settings.map(|settings| serde_json::from_str(&settings).unwrap())
    }

    fn interventions(&self, tenant: &TenantKey) -> Vec<Intervention> {
        self.with_table(async |table| table.interventions(tenant).await.unwrap())
    }
}

fn start(data: &Path) -> Local {
    Local::start(&["--no-demo", "--data", data.to_str().unwrap()])
}

fn hash_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_merchant_is_added_gets_another_key_loses_its_old_one_and_is_switched_off_and_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("facts.jsonl"), folder.path().join("refunds.db"));
    let local = start(&data);
    let tenant = "m".parse::<MerchantId>().unwrap().tenant();
    let add = ["add", "merchant", "m", "--currency", "CNY"];
    let first = local.tenant(&add).secret();
    assert_eq!(
        local.settings(&tenant),
        Some(json!({"merchant": "m", "currency": "CNY", "keyHashes": [hash_of(first.as_bytes())],
                    "enabled": true}))
    );
    local.tenant(&add).refuses(1, "`refundctl tenant rotate-key merchant m --endpoint ");
    local.tenant(&add).refuses(1, "nothing was changed: merchant m is there already");

    lines(
        &file,
        &[json!({"kind": "application", "merchant": "m", "autoid": 7, "amount": "10", "orderNo": "o",
                 "status": 0})],
    );
    assert!(local.import(&file, &[]).status.success());
    let begin = |local: &Local, key: &str| {
        let options = ["--api-key", key, "--autoid", "7", "--amount", "10", "--batch-no", "B"];
        local.sent("begin-single-refund", &options).1
    };
    assert!(begin(&local, &first).contains("\"errcode\": 0"));
    let rotated = local.tenant(&["rotate-key", "merchant", "m"]);
    let second = rotated.secret();
    for key in [&first, &second] {
        assert!(begin(&local, key).contains("\"errcode\": 0"), "both keys are good");
    }

    rotated.end_of_old_key().says("ended key");
    rotated.end_of_old_key().says("unchanged: key");
    let [old, new] = [&first, &second].map(|secret| hash_of(secret.as_bytes())[..8].to_owned());
    let retire = |key: &str| local.tenant(&["rotate-key", "merchant", "m", "--retire", key]);
    retire(&new).refuses(1, &format!("{new} is the last key of merchant m; first add another"));
    retire("00000000").refuses(1, &format!("merchant m has no key 00000000; it has {new}"));
    retire("0000000").refuses(2, "must be the first 8 to 64 hex digits");
    let local = local.again(&data);
    assert!(begin(&local, &first).contains("HTTP 401"));
    assert!(begin(&local, &second).contains("\"errcode\": 0"));

    let disable = ["disable", "merchant", "m"];
    let dry = local.tenant_only(&[&disable[..], &["--dry-run"]].concat());
    dry.says("its calls are refused, everywhere within 30 s; what is under way is still settled");
    let done = local.tenant(&disable);
    assert!(done.code == Some(0) && done.out.starts_with("disabled: merchant m; its calls"), "{}", done.err);
    let done = local.tenant_only(&disable);
    assert!(done.code == Some(0) && done.out == "unchanged: merchant m is disabled\n", "{}", done.err);
    let local = local.again(&data);
    assert!(begin(&local, &second).contains("商户已停用"));
    let done = local.tenant(&["enable", "merchant", "m"]);
    assert!(done.code == Some(0) && done.out.starts_with("enabled: merchant m; "), "{}", done.err);
    let local = local.again(&data);
    assert!(begin(&local, &second).contains("\"errcode\": 0"));

    let mut interventions = local.interventions(&tenant);
    interventions.retain(|intervention| intervention.subject != "import");
    let actions: Vec<&str> = interventions.iter().map(|intervention| intervention.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "add merchant m",
            &format!("rotate key: add {new}"),
            &format!("rotate key: retire {old}"),
            "disable",
            "enable"
        ]
    );
    for intervention in &interventions {
        assert!(intervention.subject.is_empty() && intervention.outcome.is_some(), "{intervention:?}");
        let told = format!("{intervention:?}");
        assert!(!told.contains(&first) && !told.contains(&second), "{told}");
    }
    assert_eq!(interventions[0].reason, "as agreed in November");
    assert_eq!(interventions[0].outcome.as_deref(), Some(format!("added, with key {old}").as_str()));

    drop(local);
    is_not_stored(folder.path(), &first);
    is_not_stored(folder.path(), &second);
}

#[test]
fn a_merchants_key_is_taken_from_a_file_or_a_pipe_and_what_was_cut_off_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("m.key.jsonl"), folder.path().join("refunds.db"));
    let local = start(&data);
    let secret = "a-secret-of-this-merchant";
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let file = file.to_str().unwrap();
    let add = |merchant: &str, file: &str| {
        local.tenant(&["add", "merchant", merchant, "--currency", "CNY", "--key-file", file])
    };
    // Cut off after the key, before the settings.
    let tenant = "m".parse::<MerchantId>().unwrap().tenant();
    let credential = Merchant::credential(secret).unwrap();
    local.with_table(async |table| table.create_credential(&credential, &tenant).await.unwrap());
    add("m", file).says("added, with key");
    add("m", file).says("unchanged: merchant m is on record with these settings and this key");
    add("thief", file).refuses(1, "nothing was changed: the key is another one's");
    assert_eq!(local.interventions(&tenant).len(), 1);

    let mut piped = refundctl(&["tenant", "add", "merchant", "p", "--currency", "CNY", "--key-file", "-"])
        .args(["--yes", "--reason", "a test", "--endpoint", &local.dynamodb])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut piped.stdin.take().unwrap(), b"another-secret-of-its-own\n").unwrap();
    Told::of(&piped.wait_with_output().unwrap()).says("added, with key");
    for key in [secret, "another-secret-of-its-own"] {
        let (_, told) = local.sent("begin-single-refund", &["--api-key", key]);
        assert!(!told.contains("HTTP 401") && told.contains("errcode"), "{told}");
    }

    let again = ["rotate-key", "merchant", "m", "--key-file", file];
    local.tenant(&again).says("unchanged: merchant m has key");
    let other = folder.path().join("short.jsonl");
    std::fs::write(&other, "too short").unwrap();
    let told = add("short", other.to_str().unwrap());
    told.refuses(2, "16 to 128 visible ASCII characters");
    assert!(!told.err.contains("too short"), "{}", told.err);
    add("none", "/no/such/file").refuses(1, "could not read the key /no/such/file");
    drop(local);
    is_not_stored(folder.path(), secret);
}

#[test]
fn an_app_is_added_and_its_keys_may_be_other_apps_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("facts.jsonl"), folder.path().join("refunds.db"));
    let local = start(&data);
    let list = |local: &Local, app: &str, secret: &str| {
        local.sent("list-batch-refunds", &["--app", app, "--secret", secret]).1
    };
    let add = ["add", "app", "app_1", "--currency", "cny"];
    let first = local.tenant(&add).secret();
    assert!(first.starts_with("sk_test_"));
    let unchanged = local.tenant(&add);
    unchanged.says("no key was made: if nobody has one of these, `refundctl tenant rotate-key app app_1");
    let other = local.tenant(&["add", "app", "app_1", "--currency", "usd"]);
    other.refuses(1, "is there already, with other settings");
    let live = local.tenant(&[&add[..], &["--live"]].concat()).secret();
    assert!(live.starts_with("sk_live_"));
    assert!(list(&local, "app_1", &live).contains("HTTP 200"));
    assert!(list(&local, "app_1", &first).contains("HTTP 200"));

    let rotated = local.tenant(&["rotate-key", "app", "app_1"]);
    let second = rotated.secret();
    for key in [&first, &second] {
        assert!(list(&local, "app_1", key).contains("HTTP 200"), "both keys are good");
    }
    rotated.end_of_old_key().says("ended key");
    rotated.end_of_old_key().says("unchanged: key");
    let local = local.again(&data);
    assert!(list(&local, "app_1", &first).contains("HTTP 401"));

    // A key that is two apps' is taken from one of them alone.
    std::fs::write(&file, &second).unwrap();
    let shared = ["add", "app", "app_2", "--currency", "cny", "--key-file", file.to_str().unwrap()];
    let dry = local.tenant_only(&[&shared[..], &["--dry-run"]].concat());
    dry.says("would change: the key names app_1 too");
    local.tenant(&shared).says("added, with key");
    local.tenant(&shared).says("unchanged: app app_2 in test mode is on record with these settings");
    local.tenant(&[&shared[..], &["--live"]].concat()).refuses(2, "the key is for test mode");
    for app in ["app_1", "app_2"] {
        assert!(list(&local, app, &second).contains("HTTP 200"), "{app}");
    }
    let hash = hash_of(second.as_bytes());
    let retire = ["rotate-key", "app", "app_2", "--retire", &hash[..12]];
    local.tenant(&retire).refuses(1, "is the last key of app app_2 in test mode");
    let last = local.tenant(&[&retire[..], &["--last"]].concat());
    last.says(&format!("end key {} of app app_2 in test mode", &hash[..8]));
    last.says("it still names app_1");
    let local = local.again(&data);
    assert!(!list(&local, "app_2", &second).contains("HTTP 200"));
    assert!(list(&local, "app_1", &second).contains("HTTP 200"));

    assert_eq!(local.tenant(&["disable", "app", "app_1"]).code, Some(0));
    let local = local.again(&data);
    let told = list(&local, "app_1", &second);
    assert!(told.contains("HTTP 403") && told.contains("App app_1 is disabled."), "{told}");
    assert!(list(&local, "app_1", &live).contains("HTTP 200"), "the other mode is an app of its own");

    // Cut off after the settings, before the key.
    lines(&file, &[json!({"kind": "app", "app": "app_3", "livemode": false, "currency": "cny"})]);
    assert!(local.import(&file, &[]).status.success());
    let third = local.tenant(&["add", "app", "app_3", "--currency", "cny"]).secret();
    assert!(list(&local, "app_3", &third).contains("HTTP 200"));
    let unsigned = local.tenant(&["add", "app", "app_4", "--currency", "cny", "--require-signature"]);
    unsigned.refuses(2, "--public-key");

    drop(local);
    for secret in [&first, &second, &third, &live] {
        is_not_stored(folder.path(), secret);
    }
}

/// A key pair: the files of its private and its public key, and the fingerprint.
fn key_pair(folder: &Path, name: &str) -> (String, String, String) {
    let prefix = format!("{}/{name}", folder.display());
    let made = run(&["keygen", "--bits", "512", "--out", &prefix]);
    assert!(made.status.success(), "{}", stderr(&made));
    let public = format!("{prefix}.public.pem");
    let pem = std::fs::read_to_string(&public).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let fingerprint = hash_of(&BASE64.decode(base64).unwrap())[..16].to_owned();
    (format!("{prefix}.private.pem"), public, fingerprint)
}

#[test]
fn a_channel_is_added_and_signs_with_a_new_key_before_the_old_one_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("facts.jsonl"), data.path().join("refunds.db"));
    let local = start(&data);
    let tenant = TenantKey::new("ebet", "7");
    let (old, new) = (key_pair(folder.path(), "old"), key_pair(folder.path(), "new"));
    let add = ["add", "channel", "7", "--currency", "CNY", "--public-key", &old.1];

    let dry = local.tenant_only(&[&add[..], &["--dry-run"]].concat());
    dry.says(&format!("would change: add channel 7 in CNY, whose public keys are {}", old.2));
    local.tenant_only(&add).refuses(2, "say why, for the record: --reason TEXT");
    let unasked = local.tenant_only(&[&add[..], &["--reason", "a test"]].concat());
    unasked.refuses(2, "nobody is there to be asked");
    for (option, value, reason) in [
        ("--refund-limit", "0", "refundLimit must be more than zero"),
        ("--refund-limit", "ten", "refundLimit"),
        ("--allowed-ip", "localhost", "neither an address nor a network"),
        ("--public-key", old.0.as_str(), "is no public key in PEM"),
    ] {
        local.tenant(&[&add[..], &[option, value]].concat()).refuses(2, reason);
    }
    let yuan = ["add", "channel", "7", "--currency", "yuan", "--public-key", &old.1];
    local.tenant(&yuan).refuses(2, "currency");
    assert_eq!(local.settings(&tenant), None);
    assert!(local.interventions(&tenant).is_empty());

    local.tenant(&add).says("added: channel 7");
    local.tenant(&add).says("unchanged: channel 7 is on record with these settings");
    let recorded = local.settings(&tenant).unwrap();
    let pem = std::fs::read_to_string(&old.1).unwrap();
    assert_eq!(
        recorded,
        json!({"channelId": 7, "currency": "CNY", "publicKeys": [pem], "partialRefunds": false,
               "enabled": true, "maxAge": 86400,
               "batchSignature": ["channelId+timestamp", "username+timestamp", "timestamp"]})
    );
    local.tenant(&[&add[..], &["--partial-refunds"]].concat()).refuses(1, "channel 7 is there already");
    assert_eq!(local.settings(&tenant), Some(recorded));
    let rich = ["--allowed-ip", "127.0.0.1", "--refund-limit", "100000.00", "--max-age", "0"];
    let eight = ["add", "channel", "8", "--currency", "CNY", "--public-key", &old.1, "--public-key", &new.1];
    local.tenant(&[&eight[..], &rich].concat()).says("added: channel 8");
    let recorded = local.settings(&TenantKey::new("ebet", "8")).unwrap();
    assert_eq!(
        (&recorded["allowedIps"], &recorded["refundLimit"], &recorded["maxAge"]),
        (&json!(["127.0.0.1"]), &json!("100000.00"), &json!(0))
    );
    assert_eq!(recorded["publicKeys"].as_array().unwrap().len(), 2);

    let bet = |number: u64| {
        json!({"kind": "debit", "channelId": 7, "username": "player1", "seqNo": format!("bet-{number}"),
               "roundCode": "R1", "amount": "5"})
    };
    let wallet = json!({"kind": "wallet", "channelId": 7, "username": "player1", "balance": "1"});
    lines(&file, &[wallet, bet(1), bet(2), bet(3), bet(4)]);
    assert!(local.import(&file, &[]).status.success());
    let refund = |local: &Local, key: &str, number: u64| {
        let bet = format!("bet-{number}=5");
        let options = ["--channel", "7", "--username", "player1", "--refund", &bet, "--key", key];
        local.send(&options).1["status"].clone()
    };
    assert_eq!(refund(&local, &old.0, 1), 200);
    assert_eq!(refund(&local, &new.0, 2), 4026);

    let rotate = ["rotate-key", "channel", "7", "--public-key", &new.1];
    let rotated = local.tenant(&rotate);
    rotated.says(&format!("added key {} to channel 7", new.2));
    let end = format!("refundctl tenant rotate-key channel 7 --retire {} --endpoint ", old.2);
    rotated.says(&end);
    local.tenant(&rotate).says(&format!("unchanged: channel 7 has key {}", new.2));
    let local = local.again(&data);
    assert_eq!((refund(&local, &new.0, 2), refund(&local, &old.0, 3)), (json!(200), json!(200)));

    let retire = ["rotate-key", "channel", "7", "--retire", &old.2[..8]];
    local.tenant(&retire).says(&format!("ended key {} of channel 7", old.2));
    local.tenant(&retire).says(&format!("unchanged: key {} of channel 7 was ended", &old.2[..8]));
    let last = ["rotate-key", "channel", "7", "--retire", &new.2];
    local.tenant(&last).refuses(1, &format!("{} is the last key of channel 7", new.2));
    let local = local.again(&data);
    assert_eq!((refund(&local, &old.0, 4), refund(&local, &new.0, 4)), (json!(4026), json!(200)));

    assert_eq!(local.tenant(&["disable", "channel", "7"]).code, Some(0));
    let local = local.again(&data);
    assert_eq!(refund(&local, &new.0, 4), 4029);
    let actions: Vec<String> =
        local.interventions(&tenant).into_iter().map(|intervention| intervention.action).collect();
    let actions: Vec<&String> = actions.iter().filter(|action| !action.starts_with("import")).collect();
    let (added, retired) = (format!("rotate key: add {}", new.2), format!("rotate key: retire {}", old.2));
    assert_eq!(actions, ["add channel 7", &added, &retired, "disable"]);
}

#[test]
fn who_is_unknown_is_said_and_every_command_has_examples() {
    let local = Local::start(&["--no-demo"]);
    for (command, told) in [
        (&["disable", "channel", "9"][..], "there is no channel 9"),
        (&["enable", "merchant", "nobody"], "there is no merchant nobody"),
        (&["disable", "app", "app_9", "--live"], "there is no app app_9 in live mode"),
        (&["rotate-key", "channel", "9", "--retire", "0123456789abcdef"], "there is no channel 9"),
        (&["rotate-key", "merchant", "nobody"], "there is no merchant nobody"),
        (&["rotate-key", "app", "app_9"], "there is no app app_9 in test mode"),
    ] {
        local.tenant(command).refuses(1, told);
    }
    for wrong in [
        &["disable", "merchant", "a/b"][..],
        &["add", "channel", "seven", "--currency", "CNY", "--public-key", "x.pem"],
        &["rotate-key", "channel", "9"],
        &["rotate-key", "merchant", "m", "--retire", "01234567", "--key-file", "x"],
        &["rotate-key", "app", "app_1", "--last"],
    ] {
        assert_eq!(local.tenant(wrong).code, Some(2), "{wrong:?}");
    }
    for action in ["add", "rotate-key", "disable", "enable"] {
        for kind in [None, Some("channel"), Some("merchant"), Some("app")] {
            let command: Vec<&str> = ["tenant", action].into_iter().chain(kind).chain(["--help"]).collect();
            let help = run(&command);
            let text = stdout(&help);
            assert!(help.status.success(), "{command:?}");
            assert!(text.contains("Examples:") && text.contains("Exit codes:"), "{command:?}");
        }
    }
}
