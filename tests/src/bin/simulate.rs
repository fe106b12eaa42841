//! Runs simulated worlds, each of which follows from its seed; and the ledger's mutants through them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tests::embedded::Call;
use tests::simulation::mutant::{self, Mutant};
use tests::simulation::{Counts, Ended, Options, TABLE, run};
use tests::stores::{Compared, Stores, probes};
use tokio::runtime::Builder;

const EXAMPLES: &str = "\
Examples:
  simulate --seeds 2000                    seeds that nobody has run; which they are is told
  simulate --seeds 2000 --first 1          always the same
  simulate --seed 17                       one seed again, with its history
  simulate mutants                         what is made wrong on purpose, and which seed finds it
  simulate stores http://127.0.0.1:8000    the same calls to the embedded store and to DynamoDB Local

Exit codes: 0 all is as it must be; 1 a seed has found a breach, or a mutant lives; 2 wrong usage";

#[derive(Parser)]
#[command(about = "Runs simulated worlds, each of which follows from its seed", after_help = EXAMPLES)]
struct Arguments {
    /// So many seeds
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them [default: by chance]
    #[arg(long, value_name = "SEED")]
    first: Option<u64>,
    /// One seed alone, with its history
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Makes one thing after another wrong with the ledger, and runs seeds until one finds it
    Mutants {
        /// Seeds that show what the ledger writes, and that each mutant gets at most
        #[arg(long, default_value_t = 3_000)]
        seeds: u64,
        /// Only those whose names have this text
        #[arg(long)]
        only: Option<String>,
    },
    /// Gives all calls of some seeds, and some at the edges, to the embedded store and to another DynamoDB, and compares
    /// what they answer
    Stores {
        /// The other DynamoDB, such as http://127.0.0.1:8000
        endpoint: String,
        /// Seeds whose calls are made
        #[arg(long, default_value_t = 20)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (&arguments.what, arguments.seed) {
        (Some(What::Mutants { seeds, only }), _) => mutants(*seeds, only.as_deref()),
        (Some(What::Stores { endpoint, seeds }), _) => match stores(endpoint, *seeds) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
        (None, Some(seed)) => one(seed),
        (None, None) => {
            let first = arguments.first.unwrap_or_else(|| fastrand::u64(0..1_000_000_000));
            many(first, arguments.seeds)
        }
    }
}

/// One seed with its history.
fn one(seed: u64) -> ExitCode {
    let ended = run(seed, &Options { tells: true, ..Options::default() });
    for line in ended.history.iter().flatten() {
        println!("{line}");
    }
    tell_end(&ended)
}

fn tell_end(ended: &Ended) -> ExitCode {
    println!("seed {}: {} items in the table, digest {:016x}", ended.seed, ended.items, ended.digest);
    for breach in &ended.breaches {
        println!("BREACH {breach}");
    }
    if ended.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does `work` for each number below `count`, by as many threads as there are processors, until it says stop.
fn in_threads(count: u64, work: impl Fn(u64) -> bool + Sync) {
    let (next, stops) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stops.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    if !work(number) {
                        stops.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

fn progress(count: u64, what: &str) -> ProgressBar {
    let style = "{wide_bar} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left";
    let bar = ProgressBar::new(count).with_message(what.to_owned());
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    bar.with_style(ProgressStyle::with_template(style).expect("a good template"))
}

fn many(first: u64, count: u64) -> ExitCode {
    println!("seeds {first} to {}", first + count - 1);
    let began = Instant::now();
    let all = Mutex::new((Counts::default(), Counts::default(), 0u64));
    let failed: Mutex<Option<Ended>> = Mutex::default();
    let bar = progress(count, "seeds");
    in_threads(count, |number| {
        let ended = run(first + number, &Options::default());
        let mut all = all.lock().unwrap();
        all.0.add_all(&ended.faults);
        all.1.add_all(&ended.done);
        all.2 += 1;
        bar.inc(1);
        let is_good = ended.breaches.is_empty();
        if !is_good {
            failed.lock().unwrap().get_or_insert(ended);
        }
        is_good
    });
    bar.finish_and_clear();
    let (faults, done, ran) = all.into_inner().unwrap();
    println!("what was done:\n{done}what went wrong on purpose:\n{faults}");
    let took = began.elapsed();
    println!("{ran} seeds in {:.1} s", took.as_secs_f64());
    match failed.into_inner().unwrap() {
        None => {
            println!("no breach");
            ExitCode::SUCCESS
        }
        Some(failed) => {
            println!("its history, which `simulate --seed {}` tells again:", failed.seed);
            one(failed.seed)
        }
    }
}

fn stores(endpoint: &str, seeds: u64) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut compared = Compared::default();
    let mut compare = |name: &str, calls: &[Call], table: &str| {
        let name = format!("refunds-compared-{}-{name}", std::process::id());
        let mut stores = runtime.block_on(Stores::new(endpoint, &name))?;
        for call in calls {
            stores.compare(call, table)?;
        }
        compared.add(stores.compared);
        anyhow::Ok(())
    };
    compare("edges", &probes(), "TABLE")?;
    let bar = progress(seeds, "seeds");
    for seed in 1..=seeds {
        let ended = run(seed, &Options { keeps_calls: true, ..Options::default() });
        compare(&format!("seed-{seed}"), &ended.calls, TABLE)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    print!("{compared}");
    compared.judge()
}

fn mutants(seeds_max: u64, only: Option<&str>) -> ExitCode {
    let began = Instant::now();
    let bar = progress(seeds_max, "seeds as they are");
    let found: Mutex<BTreeMap<Mutant, BTreeSet<u64>>> = Mutex::default();
    in_threads(seeds_max, |number| {
        let seed = 1 + number;
        let mutants = mutant::of(|| {
            run(seed, &Options::default());
        });
        let mut found = found.lock().unwrap();
        for mutant in mutants {
            found.entry(mutant).or_default().insert(seed);
        }
        bar.inc(1);
        true
    });
    bar.finish_and_clear();
    // A mutant runs in the seeds that would make it: the others are what they were.
    let mutants: Vec<(Mutant, BTreeSet<u64>)> = found
        .into_inner()
        .unwrap()
        .into_iter()
        .filter(|(mutant, _)| only.is_none_or(|only| mutant.to_string().contains(only)))
        .collect();
    println!("{} mutants, of what {seeds_max} seeds write", mutants.len());
    let bar = progress(mutants.len() as u64, "mutants");
    let alive = AtomicU64::new(0);
    in_threads(mutants.len() as u64, |number| {
        let (mutant, seeds) = &mutants[number as usize];
        let options = Options { mutant: Some(mutant.clone()), ..Options::default() };
        let killed = seeds.iter().find_map(|seed| {
            let ended = run(*seed, &options);
            Some((seed, ended.breaches.into_iter().next()?))
        });
        match killed {
            Some((seed, breach)) => {
                let breach: String = breach.chars().take(100).collect();
                bar.suspend(|| println!("seed {seed:>5}  {mutant}\n            {breach}"));
            }
            None => {
                bar.suspend(|| println!("ALIVE       {mutant}\n            in {} seeds", seeds.len()));
                alive.fetch_add(1, Ordering::Relaxed);
            }
        }
        bar.inc(1);
        true
    });
    bar.finish_and_clear();
    let (took, alive) = (began.elapsed().as_secs_f64(), alive.into_inner() as usize);
    println!("{} mutants, {} found, {alive} alive, in {took:.1} s", mutants.len(), mutants.len() - alive);
    if alive == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
