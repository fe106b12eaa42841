//! Runs simulated worlds, each of which follows from its seed; and the ledger's mutants through them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tests::embedded::Call;
use tests::simulation::mutant::{self, Mutant};
use tests::simulation::{Counts, Ended, ITSELF, Options, TABLE, faults_by_chance, run};
use tests::stores::{Compared, Stores, probes};
use tokio::runtime::Builder;

/// Much is soon given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of so many seeds, one after another, two are run twice.
const REPEATED_ONE_IN: u64 = 100;

/// In so many seeds everything goes wrong that can: even the rarest does so in one of a few.
const ALL_FAULTS_FROM: u64 = 1_000;

const EXAMPLES: &str = "\
Examples:
  simulate --seeds 2000                    seeds that nobody has run; which they are is told
  simulate --seeds 2000 --first 1          always the same
  simulate --seed 17                       one seed again, with its history
  simulate --seed 8 --mutant TENANT        that seed with something wrong
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
    /// With the mutant whose name has this text, in its weather
    #[arg(long, value_name = "TEXT")]
    mutant: Option<String>,
    /// Only that mutant's weather
    #[arg(long, requires = "mutant")]
    control: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Runs seeds from 1 on; then makes one thing after another wrong with the ledger, and runs them until one finds it
    Mutants {
        /// Seeds that show what the ledger writes, and that each mutant gets at most
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// Mutants with the seeds that found them, which are tried first; what is found now is written there
        #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/mutants.txt"))]
        list: PathBuf,
        /// Only those whose names have this text; may be given again
        #[arg(long, value_name = "TEXT")]
        only: Vec<String>,
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
        (Some(What::Mutants { seeds, only, list }), _) => told(mutants(*seeds, list, only)),
        (Some(What::Stores { endpoint, seeds }), _) => told(stores(endpoint, *seeds)),
        (None, Some(seed)) => match options(seed, &arguments) {
            Options { mutant: None, .. } if arguments.mutant.is_some() => {
                eprintln!(
                    "seed {seed} writes nothing that makes such a mutant; without it it is told by --seed alone"
                );
                ExitCode::from(2)
            }
            options => one(seed, options),
        },
        (None, None) => {
            let first = arguments.first.unwrap_or_else(|| fastrand::u64(0..1_000_000_000));
            let options = |seed| options(seed, &arguments);
            told(many(first, arguments.seeds, &|seed| run(seed, &options(seed)), &options))
        }
    }
}

