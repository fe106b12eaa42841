//! How `refundctl verify` does on a large table: seconds, memory, and that it finds what is planted and nothing else.
//!
//!     cargo build --workspace --release && target/release/verify-scale 1000000
//!
//! The table is in this process, the command in one of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use refundctl::sample::Sample;
use refundctl::verify::Kind;
use serde_json::{Value, json};
use tests::planted::one_of_each;
use tests::world::{World, batch, signed};

/// Bets of one request.
const REFUNDS_AT_ONCE: u64 = 10_000;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let items: u64 =
        std::env::args().nth(1).as_deref().unwrap_or("1000000").parse().context("items: a number")?;
    let world = World::with_everything().await;
    let mut lines = Vec::new();
    for part in [items / 10, items] {
        fill(&world, part).await?;
        let clean = run(&world)?;
        ensure!(clean.code == Some(0), "clean data: {}", clean.told);
        println!("{}", clean.line("clean"));
        lines.push(clean);
    }
    let [small, large] = &lines[..] else { anyhow::bail!("two sizes") };
    println!("memory for ten times the items: {} %", large.kilobytes * 100 / small.kilobytes.max(1));
    let clean = world.everything_items().await;
    let (changed, plants) = one_of_each(&clean);
    let kinds: BTreeSet<Kind> = plants.iter().flat_map(|planted| planted.found).copied().collect();
    world.become_items(&clean, &changed).await;
    let planted = run(&world)?;
    ensure!(planted.code == Some(1), "{} kinds are planted: {}", kinds.len(), planted.told);
    println!("{}", planted.line("planted"));
    let told: BTreeSet<&str> = planted.told["kinds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|kind| kind["kind"].as_str())
        .collect();
    for planted in plants {
        for kind in planted.found {
            println!(
                "{} {kind}: {}",
                if told.contains(kind.as_str()) { "found  " } else { "MISSED " },
                planted.what
            );
        }
    }
    let is_found = kinds.iter().all(|kind| told.contains(kind.as_str()));
    println!(
        "{} of {} planted kinds found",
        kinds.iter().filter(|kind| told.contains(kind.as_str())).count(),
        kinds.len()
    );
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Puts wallets and bets on record until there are about so many items, and has a tenth of the bets refunded.
async fn fill(world: &World, items: u64) -> Result<()> {
    let began = Instant::now();
    let seed = items;
    let players = items / 50;
    let debits = items - players - items / 10;
    let sample = Sample { channel: 1, players, seed };
    let mut text = Vec::new();
    sample.write(debits, &mut text)?;
    // Players of another sample are others.
    let text = String::from_utf8(text)?.replace("\"player", &format!("\"s{seed}player"));
    world.import_lines(text).await;
    let instance = world.batch_instance();
    for number in 0..(debits / 10).div_ceil(REFUNDS_AT_ONCE) {
        let bets: Vec<(String, String, String)> = (number * REFUNDS_AT_ONCE..)
            .take(REFUNDS_AT_ONCE.min(debits) as usize)
            .map(|bet| sample.bet(bet))
            .map(|bet| (format!("s{seed}{}", bet.username), bet.seq_no, bet.amount))
            .collect();
        let bets: Vec<(&str, &str, &str)> = bets
            .iter()
            .map(|(player, bet, amount)| (player.as_str(), bet.as_str(), amount.as_str()))
            .collect();
        let request = signed(batch(&format!("scale{seed}-{number}"), &bets));
        // One that is not decided in its time is sent again.
        while instance.call(&request).await["status"] != json!(200) {}
    }
    println!("{items} items put on record in {} s", began.elapsed().as_secs());
    Ok(())
}

/// What one run of the command came to.
struct Run {
    code: Option<i32>,
    told: Value,
    seconds: Duration,
    /// The most that it had at once.
    kilobytes: u64,
}

impl Run {
    fn line(&self, what: &str) -> String {
        format!(
            "{what}: {} items, {} facts, {} groups in {:.1} s, {:.0} MB of memory, {} read units",
            self.told["items"],
            self.told["facts"],
            self.told["groups"],
            self.seconds.as_secs_f32(),
            self.kilobytes as f32 / 1_024.0,
            self.told["readUnits"]
        )
    }
}

fn run(world: &World) -> Result<Run> {
    let refundctl = std::env::current_exe()?.with_file_name("refundctl");
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    let mut command = Command::new(&refundctl)
        // The embedded store sorts the whole table for each page of a part of it.
        .args(["verify", "--restart", "--output", "json", "--segments", "1"])
        .args(["--endpoint", &world.endpoint, "--table", &world.table])
        .env("XDG_STATE_HOME", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{}: build the workspace first", refundctl.display()))?;
    let mut kilobytes = 0;
    while command.try_wait()?.is_none() {
        kilobytes = kilobytes.max(memory(command.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    let seconds = began.elapsed();
    let output = command.wait_with_output()?;
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok(Run { code: output.status.code(), told, seconds, kilobytes })
}

/// The most memory that a process has had, in kilobytes.
fn memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
