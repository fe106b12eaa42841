//! Batches of refunds in a storm: many processes at once create them, settle them and decide their refunds, while calls
//! get lost, come late or are refused, and processes die. Then the wind drops, and all that was told must be true.
//!
//! Each storm follows from its seed, as far as concurrency lets it. More of them, or one again:
//!
//! ```sh
//! STORMS=200 cargo test -p tests --test refund_batch_storm
//! STORM_SEED=17 cargo test -p tests --test refund_batch_storm
//! ```

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use futures::future::{BoxFuture, join_all};
use shared::ledger::{BatchRequest, BatchState, FundingSource, ItemState, RefundBatch};
use shared::pingpp::{ChannelAnswer, ChannelRefund, PaymentChannel, advance, decide_refund};
use tests::pingpp::{new, refused, request};
use tests::wire::{Attempt, Fault, Faults};
use tests::world::{World, is_embedded};

/// Storms of an ordinary run; DynamoDB Local serves transactions one after another.
fn storms() -> u64 {
    let asked = std::env::var("STORMS").ok().and_then(|storms| storms.parse().ok());
    asked.unwrap_or(if is_embedded() { 24 } else { 3 })
}

const ACTORS: usize = 6;
const ACTS: usize = 5;

/// A payment channel that has made up its mind about each refund, and does not always say so.
struct Moody {
    rng: Mutex<Rng>,
    is_moody: bool,
    /// Order numbers that it has paid.
    paid: Mutex<HashSet<String>>,
}

/// What it will say of a refund in the end: it pays two of three.
fn is_payable(order_no: &str) -> bool {
    order_no.bytes().map(u64::from).sum::<u64>() % 3 != 0
}

impl PaymentChannel for Moody {
    fn refund<'a>(&'a self, refund: &'a ChannelRefund) -> BoxFuture<'a, ChannelAnswer> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mood = if self.is_moody { self.rng.lock().unwrap().u32(0..10) } else { 9 };
            // An answer that is lost may have been a yes.
            if is_payable(&refund.order_no) && mood != 1 {
                self.paid.lock().unwrap().insert(refund.order_no.clone());
            }
            match mood {
                0 | 1 => ChannelAnswer::Unknown("lost".to_owned()),
                2 if !is_payable(&refund.order_no) => {
                    ChannelAnswer::Confirm { url: "https://confirm.example".to_owned() }
                }
                _ if is_payable(&refund.order_no) => ChannelAnswer::Succeeded,
                _ => refused(),
            }
        })
    }
}

/// Calls that go wrong, and a process that may die: then none gets through any more.
fn wind(seed: u64) -> Faults {
    let mut rng = Rng::with_seed(seed);
    let dies_at = (rng.u32(0..3) == 0).then(|| rng.usize(1..40));
    let rng = Mutex::new(rng);
    let made = AtomicUsize::new(0);
    Arc::new(move |attempt: Attempt<'_>| {
        if dies_at.is_some_and(|at| made.fetch_add(1, Ordering::SeqCst) >= at) {
            return Fault::Refused;
        }
        let is_transaction = attempt.operation == "TransactWriteItems";
        match rng.lock().unwrap().u32(0..60) {
            0 => Fault::LostRequest,
            1 => Fault::LostAnswer,
            2 => Fault::Throttled,
            3 => Fault::InternalError,
            4 | 5 if is_transaction => Fault::Late,
            6 if is_transaction => Fault::TransactionConflict,
            7 if attempt.operation == "BatchGetItem" => Fault::UnprocessedKeys,
            _ => Fault::None,
        }
    })
}

/// What a merchant was told of a number that nobody else uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Accepted,
    Refused,
    Unknown,
}

struct Storm {
    seed: u64,
    world: World,
    names: Vec<String>,
    channel: Moody,
    told: Mutex<BTreeMap<String, Told>>,
    /// Goes on by days, so that nobody has a batch for ever.
    clock: AtomicU64,
}

