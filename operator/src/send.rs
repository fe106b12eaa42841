//! `refundctl send`: a request as a provider would build, sign and post it, with both sides shown.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use md5::Md5;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde::Serialize;
use serde_json::Value;
use shared::clock::unix_milliseconds;
use shared::ebet::JsonMoney;
use shared::ledger::exact_decimal;

use crate::target;

/// The demo channel's private key: known to everybody, good for nothing but the demo data.
pub const DEMO_KEY: &str = include_str!("../demo/private-key.pem");

const ANSWER_WITHIN: Duration = Duration::from_secs(35);

#[derive(Debug, Subcommand)]
pub enum Call {
    /// eBET asks for the refund of failed bets
    #[command(after_help = EXAMPLES)]
    RefundSingleWallet(Options),
}

const EXAMPLES: &str = "\
Without options it plays the API document's example on the demo data.

Examples:
  refundctl send refund-single-wallet
  refundctl send refund-single-wallet --username demo --round BP1-230511075749 \\
      --refund a70efc7cf71e03ae98b42b22ad4b4288=100
  refundctl send refund-single-wallet --channel 7 --key channel-7.private.pem \\
      --username player1 --refund bet-1=10.50 --refund bet-2=3

Exit codes: 0 if the answer's status is 200; 1 if it is another, or there is no answer; 2 wrong usage.";

#[derive(Debug, Default, Args)]
pub struct Options {
    /// Where the route is served [default: the local stack]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Channel [default: 1, the demo data's]
    #[arg(long, value_name = "ID")]
    channel: Option<u64>,
    /// The channel's private key, PEM [default: the demo channel's]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Player [default: apitest01]
    #[arg(long)]
    username: Option<String>,
    /// Round of the bets [default: none; the debits' rounds are not checked then]
    #[arg(long, value_name = "CODE")]
    round: Option<String>,
    /// The request's number; the same number is the same request [default: a new one]
    #[arg(long, value_name = "SEQNO")]
    seq_no: Option<String>,
    /// A bet and the amount it took; may be given several times
    #[arg(long, value_name = "SEQNO=AMOUNT")]
    refund: Vec<String>,
    /// Currency [default: CNY]
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Unix milliseconds [default: now]
    #[arg(long, value_name = "MS")]
    timestamp: Option<u64>,
}

pub async fn command(call: &Call) -> Result<ExitCode> {
    let Call::RefundSingleWallet(options) = call;
    let pem = match &options.key {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("could not read the key {}", file.display()))?,
        None => DEMO_KEY.to_owned(),
    };
    let body = refund_single_wallet(options, &pem)?;
    let endpoint = options.endpoint.clone().unwrap_or_else(target::gateway_url);
    let url = format!("{}/refundSingleWallet", endpoint.trim_end_matches('/'));
    println!("POST {url}\n{}", pretty(&body));
    let answer = tokio::task::spawn_blocking(move || post(&url, &body)).await??;
    println!("\nHTTP {}\n{}", answer.0, pretty(&answer.1));
    let status = serde_json::from_str::<Value>(&answer.1).ok().and_then(|answer| answer["status"].as_u64());
    Ok(if status == Some(200) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A request's body, members in the order of the API document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SingleBody<'a> {
    channel_id: u64,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_code: Option<&'a str>,
    seq_no: &'a str,
    event: &'a str,
    timestamp: u64,
    session_token: &'a str,
    currency: &'a str,
    signature: String,
    refund_list: Vec<ItemBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemBody<'a> {
    refund_seq_no: &'a str,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_code: Option<&'a str>,
    refund_money: JsonMoney,
}

/// The signed body that `options` ask for; without a player or a bet among them, the document's example.
fn refund_single_wallet(options: &Options, pem: &str) -> Result<String> {
    let example = options.username.is_none() && options.refund.is_empty();
    let example_bet = ["seqNoBetseqNoRefund=1000".to_owned()];
    let refunds = if example { &example_bet[..] } else { &options.refund[..] };
    if refunds.is_empty() {
        bail!("name at least one bet to refund: --refund SEQNO=AMOUNT");
    }
    let username = options.username.as_deref().unwrap_or("apitest01");
    let round_code = options.round.as_deref().or(example.then_some("B1-200101012345"));
    let new_seq_no = format!("{:032x}", fastrand::u128(..));
    let seq_no =
        options.seq_no.as_deref().or(example.then_some("seqNoseqNoseqNoseqNo")).unwrap_or(&new_seq_no);
    let timestamp = options
        .timestamp
        .or(example.then_some(1_577_808_000_000))
        .unwrap_or_else(|| unix_milliseconds(SystemTime::now()));
    let item = |refund: &'_ String| {
        let (bet, amount) = refund.rsplit_once('=').context("write --refund SEQNO=AMOUNT")?;
        let amount = exact_decimal(amount).with_context(|| format!("the amount {amount:?}"))?;
        Ok((bet.to_owned(), JsonMoney(-amount)))
    };
    let items = refunds.iter().map(item).collect::<Result<Vec<_>>>()?;
    let refund_list = items.iter().map(|(bet, refund_money)| ItemBody {
        refund_seq_no: bet,
        username,
        round_code,
        refund_money: *refund_money,
    });
    Ok(serde_json::to_string(&SingleBody {
        channel_id: options.channel.unwrap_or(1),
        username,
        round_code,
        seq_no,
        event: "refundSingleWallet",
        timestamp,
        session_token: "sessionToken",
        currency: options.currency.as_deref().unwrap_or("CNY"),
        signature: sign(pem, &format!("{username}{timestamp}"))?,
        refund_list: refund_list.collect(),
    })?)
}

/// eBET's signature over `message`: RSA PKCS#1 v1.5 with MD5, in base64.
pub fn sign(pem: &str, message: &str) -> Result<String> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem).context("not a private key in PEM (PKCS#8)")?;
    Ok(BASE64.encode(SigningKey::<Md5>::new(key).try_sign(message.as_bytes())?.to_bytes()))
}

fn post(url: &str, body: &str) -> Result<(u16, String)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .http_status_as_error(false)
        .build()
        .into();
    let sent = agent.post(url).header("content-type", "application/json").send(body);
    let mut answer =
        sent.with_context(|| format!("no answer from {url}; is `cargo run` (the local stack) running?"))?;
    let status = answer.status().as_u16();
    Ok((status, answer.body_mut().read_to_string()?))
}

/// Indented, with every number as it stands in the text.
fn pretty(json: &str) -> String {
    jsonformat::format(json, jsonformat::Indentation::TwoSpace).trim_end().to_owned()
}
