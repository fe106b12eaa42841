//! Plays the conformance cases, each in a world of its own.

use tests::case;

async fn all_answer_as_their_cases_say(function: &str) {
    let mut failures = Vec::new();
    let mut played = 0;
    for (path, file) in case::files(function) {
        for case in &file.cases {
            played += 1;
            if let Err(error) = file.play(case).await {
                failures.push(format!("{}: {}: {error:#}", path.display(), case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {played} cases failed\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(played > 0, "there are cases");
    println!("{played} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn refund_single_wallet_answers_as_its_cases_say() {
    all_answer_as_their_cases_say("refund-single-wallet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_batch_refund_answers_as_its_cases_say() {
    all_answer_as_their_cases_say("auto-batch-refund").await;
}
