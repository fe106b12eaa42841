//! Size, memory, CPU time and costs of the functions as they are deployed, under Lambda's runtime interface:
//!
//! ```sh
//! sam build --config-env dev
//! cargo run --package tests --bin measure
//! ```
//!
//! The table is the embedded store, in this process, or in the DynamoDB that `DYNAMODB_ENDPOINT` names.
//! Items a second are mostly the store's; CPU time is the function's alone, and calls and write units are what
//! its log says.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use refundctl::sample::{Bet, Sample};
use refundctl::send::epay::DEMO_API_KEY;
use serde_json::{Value, json};
use tests::built;
use tests::epay::begin;
use tests::lambda::Lambda;
use tests::pingpp::KEY;
use tests::world::{CALLER, World, batch, channel_line, epay_event, event, event_of, signed, single};

/// Lambda loads the binary at each cold start. By the source's path, whose names are in it, one differs by some KB.
const BINARY_BYTES_MAX: u64 = 8_000_000;
/// After [`SINGLE_REQUESTS`] requests for one bet each; the smallest function has 128 MB.
const SINGLE_MEMORY_KB_MAX: u64 = 20 * 1024;
const SINGLE_REQUESTS: usize = 1_000;
/// With the largest body there may be, of [`shared::limits::ITEMS_PER_REQUEST_MAX`] items.
const BATCH_MEMORY_KB_MAX: u64 = 128 * 1024;
/// An item costs the same CPU time in a small batch and in the largest.
const CPU_RATIO_MAX: f64 = 1.3;
const ITEMS_PER_PLAYER: u64 = 5;

/// The function has a CPU of its own: what it is kept from by the store is not its cost.
const FUNCTIONS_CPU: usize = 0;
const STORES_CPU: usize = 1;

