//! What the local gateway does with bodies that are too large, come too slowly or never end: it ends them, and serves
//! others meanwhile. Over real sockets.

use std::time::{Duration, Instant};

use refundctl::local::{LocalStack, Options};
use refundctl::send::ebet::{DEMO_KEY, sign};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long the gateways here wait for a body.
const REQUEST_WITHIN: Duration = Duration::from_millis(1_500);

/// Much longer: by then whatever is to end has ended.
const SOON: Duration = Duration::from_secs(10);

async fn start() -> LocalStack {
    let options = Options {
        port: 0,
        data: None,
        dynamodb_endpoint: None,
        dynamodb_port: 0,
        no_demo: false,
        request_within: REQUEST_WITHIN,
    };
    LocalStack::start(&options).await.unwrap()
}

async fn connect(stack: &LocalStack) -> TcpStream {
    TcpStream::connect(stack.url.strip_prefix("http://").unwrap()).await.unwrap()
}

const HEAD: &str =
    "POST /refundSingleWallet HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";

/// A good request of `length` bytes, white space at its end.
fn padded(length: usize) -> Vec<u8> {
    let mut body = json!({
        "channelId": 1, "username": "demo", "seqNo": "r", "event": "refundSingleWallet",
        "timestamp": 1_577_808_000_000u64, "currency": "CNY",
        "refundList": [{"refundSeqNo": "d34fbd4e4734d430c05f443da281d92b", "refundMoney": -20}]
    });
    body["signature"] = json!(sign(DEMO_KEY, "demo1577808000000").unwrap());
    let mut body = body.to_string().into_bytes();
    body.resize(length.max(body.len()), b' ');
    body
}

/// A request with a body of known length; what is not taken any more is not sent.
async fn post(stack: &LocalStack, body: &[u8]) -> String {
    let (mut reading, mut writing) = connect(stack).await.into_split();
    let head = format!("{HEAD}content-length: {}\r\n\r\n", body.len());
    let message = [head.as_bytes(), body].concat();
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(&message).await;
        // Open until it is answered.
        tokio::time::sleep(SOON).await;
    });
    let mut piece = vec![0; 4_096];
    let length = tokio::time::timeout(SOON, reading.read(&mut piece)).await.expect("it is answered in time");
    sending.abort();
    String::from_utf8_lossy(&piece[..length.unwrap_or_default()]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_passed_on_as_far_as_an_event_holds_it_and_refused_beyond() {
    let stack = start().await;
    for (length, status, told) in [
        (1, "200 OK", "\"status\":200,"),
        (4_500_000, "200 OK", "\"status\":200,"),
        (4_500_001, "200 OK", "\"status\":4025,"),
        // More than Lambda takes, and more than an HTTP API does.
        (6_000_000, "413 Payload Too Large", "Request Too Long"),
        (10_000_000, "413 Payload Too Large", "Request Too Long"),
        (10_000_001, "413 Payload Too Large", ""),
        (20_000_000, "413 Payload Too Large", ""),
    ] {
        let answer = post(&stack, &padded(length)).await;
        let is_told = answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(told);
        assert!(is_told, "{length} bytes: {answer}");
    }
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_are_slow_or_never_end_are_ended_and_others_are_served_meanwhile() {
    let stack = start().await;
    let body = padded(1);
    let length = format!("content-length: {}\r\n\r\n", body.len());
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    // The head, what comes of the body at once, and what then comes again and again.
    let senders: [(&str, String, &[u8], &[u8]); 6] = [
        ("never begins", length.clone(), b"", b""),
        ("stops in the middle", length.clone(), &body[..100], b""),
        ("lacks its last byte", length.clone(), &body[..body.len() - 1], b""),
        ("sends byte by byte", length, &body[..10], b" "),
        ("sends chunk by chunk", chunked.to_owned(), b"", b"1\r\n \r\n"),
        ("never ends its last chunk", chunked.to_owned(), b"5\r\n{", b""),
    ];
    let began = Instant::now();
    let slow = senders.map(|(how, rest, first, again)| {
        let message = [HEAD.as_bytes(), rest.as_bytes(), first].concat();
        let (again, connecting) = (again.to_vec(), stack.url.strip_prefix("http://").unwrap().to_owned());
        tokio::spawn(async move {
            let connection = TcpStream::connect(connecting).await.unwrap();
            let (mut reading, mut writing) = connection.into_split();
            writing.write_all(&message).await.unwrap();
            let sending = tokio::spawn(async move {
                while !again.is_empty() && writing.write_all(&again).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                tokio::time::sleep(SOON).await;
            });
            let mut told = Vec::new();
            // To the connection's end: it is not kept.
            let ended = tokio::time::timeout(SOON, reading.read_to_end(&mut told)).await;
            sending.abort();
            (how, ended.is_ok(), String::from_utf8(told).unwrap())
        })
    });
    // One that does not even finish its head has no request yet, and keeps nobody from theirs either.
    let mut silent = connect(&stack).await;
    silent.write_all(b"POST /refundSingleWallet HTT").await.unwrap();
    let mut served = 0;
    while !slow.iter().any(JoinHandle::is_finished) {
        let mut other = connect(&stack).await;
        let head = format!("{HEAD}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        other.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut told = String::new();
        other.read_to_string(&mut told).await.unwrap();
        assert!(told.contains("\"status\":200,"), "{told}");
        served += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(served > 1, "nobody waits for the slow ones");
    drop(silent);
    for sender in slow {
        let (how, is_ended, told) = sender.await.unwrap();
        assert!(is_ended, "who {how} keeps the connection");
        assert!(told.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "who {how} is told {told:?}");
    }
    let took = began.elapsed();
    assert!(took >= REQUEST_WITHIN && took < SOON, "{took:?}");
    stack.stop().await.unwrap();
}
