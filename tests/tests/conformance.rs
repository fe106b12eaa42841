//! Plays the conformance cases, each in a world of its own.

use tests::case::{self, ebet, epay, pingpp};

/// The cases that failed, of all that were played.
#[derive(Default)]
struct Played {
    count: usize,
    failures: Vec<String>,
}

impl Played {
    fn take(&mut self, path: &std::path::Path, name: &str, result: anyhow::Result<()>) {
        self.count += 1;
        if let Err(error) = result {
            self.failures.push(format!("{}: {name}: {error:#}", path.display()));
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
        for case in &file.cases {
            played.take(&path, &case.name, file.play(function, case).await);
        }
    }
    played.check();
}

async fn all_of_epay_answer_as_their_cases_say(function: &str) {
    let mut played = Played::default();
    for (path, file) in case::files::<epay::File>(function) {
        for case in &file.cases {
            played.take(&path, &case.name, file.play(function, case).await);
        }
    }
    played.check();
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
        for case in &file.cases {
            played.take(&path, &case.name, file.play(case).await);
        }
    }
    played.check();
}