fn told(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How one seed is run: with the mutant that was asked for, if it makes something that has it.
fn options(seed: u64, arguments: &Arguments) -> Options {
    let Some(text) = &arguments.mutant else { return Options::default() };
    let (_, mutants) = mutant::of(|| run(seed, &Options::default()));
    let mutant = mutants.into_iter().find(|mutant| mutant.to_string().contains(text));
    Options { mutant, is_control: arguments.control, ..Options::default() }
}

/// One seed with its history.
fn one(seed: u64, options: Options) -> ExitCode {
    let ended = run(seed, &Options { tells: true, ..options });
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

/// Runs so many seeds; the history of one that finds a breach is told with its `options`.
fn many(
    first: u64,
    count: u64,
    run: &(impl Fn(u64) -> Ended + Sync),
    options: &(impl Fn(u64) -> Options + Sync),
) -> Result<()> {
    println!("seeds {first} to {}", first + count - 1);
    let began = Instant::now();
    let all = Mutex::new((Counts::default(), Counts::default(), 0u64));
    let failed: Mutex<Option<Ended>> = Mutex::default();
    let (repeated, strange) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    let bar = progress(count, "seeds");
    in_threads(count, |number| {
        let ended = run(first + number);
        // What a seed does must follow from it alone, or nobody can look at what it found.
        let mut is_repeatable = true;
        if number % REPEATED_ONE_IN < 2 {
            is_repeatable = run(first + number).digest == ended.digest;
            repeated.fetch_add(1, Ordering::Relaxed);
        }
        if !is_repeatable {
            strange.lock().unwrap().insert(ended.seed);
        }
        let mut all = all.lock().unwrap();
        all.0.add_all(&ended.faults);
        all.1.add_all(&ended.done);
        all.2 += 1;
        bar.inc(1);
        let is_good = ended.breaches.is_empty() && is_repeatable;
        if !ended.breaches.is_empty() {
            failed.lock().unwrap().get_or_insert(ended);
        }
        is_good
    });
    bar.finish_and_clear();
    let (faults, done, ran) = all.into_inner().unwrap();
    println!("what was done:\n{done}what went wrong on purpose:\n{faults}");
    println!("{ran} seeds in {:.1} s", began.elapsed().as_secs_f64());
    if let Some(failed) = failed.into_inner().unwrap() {
        let options = options(failed.seed);
        let mutant = options.mutant.as_ref().map_or(String::new(), |mutant| format!(" --mutant '{mutant}'"));
        let control = if options.is_control { " --control" } else { "" };
        println!("its history, which `simulate --seed {}{mutant}{control}` tells again:", failed.seed);
        one(failed.seed, options);
        bail!("seed {} has found a breach", failed.seed);
    }
    if ran >= ALL_FAULTS_FROM {
        let never: Vec<&str> = faults_by_chance().filter(|fault| !faults.0.contains_key(fault)).collect();
        ensure!(never.is_empty(), "what never went wrong in so many seeds goes wrong no more: {never:?}");
    }
    let strange = strange.into_inner().unwrap();
    ensure!(strange.is_empty(), "a seed did two things: {strange:?}");
    println!("no breach; {} seeds were run once more, and did the same", repeated.into_inner());
    Ok(())
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

fn mutants(seeds_max: u64, list: &Path, only: &[String]) -> Result<()> {
    let found: Mutex<BTreeMap<Mutant, BTreeSet<u64>>> = Mutex::default();
    let see = |seed| {
        let (ended, mutants) = mutant::of(|| run(seed, &Options::default()));
        let mut found = found.lock().unwrap();
        for mutant in mutants {
            found.entry(mutant).or_default().insert(seed);
        }
        ended
    };
    many(1, seeds_max, &see, &|_| Options::default())?;
    let known = known(list)?;
    let began = Instant::now();
    let mutants: Vec<(Mutant, BTreeSet<u64>)> = found
        .into_inner()
        .unwrap()
        .into_iter()
        .filter(|(mutant, _)| only.is_empty() || only.iter().any(|only| mutant.to_string().contains(only)))
        .collect();
    println!("{} mutants, of what these seeds write", mutants.len());
    let all: BTreeSet<String> = mutants.iter().map(|(mutant, _)| mutant.to_string()).collect();
    // Who has found a mutant has made its write: where that is made no more, a world may lack something now.
    let is_gone =
        |(name, seed): &(&String, &u64)| only.is_empty() && **seed <= seeds_max && !all.contains(*name);
    let gone: Vec<&String> = known.iter().filter(is_gone).map(|(name, _)| name).collect();
    for name in &gone {
        println!("GONE        {name}");
    }
    ensure!(
        gone.is_empty(),
        "no seed writes what {} mutants are of: if the ledger writes that no more, take them off {}",
        gone.len(),
        list.display()
    );
    let bar = progress(mutants.len() as u64, "mutants");
    // What is known of others stays, and nothing is lost where somebody has no time to wait for all.
    let (found, alive, breaches) = (Mutex::new(known.clone()), AtomicU64::new(0), AtomicU64::new(0));
    in_threads(mutants.len() as u64, |number| {
        let (mutant, seeds) = &mutants[number as usize];
        let name = mutant.to_string();
        let options = Options { mutant: Some(mutant.clone()), ..Options::default() };
        // A mutant runs in the seeds that would make it: the others are what they were.
        let mut differences = Vec::new();
        let killer = known.get(&name).into_iter().chain(seeds).find_map(|seed| {
            let ended = run(*seed, &options);
            differences.extend(ended.faults.0.contains_key(mutant::DIFFERENCE).then_some(*seed));
            let (own, of_it): (Vec<String>, Vec<String>) =
                ended.breaches.into_iter().partition(|breach| breach.starts_with(ITSELF));
            for breach in own {
                bar.suspend(|| println!("seed {seed:>5}  {name}\n            {breach}"));
                breaches.fetch_add(1, Ordering::Relaxed);
            }
            Some((*seed, of_it.into_iter().next()?))
        });
        // The weather that is made for a mutant is no breach by itself.
        if let Some((seed, _)) = &killer {
            let control = run(*seed, &Options { is_control: true, ..options });
            for breach in control.breaches {
                bar.suspend(|| println!("seed {seed:>5}  {name}, WITHOUT IT\n            {breach}"));
                breaches.fetch_add(1, Ordering::Relaxed);
            }
        }
        match killer {
            Some((seed, breach)) => {
                let breach: String = breach.chars().take(100).collect();
                bar.suspend(|| println!("seed {seed:>5}  {name}\n            {breach}"));
                found.lock().unwrap().insert(name, seed);
            }
            None => {
                bar.suspend(|| {
                    let (some, of) = (&differences[..differences.len().min(5)], seeds.len());
                    let changed = differences.len();
                    println!(
                        "ALIVE       {name}\n            in {of} seeds; it changed something in {changed}: {some:?}"
                    )
                });
                found.lock().unwrap().remove(&name);
                alive.fetch_add(1, Ordering::Relaxed);
            }
        }
        write_list(list, &found.lock().unwrap());
        bar.inc(1);
        true
    });
    bar.finish_and_clear();
    let (alive, took) = (alive.into_inner(), began.elapsed().as_secs_f64());
    println!("{} mutants, {alive} of them alive, in {took:.1} s", mutants.len());
    ensure!(breaches.into_inner() == 0, "the ledger has breaches without any mutant");
    ensure!(alive == 0, "{alive} mutants live");
    Ok(())
}

fn write_list(list: &Path, found: &BTreeMap<String, u64>) {
    let lines: String = found.iter().map(|(name, seed)| format!("{seed}\t{name}\n")).collect();
    if let Err(error) = std::fs::write(list, lines) {
        eprintln!("{} can't be written: {error}", list.display());
    }
}

/// Mutants with the seeds that found them before.
fn known(list: &Path) -> Result<BTreeMap<String, u64>> {
    let Ok(lines) = std::fs::read_to_string(list) else { return Ok(BTreeMap::new()) };
    let line = |line: &str| {
        let (seed, name) = line.split_once('\t').context("not a seed, a tab, and a mutant")?;
        Ok((name.to_owned(), seed.parse()?))
    };
    lines.lines().map(line).collect::<Result<_>>().with_context(|| list.display().to_string())
}
