//! A function under the runtime interface emulator that the SAM CLI puts into its containers.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::lambda::peak_memory_kb;
use crate::world::World;

/// A running emulator, with one function in it.
pub struct Rie {
    process: Child,
    url: String,
    logs: TempDir,
    invoked: usize,
}

impl Rie {
    /// Starts `rie` with the function in `bootstrap`, on the world's table.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(rie: &Path, bootstrap: &Path, world: &World) -> Result<Self> {
        let logs = tempfile::tempdir()?;
        let [own, runtime] = [free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
        let process = Command::new(rie)
            .args(["--runtime-interface-emulator-address", &own, "--runtime-api-address", &runtime])
            .args(["--log-level", "info"])
            .arg(bootstrap)
            .env_clear()
            // What the SAM CLI gives a container, with tests/sam-local.json.
            .env("AWS_SAM_LOCAL", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "defaultkey")
            .env("AWS_SECRET_ACCESS_KEY", "defaultsecret")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "29")
            .env("EVENT_BUS", "EventBus")
            .envs(variables()?)
            .env("TABLE_NAME", &world.table)
            .env("DYNAMODB_ENDPOINT", &world.endpoint)
            .stdin(Stdio::null())
            .stdout(File::create(logs.path().join("stdout"))?)
            .stderr(File::create(logs.path().join("stderr"))?)
            .spawn()
            .with_context(|| rie.display().to_string())?;
        let url = format!("http://{own}/2015-03-31/functions/function/invocations");
        let mut emulator = Self { process, url, logs, invoked: 0 };
        let started = Instant::now();
        while std::net::TcpStream::connect(&own).is_err() {
            ensure!(emulator.process.try_wait()?.is_none(), "the emulator has ended");
            ensure!(started.elapsed() < Duration::from_secs(10), "the emulator does not listen on {own}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(emulator)
    }

    /// The function's answer to an event.
    ///
    /// # Errors
    /// If there is none.
    pub fn invoke(&mut self, event: &str) -> Result<Value> {
        self.invoked += 1;
        let mut answer = ureq::post(&self.url).send(event)?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }

    /// How long the function took until it asked for its first event.
    ///
    /// # Errors
    /// If the emulator has not said so.
    pub fn init(&self) -> Result<Duration> {
        milliseconds_after(&self.log()?, "INIT REPORT(durationMs: ", 0)
    }

    /// How long the last call took.
    ///
    /// # Errors
    /// If the emulator has not said so.
    pub fn last_call(&self) -> Result<Duration> {
        // It writes this after the answer.
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let took = milliseconds_after(&self.log()?, "INVOKE RTDONE(", self.invoked.saturating_sub(1));
            if took.is_ok() || Instant::now() > until {
                return took;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The most memory that the function has had resident.
    ///
    /// # Errors
    /// If it does not run.
    pub fn peak_memory_kb(&self) -> Result<u64> {
        let children = format!("/proc/{}/task", self.process.id());
        for task in std::fs::read_dir(children)? {
            let children = std::fs::read_to_string(task?.path().join("children"))?;
            if let Some(child) = children.split_whitespace().next() {
                return Ok(peak_memory_kb(child.parse()?));
            }
        }
        anyhow::bail!("the function does not run")
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.logs.path().join("stderr"))?)
    }
}

/// Those of tests/sam-local.json.
fn variables() -> Result<HashMap<String, String>> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sam-local.json"));
    let file: Value = serde_json::from_str(text)?;
    Ok(serde_json::from_value(file["Parameters"].clone())?)
}

/// The number before `ms`, or the next `)`, in the line that has `mark` for the so manieth time.
fn milliseconds_after(log: &str, mark: &str, number: usize) -> Result<Duration> {
    let line = log.lines().filter_map(|line| line.split_once(mark)).nth(number);
    let (_, rest) = line.with_context(|| format!("the emulator does not say {mark}"))?;
    let rest = rest.split_once("duration: ").map_or(rest, |(_, duration)| duration);
    let digits = rest.split(|character: char| !character.is_ascii_digit() && character != '.').next();
    Ok(Duration::from_secs_f64(digits.context("no number")?.parse::<f64>()? / 1_000.0))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Drop for Rie {
    /// It ends its function as it is told to end; killed, it would leave it behind.
    fn drop(&mut self) {
        let id = self.process.id().cast_signed();
        let _ = rustix::process::Pid::from_raw(id)
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let _ = self.process.wait();
    }
}
