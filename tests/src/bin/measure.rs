//! Size and memory of a function's release binary, under Lambda's runtime interface.
//!
//! ```sh
//! cargo build --release --package refund-single-wallet
//! cargo run --package tests --bin measure
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::lambda::Lambda;
use tests::world::{CALLER, World, event, single};

/// Lambda loads the binary at each cold start.
const BINARY_BYTES_MAX: u64 = 10_000_000;
/// After [`REQUESTS`] requests; the smallest function has 128 MB.
const PEAK_MEMORY_KB_MAX: u64 = 20 * 1024;
const REQUESTS: usize = 1_000;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let binary = std::env::args().nth(1).map_or_else(default_binary, PathBuf::from);
    let size = std::fs::metadata(&binary)
        .with_context(|| {
            let command = "cargo build --release --package refund-single-wallet";
            format!("no binary {}; make it with `{command}`", binary.display())
        })?
        .len();
    println!("binary   {size} bytes (at most {BINARY_BYTES_MAX})");

    let world = World::with_channel().await;
    let bets: Vec<String> = (0..REQUESTS).map(|number| format!("bet-{number}")).collect();
    let debits: Vec<(&str, &str)> = bets.iter().map(|bet| (bet.as_str(), "1.01")).collect();
    world.wallet_with_debits("p", "0", &debits).await;
    let started = Instant::now();
    let mut lambda = Lambda::start(&binary, &world).await;
    let mut times = Vec::new();
    for bet in &bets {
        let body = single(&format!("request of {bet}"), "p", &[(bet, "1.01")]).to_string();
        let event = event(body.as_bytes(), CALLER).to_string();
        let sent = Instant::now();
        let answer = lambda.invoke(event).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        times.push(sent.elapsed());
        ensure!(answer["body"].as_str().is_some_and(|body| body.contains("\"status\":200")), "{answer}");
    }
    ensure!(world.balance("p").await == "1010", "every bet was credited once");
    let first = times[0];
    times.sort();
    println!(
        "requests {REQUESTS} in {:.1} s; first {}, median {}, slowest {}",
        started.elapsed().as_secs_f64(),
        milliseconds(first),
        milliseconds(times[REQUESTS / 2]),
        milliseconds(times[REQUESTS - 1]),
    );
    let peak = lambda.peak_memory_kb();
    println!("memory   {peak} KB at most resident (at most {PEAK_MEMORY_KB_MAX})");
    let is_within = size <= BINARY_BYTES_MAX && peak <= PEAK_MEMORY_KB_MAX;
    Ok(if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn default_binary() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
    target.join("release").join("refund-single-wallet")
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
