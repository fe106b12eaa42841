//! A local stack of a test, and the binary's other commands.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use shared::store::client;

/// The local stack's.
pub const TABLE: &str = "refunds-dev";

pub fn refundctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refundctl"));
    command.args(arguments);
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR")).env_remove("REFUNDS_STAGE");
    // The developer's own AWS settings are none of these tests' business.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
}

pub fn run(arguments: &[&str]) -> Output {
    refundctl(arguments).stdin(Stdio::null()).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running local stack; killed when dropped.
pub struct Local {
    pub process: Child,
    pub output: BufReader<ChildStdout>,
    pub url: String,
    pub dynamodb: String,
}

impl Local {
    pub fn start(options: &[&str]) -> Self {
        let mut command = refundctl(&["local", "--port", "0"]);
        match std::env::var("DYNAMODB_ENDPOINT") {
            Ok(endpoint) => command.args(elsewhere(&endpoint, options)),
            Err(_) => command.args(["--dynamodb-port", "0"]).args(options),
        };
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let url = line().strip_prefix("listening on ").expect("the first line says where").to_owned();
        let second = line();
        let rest = second.strip_prefix("dynamodb on ").expect("the second line says where DynamoDB is");
        let (dynamodb, table) = rest.split_once(" table ").expect("and names the table");
        assert_eq!(table, TABLE);
        let dynamodb = dynamodb.to_owned();
        Self { process, output, url, dynamodb }
    }

    pub fn send(&self, options: &[&str]) -> (Option<i32>, Value) {
        self.call("refund-single-wallet", options)
    }

    pub fn send_batch(&self, options: &[&str]) -> (Option<i32>, Value) {
        self.call("auto-batch-refund", options)
    }

    pub fn call(&self, call: &str, options: &[&str]) -> (Option<i32>, Value) {
        let output = run(&[&["send", call, "--endpoint", &self.url], options].concat());
        let text = stdout(&output);
        let answer = text.split("HTTP 200\n").nth(1).unwrap_or_else(|| panic!("{text}{}", stderr(&output)));
        (output.status.code(), serde_json::from_str(answer).unwrap())
    }

    /// The exit code and all that is printed of a call.
    pub fn sent(&self, call: &str, options: &[&str]) -> (Option<i32>, String) {
        let output = run(&[&["send", call, "--endpoint", &self.url], options].concat());
        (output.status.code(), stdout(&output) + &stderr(&output))
    }

    pub fn self_refund(&self, username: &str, bet: &str) -> Output {
        run(&["self-refund", "1", username, bet, "--endpoint", &self.dynamodb, "--yes", "--reason", "test"])
    }

    pub fn show(&self, channel: &str, username: &str) -> String {
        let output = run(&["show", "wallet", channel, username, "--endpoint", &self.dynamodb]);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    /// The exit code and all that is printed of a command on the table.
    pub fn table(&self, command: &[&str]) -> (Option<i32>, String) {
        let output = run(&[command, &["--endpoint", &self.dynamodb]].concat());
        (output.status.code(), stdout(&output) + &stderr(&output))
    }

    /// As [`Self::table`], of a command that changes something, and is agreed to.
    pub fn agreed(&self, command: &[&str]) -> (Option<i32>, String) {
        let why = if command.contains(&"--reason") { &[][..] } else { &["--reason", "test"] };
        self.table(&[command, &["--yes"], why].concat())
    }

    /// Runs a command until it says something; the worker may have the batch for a moment.
    pub fn until(&self, command: &[&str], said: &str) -> String {
        let since = Instant::now();
        loop {
            let (_, told) = self.table(command);
            if told.contains(said) {
                return told;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "{command:?} does not say {said:?}: {told}");
        }
    }

    pub fn import(&self, file: &Path, options: &[&str]) -> Output {
        let agreed = ["--yes", "--reason", "test"];
        run(&[&["import", file.to_str().unwrap(), "--endpoint", &self.dynamodb], &agreed[..], options]
            .concat())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Options for a stack on the DynamoDB that is at `endpoint`. All stacks have the same table there: it is made anew for
/// each, but for one that goes on with a file of data, which stands for it.
fn elsewhere(endpoint: &str, options: &[&str]) -> Vec<String> {
    let (others, file) = match options.iter().position(|option| *option == "--data") {
        Some(at) => ([&options[..at], &options[at + 2..]].concat(), Some(Path::new(options[at + 1]))),
        None => (options.to_vec(), None),
    };
    if !file.is_some_and(Path::exists) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let deleted = client(Some(endpoint)).await.delete_table().table_name(TABLE).send().await;
            let fails =
                deleted.is_err_and(|error| !error.into_service_error().is_resource_not_found_exception());
            assert!(!fails, "{TABLE} at {endpoint} cannot be deleted");
        });
    }
    if let Some(file) = file {
        std::fs::write(file, "").unwrap();
    }
    let others = others.into_iter().map(str::to_owned);
    ["--dynamodb-endpoint".to_owned(), endpoint.to_owned()].into_iter().chain(others).collect()
}

pub fn signal(process: &Child, name: &str) {
    let killed = Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

pub fn lines(file: &Path, lines: &[Value]) {
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(file, text.join("\n")).unwrap();
}

/// Checks that a secret stands in no file of a folder but in those that were imported.
pub fn is_not_stored(folder: &Path, secret: &str) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        let is_data = path.extension().is_none_or(|extension| extension != "jsonl");
        assert!(!is_data || !has(secret), "{}", path.display());
    }
}
