//! The real binary, under Lambda's runtime interface.

use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_of_any_request_is_logged() {
    tests::redaction::check(Path::new(env!("CARGO_BIN_EXE_list-batch-refunds"))).await;
}