impl Storm {
    async fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let world = World::with_funds("300", "100").await;
        world.with_keys().await;
        // Some batches are created by two transactions.
        let count = if rng.u32(0..4) == 0 { 100 } else { 12 };
        let names: Vec<String> = (0..count).map(|number| format!("ch_{number}")).collect();
        let amount = |_: &String| if count == 100 { 2 } else { 30 };
        let charges: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), amount(name))).collect();
        world.charges(&charges).await;
        let channel = Moody { rng: Mutex::new(rng.fork()), is_moody: true, paid: Mutex::default() };
        let clock = shared::clock::unix_milliseconds(std::time::SystemTime::now());
        Self { seed, world, names, channel, told: Mutex::default(), clock: AtomicU64::new(clock) }
    }

    fn now(&self, rng: &mut Rng) -> u64 {
        let passes = if rng.u32(0..3) == 0 { 24 * 60 * 60 * 1_000 } else { 1 };
        self.clock.fetch_add(passes, Ordering::SeqCst) + passes
    }

    fn request(&self, rng: &mut Rng, batch_no: &str) -> BatchRequest {
        let count = match rng.u32(0..4) {
            0 => self.names.len(),
            _ => rng.usize(1..=self.names.len().min(8)),
        };
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        rng.shuffle(&mut names);
        let amount = |rng: &mut Rng| (rng.u32(0..3) == 0).then(|| rng.u64(1..=2));
        let charges: Vec<(&str, Option<u64>)> =
            names.into_iter().take(count).map(|name| (name, amount(rng))).collect();
        let mut request = request(batch_no, &charges);
        for item in &mut request.items {
            item.funding_source = (rng.u32(0..4) == 0).then_some(FundingSource::Recharge);
        }
        request
    }

    async fn actor(&self, number: u64) {
        let seed = self.seed * 1_000 + number;
        let mut rng = Rng::with_seed(seed);
        let (creating, _wire) = self.world.session_of("create-batch-refund", wind(seed + 500));
        let (settling, _wire) = self.world.session_of("settle-refunds", wind(seed + 500));
        for act in 0..ACTS {
            let batches = self.world.batches().await;
            let batch: Option<&RefundBatch> =
                (!batches.is_empty()).then(|| &batches[rng.usize(0..batches.len())]);
            match (rng.u32(0..6), batch) {
                (0 | 1, _) | (_, None) => {
                    let own = format!("own{number}x{act}");
                    let request = self.request(&mut rng, &own);
                    let told = match creating.create_batch(&request, new).await.result {
                        Ok(Ok(_)) => Told::Accepted,
                        Ok(Err(_)) => Told::Refused,
                        Err(_) => Told::Unknown,
                    };
                    self.told.lock().unwrap().insert(own, told);
                }
                (2, _) => {
                    let shared = format!("shared{}", rng.u32(0..2));
                    let request = self.request(&mut rng, &shared);
                    let _ = creating.create_batch(&request, new).await;
                }
                (3 | 4, Some(batch)) => {
                    let now = self.now(&mut rng);
                    let _ = advance(&settling, &self.channel, &batch.key, now).await;
                }
                (_, Some(batch)) => {
                    let item = &batch.items[rng.usize(0..batch.items.len())];
                    // People say what the channel has told them: that it has paid, or never will.
                    let is_paid = self.channel.paid.lock().unwrap().contains(item.refund.order_no());
                    let state = match is_payable(item.refund.order_no()) {
                        true if is_paid => ItemState::Succeeded { at: 1 },
                        true => continue,
                        false => ItemState::Failed { at: 1, code: "no".to_owned(), message: "no".to_owned() },
                    };
                    let now = self.now(&mut rng);
                    let _ = decide_refund(&settling, &batch.key, &item.refund, state, now).await;
                }
            }
        }
    }

    /// The wind drops: the sweep finds all that is open, and the channel says what it thinks.
    async fn calm(&mut self) {
        self.channel.is_moody = false;
        let session = self.world.session();
        let far = self.clock.load(Ordering::SeqCst) + 400 * 24 * 60 * 60 * 1_000;
        for key in session.open_batches(far, 10_000).await.unwrap() {
            advance(&session, &self.channel, &key, far).await.unwrap();
        }
    }

    async fn check(&self) {
        let context = format!("storm {}", self.seed);
        self.world.check_batches(&context).await;
        let mut paid = HashSet::new();
        for batch in self.world.batches().await {
            let state = batch.state;
            assert!(
                matches!(state, BatchState::Void | BatchState::Ended { .. }),
                "{context}: {} is {state:?}",
                batch.key.id
            );
            let told = self.told.lock().unwrap().get(batch.batch_no.as_str()).copied();
            let is_void = state == BatchState::Void;
            assert!(told != Some(Told::Refused) || is_void, "{context}: {} was refused", batch.batch_no);
            for (id, refund) in self.world.session().refunds_of(&batch).await.unwrap() {
                assert_eq!(refund.contradiction, None, "{context}: {id}");
                let is_paid = matches!(refund.state, ItemState::Succeeded { .. });
                assert_eq!(is_paid, is_payable(id.order_no()), "{context}: {id} is {:?}", refund.state);
                if is_paid {
                    paid.insert(id.order_no().to_owned());
                }
            }
        }
        let told = self.told.lock().unwrap().clone();
        for (batch_no, told) in told {
            let (session, number) = (self.world.session(), batch_no.parse().unwrap());
            let owner = session.batch_of_number(&tests::pingpp::app(), &number).await.unwrap();
            let has_batch = owner.is_some();
            assert!(told != Told::Accepted || has_batch, "{context}: {batch_no} was accepted");
            assert!(told != Told::Refused || !has_batch, "{context}: {batch_no} was refused");
        }
        let by_channel = self.channel.paid.lock().unwrap().clone();
        assert!(paid.is_subset(&by_channel), "{context}: succeeded without the channel");
        let lost: Vec<&String> = by_channel.difference(&paid).collect();
        assert!(lost.is_empty(), "{context}: paid by the channel, and not on record: {lost:?}");
    }
}

async fn storm(seed: u64) {
    let mut storm = Storm::new(seed).await;
    join_all((0..ACTORS as u64).map(|number| storm.actor(number))).await;
    storm.world.check_batches(&format!("storm {seed}, at its height")).await;
    storm.calm().await;
    storm.check().await;
    storm.world.check_whole(&format!("storm {seed}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_storm_all_that_was_told_is_true_and_no_cent_is_lost() {
    let seeds: Vec<u64> = match std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let first = fastrand::u64(0..1_000_000_000);
            (first..first + storms()).collect()
        }
    };
    println!("storms {seeds:?}");
    for seeds in seeds.chunks(4) {
        let raging = seeds.iter().map(|seed| tokio::spawn(storm(*seed)));
        for ended in join_all(raging).await {
            ended.unwrap();
        }
    }
}