fn main() -> Result<ExitCode> {
    // Threads that are started from here on stay there, too.
    pin(std::process::id(), STORES_CPU);
    tokio::runtime::Runtime::new()?.block_on(async {
        let single = measure_single().await?;
        let batch = measure_batch().await?;
        let begin = measure_begin().await?;
        let refunds = measure_batch_refunds().await?;
        Ok(if single && batch && begin && refunds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Starts a function's binary on a CPU of its own.
async fn start(binary: &Path, world: &World) -> Lambda {
    let lambda = Lambda::start(binary, world).await;
    pin(lambda.process_id(), FUNCTIONS_CPU);
    lambda
}

/// Keeps a process on a CPU; on a machine that has only one, all stay there.
#[cfg(target_os = "linux")]
fn pin(process: u32, cpu: usize) {
    use rustix::process::Pid;
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    let _ = sched_setaffinity(i32::try_from(process).ok().and_then(Pid::from_raw), &cpus);
}

#[cfg(not(target_os = "linux"))]
fn pin(_process: u32, _cpu: usize) {}

async fn measure_single() -> Result<bool> {
    let (binary, size) = binary("refund-single-wallet")?;
    let world = World::with_channel().await;
    let bets: Vec<String> = (0..SINGLE_REQUESTS).map(|number| format!("bet-{number}")).collect();
    let debits: Vec<(&str, &str)> = bets.iter().map(|bet| (bet.as_str(), "1.01")).collect();
    world.wallet_with_debits("p", "0", &debits).await;
    let started = Instant::now();
    let mut lambda = start(&binary, &world).await;
    let mut times = Vec::new();
    for bet in &bets {
        let body = single(&format!("request of {bet}"), "p", &[(bet, "1.01")]);
        let sent = Instant::now();
        invoke(&mut lambda, &body).await?;
        times.push(sent.elapsed());
    }
    ensure!(world.balance("p").await == "1010", "every bet was credited once");
    let first = times[0];
    times.sort();
    println!(
        "  requests {SINGLE_REQUESTS} in {:.1} s; first {}, median {}, slowest {}",
        started.elapsed().as_secs_f64(),
        milliseconds(first),
        milliseconds(times[SINGLE_REQUESTS / 2]),
        milliseconds(times[SINGLE_REQUESTS - 1]),
    );
    let memory = lambda.peak_memory_kb();
    println!("  memory   {memory} KB at most resident (at most {SINGLE_MEMORY_KB_MAX})");
    Ok(size <= BINARY_BYTES_MAX && memory <= SINGLE_MEMORY_KB_MAX)
}

async fn measure_batch() -> Result<bool> {
    let (binary, size) = binary("auto-batch-refund")?;
    let world = World::with_channel().await;
    let mut lambda = start(&binary, &world).await;
    println!("  items × batches   items/s   round trips/item   write units/item   CPU µs/item");
    let mut cpu_per_item = Vec::new();
    // By turns, so that each large batch has small ones before and after it, as noisy as the machine is then.
    let (small, large) = ((100, 40), (10_000, 1));
    let sizes = [(1_000, 1), small, large, small, large, small, large, small];
    for (channel, (items, batches)) in (1..).zip(sizes) {
        let sample = Sample { channel, players: items / ITEMS_PER_PLAYER * batches, seed: 1 };
        world.import(&[channel_line(channel)]).await;
        world.import_sample(sample, items * batches).await;
        let bets: Vec<Bet> = (0..items * batches).map(|number| sample.bet(number)).collect();
        let mut by_player = bets;
        by_player.sort_by(|one, other| one.username.cmp(&other.username));
        let (mut calls, mut units) = (0, 0);
        let (started, cpu) = (Instant::now(), lambda.cpu_time());
        for (number, bets) in by_player.chunks(items as usize).enumerate() {
            let line = invoke(&mut lambda, &batch_of(channel, &format!("r{number}"), bets, "")).await?;
            calls += line["round_trips"].as_u64().context("round trips are logged")?;
            units += line["write_units"].as_u64().context("write units are logged")?;
        }
        let (took, cpu) = (started.elapsed(), lambda.cpu_time() - cpu);
        let all = (items * batches) as f64;
        let cpu = cpu.as_secs_f64() * 1e6 / all;
        println!(
            "  {:>5} × {batches:<9} {:>7.0} {:>12.3} {:>18.3} {cpu:>13.1}{}",
            items,
            all / took.as_secs_f64(),
            calls as f64 / all,
            units as f64 / all,
            if channel == 1 { "  (warming up)" } else { "" },
        );
        cpu_per_item.push(cpu);
    }
    let [_warming_up, measured @ ..] = &cpu_per_item[..] else { unreachable!("it is not empty") };
    let mut ratios: Vec<f64> =
        measured.windows(3).step_by(2).map(|cpu| cpu[1] / ((cpu[0] + cpu[2]) / 2.0)).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    println!("  CPU time of an item, 10,000 to 100: {ratio:.2}, of {ratios:.2?} (at most {CPU_RATIO_MAX})");

    let channel = 100;
    let sample = Sample { channel, players: 2_000, seed: 1 };
    world.import(&[channel_line(channel)]).await;
    world.import_sample(sample, 10_000).await;
    let bets: Vec<Bet> = (0..10_000).map(|number| sample.bet(number)).collect();
    let without = batch_of(channel, "largest", &bets, "").to_string().len();
    let room = (shared::limits::BODY_BYTES_MAX - without) / bets.len() - ",\"remark\":\"\"".len();
    let body = batch_of(channel, "largest", &bets, &"x".repeat(room));
    println!("  largest  {} bytes of body, {} items", body.to_string().len(), bets.len());
    invoke(&mut lambda, &body).await?;
    let memory = lambda.peak_memory_kb();
    println!("  memory   {memory} KB at most resident (at most {BATCH_MEMORY_KB_MAX})");
    Ok(size <= BINARY_BYTES_MAX && ratio <= CPU_RATIO_MAX && memory <= BATCH_MEMORY_KB_MAX)
}

async fn measure_begin() -> Result<bool> {
    let (binary, size) = binary("begin-single-refund")?;
    let world = World::with_applications(i64::try_from(SINGLE_REQUESTS)?).await;
    let mut lambda = start(&binary, &world).await;
    let mut times = Vec::new();
    for autoid in 1..=i64::try_from(SINGLE_REQUESTS)? {
        let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
        let body = begin(autoid, &format!("batch number {autoid}"), "2").to_string();
        let event = epay_event(&headers, body.as_bytes()).to_string();
        let sent = Instant::now();
        let answer = lambda.invoke(event).await.map_err(|error| anyhow!("{error}"))?;
        times.push(sent.elapsed());
        ensure!(answer["body"].as_str().is_some_and(|body| body.contains("\"errcode\":0")), "{answer}");
    }
    let memory = lambda.peak_memory_kb();
    let first = times[0];
    times.sort();
    println!(
        "  requests {SINGLE_REQUESTS}; first {}, median {}\n  memory   {memory} KB at most resident (at most {SINGLE_MEMORY_KB_MAX})",
        milliseconds(first),
        milliseconds(times[SINGLE_REQUESTS / 2]),
    );
    Ok(size <= BINARY_BYTES_MAX && memory <= SINGLE_MEMORY_KB_MAX)
}

/// Batches of as many charges as there may be, created by one binary and settled by the other.
async fn measure_batch_refunds() -> Result<bool> {
    let (create, create_size) = binary("create-batch-refund")?;
    let (settle, settle_size) = binary("settle-refunds")?;
    let world = World::with_funds("1000000", "0").await;
    world.with_keys().await;
    let mut creating = start(&create, &world).await;
    // No event is put: a sweep settles, and tells nothing.
    let bus = [("EVENT_BUS", "none"), ("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")];
    let mut settling = Lambda::start_with(&settle, &world, &bus).await;
    pin(settling.process_id(), FUNCTIONS_CPU);
    println!("  charges × batches   create, median   settle a batch   write units a charge: held, settled");
    for (charges, batches) in [(1, 40), (96, 10), (100, 10)] {
        let mut times = Vec::new();
        let (mut held, mut settled, mut settling_time) = (0.0, 0.0, Duration::ZERO);
        for number in 0..batches {
            let names: Vec<String> =
                (0..charges).map(|charge| format!("ch_{charges}_{number}_{charge}")).collect();
            let facts: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
            world.charges(&facts).await;
            let body = json!({"app": "app_1", "batch_no": format!("b{charges}x{number}"), "description": "d",
                              "charges": names});
            let authorization = format!("Bearer {KEY}");
            let headers = [("authorization", authorization.as_str())];
            let event = event_of("POST", "/v1/batch_refunds", &headers, body.to_string().as_bytes());
            let sent = Instant::now();
            let answer = creating.invoke(event.to_string()).await.map_err(|error| anyhow!("{error}"))?;
            times.push(sent.elapsed());
            ensure!(answer["statusCode"] == 200, "{answer}");
            held += creating.log_line().await["write_units"].as_f64().context("write units are logged")?;
            let sent = Instant::now();
            let swept = settling.invoke(settle_refunds::SWEEP.to_owned()).await;
            swept.map_err(|error| anyhow!("{error}"))?;
            settling_time += sent.elapsed();
            let line = settling.log_line().await;
            ensure!(line["batches"] == 1 && line["batches_left"] == 0, "{line}");
            settled += line["write_units"].as_f64().context("write units are logged")?;
            let line = settling.log_line().await;
            ensure!(line["refunds"] == charges, "{line}");
        }
        times.sort();
        let all = f64::from(charges * batches);
        println!(
            "  {charges:>7} × {batches:<9} {:>14} {:>16} {:>22.2} {:>8.2}",
            milliseconds(times[times.len() / 2]),
            milliseconds(settling_time / u32::try_from(batches)?),
            held / all,
            settled / all,
        );
    }
    world.check_batches("measured").await;
    let (creates, settles) = (creating.peak_memory_kb(), settling.peak_memory_kb());
    println!(
        "  memory   {creates} KB and {settles} KB at most resident (at most {SINGLE_MEMORY_KB_MAX} each)"
    );
    let sizes = create_size.max(settle_size) <= BINARY_BYTES_MAX;
    Ok(sizes && creates.max(settles) <= SINGLE_MEMORY_KB_MAX)
}

fn batch_of(channel: u64, seq_no: &str, bets: &[Bet], remark: &str) -> Value {
    let mut body = batch(seq_no, &[]);
    body["channelId"] = json!(channel);
    let item = |bet: &Bet| {
        let money: Value = serde_json::from_str(&bet.amount).expect("an amount is a number");
        let mut item = json!({"seqNo": bet.seq_no, "username": bet.username, "roundCode": bet.round_code,
            "refundMoney": money, "detail": [{"betId": format!("{}-80", bet.seq_no), "betType": 80, "money": money}]});
        if !remark.is_empty() {
            item["remark"] = json!(remark);
        }
        item
    };
    body["batchRefundList"] = bets.iter().map(item).collect();
    signed(body)
}

/// Sends a request that must be carried out whole; the line that was logged of it.
async fn invoke(lambda: &mut Lambda, body: &Value) -> Result<Value> {
    let event = event(body.to_string().as_bytes(), CALLER).to_string();
    let answer = lambda.invoke(event).await.map_err(|error| anyhow!("{error}"))?;
    let answer = answer["body"].as_str().context("an answer has a body")?;
    let answer: Value = serde_json::from_str(answer)?;
    let line = lambda.log_line().await;
    ensure!(answer["status"] == 200 && line["refused"] == "" && line["executed"] == "yes", "{line}");
    Ok(line)
}

/// A function's binary as it is deployed, and its size in bytes.
fn binary(name: &str) -> Result<(PathBuf, u64)> {
    let binary = built::function(name)?;
    let size = std::fs::metadata(&binary)?.len();
    println!("{name}\n  binary   {size} bytes (at most {BINARY_BYTES_MAX})");
    Ok((binary, size))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
