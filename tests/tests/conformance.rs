//! Plays the conformance cases, each in a world of its own; then what functions did is held against what they may do.

#[path = "conformance/permissions.rs"]
mod permissions;

use std::path::Path;

use anyhow::Result;
use futures::{StreamExt, stream};
use tokio::sync::OnceCell;

use tests::case::{self, ebet, epay, pingpp};

/// Cases that are played at the same time.
const AT_ONCE: usize = 4;

/// The cases that failed, of all that were played.
#[derive(Default)]
struct Played {
    count: usize,
    failures: Vec<String>,
}

impl Played {
    async fn play(&mut self, path: &Path, cases: Vec<(&str, impl Future<Output = Result<()>>)>) {
        self.count += cases.len();
        let cases = cases.into_iter().map(|(name, case)| async move { (name, case.await) });
        let results: Vec<(&str, Result<()>)> = stream::iter(cases).buffered(AT_ONCE).collect().await;
        for (name, result) in results {
            if let Err(error) = result {
                self.failures.push(format!("{}: {name}: {error:#}", path.display()));
            }
        }
    }

    fn check(self) {
        let Self { count, failures } = self;
        assert!(failures.is_empty(), "{} of {count} failed\n\n{}", failures.len(), failures.join("\n\n"));
        assert!(count > 0, "there are cases");
        println!("{count} cases");
    }
}

/// The functions whose cases were played; each is, once, by whoever needs it first.
static PLAYED: [(&str, OnceCell<()>); 6] = [
    ("record-entries", OnceCell::const_new()),
    ("refund-single-wallet", OnceCell::const_new()),
    ("auto-batch-refund", OnceCell::const_new()),
    ("begin-single-refund", OnceCell::const_new()),
    ("end-single-refund", OnceCell::const_new()),
    ("batch-refunds", OnceCell::const_new()),
];

async fn answers_as_its_cases_say(function: &str) {
    let (_, played) = PLAYED.iter().find(|(name, _)| *name == function).expect("it has cases");
    let play = || async {
        match function {
            "batch-refunds" => all_of_pingpp_answer_as_their_cases_say(function).await,
            "begin-single-refund" | "end-single-refund" => {
                all_of_epay_answer_as_their_cases_say(function).await;
            }
            _ => all_of_ebet_answer_as_their_cases_say(function).await,
        }
    };
    played.get_or_init(play).await;
}

async fn play_everything() {
    for (function, _) in &PLAYED {
        answers_as_its_cases_say(function).await;
    }
}

async fn all_of_ebet_answer_as_their_cases_say(function: &str) {
    let mut played = Played::default();
    for (path, file) in case::files::<ebet::File>(function) {
        let cases = file.playable().map(|case| (case.name.as_str(), file.play(function, case)));
        played.play(&path, cases.collect()).await;
    }
    played.check();
}

async fn all_of_epay_answer_as_their_cases_say(function: &str) {
    let mut played = Played::default();
    for (path, file) in case::files::<epay::File>(function) {
        let cases = file.playable().map(|case| (case.name.as_str(), file.play(function, case)));
        played.play(&path, cases.collect()).await;
    }
    played.check();
}

async fn all_of_pingpp_answer_as_their_cases_say(function: &str) {
    let mut played = Played::default();
    for (path, file) in case::files::<pingpp::File>(function) {
        let cases = file.playable().map(|case| (case.name.as_str(), file.play(case)));
        played.play(&path, cases.collect()).await;
    }
    played.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn record_entries_answers_as_its_cases_say() {
    answers_as_its_cases_say("record-entries").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refund_single_wallet_answers_as_its_cases_say() {
    answers_as_its_cases_say("refund-single-wallet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_batch_refund_answers_as_its_cases_say() {
    answers_as_its_cases_say("auto-batch-refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn begin_single_refund_answers_as_its_cases_say() {
    answers_as_its_cases_say("begin-single-refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn end_single_refund_answers_as_its_cases_say() {
    answers_as_its_cases_say("end-single-refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_refunds_are_created_retrieved_and_listed_as_their_cases_say() {
    answers_as_its_cases_say("batch-refunds").await;
}
