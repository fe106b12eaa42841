//! Plays the conformance cases, each in a world of its own.

use std::path::Path;

use anyhow::Result;
use futures::{StreamExt, stream};
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

async fn all_of_ebet_answer_as_their_cases_say(function: &str) {
    let mut played = Played::default();
    for (path, file) in case::files::<ebet::File>(function) {
        let cases = file.cases.iter().map(|case| (case.name.as_str(), file.play(function, case)));
        played.play(&path, cases.collect()).await;
    }
    played.check();
}

async fn all_of_epay_answer_as_their_cases_say(function: &str) {
    let mut played = Played::default();
    for (path, file) in case::files::<epay::File>(function) {
        let cases = file.cases.iter().map(|case| (case.name.as_str(), file.play(function, case)));
        played.play(&path, cases.collect()).await;
    }
    played.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn record_entries_answers_as_its_cases_say() {
    all_of_ebet_answer_as_their_cases_say("record-entries").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refund_single_wallet_answers_as_its_cases_say() {
    all_of_ebet_answer_as_their_cases_say("refund-single-wallet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_batch_refund_answers_as_its_cases_say() {
    all_of_ebet_answer_as_their_cases_say("auto-batch-refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn begin_single_refund_answers_as_its_cases_say() {
    all_of_epay_answer_as_their_cases_say("begin-single-refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn end_single_refund_answers_as_its_cases_say() {
    all_of_epay_answer_as_their_cases_say("end-single-refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_refunds_are_created_retrieved_and_listed_as_their_cases_say() {
    let mut played = Played::default();
    for (path, file) in case::files::<pingpp::File>("batch-refunds") {
        let cases = file.cases.iter().map(|case| (case.name.as_str(), file.play(case)));
        played.play(&path, cases.collect()).await;
    }
    played.check();
}
