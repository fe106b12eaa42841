//! Runs the functions as they are deployed under the runtime interface emulator of the SAM CLI: each event of
//! `tests/events` must get its stated answer. What a cold start costs is printed beside an empty function's.
//!
//! ```sh
//! pip install aws-sam-cli cargo-lambda ziglang
//! sam build --config-env dev
//! cargo lambda build --release --package floor
//! cargo run --package tests --bin cold-start
//! ```
//!
//! Init is what the function does until it asks for its first event, a read of the table among it, here without TLS.
//! The table is the embedded store, in this process. Each figure is the median of several processes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use refundctl::import::{self, Source};
use refundctl::local::DEMO_DATA;
use tests::built;
use tests::events;
use tests::rie::Rie;
use tests::world::World;

/// Processes of each function, unless a number is given.
const PROCESSES: usize = 7;

/// The floor under all others.
const EMPTY: &str = "(an empty function)";

/// What was measured of one process.
#[derive(Clone, Copy)]
struct Measured {
    init: Duration,
    first_call: Duration,
    next_call: Duration,
    memory_kb: u64,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let processes = std::env::args().nth(1).map_or(Ok(PROCESSES), |number| number.parse())?.max(1);
    let rie = emulator()?;
    let mut measured: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
    for process in 0..processes {
        let world = World::new().await;
        import::run(&world.store(), Source::text(DEMO_DATA), &import::Settings::default()).await?;
        for (name, of_function) in events::PLAYED {
            let mut function = Rie::start(&rie, &built::function(name)?, &world)?;
            let mut took = Vec::new();
            for event in *of_function {
                let text = std::fs::read_to_string(events::path(event.name))?;
                let answer = tokio::task::block_in_place(|| function.invoke(&text))?;
                event.check(&answer).with_context(|| event.name.to_owned())?;
                took.push(function.last_call()?);
                if process == 0 {
                    println!("{:<26} as stated: {}", event.name, event.stated());
                }
            }
            let again = std::fs::read_to_string(events::path(of_function.last().context("an event")?.name))?;
            tokio::task::block_in_place(|| function.invoke(&again))?;
            let measured_now = Measured {
                init: function.init()?,
                first_call: *took.first().context("an event")?,
                next_call: function.last_call()?,
                memory_kb: function.peak_memory_kb()?,
            };
            measured.entry((*name).to_owned()).or_default().push(measured_now);
        }
        if let Some(bootstrap) = built::floor() {
            let mut function = Rie::start(&rie, &bootstrap, &world)?;
            let event = std::fs::read_to_string(events::path("refund-single-wallet"))?;
            let mut took = Vec::new();
            for _ in 0..2 {
                tokio::task::block_in_place(|| function.invoke(&event))?;
                took.push(function.last_call()?);
            }
            let measured_now = Measured {
                init: function.init()?,
                first_call: took[0],
                next_call: took[1],
                memory_kb: function.peak_memory_kb()?,
            };
            measured.entry(EMPTY.to_owned()).or_default().push(measured_now);
        }
    }
    println!("\nmedian of {processes} processes each");
    println!(
        "{:<24} {:>8} {:>14} {:>13} {:>12} {:>11} {:>11}",
        "function", "init ms", "first call ms", "next call ms", "resident MB", "binary MB", "package MB"
    );
    for (name, processes) in &measured {
        let bootstrap = match name.as_str() {
            EMPTY => built::floor().context("it was measured")?,
            _ => built::function(name)?,
        };
        let binary = std::fs::read(bootstrap)?;
        let median = |of: fn(&Measured) -> Duration| {
            let mut all: Vec<Duration> = processes.iter().map(of).collect();
            all.sort();
            all[all.len() / 2].as_secs_f64() * 1_000.0
        };
        let memory = processes.iter().map(|process| process.memory_kb).max().unwrap_or_default();
        println!(
            "{name:<24} {:>8.1} {:>14.1} {:>13.1} {:>12.1} {:>11.1} {:>11.1}",
            median(|process| process.init),
            median(|process| process.first_call),
            median(|process| process.next_call),
            megabytes(memory * 1024),
            megabytes(binary.len() as u64),
            megabytes(packed(&binary)? as u64),
        );
    }
    if built::floor().is_none() {
        println!("(no empty function beside them: `cargo lambda build --release --package floor` makes it)");
    }
    Ok(ExitCode::SUCCESS)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

/// How large a file is in a zip archive.
fn packed(binary: &[u8]) -> Result<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(binary)?;
    Ok(encoder.finish()?.len())
}

/// The emulator in the SAM CLI's Python package.
fn emulator() -> Result<PathBuf> {
    let sam = which("sam").context("there is no `sam` on the PATH: pip install aws-sam-cli")?;
    let python = std::fs::read_to_string(sam)?;
    let python =
        python.lines().next().and_then(|line| line.strip_prefix("#!")).context("sam is no script")?;
    let told = Command::new(python)
        .args(["-c", "import samcli.local.rapid as rapid; print(list(rapid.__path__)[0])"])
        .output()?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let folder = String::from_utf8(told.stdout)?;
    let emulator = Path::new(folder.trim()).join(format!("aws-lambda-rie-{architecture}"));
    ensure!(emulator.exists(), "there is no emulator at {}", emulator.display());
    Ok(emulator)
}

fn which(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(command)).find(|path| path.is_file())
}
