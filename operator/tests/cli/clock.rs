//! A clock that AWS refuses. What such a clock decides (who may take a batch on, how long ago something was asked for) would
//! be decided wrongly.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use jiff::fmt::rfc2822;
use jiff::{Timestamp, ToSpan};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::stack::{refundctl, stderr};

/// As signatures have it.
fn stamp(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[test]
fn where_aws_refuses_our_clock_a_command_says_so_and_signs_by_no_other() {
    let runtime = Runtime::new().unwrap();
    let signed_at = Arc::new(Mutex::new(Vec::new()));
    let theirs = Timestamp::now() + 1.hour();
    let own = signed_at.clone();
    let refuse = async move |headers: HeaderMap| {
        own.lock().unwrap().push(headers["x-amz-date"].to_str().unwrap().to_owned());
        let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&theirs).unwrap();
        let kind = "com.amazon.coral.service#InvalidSignatureException";
        let body = format!(r#"{{"__type":"{kind}","message":"Signature expired"}}"#);
        (StatusCode::BAD_REQUEST, [("date", date)], body)
    };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, Router::new().fallback(refuse)).await });

    let command = ["show", "wallet", "1", "demo"];
    let here = refundctl(&[&command[..], &["--endpoint", &url]].concat()).output().unwrap();
    let in_aws = refundctl(&[&command[..], &["--stage", "prod"]].concat())
        .envs([("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", &url)])
        .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
        .output()
        .unwrap();
    for output in [here, in_aws] {
        let told = stderr(&output);
        assert!(!output.status.success() && told.contains("Signature expired"), "{told}");
    }
    let signed_at = signed_at.lock().unwrap();
    let ours = stamp(Timestamp::now() - 5.minutes())..stamp(Timestamp::now() + 5.minutes());
    assert!(signed_at.len() >= 2 && signed_at.iter().all(|at| ours.contains(at)), "{signed_at:?}");
}
